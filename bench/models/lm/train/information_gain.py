"""Information gain of the tokens of titles (IGD, arXiv 2506.13229).

Items have the probability of being a training target. The entropy of a prefix sums -p ln p over the
items that begin with it, and a token's information gain is the entropy that it removes. The paper's
program does not renormalize p within a prefix, so these entropies are terms of the catalog's;
`entropy="conditional"` is the Shannon entropy given the prefix. All are in nats.

Whether a token gains nothing at all is read off the trie: nothing else could have followed. Then
neither rounding nor items without any training target decide it.

Shapes: N nodes of the trie with the root as 0, U leaves, I items, R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.token_loss import HIGH_GAIN, LOW_GAIN, NEITHER, ZERO_GAIN

TINY = 1e-7
"""What the paper's program adds to the span of gains before it divides by it."""

QUANTILES = {"min": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "max": 1.0}


def count_targets(targets: NDArray[np.integer], num_items: int) -> NDArray[np.int64]:
    """Count how often each item is a target, shape (I,); targets of -1 are unknown and skipped."""
    return np.bincount(targets[targets >= 0], minlength=num_items).astype(np.int64)


def compute_probabilities(
    trie: Trie,
    counts_I: NDArray[np.int64],
    *,
    prior: Literal["popularity", "uniform"] = "popularity",
) -> NDArray[np.float64]:
    """Return the probability of each leaf, shape (U,); those of items with one title are summed.

    With the prior "popularity" it is in proportion to the counts of training targets: an item
    without any has probability 0 and adds no entropy. With "uniform" it is the same for every leaf.

    Raises:
        BenchError: No item of the trie has a count.
    """
    if prior == "uniform":
        return np.full(trie.num_leaves, 1 / max(trie.num_leaves, 1))
    counts_U = _sum_items(trie, counts_I)
    if not counts_U.any():
        raise BenchError(
            "No item of the catalog is the target of a training row.",
            'Set prior = "uniform", or use other training rows.',
        )
    probabilities_U: NDArray[np.float64] = counts_U / counts_U.sum()
    return probabilities_U


def compute_entropies(
    trie: Trie,
    probabilities_U: NDArray[np.float64],
    *,
    entropy: Literal["partial", "conditional"] = "partial",
) -> NDArray[np.float64]:
    """Return the "partial" or "conditional" entropy of each node's prefix, in nats, shape (N,)."""
    surprise_U = -np.log(probabilities_U, where=probabilities_U > 0, out=np.zeros(trie.num_leaves))
    partial_N = _sum_leaves(trie, probabilities_U * surprise_U)
    if entropy == "partial":
        return partial_N
    total_N = _sum_leaves(trie, probabilities_U)
    total_N = np.where(total_N > 0, total_N, 1.0)
    # -sum (p/P) ln (p/P) = (-sum p ln p) / P + ln P
    shannon_N: NDArray[np.float64] = partial_N / total_N + np.log(total_N)
    return shannon_N


