"""The order of training samples: a permutation per epoch, in batches of similar length."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.models.lm.train.trainer_setup import POOL_BATCHES, EpochOrder
from bench.plan.language_stages import SFTConfig

LENGTHS = np.random.default_rng(0).integers(20, 300, size=2 * POOL_BATCHES * 8 + 3).tolist()


def make_order(lengths: list[int], *, seed: int = 3, grouped: bool = True) -> EpochOrder:
    return EpochOrder(lengths, SFTConfig(seed=seed, batch_size=8, group_by_length=grouped))


def split_batches(order: EpochOrder) -> list[list[int]]:
    rows = list(order)
    return [rows[start : start + 8] for start in range(0, len(rows), 8)]


def padding(order: EpochOrder) -> float:
    batches = [[LENGTHS[row] for row in batch] for batch in split_batches(order)]
    return 1 - sum(LENGTHS) / sum(len(batch) * max(batch) for batch in batches)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.booleans())
def test_every_epoch_visits_each_sample_once(lengths: list[int], grouped: bool) -> None:
    order = make_order(lengths, grouped=grouped)
    assert len(order) == len(lengths)
    for _ in range(2):
        assert sorted(order) == list(range(len(lengths)))


def test_every_epoch_has_an_order_of_its_own() -> None:
    order = make_order(LENGTHS)
    first, second = list(order), list(order)
    assert first != second
    assert list(make_order(LENGTHS)) == first != list(make_order(LENGTHS, seed=4))
    order.set_epoch(1)
    assert list(order) == second


def test_grouping_leaves_little_padding() -> None:
    assert padding(make_order(LENGTHS)) < 0.06
    assert padding(make_order(LENGTHS, grouped=False)) > 0.3


def test_lengths_neither_rise_nor_fall_over_an_epoch_and_batches_change() -> None:
    order = make_order(LENGTHS)
    epochs = [split_batches(order) for _ in range(20)]
    longest = [[LENGTHS[batch[0]] for batch in batches] for batches in epochs]
    rises = [np.corrcoef(row, range(len(row)))[0, 1] for row in longest]
    assert abs(np.mean(rises)) < 0.15
    assert len(set(map(frozenset, epochs[0])) & set(map(frozenset, epochs[1]))) == 0
    assert [len(batch) for batch in epochs[0]] == [8] * (2 * POOL_BATCHES) + [3]
