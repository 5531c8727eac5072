"""Trains a language model on preference pairs, against log-probabilities of a reference.

The reference is no second model: its log-probabilities are computed once, before training, in the
micro-batches of the first epoch, so that the first loss is that of equal policies to the last bits.
Every dropout is off, the adapter's too, for the reference had none.

Shapes: B pairs, A answers of a pair (the chosen one first), K rejected ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

from bench.errors import BenchError
from bench.hashing import Plain, derive_seed
from bench.models.lm.train.common import (
    StepLog,
    isolated,
    micro_batch_size,
    on_one_device,
    train,
    training_arguments,
    unpatched,
)
from bench.models.lm.train.preference_losses import Loss
from bench.models.lm.train.shared_prefix import Layout, Row, lay_out, log_probabilities
from bench.models.lm.tuned_model import LanguageModel
from bench.plan.language_stages import TrainingConfig
from bench.plan.preference_stages import PreferenceConfig

DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A prompt with the chosen answer and one or more rejected ones, as token ids.

    Attributes:
        smoothing: Probability that the rejected answer is the better one, from 0 to 1.
        reference: Log-probability of each answer under the reference, the chosen one first; none
            before `referenced`.
    """

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[Sequence[int]]
    smoothing: float = 0.0
    reference: Sequence[float] = ()

    @property
    def row(self) -> Row:
        """The prompt with all answers."""
        return Row(self.prompt, [self.chosen, *self.rejected])


class EpochOrder(Sampler[int]):
    """A seeded order of the pairs for each epoch; every pass over it is the next epoch."""

    def __init__(self, num_pairs: int, seed: int) -> None:
        self.num_pairs = num_pairs
        self.seed = seed
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self.num_pairs, self.seed, self.epoch)
        self.epoch += 1
        return iter(order)

    def __len__(self) -> int:
        return self.num_pairs


def epoch_order(num_pairs: int, seed: int, epoch: int) -> list[int]:
    """Return the order in which an epoch, counted from 0, sees the pairs."""
    numbers = np.random.default_rng(derive_seed("preference order", seed, epoch))
    order: list[int] = numbers.permutation(num_pairs).tolist()
    return order


def referenced(
    model: LanguageModel,
    pairs: Sequence[Pair],
    config: TrainingConfig,
    *,
    divisor: int,
    shared: bool,
    threads: int,
) -> list[Pair]:
    """Add the log-probabilities that a model gives the answers.

    Args:
        model: The reference.
        pairs: Pairs of prompts and answers, in their own order.
        config: How the policy will be trained: it decides which pairs are computed together.
        divisor: Into how many micro-batches a batch is split.
        shared: See `lay_out`.
        threads: CPU threads.
    """
    order = epoch_order(len(pairs), config.seed, 0)
    size = micro_batch_size(config, divisor)
    known = list(pairs)
    with isolated(config.seed, threads), torch.no_grad():
        for start in range(0, len(pairs), size):
            part = order[start : start + size]
            layout = lay_out([pairs[number].row for number in part], shared=shared)
            logps_BA = log_probabilities(model.model, layout.to(model.device)).tolist()
            for number, logps in zip(part, logps_BA, strict=True):
                num_answers = 1 + len(pairs[number].rejected)
                known[number] = replace(pairs[number], reference=logps[:num_answers])
    return known


def prefer(
    model: LanguageModel,
    pairs: Sequence[Pair],
    config: PreferenceConfig,
    *,
    loss: Loss,
    divisor: int,
    shared: bool,
    threads: int,
) -> dict[str, Plain]:
    """Train a model on pairs.

    The loss of a step is its mean over the step's pairs, whatever the micro-batches.

    Args:
        model: The policy where it starts; afterwards its weights are the trained ones.
        pairs: One pair or more, each with its reference.
        config: How to train.
        loss: The loss that the config names, see `bench.models.lm.train.preference_losses`.
        divisor: Into how many micro-batches a batch is split.
        shared: See `lay_out`.
        threads: CPU threads.

    Returns:
        The record of the training, by step: mean log-probability of chosen and rejected answers,
        mean margin (beta times the gap of the deltas), the share of rejected answers whose delta is
        below the chosen one's, and the loss.

    Raises:
        BenchError: The loss is not finite, or a method's own loss returns another shape.
    """
    log = StepLog()
    with (
        isolated(config.seed, threads),
        unpatched(model.model),
        TemporaryDirectory() as folder,
    ):
        settings = training_arguments(
            config, num_rows=len(pairs), divisor=divisor, folder=Path(folder)
        )
        trainer = PreferenceTrainer(
            model=model.model,
            args=on_one_device(TrainingArguments(**settings)),
            train_dataset=list(pairs),
            data_collator=partial(collate, shared=shared),
            callbacks=[log],
        )
        trainer.objective = partial(loss, beta=config.beta)
        trainer.beta = config.beta
        train(trainer)
    return {
        "steps": len(log.steps),
        "micro_batch": micro_batch_size(config, divisor),
        "loss_by_step": log.series("loss", DECIMALS),
        **trainer.record(),
    }


