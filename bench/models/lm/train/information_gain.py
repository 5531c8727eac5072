"""How much each token of a title tells about which item it is (IGD, arXiv 2506.13229).

Items have the probability of being a training target. The entropy of a prefix adds up -p ln p over
the items that begin with it, and a token's information gain is the entropy that it takes away. The
paper's program does not renormalize p inside a prefix, so these entropies are parts of the
catalog's one; `entropy="conditional"` is the Shannon entropy given the prefix. In nats.

Whether a token gains nothing at all is read off the tree: nothing else could have followed. Then
neither rounding nor items without any training target decide it.

Shapes: N nodes of the trie with the root as 0, U leaves, I items, R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError, unknown
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.loss_by_group import GAIN, NEITHER, NO_GAIN

ENTROPIES = ("partial", "conditional")
PRIORS = ("popularity", "uniform")

TINY = 1e-7
"""What the paper's program adds to the span of gains before it divides by it."""


def item_counts(targets: NDArray[np.integer], num_items: int) -> NDArray[np.int64]:
    """Count how often each item is a target, shape (I,); targets of -1 are unknown and left out."""
    return np.bincount(targets[targets >= 0], minlength=num_items).astype(np.int64)


def probabilities(
    trie: Trie, counts_I: NDArray[np.int64], *, prior: str = "popularity"
) -> NDArray[np.float64]:
    """Return the probability of each leaf; those of items with one title are added up.

    Args:
        trie: The catalog's.
        counts_I: Training targets by item.
        prior: "popularity" in proportion to the counts, where an item without any has probability
            0 and adds no entropy; "uniform" for the same of every leaf.

    Returns:
        Probabilities, shape (U,), that sum to 1.

    Raises:
        BenchError: No item of the trie has a count, or there is no such prior.
    """
    if prior not in PRIORS:
        raise unknown("prior", prior, PRIORS)
    if prior == "uniform":
        return np.full(trie.num_leaves, 1 / max(trie.num_leaves, 1))
    counts_U = _by_leaf(trie, counts_I)
    if not counts_U.any():
        raise BenchError(
            "No item of the catalog is the target of a training row.",
            'Take prior "uniform", or other training rows.',
        )
    shares: NDArray[np.float64] = counts_U / counts_U.sum()
    return shares


def entropies(
    trie: Trie, probabilities_U: NDArray[np.float64], *, entropy: str = "partial"
) -> NDArray[np.float64]:
    """Return the entropy of the prefix that each node stands for, in nats, shape (N,)."""
    if entropy not in ENTROPIES:
        raise unknown("entropy", entropy, ENTROPIES)
    surprise_U = -np.log(probabilities_U, where=probabilities_U > 0, out=np.zeros(trie.num_leaves))
    partial_N = _under(trie, probabilities_U * surprise_U)
    if entropy == "partial":
        return partial_N
    mass_N = _under(trie, probabilities_U)
    possible_N = mass_N > 0
    inside_N = np.where(possible_N, mass_N, 1.0)
    # -sum (p/P) ln (p/P) = (-sum p ln p) / P + ln P
    shannon_N: NDArray[np.float64] = partial_N / inside_N + np.log(inside_N)
    return shannon_N