def compute_gains(trie: Trie, entropies_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the information gain of the token on the edge to each node; 0 for the root."""
    gains_N: NDArray[np.float64] = entropies_N[trie.parents.cpu().numpy()] - entropies_N
    gains_N[0] = 0
    return gains_N


def find_zero_gain(trie: Trie) -> NDArray[np.bool_]:
    """Return which nodes' tokens were the only possible ones, shape (N,); False for the root."""
    num_ways_N = np.diff(trie.first_child.cpu().numpy()) + (trie.ends.cpu().numpy() >= 0)
    is_only_N: NDArray[np.bool_] = num_ways_N[trie.parents.cpu().numpy()] == 1
    is_only_N[0] = False
    return is_only_N


def scale_among_siblings(trie: Trie, gains_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale the gains of each node's children to run from 0 to 1; 0 where all are equal."""
    first_N1 = trie.first_child.cpu().numpy()
    scaled_N = np.zeros(trie.num_nodes)
    inner = np.flatnonzero(np.diff(first_N1))
    if inner.size:
        counts = np.diff(first_N1)[inner]
        low = np.repeat(np.minimum.reduceat(gains_N, first_N1[inner]), counts)
        high = np.repeat(np.maximum.reduceat(gains_N, first_N1[inner]), counts)
        scaled_N[1:] = np.where(high > low, (gains_N[1:] - low) / (high - low + TINY), 0)
    return scaled_N


def weight_tokens(
    trie: Trie, responses: Sequence[Sequence[int]], *, beta: float
) -> list[NDArray[np.float64]]:
    """Weight the tokens of responses: `beta` for those that gain nothing, 1 for the others.

    A response that leaves the trie, or stops inside it, has `beta` everywhere.

    Returns:
        One array per response, of its length.
    """
    nodes_RT = trie.follow(responses)
    is_only_N, ends_N = find_zero_gain(trie), trie.ends.cpu().numpy()
    weights = []
    for nodes_T, response in zip(nodes_RT, responses, strict=True):
        path = nodes_T[: len(response)]
        is_title = bool(len(path)) and path.min() >= 0 and ends_N[path[-1]] >= 0
        weights.append(
            np.where(is_only_N[path], beta, 1.0) if is_title else np.full(len(path), beta)
        )
    return weights


def igd_weights(
    responses: Sequence[Sequence[int]],
    windows: Windows,
    catalog: Catalog,
    tokenizer: Tokenizer,
    *,
    beta: float,
) -> list[NDArray[np.float64]]:
    """Weight the tokens of training rows by IGD; popularity and entropy cannot change them.

    The trie holds the titles of the rows' targets, as the paper's program builds it. A token
    without any gain has the weight `beta`, from 0 to 1, where 1 is plain fine-tuning.

    Returns:
        One array per row, of its response's length.
    """
    trie = _build_trie(responses, windows, catalog, tokenizer)
    return weight_tokens(trie, responses, beta=beta)


def token_groups(
    responses: Sequence[Sequence[int]],
    windows: Windows,
    catalog: Catalog,
    tokenizer: Tokenizer,
) -> tuple[list[NDArray[np.int64]], float]:
    """Group the tokens of training rows by information gain; arguments are those of `igd_weights`.

    The trie is that of the rows' targets. Tokens with a gain are high above the median gain of all
    such tokens, and low up to it.

    Returns:
        Groups of `bench.models.lm.train.token_loss`, one array per row, of its response's
        length; a response that leaves the trie is in no group. And the median, in nats.
    """
    trie = _build_trie(responses, windows, catalog, tokenizer)
    counts_I = count_targets(windows.targets, len(catalog))
    gains_N = compute_gains(trie, compute_entropies(trie, compute_probabilities(trie, counts_I)))
    is_only_N, gains, are_zero = find_zero_gain(trie), [], []
    for nodes_T, response in zip(trie.follow(responses), responses, strict=True):
        path = nodes_T[: len(response)]
        is_inside = bool((path >= 0).all())
        gains.append(gains_N[path] if is_inside else np.full(len(path), np.nan))
        are_zero.append(is_only_N[path])
    informative = [gain[~is_zero] for gain, is_zero in zip(gains, are_zero, strict=True)]
    values = np.concatenate([*informative, np.empty(0)])
    values = values[np.isfinite(values)]
    threshold = float(np.median(values)) if len(values) else 0.0
    groups = [
        np.where(
            np.isnan(gain),
            NEITHER,
            np.where(is_zero, ZERO_GAIN, np.where(gain > threshold, HIGH_GAIN, LOW_GAIN)),
        )
        for gain, is_zero in zip(gains, are_zero, strict=True)
    ]
    return groups, threshold


def _build_trie(
    responses: Sequence[Sequence[int]],
    windows: Windows,
    catalog: Catalog,
    tokenizer: Tokenizer,
) -> Trie:
    """Build the trie of the rows' targets, which end as the responses do."""
    allowed_I = count_targets(windows.targets, len(catalog)) > 0
    eos = all(tokens[-1] == tokenizer.eos_token_id for tokens in responses)
    return build_trie(encode_responses(tokenizer, catalog.titles, eos=eos), allowed_I)


def zero_gain_fraction(trie: Trie, counts_I: NDArray[np.int64]) -> float:
    """Return the fraction of tokens without any gain in the responses of counted targets."""
    counts_N = _sum_leaves(trie, _sum_items(trie, counts_I))
    counts_N[0] = 0
    return float(counts_N[find_zero_gain(trie)].sum() / max(counts_N.sum(), 1))


def mean_entropy_by_step(
    trie: Trie, entropies_N: NDArray[np.float64], leaves: NDArray[np.integer]
) -> list[float]:
    """Return the mean entropy after 1, 2, ... tokens of titles, over those that are as long."""
    counts_N = _sum_leaves(trie, np.bincount(leaves[leaves >= 0], minlength=trie.num_leaves))
    depths_N = trie.depths.cpu().numpy()
    num_titles = np.bincount(depths_N, weights=counts_N)
    totals = np.bincount(depths_N, weights=counts_N * entropies_N)
    reached = num_titles > 0
    reached[0] = False
    means: list[float] = (totals[reached] / num_titles[reached]).tolist()
    return means


def _sum_items(trie: Trie, counts_I: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum counts over the items of each leaf, shape (U,)."""
    leaves_I = trie.leaf_of_item.cpu().numpy()
    in_trie_I = leaves_I >= 0
    counts_U = np.bincount(
        leaves_I[in_trie_I], weights=counts_I[in_trie_I], minlength=trie.num_leaves
    )
    return counts_U.astype(np.float64)


def _sum_leaves(trie: Trie, values_U: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Sum a value over the leaves under each node, shape (N,)."""
    cumulative = np.append(0, np.cumsum(values_U, dtype=np.float64))
    sums_N: NDArray[np.float64] = (
        cumulative[trie.high.cpu().numpy()] - cumulative[trie.low.cpu().numpy()]
    )
    return sums_N


def count_tokens(prepared: Prepared, tokenizer: Tokenizer) -> dict[str, Any]:
    """Count the tokens of a data set's titles.

    Returns:
        "title_tokens": mean and quantiles of the tokens per title of the catalog, quotes and end
        included. "target_tokens": all tokens of the training targets. "zero_gain_tokens" and
        "zero_gain_share": number and fraction of those that gain nothing.

    Raises:
        BenchError: The training split is empty.
    """
    train = np.array(prepared.sample_range("train"), dtype=np.int64)
    if not len(train):
        raise BenchError(
            "The training split is empty, so no token of its targets can be counted.",
            "Leave out --model, or use other data.",
        )
    responses = encode_responses(tokenizer, prepared.catalog.titles, eos=True)
    lengths_I = np.array([len(response_T) for response_T in responses])
    counts_I = count_targets(prepared.items[prepared.target[train]], len(responses))
    target_tokens = int(lengths_I @ counts_I)
    fraction = zero_gain_fraction(build_trie(responses, counts_I > 0), counts_I)
    zero_gain_tokens = round(fraction * target_tokens)
    quantiles = {name: float(np.quantile(lengths_I, level)) for name, level in QUANTILES.items()}
    return {
        "title_tokens": {**quantiles, "mean": float(lengths_I.mean())},
        "target_tokens": target_tokens,
        "zero_gain_tokens": zero_gain_tokens,
        "zero_gain_share": zero_gain_tokens / target_tokens,
    }
