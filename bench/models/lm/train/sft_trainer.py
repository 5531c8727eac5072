"""Supervised fine-tuning with TRL's SFTTrainer, its loss replaced by one that takes weights.

Shapes: B rows of a micro-batch, L length, N supervised tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.sft_config import SFTConfig as TRLConfig
from trl.trainer.sft_trainer import SFTTrainer

from bench.hashing import Plain
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.collate import Collator, Example, Texts
from bench.models.lm.train.common import (
    StepLog,
    micro_batch_size,
    on_one_device,
    train,
    training_arguments,
    unpatched,
)
from bench.models.lm.train.loss_by_group import GroupLoss
from bench.models.lm.train.token_loss import (
    IGNORED,
    coefficients,
    counterfactual_loss,
    cross_entropy,
    token_logits,
)
from bench.plan.language_stages import SFTConfig
from datasets import Dataset  # type: ignore[attr-defined]  # HuggingFace's, not our folder

DECIMALS = 6


class Tuner(SFTTrainer):
    """SFTTrainer with a loss that is normalized over the whole optimizer step, weights included."""

    loss_is_scaled_for_ga = True  # type: ignore[assignment]
    config: SFTConfig
    groups: GroupLoss

    def __init__(self, *, config: SFTConfig, groups: GroupLoss, model: Any, **given: Any) -> None:
        # Of a base in 4 bits TRL rounds the adapter to bfloat16; ours stays as it was loaded.
        trained = [(weight, weight.data) for weight in model.parameters() if weight.requires_grad]
        super().__init__(model=model, **given)
        for weight, data in trained:
            weight.data = data
        self.config, self.groups = config, groups

    def _send_telemetry(self) -> None:
        """Tell nobody: a run may be offline, and its user was not asked."""

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of one step and give each token its coefficient."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [(batch["labels"] != IGNORED).sum(dim=1) for batch in batches]
        counts_B = torch.cat(counts)
        weights_N = torch.cat(
            [batch.pop("weights")[batch["labels"] != IGNORED] for batch in batches]
        )
        coefficients_N = coefficients(
            weights_N,
            torch.repeat_interleave(torch.arange(len(counts_B), device=counts_B.device), counts_B),
            torch.cat([batch.pop("lengths") for batch in batches]),
            self.config.mean_over,
        )
        sizes = [int(count.sum()) for count in counts]
        for batch, part in zip(batches, torch.split(coefficients_N, sizes), strict=True):
            batch["coefficients"] = part
        return batches, None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Compute a micro-batch's part of the step's loss; the parts add up to it."""
        assert not return_outputs, "nobody asks for the outputs of training"
        coefficients_N = inputs["coefficients"]
        logits_NV, targets_N = token_logits(model, inputs["input_ids"], inputs["labels"])
        cross_entropies_N = cross_entropy(logits_NV, targets_N)
        loss = (coefficients_N * cross_entropies_N).sum()
        if "groups" in inputs:
            supervised_BL = inputs["labels"][:, 1:] != IGNORED
            self.groups.add(cross_entropies_N, inputs["groups"][:, 1:][supervised_BL])
        if self.config.counterfactual_weight:
            bare_NV, _ = token_logits(model, inputs["bare_ids"], inputs["bare_labels"])
            second = counterfactual_loss(logits_NV, bare_NV, targets_N, coefficients_N)
            loss = loss + self.config.counterfactual_weight * second
        return loss


