"""Trains a re-ranker: AdamW at a constant rate, the epoch chosen by MAP@5 on lists held out.

KAR's cosine schedule is constant to four digits, since its horizon counts lists where its steps
count batches; so a constant rate is what it does. KAR chooses the epoch on the test lists; which
lists choose is the caller's to say, and to mark.

All randomness comes from the seed; the caller's random numbers are left as they were.

Tensor names end in their shape: B batch, L list length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from bench.errors import BenchError
from bench.hashing import Plain, derive_seed
from bench.models.rerank.model import Reranker, Sizes
from bench.models.rerank.scoring import SELECTION_K, Rows, mean_average_precision, parts, scores
from bench.models.rerank.setrank import silent

DECIMALS = 6
COLLAPSED = 0.5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a re-ranker is trained.

    Attributes:
        learning_rate: Above 0.
        weight_decay: From 0; times the rate, taken off every weight that is no bias after a step.
        batch: Lists of one optimizer step, at least 2; a last step of one list joins the one
            before, since one list alone has no batch statistics.
        epochs: The most epochs, at least 1.
        patience: Epochs without a better choosing metric before it stops, at least 1.

    Raises:
        BenchError: A setting is out of its range.
    """

    learning_rate: float
    weight_decay: float
    batch: int
    epochs: int
    patience: int

    def __post_init__(self) -> None:
        for name, least in (("batch", 2), ("epochs", 1), ("patience", 1)):
            if getattr(self, name) < least:
                raise BenchError(
                    f"The re-ranker's {name} is {getattr(self, name)}.", f"Give {least} or more."
                )
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise BenchError(
                f"A re-ranker cannot learn at a rate of {self.learning_rate} with a weight decay "
                f"of {self.weight_decay}.",
                "Give a rate above 0 and a decay of 0 or more.",
            )


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        model: The model of the best epoch, in evaluation mode.
        facts: Lists, epochs, steps, losses, the choosing metric by epoch; for SetRank by KAR's
            letter also which share of the training lists was silent, and whether it collapsed: more
            than half of them after any epoch.
    """

    model: Reranker
    facts: dict[str, Plain]


class _Step:
    """One optimizer step after another, each on a whole batch, in parts if memory is short."""

    def __init__(self, model: Reranker, recipe: Recipe, divisor: int) -> None:
        self.model = model
        self.divisor = divisor
        self.shrink = 1 - recipe.learning_rate * recipe.weight_decay
        self.decayed = [weights for name, weights in model.named_parameters() if "bias" not in name]
        self.optimizer = Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
        self.taken = 0

    def take(self, rows: Rows, chosen: Tensor, drawn: Tensor) -> float:
        """Return the batch's mean loss before the step."""
        self.optimizer.zero_grad()
        mean = 0.0
        for part in parts(len(chosen), math.ceil(len(chosen) / self.divisor)):
            lists = chosen[part]
            scores_BL = self.model(rows.items[lists], rows.texts(lists, drawn[lists]))
            losses_B = self.model.losses(scores_BL, rows.labels[lists])
            loss = losses_B.sum() / len(chosen)
            loss.backward()  # type: ignore[no-untyped-call]
            mean += loss.item()
        self.optimizer.step()
        if self.shrink < 1:
            with torch.no_grad():
                for weights in self.decayed:
                    weights.mul_(self.shrink)
        self.taken += 1
        return mean


@dataclass(frozen=True, kw_only=True)
class _Best:
    epoch: int = 0
    value: float = -1.0
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Course:
    """What is noted epoch by epoch."""

    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)


