"""Fits row-form networks: Adam, one uniform negative a row, early stop on validation NDCG.

The stop rule is that of the peer code of the field: full ranking, NDCG at 20. All randomness comes
from the seed; the caller's random numbers and thread count are left as they were.

Tensor names end in their shape: B batch, L length, D width, I items.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Plain, derive_seed
from bench.metrics.accuracy import ndcg
from bench.models.seqrec.rows import RowNetwork, RowSizes, bce_row_loss, network_rows

STOPPING_K = 20
SCORED_AT_ONCE = 1024
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        learning_rate: Adam's, above 0.
        weight_decay: Times each weight, added to its gradient before Adam's moments; from 0.
        batch: Rows of one optimizer step, at least 1; an epoch's last step takes what is left.
        epochs: The most epochs, at least 1.
        patience: Epochs without a better validation NDCG before it stops, at least 1.

    Raises:
        BenchError: A setting is out of its range.
    """

    learning_rate: float
    weight_decay: float
    batch: int
    epochs: int
    patience: int

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise BenchError(f"The {name} is {getattr(self, name)}.", "Give 1 or more.")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise BenchError(
                f"Nothing is learned at a rate of {self.learning_rate} with a weight decay of "
                f"{self.weight_decay}.",
                "Give a rate above 0 and a decay of 0 or more.",
            )


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        model: The model of the best epoch, in evaluation mode.
        facts: Rows, epochs, optimizer steps, loss by epoch, and the best epoch with its NDCG.
    """

    model: RowNetwork
    facts: dict[str, Plain]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows with a target in the catalog: ids, lengths and targets, shapes (N, L), (N,), (N,)."""

    items: Tensor
    lengths: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, rows: Tensor | slice) -> _Rows:
        return _Rows(items=self.items[rows], lengths=self.lengths[rows], targets=self.targets[rows])


