"""Fitting SASRec's row form: negatives, determinism, micro-batches, early stop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.data.ranking import top_items
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.metrics.accuracy import ndcg
from bench.models.lm.threads import compute_threads
from bench.models.seqrec.rows import network_rows, save
from bench.models.seqrec.sasrec import SASRec, Sizes, load
from bench.models.seqrec.training import Fitted, Recipe, fit, mean_ndcg, other_items

NUM_ITEMS = 12
LENGTH = 5
SIZES = Sizes(num_items=NUM_ITEMS, length=LENGTH, hidden=16, blocks=2, heads=2, dropout=0.1)
RECIPE = Recipe(learning_rate=0.01, weight_decay=1e-5, batch=64, epochs=4, patience=4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for one another on more."""
    with compute_threads(1):
        yield


def windows(histories: NDArray[np.integer], targets: NDArray[np.integer]) -> Windows:
    return Windows(
        users=np.arange(len(targets), dtype=np.int32),
        histories=histories.astype(np.int32),
        targets=targets.astype(np.int32),
    )


def counting(num: int, seed: int = 0) -> Windows:
    """Histories of all lengths that count up; the target is the number after the last one."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, LENGTH + 1, size=(num, 1))
    counted = numbers.integers(NUM_ITEMS, size=(num, 1)) + np.arange(LENGTH)
    histories = np.where(np.arange(LENGTH) < lengths, counted % NUM_ITEMS, -1)
    targets = np.take_along_axis(counted, lengths - 1, axis=1)[:, 0] + 1
    return windows(histories, targets % NUM_ITEMS)


def noise(num: int, seed: int = 0) -> Windows:
    numbers = np.random.default_rng(seed)
    histories = numbers.integers(NUM_ITEMS, size=(num, LENGTH))
    return windows(histories, numbers.integers(NUM_ITEMS, size=num))


NONE = noise(0)


def scores(fitted: Fitted, histories: NDArray[np.int32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        states = fitted.model(*network_rows(histories, fitted.model.sizes))
        return fitted.model.output(states).numpy()


def equal_weights(one: SASRec, other: SASRec) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@settings(max_examples=30)
@given(num_items=st.integers(2, 9), seed=st.integers(0, 99))
def test_a_negative_is_never_the_target(num_items, seed):
    targets = np.arange(200) % num_items
    drawn = other_items(targets, num_items, np.random.default_rng(seed))
    assert (drawn != targets).all()
    assert drawn.min() >= 0
    assert drawn.max() < num_items


def test_negatives_are_uniform_over_the_other_items():
    drawn = other_items(np.full(60_000, 2), 5, np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0, 0.25, 0.25], atol=0.01)


def test_it_learns_to_count():
    recipe = replace(RECIPE, epochs=60)
    fitted = fit(counting(300), NONE, replace(SIZES, blocks=1), recipe, seed=0)
    unseen = counting(200, seed=1)
    hits = scores(fitted, unseen.histories).argmax(axis=1) == unseen.targets
    assert hits.mean() > 0.98
    losses = fitted.facts["loss_by_epoch"]
    assert losses[-1] < 0.1 < 0.5 < losses[0] < 0.9


def test_a_seed_gives_the_same_bits_and_another_seed_others():
    first, second, other = (
        fit(counting(150), noise(50), SIZES, RECIPE, seed=seed) for seed in (0, 0, 1)
    )
    assert equal_weights(first.model, second.model)
    assert first.facts == second.facts
    assert not equal_weights(first.model, other.model)


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    with compute_threads(threads + 1):
        assert torch.get_num_threads() == threads + 1
        save(fit(counting(80), noise(20), SIZES, RECIPE, seed=0).model, tmp_path)
        load(tmp_path)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    assert torch.get_num_threads() == threads


def test_the_callers_random_numbers_decide_nothing():
    fitted = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.default_generator.manual_seed(seed)
            fitted.append(fit(counting(80), NONE, SIZES, RECIPE, seed=0).model)
    assert equal_weights(*fitted)


@pytest.mark.parametrize("divisor", [2, 4, 64, 128])
def test_micro_batches_are_the_batch(divisor):
    sizes = replace(SIZES, dropout=0.0)
    train = counting(150)  # the last batch of an epoch holds 22 rows
    whole = fit(train, NONE, sizes, RECIPE, seed=0)
    parted = fit(train, NONE, sizes, RECIPE, seed=0, micro_batch_divisor=divisor)
    np.testing.assert_allclose(
        scores(parted, train.histories), scores(whole, train.histories), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        parted.facts["loss_by_epoch"], whole.facts["loss_by_epoch"], rtol=0, atol=2e-6
    )
    assert parted.facts["steps"] == whole.facts["steps"] == 4 * 3


def test_training_stops_and_goes_back_to_the_best_epoch():
    train, valid = counting(200), noise(60)
    recipe = replace(RECIPE, epochs=50, patience=3)
    stopped = fit(train, valid, SIZES, recipe, seed=0)
    best = stopped.facts["best_epoch"]
    assert stopped.facts["epochs"] == best + 3 < 50
    assert len(stopped.facts["loss_by_epoch"]) == best + 3
    until_best = fit(train, valid, SIZES, replace(recipe, epochs=best), seed=0)
    assert equal_weights(stopped.model, until_best.model)
    without_valid = fit(train, NONE, SIZES, replace(recipe, epochs=best), seed=0)
    assert equal_weights(stopped.model, without_valid.model)


def test_an_equal_ndcg_is_not_a_better_one():
    still = replace(RECIPE, learning_rate=1e-30, epochs=9, patience=2)
    facts = fit(counting(20), noise(20), SIZES, still, seed=0).facts
    assert (facts["best_epoch"], facts["epochs"]) == (1, 3)


@pytest.mark.parametrize(
    ("of_sizes", "of_recipe"),
    [
        ({"dropout": 0.3}, {}),
        ({"heads": 4}, {}),
        ({}, {"learning_rate": 0.02}),
        ({}, {"weight_decay": 1e-2}),
        ({}, {"batch": 32}),
        ({}, {"epochs": 5}),
    ],
)
def test_no_setting_is_ignored(of_sizes, of_recipe):
    usual = fit(counting(80), NONE, SIZES, RECIPE, seed=0)
    changed = fit(
        counting(80), NONE, replace(SIZES, **of_sizes), replace(RECIPE, **of_recipe), seed=0
    )
    assert not equal_weights(usual.model, changed.model)


def test_the_recorded_ndcg_is_that_of_the_ranking():
    valid = noise(50)
    valid.targets[:10] = -1
    fitted = fit(counting(100), valid, SIZES, RECIPE, seed=0)
    ranked = top_items(-scores(fitted, valid.histories), NUM_ITEMS)
    hit, place = np.nonzero(ranked == valid.targets[:, None])
    ranks = np.full(50, -1)
    ranks[hit] = place
    wanted = ndcg(ranks, 20).mean()
    assert fitted.facts["best_valid_ndcg@20"] == pytest.approx(wanted, abs=1e-6)
    assert fitted.facts["valid_rows"] == 40


def test_of_equal_scores_the_first_item_wins_and_nan_misses():
    model = fit(counting(10), NONE, SIZES, RECIPE, seed=0).model
    valid = windows(counting(NUM_ITEMS).histories, np.arange(NUM_ITEMS))
    torch.nn.init.zeros_(model.output.weight)
    torch.nn.init.zeros_(model.output.bias)
    # Item i stands on place i; each is the target once.
    wanted = np.mean(1 / np.log2(np.arange(NUM_ITEMS) + 2))
    assert mean_ndcg(model, valid) == pytest.approx(wanted)
    first = windows(valid.histories, np.zeros(NUM_ITEMS))
    assert mean_ndcg(model, first) == 1.0
    torch.nn.init.constant_(model.output.bias, math.nan)
    assert mean_ndcg(model, first) == 0.0


def test_rows_without_a_known_target_are_left_out():
    train = counting(100)
    train.targets[::2] = -1
    kept = windows(train.histories[1::2], train.targets[1::2])
    with_unknown, without = (fit(rows, NONE, SIZES, RECIPE, seed=0) for rows in (train, kept))
    assert equal_weights(with_unknown.model, without.model)
    assert with_unknown.facts["train_rows"] == 50


def test_without_a_known_validation_target_every_epoch_is_trained():
    valid = noise(9)
    valid.targets[:] = -1
    facts = fit(counting(80), valid, SIZES, replace(RECIPE, patience=1), seed=0).facts
    assert facts["epochs"] == facts["best_epoch"] == 4
    assert facts["best_valid_ndcg@20"] is None


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.0}, {"weight_decay": -1.0}, {"batch": 0}, {"epochs": 0}, {"patience": 0}],
)
def test_recipes_out_of_range_are_refused(change):
    with pytest.raises(BenchError):
        replace(RECIPE, **change)


def test_training_that_cannot_go_on_is_refused():
    with pytest.raises(BenchError, match="no training row"):
        fit(NONE, NONE, SIZES, RECIPE, seed=0)
    with pytest.raises(BenchError, match="loss is nan"):
        fit(counting(99), NONE, SIZES, replace(RECIPE, learning_rate=1e30), seed=0)
    with pytest.raises(BenchError, match="threads"), compute_threads(0):
        pass