def fit(
    train: Rows,
    chooser: Rows,
    sizes: Sizes,
    recipe: Recipe,
    *,
    attributes_IF: Tensor,
    texts_IT: Tensor | None = None,
    seed: int,
    micro_batch_divisor: int = 1,
) -> Fitted:
    """Train until MAP@5 on the choosing lists has not risen for `patience` epochs.

    Args:
        train: Lists to learn from.
        chooser: Lists that decide which epoch is kept; where there are none, every epoch is trained
            and the last one kept.
        sizes: Those of the network.
        recipe: How to train it.
        attributes_IF: Attribute numbers of each item; row 0 is for no item.
        texts_IT: Vectors of the items' texts, if they have any; row 0 is for no item.
        seed: Decides first weights, order, and which text of a user is seen, each by its own.
        micro_batch_divisor: Into how many parts a batch is split to save memory.

    Raises:
        BenchError: There are too few lists, the loss grew out of bounds, or a batch cannot be
            split with the same result.
    """
    if len(train) < 2:
        raise BenchError(f"A re-ranker cannot learn from {len(train)} lists.", "Give it more.")
    numbers = np.random.default_rng(derive_seed("rerank rows", seed))
    course, best = _Course(), _Best()
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed every GPU as well, which nobody puts back.
        torch.default_generator.manual_seed(derive_seed("rerank weights", seed))
        model = Reranker(sizes, attributes_IF, texts_IT)
        _refuse_split(model, micro_batch_divisor)
        step = _Step(model, recipe, micro_batch_divisor)
        for epoch in range(1, recipe.epochs + 1):
            course.losses.append(_train_epoch(step, train, recipe.batch, numbers))
            if not math.isfinite(course.losses[-1]):
                raise BenchError(
                    f"The re-ranker's loss is {course.losses[-1]} in epoch {epoch}.",
                    "Lower the learning rate.",
                )
            if sizes.backbone == "setrank" and sizes.loss == "kar":
                course.silent.append(float(silent(scores(model, train)).double().mean()))
            if not len(chooser):
                continue
            course.values.append(mean_average_precision(model, chooser))
            best = _better(best, epoch, model, course.values[-1])
            if epoch - best.epoch >= recipe.patience:
                break
    if best.epoch:
        model.load_state_dict(best.weights)
    return Fitted(model.eval(), _facts(train, chooser, course, best, step.taken))


def _refuse_split(model: Reranker, divisor: int) -> None:
    if divisor > 1 and not model.backbone.splits:
        raise BenchError(
            "A batch of DLCM cannot be worked off in parts: its normalization sees it whole.",
            "Lower the setting batch, or free memory.",
        )


def _batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Cut an order into batches; a single list that is left over joins the last batch."""
    ends = list(range(size, len(order), size))
    if ends and len(order) - ends[-1] == 1:
        ends.pop()
    yield from order.tensor_split(ends)


def _train_epoch(step: _Step, rows: Rows, batch: int, numbers: np.random.Generator) -> float:
    """See every list once and return the mean loss."""
    step.model.train()
    order = torch.from_numpy(numbers.permutation(len(rows)))
    texts = 1 if rows.user_texts is None else rows.user_texts.shape[1]
    drawn = torch.from_numpy(numbers.integers(texts, size=len(rows)))
    total = 0.0
    for chosen in _batches(order, batch):
        total += step.take(rows, chosen, drawn) * len(chosen)
    return total / len(rows)


def _better(best: _Best, epoch: int, model: Reranker, value: float) -> _Best:
    if value <= best.value:
        return best
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return _Best(epoch=epoch, value=value, weights=weights)


def _facts(
    train: Rows, chooser: Rows, course: _Course, best: _Best, steps: int
) -> dict[str, Plain]:
    epoch = best.epoch or len(course.losses)
    facts: dict[str, Plain] = {
        "train_lists": len(train),
        "choosing_lists": len(chooser),
        "epochs": len(course.losses),
        "steps": steps,
        "best_epoch": epoch,
        f"best_map@{SELECTION_K}": round(best.value, DECIMALS) if best.epoch else None,
        "loss_by_epoch": [round(loss, DECIMALS) for loss in course.losses],
        f"map@{SELECTION_K}_by_epoch": [round(value, DECIMALS) for value in course.values],
    }
    if course.silent:
        silent_shares = [round(share, DECIMALS) for share in course.silent]
        facts["silent_share_by_epoch"] = silent_shares
        facts["kept_silent_share"] = silent_shares[epoch - 1]
        facts["collapsed"] = max(course.silent) > COLLAPSED
    return facts
