"""Preference optimization: trains a language model on pairs, against reference log-probabilities.

The reference is no second model: its log-probabilities are computed once, before training, in the
micro-batches of the first epoch, so that the first loss equals that of identical policies. Every
dropout is off, the adapter's too, for the reference had none.

Shapes: B pairs, A answers of a pair (the chosen one first), K rejected ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.lm.devices import autocast
from bench.models.lm.train.preference_losses import Loss
from bench.models.lm.train.shared_prefix import Layout, Row, lay_out, log_probabilities
from bench.models.lm.train.trainer_setup import (
    DECIMALS,
    EpochOrder,
    isolated,
    micro_batch_size,
    run_trainer,
)
from bench.models.lm.tuned_model import LanguageModel
from bench.plan.preference_stages import PreferenceConfig

REFERENCE_BATCHES = 8
"""Micro-batches that fit into memory on a GPU where nothing is kept for a backward pass."""
LOGGED = ("chosen_by_step", "rejected_by_step", "margin_by_step", "accuracy_by_step")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A prompt with the chosen answer and one or more rejected ones, as token ids.

    Attributes:
        smoothing: Probability that the rejected answer is the better one, from 0 to 1.
        reference: Log-probability of each answer under the reference, the chosen one first; empty
            before `add_reference`.
    """

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[Sequence[int]]
    smoothing: float = 0.0
    reference: Sequence[float] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and all answers."""
        return len(self.prompt) + len(self.chosen) + sum(map(len, self.rejected))

    @property
    def row(self) -> Row:
        """The prompt with all answers."""
        return Row(self.prompt, [self.chosen, *self.rejected])


def add_reference(
    model: LanguageModel,
    pairs: Sequence[Pair],
    config: PreferenceConfig,
    *,
    divisor: int,
    shared: bool,
) -> list[Pair]:
    """Return the pairs with the log-probabilities that a reference model gives the answers.

    The arguments after `pairs` are those of `optimize`: they decide which pairs are computed
    together.
    """
    order = list(EpochOrder([pair.num_tokens for pair in pairs], config))
    size = micro_batch_size(config, divisor)
    if model.device.type == "cuda":  # rounding differs with every batch there
        order.sort(key=lambda row: -pairs[row].num_tokens)
        size *= REFERENCE_BATCHES
    with_reference = list(pairs)
    precision = autocast(model.device, config.model.dtype)
    with isolated(config.seed, config.model.threads), torch.no_grad(), precision:
        for start in range(0, len(pairs), size):
            rows = order[start : start + size]
            layout = lay_out([pairs[row].row for row in rows], shared=shared)
            logps_BA = log_probabilities(model.model, layout.to(model.device)).tolist()
            for row, logps_A in zip(rows, logps_BA, strict=True):
                num_answers = 1 + len(pairs[row].rejected)
                with_reference[row] = replace(pairs[row], reference=logps_A[:num_answers])
    return with_reference


def optimize(
    model: LanguageModel,
    pairs: Sequence[Pair],
    config: PreferenceConfig,
    *,
    loss: Loss,
    divisor: int,
    shared: bool,
    **execution: Any,
) -> dict[str, Plain]:
    """Train a policy in place on pairs with references; see also `lay_out` and `run_trainer`.

    `loss` is the function that `config.loss` names; the loss of a step is its mean over its pairs.

    Returns:
        Logged metrics by step: mean log-probability of chosen and rejected answers, mean margin
        (beta times the difference of the deltas), fraction of rejected answers whose delta is below
        the chosen one's, and the loss.

    Raises:
        BenchError: The loss is not finite, or a method's own loss returns another shape.
    """
    trainer, log = run_trainer(
        partial(PreferenceTrainer, loss=partial(loss, beta=config.beta), beta=config.beta),
        model.model,
        list(pairs),
        partial(collate, shared=shared),
        config,
        lengths=[pair.num_tokens for pair in pairs],
        divisor=divisor,
        dropout=False,
        **execution,
    )
    return {
        "steps": len(log.losses),
        "micro_batch": micro_batch_size(config, divisor),
        "loss_by_step": log.rounded,
        **trainer.logged_metrics(),
    }


class PreferenceTrainer(Trainer):
    """transformers' Trainer on pairs, with a loss whose beta is bound; `beta` is for the log."""

    def __init__(self, *, loss: Loss, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # compute_loss normalizes over the whole step; otherwise Trainer would divide by the number
        # of micro-batches.
        self.model_accepts_loss_kwargs = True
        self.loss, self.beta = loss, beta
        self._parameters = signature(loss).parameters
        self._sums: dict[int, list[Tensor]] = {}

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], int]:
        """Return the micro-batches of a step, and their number of pairs."""
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
        smoothing_B, reference_BA = inputs.pop("smoothing"), inputs.pop("reference")
        layout = Layout(**inputs)
        logps_BA = log_probabilities(model, layout)
        deltas_BA = logps_BA - reference_BA
        mask_BK = layout.mask[:, 1:]
        optional = {"logps_BA": logps_BA, "lengths_BA": layout.lengths}
        losses_B = self.loss(
            deltas_BA[:, 0],
            deltas_BA[:, 1:],
            smoothing_B=smoothing_B,
            mask_BK=mask_BK,
            **{name: optional[name] for name in optional if name in self._parameters},
        )
        if losses_B.shape != smoothing_B.shape:
            raise BenchError(
                f"The loss returned shape {tuple(losses_B.shape)}.",
                f"It must return one number per pair, {tuple(smoothing_B.shape)}.",
            )
        self._log(logps_BA.detach(), deltas_BA.detach(), mask_BK, num_items_in_batch)
        part: Tensor = losses_B.sum() / num_items_in_batch
        return part

    def _log(self, logps_BA: Tensor, deltas_BA: Tensor, mask_BK: Tensor, num_pairs: int) -> None:
        num_rejected_B = mask_BK.sum(1)
        gaps_BK = (deltas_BA[:, :1] - deltas_BA[:, 1:]).masked_fill(~mask_BK, 0)
        values = (
            logps_BA[:, 0],
            logps_BA[:, 1:].sum(1) / num_rejected_B,
            self.beta * gaps_BK.sum(1) / num_rejected_B,
            (gaps_BK > 0).sum(1) / num_rejected_B,
        )
        sums = torch.stack([values_B.double().sum() / num_pairs for values_B in values])
        self._sums.setdefault(self.state.global_step, []).append(sums)

    def snapshot(self) -> dict[str, Tensor]:
        """Return what was logged, one row per step."""
        rows = [torch.stack(parts).sum(0) for _, parts in sorted(self._sums.items())]
        return {"logged": torch.stack(rows)} if rows else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue after these rows."""
        rows = state["logged"].to(self.args.device) if state else ()
        self._sums = {step: [row] for step, row in enumerate(rows)}

    def logged_metrics(self) -> dict[str, Plain]:
        """Return what was logged, one number per step."""
        steps = [torch.stack(parts).sum(0) for _, parts in sorted(self._sums.items())]
        columns = torch.stack(steps, dim=1).tolist()
        return {
            name: [round(value, DECIMALS) for value in column]
            for name, column in zip(LOGGED, columns, strict=True)
        }


def collate(pairs: Sequence[Pair], *, shared: bool) -> dict[str, Tensor]:
    """Collate pairs: the fields of their `Layout`, with reference and smoothing."""
    layout = lay_out([pair.row for pair in pairs], shared=shared)
    reference_BA = torch.zeros(layout.mask.shape)
    for row_A, pair in zip(reference_BA, pairs, strict=True):
        assert len(pair.reference) == 1 + len(pair.rejected), "add_reference comes first"
        row_A[: len(pair.reference)] = torch.tensor(pair.reference)
    smoothing_B = torch.tensor([pair.smoothing for pair in pairs])
    return {**vars(layout), "reference": reference_BA, "smoothing": smoothing_B}


def max_length(pairs: Sequence[Pair]) -> int:
    """Return the tokens of the longest prompt with one of its answers."""
    return max(len(pair.prompt) + max(map(len, (pair.chosen, *pair.rejected))) for pair in pairs)
