"""Losses over the supervised tokens: weighted sums of cross-entropies, and means by group.

Each token's coefficient is fixed for the whole optimizer step, so the number of micro-batches of
the step does not matter. Plain fine-tuning, position weights and the counterfactual loss of CFT
(Zhang et al., arXiv 2410.22809), IGD's token weights and RW's row weights (Jiang et al., WWW 2024)
differ in the coefficients only. Groups are tokens with zero, low and high information gain (IGD,
section 4.2.1).

Shapes: B rows of a step, L length, N supervised tokens of the rows, row after row, V vocabulary,
T response tokens, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import TrainerCallback

from bench.models.lm.train.shared_prefix import CAUSAL, takes_branches, use_attention

IGNORED = -100
"""Label of a token that is not supervised, as in transformers."""

LITERAL_MICRO_BATCH = 4
"""Micro-batch size of RW's program in SPRec's setting."""
LITERAL_PADDING = 8
"""RW's program pads the rows of a micro-batch to a multiple of this length."""

NEITHER, ZERO_GAIN, LOW_GAIN, HIGH_GAIN = -1, 0, 1, 2
"""Groups of tokens; NEITHER are prompts and responses that are not titles."""
NAMES = {ZERO_GAIN: "zero_gain", LOW_GAIN: "low_gain", HIGH_GAIN: "high_gain"}


def token_logits(
    model: Any, ids_BL: Tensor, labels_BL: Tensor, supervised_N: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the logits of supervised tokens only; the rest never reaches the model's head.

    Rows are padded on the right and tokens attend to earlier ones only, so padding needs no mask,
    and attention can use its fast path. Labels are the ids of supervised tokens, `IGNORED`
    elsewhere and for the first token of a row; `supervised_N` are their indices into the flattened
    B x L.

    Returns:
        Logits, shape (N, V), and the tokens that they should predict, shape (N,).
    """

    def keep_supervised(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        # An embedding adds gradients in a fixed order; indexing does not.
        return (nn.functional.embedding(supervised_N - 1, inputs[0].flatten(0, 1)),)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep_supervised)
    config = model.config
    plain = config._attn_implementation == "sdpa" and takes_branches(config, ids_BL.shape[1])
    try:
        with use_attention(config, CAUSAL if plain else config._attn_implementation):
            logits_NV = model(input_ids=ids_BL, use_cache=False).logits
    finally:
        hook.remove()
    return logits_NV, labels_BL.flatten()[supervised_N]


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the cross-entropy of each token in float32, shape (N,)."""
    return nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")


def weighted_loss(logits_NV: Tensor, targets_N: Tensor, coefficients_N: Tensor) -> Tensor:
    """Sum the cross-entropies times their coefficients; a scalar."""
    return (coefficients_N * cross_entropy(logits_NV, targets_N)).sum()


def counterfactual_loss(
    with_NV: Tensor, without_NV: Tensor, targets_N: Tensor, coefficients_N: Tensor
) -> Tensor:
    """Compute CFT's second loss, a scalar: the loss of the history's effect on the logits.

    It is that of the logits with a history minus those of the same tokens without it.
    """
    return weighted_loss(with_NV.float() - without_NV.float(), targets_N, coefficients_N)


def coefficients(
    weights_N: Tensor, rows_N: Tensor, lengths_B: Tensor, mean_over: str = "tokens"
) -> Tensor:
    """Return the coefficients of one step's cross-entropies, shape (N,); all 0 if all weights are.

    Rows are numbered from 0, ascending; their lengths include the prompts. What the mean is over:
    "tokens" divides by the sum of the step's weights. "rows" takes the mean over rows of a row's
    weighted sum divided by its number of tokens, so weights that are equal within a row weight the
    row. "micro-batch" is what RW's program computes: per 4 rows, the mean weight times the sum of
    all cross-entropies, divided by rows x (padded length - 1), the longest length rounded up to a
    multiple of 8; rows are not weighted against one another.
    """
    num_rows = len(lengths_B)
    if mean_over == "tokens":
        total = weights_N.sum()
        return weights_N / torch.where(total > 0, total, 1)
    counts_B = rows_N.new_zeros(num_rows).index_add(0, rows_N, torch.ones_like(rows_N))
    if mean_over == "rows":
        return weights_N / (counts_B[rows_N] * num_rows)
    assert mean_over == "micro-batch"
    sums_B = torch.zeros(num_rows, dtype=weights_N.dtype, device=weights_N.device)
    row_weights_B = sums_B.index_add(0, rows_N, weights_N) / counts_B
    padded_B = (lengths_B + LITERAL_PADDING - 1) // LITERAL_PADDING * LITERAL_PADDING
    parts = [
        weights_B.mean() / (len(weights_B) * (part_lengths_B.max() - 1))
        for weights_B, part_lengths_B in zip(
            torch.split(row_weights_B, LITERAL_MICRO_BATCH),
            torch.split(padded_B, LITERAL_MICRO_BATCH),
            strict=True,
        )
    ]
    return (torch.stack(parts) / len(parts))[rows_N // LITERAL_MICRO_BATCH]


def position_weights(length: int, beta: float) -> NDArray[np.float64]:
    """Return weights from 1 at the first token linearly to `beta` at the last, shape (T,).

    Example:
        >>> position_weights(5, 0.25).tolist()
        [1.0, 0.8125, 0.625, 0.4375, 0.25]
    """
    return np.linspace(1, beta, length) if length > 1 else np.ones(length)


def by_position(
    responses: Sequence[Sequence[int]],
    windows: object,
    catalog: object,
    tokenizer: object,
    *,
    beta: float,
) -> list[NDArray[np.float64]]:
    """Weight tokens by their position alone, from 1 for the first to `beta`, from 0, for the last.

    For `sft(weights="bench.models.lm.train.token_loss:by_position")`; other arguments are not used.
    """
    return [position_weights(len(response), beta) for response in responses]


class GroupLoss(TrainerCallback):
    """Computes the mean cross-entropy per group and epoch of training.

    Attributes:
        means: One mean per epoch for each group; 0 where the epoch had no token of the group.
    """

    def __init__(self) -> None:
        self.means: dict[int, list[float]] = {group: [] for group in NAMES}
        self._sums: Tensor | None = None

    def add(self, cross_entropies_N: Tensor, groups_N: Tensor) -> None:
        """Add a micro-batch's tokens, without waiting for the device."""
        members_GN = torch.stack([groups_N == group for group in NAMES]).double()
        sums_2G = torch.stack(
            [members_GN @ cross_entropies_N.detach().double(), members_GN.sum(dim=1)]
        )
        before = 0 if self._sums is None else self._sums.to(sums_2G.device)
        self._sums = sums_2G + before

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Append the epoch's means."""
        if self._sums is None:
            return
        for group, total, count in zip(NAMES, *self._sums.tolist(), strict=True):
            self.means[group].append(total / max(count, 1))
        self._sums = None

    def snapshot(self) -> dict[str, Tensor]:
        """Return the means of past epochs, and the sums of the current one."""
        means_GE = torch.tensor([self.means[group] for group in NAMES], dtype=torch.float64)
        return {"means": means_GE, **({} if self._sums is None else {"sums": self._sums})}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from there."""
        self.means = dict(zip(NAMES, state["means"].tolist(), strict=True))
        self._sums = state.get("sums")

    def means_by_epoch(self, decimals: int) -> dict[str, list[float]]:
        """Return the means under their names in results."""
        return {
            f"loss_{NAMES[group]}_by_epoch": [round(mean, decimals) for mean in means]
            for group, means in self.means.items()
            if means
        }
