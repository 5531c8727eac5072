"""Windows over sorted interactions, split by the time of their targets, and subsets of splits.

SPRec (Gao et al., WWW 2025) follows D3's and BIGRec's code here: one sample per interaction with
enough history, all samples sorted by target time, split 8:1:1. Splits share users but no samples,
and no split begins before the previous one ends. A card may choose the other reading of "8:1:1",
each user's samples split separately, or leave-last-out; then the times of the splits overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Split
from bench.errors import BenchError
from bench.hashing import derive_seed

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Samples:
    """N samples as indices of interactions, split after split in order of the target's time.

    Attributes:
        start: First interaction of each history, shape (N,); the history ends before the target.
        target: Interaction to predict, shape (N,).
        boundaries: Where train and valid end among the samples.
    """

    start: NDArray[np.int64]
    target: NDArray[np.int64]
    boundaries: tuple[int, int]


def sort_interactions(
    users: NDArray[np.int32], times: NDArray[np.int64], lines: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return the indices that sort by user, then time, then line number."""
    return np.lexsort((lines, times, users))


def make_samples(users: NDArray[np.int32], times: NDArray[np.int64], split: Split) -> Samples:
    """Build samples from L interactions, sorted by user and time, and split them.

    Samples with equal times stay in order of user, then interaction (stable sort).
    """
    offsets = np.arange(len(users), dtype=np.int64)
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    first = np.maximum.accumulate(np.where(is_first, offsets, 0))
    target = offsets[offsets - first >= split.min_history]
    if split.over == "all":
        target = target[np.argsort(times[target], kind="stable")]
        ends = split_boundaries(len(target), split.ratios)
        part = np.searchsorted(ends, np.arange(len(target)), side="right")
    else:
        part = _split_by_user(users[target], split)
        order = np.lexsort((times[target], part))
        target, part = target[order], part[order]
    if split.target != "all" or split.horizon:
        selected = _select_targets(users[target], times[target], part, split)
        target, part = target[selected], part[selected]
    return Samples(
        start=np.maximum(target - split.history, first[target]),
        target=target,
        boundaries=(int((part < 1).sum()), int((part < 2).sum())),
    )


def _split_by_user(users: NDArray[np.int32], split: Split) -> NDArray[np.int64]:
    """Return 0, 1 or 2 for train, valid, test of samples sorted by user and time, shape (N,)."""
    _, first, inverse, num = np.unique(
        users, return_index=True, return_inverse=True, return_counts=True
    )
    index = np.arange(len(users)) - first[inverse]
    train, valid, _ = split.ratios
    ends = [num * share // sum(split.ratios) for share in (train, train + valid)]
    if split.over == "last":
        ends = [np.maximum(num - 2, 0), num - 1]
    parts: NDArray[np.int64] = np.sum([index >= end[inverse] for end in ends], axis=0)
    return parts


def _select_targets(
    users: NDArray[np.int32], times: NDArray[np.int64], part: NDArray[np.int64], split: Split
) -> NDArray[np.int64]:
    """Return the indices of the samples that remain, ascending; all of train does.

    Samples are ordered by `part` (0, 1, 2 for train, valid, test), then by the time of their
    target.
    """
    selected = [np.flatnonzero(part == 0)]
    for number in (1, 2):
        samples = np.flatnonzero(part == number)
        if split.horizon:
            samples = samples[times[samples] < times[samples][:1] + split.horizon * SECONDS_PER_DAY]
        if split.target == "last":
            samples = samples[::-1]
        elif split.target == "random":
            samples = np.random.default_rng(derive_seed("target", number)).permutation(samples)
        if split.target != "all":
            samples = np.sort(samples[np.unique(users[samples], return_index=True)[1]])
        selected.append(samples)
    return np.concatenate(selected)


def describe_split(split: Split) -> str:
    """Say in one sentence how samples are split and which of them are tested."""
    ratios = ":".join(map(str, split.ratios))
    text = {
        "all": f"All samples are split {ratios} in order of their targets' time",
        "user": f"Each user's samples are split {ratios} by time, so that training goes on while "
        "other users are tested",
        "last": "Each user's last sample is tested and the one before validates (leave-last-out), "
        "so that training goes on while other users are tested",
    }[split.over]
    if split.horizon:
        text += f"; validation and test end {split.horizon} days after their first target"
    if split.target != "all":
        which = "a random" if split.target == "random" else f"the {split.target}"
        text += f"; in each of them a user has one target, {which} one"
    return f"{text}."


def split_boundaries(num: int, ratios: tuple[int, int, int]) -> tuple[int, int]:
    """Return where train and valid end among `num` samples, rounded down.

    Example:
        >>> split_boundaries(90_570, (8, 1, 1))
        (72456, 81513)
    """
    train, valid, _ = ratios
    return num * train // sum(ratios), num * (train + valid) // sum(ratios)


def sample_rows(
    samples: range, *, split: str, num: int | None, seed: int, strict: bool
) -> NDArray[np.int64]:
    """Sample at most `num` rows of a split, so that every method sees the same ones.

    None takes all. With the same seed, a smaller subset is part of a larger one, so that budgets
    nest. Each split has its own random order; the seed is the data seed, independent of the
    methods' seeds.

    Returns:
        Indices of samples, ascending, shape (min(num, samples),).

    Raises:
        BenchError: The split is empty, or too small and `strict`.
    """
    if not samples:
        hint = "Change [split] in the card, or use other data."
        raise BenchError(f"The {split} split has no samples.", hint)
    if num is None:
        return np.arange(samples.start, samples.stop, dtype=np.int64)
    if strict and num > len(samples):
        message = (
            f"The {split} split has {len(samples):,} samples, fewer than the {num:,} requested."
        )
        raise BenchError(message, "Request fewer rows, or remove `strict` from the board.")
    order = np.random.default_rng(derive_seed("draw", split, seed)).permutation(len(samples))
    return np.sort(order[:num]).astype(np.int64) + samples.start