class _Step:
    """One optimizer step after another, each on a whole batch, in parts if memory is short."""

    def __init__(self, *, model: RowNetwork, recipe: Recipe, divisor: int) -> None:
        self.model = model
        self.batch = recipe.batch
        self.divisor = divisor
        self.optimizer = Adam(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.taken = 0

    def take(self, rows: _Rows, negatives: Tensor) -> float:
        """Return the batch's mean loss before the step."""
        self.optimizer.zero_grad()
        mean = 0.0
        for part in _parts(len(rows), math.ceil(len(rows) / self.divisor)):
            seen = rows.at(part)
            states_BD = self.model(seen.items, seen.lengths)
            positive_B = self.model.logits(states_BD, seen.targets)
            negative_B = self.model.logits(states_BD, negatives[part])
            loss = bce_row_loss(positive_B, negative_B) * (len(seen) / len(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            mean += loss.item()
        self.optimizer.step()
        self.taken += 1
        return mean


@dataclass(frozen=True, kw_only=True)
class _Best:
    epoch: int = 0
    ndcg: float = -1.0
    weights: dict[str, Tensor] = field(default_factory=dict)


def fit(
    train: Windows,
    valid: Windows,
    sizes: RowSizes,
    recipe: Recipe,
    *,
    seed: int,
    micro_batch_divisor: int = 1,
) -> Fitted:
    """Train until the validation NDCG@20 has not risen for `patience` epochs.

    Args:
        train: Rows to learn from; those without a target in the catalog are left out.
        valid: Rows that decide when to stop. An unknown target counts as a miss. Where no target is
            known at all, every epoch is trained and the last one kept.
        sizes: Those of the network.
        recipe: How to train it.
        seed: Decides first weights, order, negatives and dropout, each by a seed of its own.
        micro_batch_divisor: Into how many parts a batch is split to save memory.

    Raises:
        BenchError: No training row is left, or the loss grew out of bounds.
    """
    rows, num_held_out = _known_rows(train, sizes), int((valid.targets >= 0).sum())
    if not len(rows):
        raise BenchError(
            f"{sizes.called} has no training row with a known target.", "Draw more rows."
        )
    numbers = np.random.default_rng(derive_seed(sizes.called, "rows", seed))
    losses, best = [], _Best()
    with torch.random.fork_rng(devices=[]):
        _seed_torch(derive_seed(sizes.called, "weights", seed))
        model = sizes.network()
        step = _Step(model=model, recipe=recipe, divisor=micro_batch_divisor)
        _seed_torch(derive_seed(sizes.called, "dropout", seed))
        for epoch in range(1, recipe.epochs + 1):
            losses.append(_train_epoch(step, rows, numbers))
            _refuse_unbounded(losses)
            if not num_held_out:
                continue
            best = _better(best, epoch, model, mean_ndcg(model, valid))
            if epoch - best.epoch >= recipe.patience:
                break
    if best.epoch:
        model.load_state_dict(best.weights)
    return Fitted(model.eval(), _facts(len(rows), num_held_out, losses, step.taken, best))


def other_items(
    targets: NDArray[np.integer], num_items: int, numbers: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each target one of the other items, all equally likely; it may be in the history.

    Args:
        targets: Item positions, shape (N,).
        num_items: Items of the catalog, at least 2.
        numbers: Source of the draws.

    Returns:
        Item positions, shape (N,).
    """
    drawn = numbers.integers(num_items - 1, size=len(targets), dtype=np.int64)
    # Moving the upper part up by one leaves out the target without a second draw.
    return drawn + (drawn >= targets)


def mean_ndcg(model: RowNetwork, valid: Windows) -> float:
    """Rank the whole catalog and average NDCG@20; of equal scores the first item wins.

    Args:
        model: The network; it is left in evaluation mode.
        valid: Rows, at least one; an unknown target counts as a miss.
    """
    model.eval()
    rows = _known_rows(valid, model.sizes)
    num_items = model.sizes.num_items
    gain = 0.0
    with torch.inference_mode():
        for part in _parts(len(rows), SCORED_AT_ONCE):
            seen = rows.at(part)
            scores_BI = model.output(model(seen.items, seen.lengths))
            own_B1 = scores_BI.gather(1, seen.targets[:, None])
            later_BI = torch.arange(num_items) >= seen.targets[:, None]
            # Counting what stands behind, the target itself included, makes NaN a miss.
            behind_BI = (scores_BI < own_B1) | ((scores_BI == own_B1) & later_BI)
            ranks = num_items - behind_BI.sum(1).numpy()
            gain += float(ndcg(ranks, min(STOPPING_K, num_items)).sum())
    return gain / len(valid)


def _seed_torch(seed: int) -> None:
    # torch.manual_seed would reseed every GPU as well, which nobody puts back.
    torch.default_generator.manual_seed(seed)


def _known_rows(windows: Windows, sizes: RowSizes) -> _Rows:
    known = windows.targets >= 0
    items, lengths = network_rows(windows.histories[known], sizes)
    targets = windows.targets[known].astype(np.int64)
    if (targets >= sizes.num_items).any():
        raise BenchError(f"A target is item {targets.max()} of only {sizes.num_items}.")
    return _Rows(items=items, lengths=lengths, targets=torch.from_numpy(targets))


def _parts(num_rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, num_rows, size))


def _train_epoch(step: _Step, rows: _Rows, numbers: np.random.Generator) -> float:
    """See every row once, each with a new negative, and return the mean loss."""
    step.model.train()
    drawn = other_items(rows.targets.numpy(), step.model.sizes.num_items, numbers)
    negatives = torch.from_numpy(drawn)
    order = torch.from_numpy(numbers.permutation(len(rows)))
    total = 0.0
    for part in _parts(len(rows), step.batch):
        chosen = order[part]
        total += step.take(rows.at(chosen), negatives[chosen]) * len(chosen)
    return total / len(rows)


def _better(best: _Best, epoch: int, model: RowNetwork, value: float) -> _Best:
    if value <= best.ndcg:
        return best
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return _Best(epoch=epoch, ndcg=value, weights=weights)


def _refuse_unbounded(losses: list[float]) -> None:
    if not math.isfinite(losses[-1]):
        raise BenchError(
            f"The loss is {losses[-1]} in epoch {len(losses)}.", "Lower the learning rate."
        )


def _facts(
    num_train: int, num_valid: int, losses: list[float], steps: int, best: _Best
) -> dict[str, Plain]:
    return {
        "train_rows": num_train,
        "valid_rows": num_valid,
        "epochs": len(losses),
        "steps": steps,
        "best_epoch": best.epoch or len(losses),
        f"best_valid_ndcg@{STOPPING_K}": round(best.ndcg, DECIMALS) if best.epoch else None,
        "loss_by_epoch": [round(loss, DECIMALS) for loss in losses],
    }