class PreferenceTrainer(Trainer):
    """transformers' Trainer on pairs.

    Attributes:
        objective: The loss, its beta bound.
        beta: For the record of margins.
    """

    objective: Loss
    beta: float

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Losses are normalized here, over the whole step; a Trainer that thinks otherwise would
        # divide by the number of micro-batches.
        self.model_accepts_loss_kwargs = True
        self._sums: dict[int, list[Tensor]] = {}

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        assert isinstance(self.train_dataset, Sized)
        return EpochOrder(len(self.train_dataset), self.args.seed)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], int]:
        """Return the micro-batches of a step, and how many pairs they have together."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(len(batch["smoothing"]) for batch in batches)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Return a micro-batch's part of its step's loss."""
        model.eval()
        smoothing_B, reference_BA = inputs.pop("smoothing"), inputs.pop("reference")
        layout = Layout(**inputs)
        logps_BA = log_probabilities(model, layout)
        deltas_BA = logps_BA - reference_BA
        mask_BK = layout.mask[:, 1:]
        losses_B = self.objective(
            deltas_BA[:, 0], deltas_BA[:, 1:], smoothing_B=smoothing_B, mask_BK=mask_BK
        )
        if losses_B.shape != smoothing_B.shape:
            raise BenchError(
                f"The loss returned shape {tuple(losses_B.shape)}.",
                f"It must be one number a pair, {tuple(smoothing_B.shape)}.",
            )
        self._note(logps_BA.detach(), deltas_BA.detach(), mask_BK, num_items_in_batch)
        part: Tensor = losses_B.sum() / num_items_in_batch
        return part

    def record(self) -> dict[str, Plain]:
        """Return what was noted, a number a step."""
        steps = [torch.stack(parts).sum(0) for _, parts in sorted(self._sums.items())]
        columns = torch.stack(steps, dim=1).tolist()
        names = ("chosen_by_step", "rejected_by_step", "margin_by_step", "accuracy_by_step")
        return {
            name: [round(value, DECIMALS) for value in column]
            for name, column in zip(names, columns, strict=True)
        }

    def _note(self, logps_BA: Tensor, deltas_BA: Tensor, mask_BK: Tensor, num_pairs: int) -> None:
        num_rejected_B = mask_BK.sum(1)
        gaps_BK = (deltas_BA[:, :1] - deltas_BA[:, 1:]).masked_fill(~mask_BK, 0)
        of_pairs = (
            logps_BA[:, 0],
            logps_BA[:, 1:].sum(1) / num_rejected_B,
            self.beta * gaps_BK.sum(1) / num_rejected_B,
            (gaps_BK > 0).sum(1) / num_rejected_B,
        )
        sums = torch.stack([values_B.double().sum() / num_pairs for values_B in of_pairs])
        self._sums.setdefault(self.state.global_step, []).append(sums)


def collate(pairs: Sequence[Pair], *, shared: bool) -> dict[str, Tensor]:
    """Put pairs together: the fields of their `Layout`, with reference and smoothing."""
    layout = lay_out([pair.row for pair in pairs], shared=shared)
    reference_BA = torch.zeros(layout.mask.shape)
    for row_A, pair in zip(reference_BA, pairs, strict=True):
        assert len(pair.reference) == 1 + len(pair.rejected), "the reference comes first"
        row_A[: len(pair.reference)] = torch.tensor(pair.reference)
    smoothing_B = torch.tensor([pair.smoothing for pair in pairs])
    return {**vars(layout), "reference": reference_BA, "smoothing": smoothing_B}


def longest(pairs: Sequence[Pair]) -> int:
    """Return the most tokens of a prompt with one of its answers."""
    return max(len(pair.prompt) + max(map(len, (pair.chosen, *pair.rejected))) for pair in pairs)
