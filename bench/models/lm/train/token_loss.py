"""Weighted losses over the tokens that are supervised, one sum for all of them.

Every loss here is a sum of cross-entropies, each times a coefficient that is fixed for the whole
optimizer step: plain fine-tuning, position weights and the counterfactual loss of CFT (Zhang et
al., arXiv 2410.22809), IGD's token weights, and RW's row weights (Jiang et al., WWW 2024). Since
coefficients know the whole step, it does not matter how many micro-batches the step takes.

Shapes: B rows of a step, L length, N supervised tokens of the rows, one row's after the other's,
V vocabulary, T response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import BenchError, unknown

IGNORED = -100
"""Label of a token that is not supervised, as transformers has it."""

MEANS = ("tokens", "rows", "micro-batch")
LITERAL_MICRO_BATCH = 4
"""Rows that RW's program takes at once in SPRec's setting."""


def token_logits(model: Any, ids_BL: Tensor, labels_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the logits of supervised tokens only; the rest never reaches the model's head.

    Rows are padded on the right. A token sees what is before it only, so that padding needs no
    mask, and attention can take its fast way.

    Args:
        model: A causal language model of transformers, possibly with an adapter.
        ids_BL: Token ids, shape (B, L).
        labels_BL: The ids of supervised tokens, IGNORED elsewhere, shape (B, L). The first token of
            a row has nothing before it and is never supervised.

    Returns:
        Logits, shape (N, V), and the tokens that they should predict, shape (N,).
    """
    targets_BL = labels_BL[:, 1:]
    chosen_BL = targets_BL != IGNORED

    def supervised_only(head: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (given[0][:, :-1][chosen_BL],)

    hook = model.get_output_embeddings().register_forward_pre_hook(supervised_only)
    try:
        logits_NV = model(input_ids=ids_BL, use_cache=False).logits
    finally:
        hook.remove()
    return logits_NV, targets_BL[chosen_BL]


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the cross-entropy of each token in float32, shape (N,)."""
    return nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")


def weighted_loss(logits_NV: Tensor, targets_N: Tensor, coefficients_N: Tensor) -> Tensor:
    """Sum the cross-entropies times their coefficients; a scalar."""
    return (coefficients_N * cross_entropy(logits_NV, targets_N)).sum()


def counterfactual_loss(
    with_NV: Tensor, without_NV: Tensor, targets_N: Tensor, coefficients_N: Tensor
) -> Tensor:
    """Compute CFT's second loss: how well the history's effect on the logits names the token.

    Args:
        with_NV: Logits after the prompt with its history, shape (N, V).
        without_NV: Logits after the prompt without, for the same tokens, shape (N, V).
        targets_N: The tokens, shape (N,).
        coefficients_N: Of the first loss, shape (N,).

    Returns:
        A scalar; both logits get gradients.
    """
    return weighted_loss(with_NV.float() - without_NV.float(), targets_N, coefficients_N)


def coefficients(
    weights_N: Tensor, rows_N: Tensor, lengths_B: Tensor, mean_over: str = "tokens"
) -> Tensor:
    """Turn the weights of one step's tokens into what each cross-entropy is multiplied by.

    Args:
        weights_N: From 0, shape (N,).
        rows_N: Which of the B rows a token is of, ascending from 0, shape (N,).
        lengths_B: Tokens of each row, prompt included, shape (B,).
        mean_over: "tokens" divides by the sum of the step's weights. "rows" takes the mean over
            rows of a row's sum of weighted cross-entropies by its number of tokens, so weights that
            are equal within a row weigh the row. "micro-batch" is what RW's program computes: of
            each 4 rows the mean weight times the sum of all cross-entropies over rows x (longest
            length - 1), whatever the mask; rows are not weighted against one another.

    Returns:
        Coefficients, shape (N,), all 0 where all weights of the step are.
    """
    num_rows = len(lengths_B)
    if mean_over == "tokens":
        total = weights_N.sum()
        return weights_N / torch.where(total > 0, total, 1)
    counts_B = torch.bincount(rows_N, minlength=num_rows)
    if mean_over == "rows":
        return weights_N / (counts_B[rows_N] * num_rows)
    if mean_over != "micro-batch":
        raise unknown("mean of token losses", mean_over, MEANS)
    sums_B = torch.zeros(num_rows, dtype=weights_N.dtype, device=weights_N.device)
    row_weights_B = sums_B.index_add(0, rows_N, weights_N) / counts_B
    parts = [
        row_weights_B[start:end].mean() / ((end - start) * (lengths_B[start:end].max() - 1))
        for start, end in _literal_parts(num_rows)
    ]
    return (torch.stack(parts) / len(parts))[rows_N // LITERAL_MICRO_BATCH]


def _literal_parts(num_rows: int) -> list[tuple[int, int]]:
    starts = range(0, num_rows, LITERAL_MICRO_BATCH)
    return [(start, min(start + LITERAL_MICRO_BATCH, num_rows)) for start in starts]


def position_weights(length: int, beta: float) -> NDArray[np.float64]:
    """Fall linearly from 1 at the first token to `beta` at the last; a single token weighs 1.

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
    """Weight tokens by their position alone.

    For `sft(weights="bench.models.lm.train.token_loss:by_position")`.

    Args:
        responses: Token ids of each response.
        windows: Not needed.
        catalog: Not needed.
        tokenizer: Not needed.
        beta: Weight of the last token, from 0; 1 weighs all alike.

    Raises:
        BenchError: `beta` is below 0.
    """
    if beta < 0:
        raise BenchError(f"The last token cannot weigh {beta}.", "Give a beta of 0 or more.")
    return [position_weights(len(response), beta) for response in responses]
