"""Epoch loop with early stopping, shared by the item-ID models and the re-rankers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.progress import report_progress

DECIMALS = 6

Batch: TypeAlias = tuple[Tensor, ...]
"""Tensors of equal length; the first dimension is the row."""


@dataclass(kw_only=True)
class TrainingHistory:
    """Losses and validation values of a training run.

    Attributes:
        losses: Mean training loss per epoch.
        values: Validation metric per epoch, higher is better; empty without validation data.
        num_steps: Optimizer steps taken.
        best_epoch: Epoch whose weights were kept, from 1.
    """

    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    num_steps: int = 0
    best_epoch: int = 0

    def as_metadata(self, metric: str) -> dict[str, Plain]:
        """Return the stage metadata; `metric` names the validation metric."""
        return {
            "epochs": len(self.losses),
            "steps": self.num_steps,
            "best_epoch": self.best_epoch,
            f"best_{metric}": round(max(self.values), DECIMALS) if self.values else None,
            "loss_by_epoch": [round(loss, DECIMALS) for loss in self.losses],
            f"{metric}_by_epoch": [round(value, DECIMALS) for value in self.values],
        }


def train_epochs(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    draw_batches: Callable[[], Iterable[Batch]],
    mean_loss: Callable[..., Tensor],
    validate: Callable[[], float | None],
    num_epochs: int,
    patience: int,
    micro_batch_divisor: int = 1,
) -> TrainingHistory:
    """Train until the validation metric has not improved for `patience` epochs.

    Args:
        model: Trained in place; ends in evaluation mode with the weights of the best epoch.
        optimizer: Optimizer of the model's parameters.
        draw_batches: Draws the batches of one epoch.
        mean_loss: Returns the mean loss over a batch's rows; receives the batch's tensors.
        validate: Returns the validation metric (0 or more, higher is better) after an epoch, or
            None without validation data; then every epoch is trained and the last one kept.
        num_epochs: Maximum number of epochs.
        patience: Epochs without a better metric before training stops.
        micro_batch_divisor: Number of micro-batches per batch, to save memory.

    Raises:
        BenchError: The loss is not finite.
    """
    history, best_value = TrainingHistory(), -1.0
    best_weights: dict[str, Tensor] = {}
    for epoch in range(1, num_epochs + 1):
        model.train()
        total: Tensor | float = 0.0
        num_rows = 0
        for batch in draw_batches():
            optimizer.zero_grad()
            loss = accumulate_gradients(mean_loss, batch, micro_batch_divisor)
            optimizer.step()
            history.num_steps += 1
            total = total + loss * len(batch[0])
            num_rows += len(batch[0])
        history.losses.append(float(total) / num_rows)
        if not math.isfinite(history.losses[-1]):
            raise BenchError(
                f"The training loss is {history.losses[-1]} in epoch {epoch}.",
                "Lower the learning rate.",
            )
        value = validate()
        report_progress(epoch, num_epochs, "epochs at most")
        if value is None:
            history.best_epoch = epoch
            continue
        history.values.append(value)
        if value > best_value:
            best_value, history.best_epoch = value, epoch
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        elif epoch - history.best_epoch >= patience:
            break
    if best_weights:
        model.load_state_dict(best_weights)
    model.eval()
    return history


def accumulate_gradients(
    mean_loss: Callable[..., Tensor], batch: Batch, micro_batch_divisor: int
) -> Tensor:
    """Add the gradients of a batch's mean loss, one micro-batch at a time.

    The loss that is returned is in float64 on the model's device: reading it would wait for the
    device.
    """
    size, losses = len(batch[0]), list[Tensor]()
    parts = (torch.split(tensor, math.ceil(size / micro_batch_divisor)) for tensor in batch)
    for part in zip(*parts, strict=True):
        part_loss = mean_loss(*part) * (len(part[0]) / size)
        part_loss.backward()  # type: ignore[no-untyped-call]
        losses.append(part_loss.detach().double())
    return torch.stack(losses).sum()