def gains(trie: Trie, entropies_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the information gain of the token on the edge to each node; 0 for the root."""
    parents_N = trie.parents.cpu().numpy()
    gains_N: NDArray[np.float64] = entropies_N[parents_N] - entropies_N
    gains_N[0] = 0
    return gains_N


def zero_gain(trie: Trie) -> NDArray[np.bool_]:
    """Mark the nodes whose token was the only way on, shape (N,); the root is not marked."""
    parents_N = trie.parents.cpu().numpy()
    ways_N = np.diff(trie.first_child.cpu().numpy()) + (trie.ends.cpu().numpy() >= 0)
    alone_N: NDArray[np.bool_] = ways_N[parents_N] == 1
    alone_N[0] = False
    return alone_N


def sibling_scale(trie: Trie, gains_N: NDArray[np.float64]) -> NDArray[np.float64]:
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


def token_weights(
    trie: Trie, responses: Sequence[Sequence[int]], *, beta: float
) -> list[NDArray[np.float64]]:
    """Weight the tokens of responses: `beta` for those that gain nothing, 1 for the others.

    A response that leaves the trie, or stops inside it, has `beta` everywhere.

    Returns:
        One array a response, as long as it is.
    """
    nodes_RT = trie.follow(responses)
    alone_N, ends_N = zero_gain(trie), trie.ends.cpu().numpy()
    weights = []
    for nodes_T, response in zip(nodes_RT, responses, strict=True):
        path = nodes_T[: len(response)]
        known = bool(len(path)) and path.min() >= 0 and ends_N[path[-1]] >= 0
        weights.append(np.where(alone_N[path], beta, 1.0) if known else np.full(len(path), beta))
    return weights


def igd_weights(
    responses: Sequence[Sequence[int]],
    windows: Windows,
    catalog: Catalog,
    tokenizer: Tokenizer,
    *,
    beta: float,
    trained_only: bool = True,
) -> list[NDArray[np.float64]]:
    """Weight the tokens of training rows by IGD; popularity and entropy cannot change them.

    Args:
        responses: Token ids of each row's target.
        windows: The rows.
        catalog: The items.
        tokenizer: What the responses were tokenized with.
        beta: Weight of a token without any gain, from 0 to 1; 1 leaves plain fine-tuning.
        trained_only: Build the tree from the items that are targets of the rows, as the paper's
            program does; False for the whole catalog.

    Returns:
        One array a row, as long as its response.

    Raises:
        BenchError: `beta` is out of its range.
    """
    if not 0 <= beta <= 1:
        raise BenchError(f"IGD's beta is {beta}.", "Give a weight from 0 to 1.")
    kept_I = item_counts(windows.targets, len(catalog)) > 0 if trained_only else None
    trie = _answered(responses, catalog, tokenizer, kept_I)
    # Many rows share a target; each response is weighted once.
    rows, numbers = _distinct(responses)
    weights = token_weights(trie, rows, beta=beta)
    return [weights[number] for number in numbers]


def token_groups(
    responses: Sequence[Sequence[int]],
    windows: Windows,
    catalog: Catalog,
    tokenizer: Tokenizer,
) -> list[NDArray[np.int64]]:
    """Tell the tokens of training rows that gain nothing from the others (`group_loss`).

    The tree is that of the rows' targets; a response that leaves it is in neither group.

    Args:
        responses: Token ids of each row's target.
        windows: The rows.
        catalog: The items.
        tokenizer: What the responses were tokenized with.

    Returns:
        One array a row, as long as its response.
    """
    kept_I = item_counts(windows.targets, len(catalog)) > 0
    trie = _answered(responses, catalog, tokenizer, kept_I)
    rows, numbers = _distinct(responses)
    alone_N, groups = zero_gain(trie), []
    for nodes_T, response in zip(trie.follow(rows), rows, strict=True):
        path = nodes_T[: len(response)]
        known = bool((path >= 0).all())
        groups.append(np.where(alone_N[path], NO_GAIN, GAIN) if known else path * 0 + NEITHER)
    return [groups[number] for number in numbers]


def _answered(
    responses: Sequence[Sequence[int]],
    catalog: Catalog,
    tokenizer: Tokenizer,
    kept_I: NDArray[np.bool_] | None,
) -> Trie:
    """Build the tree of titles that end as the responses do."""
    eos = all(tokens[-1] == tokenizer.eos_token_id for tokens in responses)
    return build_trie(encode_responses(tokenizer, catalog.titles, eos=eos), kept_I)


def _distinct(responses: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the different responses, and which of them each is."""
    rows: dict[tuple[int, ...], int] = {}
    numbers = [rows.setdefault(tuple(response), len(rows)) for response in responses]
    return list(rows), numbers


def zero_gain_share(trie: Trie, counts_I: NDArray[np.int64]) -> float:
    """Return the share of tokens without any gain in training rows' responses.

    Args:
        trie: The catalog's.
        counts_I: Training targets by item; items that were left out of the trie are skipped.
    """
    counts_N = _under(trie, _by_leaf(trie, counts_I))
    counts_N[0] = 0
    return float(counts_N[zero_gain(trie)].sum() / max(counts_N.sum(), 1))


def entropy_by_step(
    trie: Trie, entropies_N: NDArray[np.float64], leaves: NDArray[np.integer]
) -> list[float]:
    """Return the mean entropy after 1, 2, ... tokens over titles; ended titles count no longer.

    Args:
        trie: The catalog's.
        entropies_N: Entropy of each prefix.
        leaves: The titles, any shape; -1 is skipped.
    """
    through_N = _under(trie, np.bincount(leaves[leaves >= 0], minlength=trie.num_leaves))
    depths_N = trie.depths.cpu().numpy()
    titles = np.bincount(depths_N, weights=through_N)
    total = np.bincount(depths_N, weights=through_N * entropies_N)
    reached = titles > 0
    reached[0] = False
    means: list[float] = (total[reached] / titles[reached]).tolist()
    return means


def _by_leaf(trie: Trie, counts_I: NDArray[np.integer]) -> NDArray[np.float64]:
    """Add up counts of the items of each leaf, shape (U,)."""
    leaves_I = trie.leaf_of_item.cpu().numpy()
    kept_I = leaves_I >= 0
    counts_U = np.bincount(leaves_I[kept_I], weights=counts_I[kept_I], minlength=trie.num_leaves)
    return counts_U.astype(np.float64)


def _under(trie: Trie, values_U: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Add up a value of the leaves under each node, shape (N,)."""
    running = np.append(0, np.cumsum(values_U, dtype=np.float64))
    high_N, low_N = trie.high.cpu().numpy(), trie.low.cpu().numpy()
    sums_N: NDArray[np.float64] = running[high_N] - running[low_N]
    return sums_N
