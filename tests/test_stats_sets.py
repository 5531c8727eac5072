"""Tests of set-level metrics: label swaps, intervals, and comparisons of whole sets of lists."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate
from bench.metrics.registry import get_metric
from bench.stats.compare import compare, find_ties_with_best
from bench.stats.intervals import bootstrap, jackknife, set_interval
from bench.stats.label_swap import label_swap
from bench.stats.samples import Sample, align_lists
from bench.stats.seed_variance import compute_seed_values
from bench.stats.set_metrics import sum_units

NUM_ITEMS = 60
GENRES = ("crime", "drama", "war")
FAMILIES = ("DivRatio", "ORRatio", "Coverage", "Gini", "MGU", "DGU", "GU[drama]")
# Item 0 has no tracked genre, every fifth item has two.
CATEGORIES = tuple(
    () if item == 0 else tuple({GENRES[item % 3], GENRES[item // 5 % 3 if item % 5 == 0 else 0]})
    for item in range(NUM_ITEMS)
)


def catalog(num_items):
    ids = tuple(str(item) for item in range(num_items))
    categories = tuple(CATEGORIES[item % NUM_ITEMS] for item in range(num_items))
    return Catalog(ids=ids, titles=ids, categories=categories, tracked=GENRES)


def sample(name, items, *, num_items=NUM_ITEMS, users=None, unknown=(), seeds=None, k=2):
    """A method with lists (S, C, D), scored by the metrics room itself."""
    items = np.asarray(items, dtype=np.int32)
    num_seeds, num_cases, _ = items.shape
    targets = np.zeros(num_cases, dtype=np.int32)
    targets[list(unknown)] = -1
    histories = np.arange(num_cases * 3).reshape(num_cases, 3) % num_items
    scores = [
        evaluate(
            Ranking(items=lists),
            targets=targets,
            histories=histories,
            catalog=catalog(num_items),
            ks=[k],
        )
        for lists in items
    ]
    cases = tuple(f"case{case:04d}" for case in range(num_cases))
    made = Sample(
        name=name,
        seeds=seeds or tuple(range(num_seeds)),
        cases=cases,
        users=tuple(users or cases),
        values={},
        items=items,
        known=scores[0].known,
        masses={k: np.stack([score.masses[k] for score in scores])},
        history_mass=scores[0].history_mass,
        tracked=GENRES,
        num_items=num_items,
    )
    return made, [score.metrics for score in scores]


def zipf(name, exponent, seed, *, num_cases=200, num_seeds=1, num_items=NUM_ITEMS, k=2, **more):
    """Lists without repetition from a Zipf law of this exponent."""
    rng = np.random.default_rng(seed)
    scores = rng.gumbel(size=(num_seeds, num_cases, num_items))
    scores -= exponent * np.log(np.arange(1, num_items + 1))
    items = np.argsort(-scores, axis=2)[:, :, :k]
    return sample(name, items, num_items=num_items, k=k, **more)[0]


def weighted(first, second, metric):
    units = first.units
    one, two = sum_units([first, second], get_metric(metric), units)
    return one, two, units


def subtract(other, reference):
    return lambda weights: other.mean(weights) - reference.mean(weights)


def brute_force(first, second, users, metric):
    """Swap every subset of users and score each set of lists with the metrics module."""

    def difference(swapped):
        mask = np.isin(users, swapped)[None, :, None]
        one = sample("one", np.where(mask, second, first))[1]
        two = sample("two", np.where(mask, first, second))[1]
        return np.mean([b[metric] - a[metric] for a, b in zip(one, two, strict=True)])

    names = sorted(set(users))
    observed = abs(difference([]))
    subsets = [
        [name for name, chosen in zip(names, chosen_ones, strict=True) if chosen]
        for chosen_ones in product([False, True], repeat=len(names))
    ]
    return np.mean([abs(difference(swapped)) >= observed - 1e-12 for swapped in subsets])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("nested", [False, True])
def test_label_swap_equals_brute_force(family, nested):
    rng = np.random.default_rng(7)
    first, second = rng.integers(-1, 9, size=(2, 2, 6, 2)) // [[[[1]]], [[[2]]]]
    users = [f"u{case // 2 if nested else case}" for case in range(6)]
    metric = f"{family}@2"
    a, b = (sample(name, lists, users=users)[0] for name, lists in (("a", first), ("b", second)))
    result = compare(a, b, metric)
    assert result.p == pytest.approx(brute_force(first, second, users, metric))
    assert (result.unit, result.num_units) == (("user", 3) if nested else ("case", 6))
    assert (result.test, result.d_z) == ("label swap", None)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FAMILIES), st.sampled_from([3, 60, 900]))
def test_observed_values_are_those_of_the_metrics_room(seed, family, num_items):
    # 900 items on 300 lists: enough rows for the shortcut that ORRatio takes.
    rng = np.random.default_rng(seed)
    items = np.minimum(rng.integers(-1, num_items, size=(2, 300, 2)), rng.integers(900))
    made, metrics = sample("a", items, num_items=num_items, unknown=[1, 5], seeds=(4, 9))
    expected = {seed: one[f"{family}@2"] for seed, one in zip((4, 9), metrics, strict=True)}
    assert compute_seed_values(made, f"{family}@2") == pytest.approx(expected)


def test_orratio_of_many_weightings_equals_one_by_one():
    a, b = (zipf(name, 0.2, seed, num_cases=400, num_items=900) for seed, name in enumerate("ab"))
    one, _, units = weighted(a, b, "ORRatio@2")
    weights = np.random.default_rng(0).integers(0, 3, size=(units.num, 50))
    counts = one.amounts[0].toarray() @ weights
    largest = np.sort(counts, axis=0)[-3:].sum(axis=0)
    assert one.mean(weights) == pytest.approx(largest / (2 * weights.sum(axis=0)))


def test_random_swaps_agree_with_all_swaps():
    a, b = (zipf(name, 1, seed, num_cases=12) for seed, name in enumerate("ab"))
    one, two, _ = weighted(a, b, "Gini@2")
    every, drawn = (label_swap(one, two, num_resamples=num) for num in (4096, 4095))
    assert drawn == pytest.approx(every, abs=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_identical_systems(family):
    a = zipf("a", 1, 0, num_seeds=2)
    result = compare(a, replace(a, name="b"), f"{family}@2", num_resamples=99)
    assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)
    assert result.better is None


@pytest.mark.parametrize(
    ("family", "higher_is_better"),
    [("DivRatio", True), ("Coverage", True), ("ORRatio", False), ("Gini", False)],
)
def test_direction(family, higher_is_better):
    narrow, broad = zipf("narrow", 1.6, 0, num_items=900), zipf("broad", 0.4, 1, num_items=900)
    result = compare(narrow, broad, f"{family}@2", num_resamples=999)
    assert result.p == 1 / 1000
    assert result.better is True
    assert (result.difference > 0) is higher_is_better
    assert result.low < result.difference < result.high
    assert result.low * result.high > 0
    assert find_ties_with_best([narrow, broad], f"{family}@2", num_resamples=999) == ("broad",)


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_the_rows_does_not_matter(family):
    users = [f"u{case // 2}" for case in range(80)]
    a, b = (zipf(name, 1, i, num_cases=80, users=users) for i, name in enumerate("ab"))
    order = np.random.default_rng(0).permutation(80)
    expected = compare(a, b, f"{family}@2", num_resamples=199)
    result = compare(a.select_cases(order), b, f"{family}@2", num_resamples=199)
    assert result.p == expected.p
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("family", ["DivRatio", "MGU"])
def test_type_one_error_of_the_label_swap(family):
    rejected = 0
    for trial in range(200):
        a, b = (zipf(name, 1, [trial, i], num_cases=60) for i, name in enumerate("ab"))
        one, two, _ = weighted(a, b, f"{family}@2")
        rejected += label_swap(one, two, num_resamples=199, seed=trial) <= 0.05
    assert 0.01 <= rejected / 200 <= 0.1


def test_jackknife_covers_distinct_items_better_than_the_bootstrap():
    pairs = [
        weighted(
            zipf("a", 1.2, [trial, 0], num_items=900),
            zipf("b", 0.6, [trial, 1], num_items=900),
            "DivRatio@2",
        )
        for trial in range(60)
    ]
    differences = [
        (two.mean(units.equal_weights) - one.mean(units.equal_weights))[0]
        for one, two, units in pairs
    ]
    truth = np.mean(differences)

    def covered(method):
        ends = [method(subtract(two, one), one) for one, two, _ in pairs]
        return np.mean([low <= truth <= high for low, high in ends])

    assert covered(jackknife) >= 0.9
    assert covered(bootstrap) < covered(jackknife)


def test_bootstrap_covers_for_shares_of_mass():
    # Expected masses of both methods are equal, so the true difference is 0.
    pairs = [
        weighted(zipf("a", 1, [trial, 0]), zipf("b", 1, [trial, 1]), "DGU@2") for trial in range(60)
    ]
    ends = [set_interval(get_metric("DGU@2"), subtract(two, one), one) for one, two, _ in pairs]
    assert np.mean([low <= 0 <= high for low, high in ends]) >= 0.85


def test_only_known_targets_and_common_seeds_count():
    rng = np.random.default_rng(0)
    items = rng.integers(0, NUM_ITEMS, size=(3, 20, 2))
    a, _ = sample("a", items[:2], unknown=[3, 4], seeds=(1, 2))
    b, in_b = sample("b", items[1:], unknown=[3, 4], seeds=(2, 3))
    result = compare(a, b, "DivRatio@2")
    assert (result.difference, result.p, result.num_units) == (0, 1, 18)
    c, in_c = sample("c", items[[0, 2]], unknown=[3, 4], seeds=(3, 1))
    expected = in_c[0]["DivRatio@2"] - in_b[1]["DivRatio@2"]
    assert compare(b, c, "DivRatio@2").difference == pytest.approx(expected)


def test_a_single_case_decides_nothing():
    a, _ = sample("a", [[[1, 2]]])
    b, _ = sample("b", [[[3, 3]]])
    result = compare(a, b, "DivRatio@2")
    assert (result.difference, result.p, result.low, result.high) == (-0.5, 1, None, None)


def test_lists_without_any_item():
    a, _ = sample("a", [[[-1, -1], [-1, -1]]])
    b, _ = sample("b", [[[1, 2], [-1, 2]]])
    assert compare(a, a, "ORRatio@2").p == 1
    assert compare(a, b, "DivRatio@2").difference == 0.5
    assert compare(a, b, "DivRatio@2").relative is None


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        ({"seeds": (8,)}, "DivRatio@2", "no seed in common"),
        ({"num_items": 61}, "DivRatio@2", "different catalogs"),
        ({"known": np.arange(200) > 5}, "DivRatio@2", "different catalogs"),
        ({"history_mass": np.ones(3)}, "MGU@2", "categories or histories"),
        ({"tracked": ("x", "y", "z")}, "MGU@2", "categories or histories"),
        ({"masses": {2: np.full((1, 200, 3), np.nan)}}, "MGU@2", "not a finite number for 200"),
        ({}, "DivRatio@3", "shorter than k=3"),
        ({}, "MGU@1", "category mass of a"),
        ({}, "GU[dramas]@2", "tracked category"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, metric, message):
    a, b = zipf("a", 1, 0), replace(zipf("b", 1, 1), **change)
    with pytest.raises(BenchError, match=message):
        compare(a, b, metric)


def test_no_known_target_is_refused():
    a = replace(zipf("a", 1, 0), known=np.zeros(200, dtype=np.bool_))
    with pytest.raises(BenchError, match="No target of a"):
        align_lists(a, a)


def test_fairness_needs_categories():
    a = replace(
        zipf("a", 1, 0), tracked=(), masses={2: np.zeros((1, 200, 0))}, history_mass=np.zeros(0)
    )
    with pytest.raises(BenchError, match="tracks none"):
        compare(a, a, "MGU@2")


def test_an_interval_holds_the_difference_it_is_about():
    rng = np.random.default_rng(0)
    scattered, _ = sample("scattered", rng.integers(0, 1682, (1, 500, 1)), num_items=1682, k=1)
    constant, _ = sample("constant", np.zeros((1, 500, 1), dtype=np.int32), num_items=1682, k=1)
    found = compare(constant, scattered, "ORRatio@1", num_resamples=99)
    assert found.low < found.difference < found.high