@dataclass(kw_only=True)
class BestEpoch(TrainerCallback):
    """Watches the plain loss of validation rows, keeps the best weights, stops when they get old.

    Attributes:
        model: Is measured after each epoch.
        rows: Validation rows.
        collator: Pads them.
        at_once: Rows of one pass.
        patience: Epochs without a lower loss before training stops.
        losses: One an epoch.
        weights: Of the epoch with the lowest loss, on the CPU.
    """

    model: Any
    rows: list[Example]
    collator: Collator
    at_once: int
    patience: int
    losses: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The epoch with the lowest loss, counted from 1; of equal ones the first."""
        return self.losses.index(min(self.losses)) + 1

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, keep the weights if they are the best so far, and stop if it is time to."""
        self.losses.append(mean_loss(self.model, self.rows, self.collator, self.at_once))
        if self.epoch == len(self.losses):
            self.weights = {
                name: weight.detach().to("cpu", copy=True)
                for name, weight in self.model.named_parameters()
                if weight.requires_grad
            }
        elif len(self.losses) - self.epoch >= self.patience:
            control.should_training_stop = True

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best epoch's weights back into the model."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                weight.copy_(self.weights[name])


@torch.no_grad()
def mean_loss(model: Any, rows: list[Example], collator: Collator, at_once: int) -> float:
    """Return the mean cross-entropy over all supervised tokens, in evaluation mode."""
    model.eval()
    total, num_tokens = 0.0, 0
    for start in range(0, len(rows), at_once):
        batch = collator(rows[start : start + at_once])
        logits_NV, targets_N = token_logits(
            model, batch["input_ids"].to(model.device), batch["labels"].to(model.device)
        )
        total += float(cross_entropy(logits_NV, targets_N).double().sum())
        num_tokens += len(targets_N)
    return total / num_tokens


def fine_tune(
    model: Any,
    tokenizer: Tokenizer,
    rows: Texts,
    config: SFTConfig,
    *,
    folder: Path,
    valid: Texts | None = None,
    divisor: int = 1,
) -> dict[str, Plain]:
    """Train a model in place; the caller provides for seclusion, see `training.isolated`.

    Args:
        model: What has `requires_grad` is trained.
        tokenizer: The model's.
        rows: Training rows, at least one.
        config: How to train; counterfactual losses need prompts without history.
        folder: Where the trainer may write.
        valid: Validation rows of early stopping, at least one.
        divisor: Into how many micro-batches a batch is split to save memory.

    Returns:
        Facts: steps, tokens, loss by step, by epoch for the groups of tokens that the rows name,
        and by epoch on validation rows where it was watched.

    Raises:
        BenchError: The loss or the gradient is no finite number.
    """
    assert (rows.bare_prompts is not None) == (config.counterfactual_weight > 0)
    prompts_too = not config.completion_only_loss
    examples = rows.examples(prompts_too=prompts_too)
    collator, log, groups = Collator(padding=tokenizer.pad_token_id), StepLog(), GroupLoss()
    best = None
    if config.early_stopping_patience:
        assert valid is not None
        best = BestEpoch(
            model=model,
            rows=valid.plain().examples(prompts_too=prompts_too),
            collator=collator,
            at_once=micro_batch_size(config, divisor),
            patience=config.early_stopping_patience,
        )
    arguments = TRLConfig(
        **training_arguments(config, num_rows=len(rows), divisor=divisor, folder=folder),
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    with unpatched(model):
        tuner = Tuner(
            config=config,
            groups=groups,
            model=model,
            args=on_one_device(arguments),
            data_collator=collator,
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            callbacks=[log, groups] if best is None else [log, groups, best],
        )
        # With a tokenizer at hand training would begin by changing the model's special tokens.
        tuner.processing_class = None
        train(tuner)
    facts: dict[str, Plain] = {
        "steps": len(log.steps),
        "micro_batch": micro_batch_size(config, divisor),
        "tokens": sum(len(example["input_ids"]) for example in examples),
        "supervised_tokens": sum(_num_supervised(example) for example in examples),
        "loss_by_step": log.series("loss", DECIMALS),
        **groups.facts(DECIMALS),
    }
    if best is not None:
        best.restore()
        facts["valid_loss_by_epoch"] = [round(loss, DECIMALS) for loss in best.losses]
        facts["best_epoch"] = best.epoch
    return facts


def _num_supervised(example: Example) -> int:
    return len(example["labels"]) - example["labels"].count(IGNORED)
