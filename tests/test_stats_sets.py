"""Set-level metrics: the jackknife over users, and comparisons of whole sets of lists."""

from __future__ import annotations

from dataclasses import replace

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
from bench.stats.samples import Sample
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
        histories=scores[0].history_masses,
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


def jackknife(made, metric):
    return sum_units(made, get_metric(metric)).jackknife()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("nested", [False, True])
def test_jackknife_equals_scoring_without_each_user(family, nested):
    """The metrics module scores the lists and histories of all users but one."""
    rng = np.random.default_rng(7)
    items = rng.integers(-1, 9, size=(2, 24, 2))
    users = [f"u{case // 2 if nested else case:02d}" for case in range(24)]
    unknown = [3, 4]
    metric = f"{family}@2"
    result = jackknife(sample("a", items, users=users, unknown=unknown)[0], metric)
    targets = np.zeros(24, dtype=np.int32)
    targets[unknown] = -1
    histories = np.arange(72).reshape(24, 3) % NUM_ITEMS
    without = np.empty((2, len(set(users))))
    for column, user in enumerate(sorted(set(users))):
        rest = np.array(users) != user
        for seed, lists in enumerate(items.astype(np.int32)):
            scores = evaluate(
                Ranking(items=lists[rest]), targets=targets[rest], histories=histories[rest],
                catalog=catalog(NUM_ITEMS), ks=[2],
            )  # fmt: skip
            without[seed, column] = scores.metrics[metric]
    centered = without - without.mean(axis=1, keepdims=True)
    factor = 1 - 1 / without.shape[1]
    # Users are left out in another order, which the covariance does not depend on.
    covariance = result.deviations @ result.deviations.T
    assert covariance == pytest.approx(factor * centered @ centered.T)


def test_many_users_are_left_out_in_groups():
    """The variance of 2,000 users in 200 groups is about that of leaving out each."""
    few, many = (zipf("a", 1, 0, num_cases=num, num_items=900) for num in (200, 2000))
    assert jackknife(many, "ORRatio@2").deviations.shape == (1, 200)
    errors = [np.sqrt((jackknife(one, "ORRatio@2").deviations ** 2).sum()) for one in (few, many)]
    assert errors[1] == pytest.approx(errors[0] / np.sqrt(10), rel=0.2)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FAMILIES), st.sampled_from([3, 60, 900]))
def test_observed_values_are_those_of_the_metrics_room(seed, family, num_items):
    # 900 items on 300 lists: enough rows for the shortcut that ORRatio takes.
    rng = np.random.default_rng(seed)
    items = np.minimum(rng.integers(-1, num_items, size=(2, 300, 2)), rng.integers(900))
    made, metrics = sample("a", items, num_items=num_items, unknown=[1, 5], seeds=(4, 9))
    expected = {seed: one[f"{family}@2"] for seed, one in zip((4, 9), metrics, strict=True)}
    assert compute_seed_values(made, f"{family}@2") == pytest.approx(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_identical_systems(family):
    a = zipf("a", 1, 0, num_seeds=2)
    result = compare(a, replace(a, name="b"), f"{family}@2")
    assert (result.difference, result.p, result.better) == (0, None, None)
    assert "whichever user is left out" in result.refusal


@pytest.mark.parametrize(
    ("family", "higher_is_better"),
    [("DivRatio", True), ("Coverage", True), ("ORRatio", False), ("Gini", False)],
)
def test_direction(family, higher_is_better):
    narrow, broad = (
        zipf(name, exponent, seed, num_items=900, num_seeds=2)
        for name, exponent, seed in (("narrow", 1.6, 0), ("broad", 0.4, 1))
    )
    result = compare(narrow, broad, f"{family}@2")
    assert result.p < 0.01
    assert result.better is True
    assert (result.difference > 0) is higher_is_better
    assert result.low < result.difference < result.high
    assert result.low * result.high > 0
    assert find_ties_with_best([narrow, broad], f"{family}@2") == ("broad",)


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_the_rows_does_not_matter(family):
    users = [f"u{case // 2}" for case in range(80)]
    a, b = (zipf(name, 1, i, num_cases=80, users=users) for i, name in enumerate("ab"))
    order = np.random.default_rng(0).permutation(80)
    expected = compare(a, b, f"{family}@2")
    result = compare(a.select_cases(order), b, f"{family}@2")
    assert result.p == pytest.approx(expected.p)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("family", ["DivRatio", "ORRatio", "Gini"])
def test_type_one_error_with_other_favorite_items(family):
    """Equal metrics, different lists: exchanging lists between the two would reject too often."""
    rejected = 0
    for trial in range(150):
        a = zipf("a", 1.6, [trial, 0], num_cases=60)
        shifted = (zipf("b", 1.6, [trial, 1], num_cases=60).items + 15) % NUM_ITEMS
        b = sample("b", shifted)[0]
        rejected += compare(a, b, f"{family}@2").p <= 0.05
    assert rejected / 150 <= 0.1


def test_histories_vary_with_their_users():
    """Two constant recommenders differ in MGU by what the histories say, known in expectation."""
    rng = np.random.default_rng(5)
    num, covered = 100, 0
    constant = [sample(str(i), np.full((1, num, 2), [[[3 * i + 1, 3 * i + 2]]]))[0] for i in (1, 2)]
    for _ in range(150):
        histories = rng.dirichlet([1, 2, 3], size=num)
        a, b = (replace(made, histories=histories) for made in constant)
        a = replace(a, masses={2: np.tile([1.0, 0, 0], (1, num, 1))})
        b = replace(b, masses={2: np.tile([0, 1.0, 0], (1, num, 1))})
        result = compare(a, b, "MGU@2")
        # Shares 1/6, 2/6 and 3/6: (2 x 4/6 - 2 x 5/6) / 3.
        covered += result.low <= -1 / 9 <= result.high
    assert 0.89 <= covered / 150 <= 0.99


def test_only_known_targets_count_and_seeds_need_not_match():
    rng = np.random.default_rng(0)
    items = rng.integers(0, NUM_ITEMS, size=(3, 20, 2))
    a, in_a = sample("a", items[:2], unknown=[3, 4], seeds=(1, 2))
    b, in_b = sample("b", items[1:], unknown=[3, 4], seeds=(2, 3))
    result = compare(a, b, "DivRatio@2")
    means = [np.mean([one["DivRatio@2"] for one in metrics]) for metrics in (in_a, in_b)]
    assert result.difference == pytest.approx(means[1] - means[0])
    few, _ = sample("few", items[:2], unknown=range(11))
    assert "9 of 20 cases have a target" in compare(few, few, "DivRatio@2").refusal


def test_a_single_case_decides_nothing():
    a, _ = sample("a", [[[1, 2]]])
    b, _ = sample("b", [[[3, 3]]])
    result = compare(a, b, "DivRatio@2")
    assert (result.difference, result.p, result.low, result.high) == (-0.5, None, None, None)


def test_lists_without_any_item():
    a, _ = sample("a", [[[-1, -1], [-1, -1]]])
    b, _ = sample("b", [[[1, 2], [-1, 2]]])
    assert compare(a, a, "ORRatio@2").difference == 0
    assert compare(a, b, "DivRatio@2").difference == 0.5
    assert compare(a, b, "DivRatio@2").relative is None


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        ({"num_items": 61}, "DivRatio@2", "different catalogs"),
        ({"known": np.arange(200) > 5}, "DivRatio@2", "different catalogs"),
        ({"histories": np.ones((200, 3))}, "MGU@2", "categories or histories"),
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
        compare(a, a, "DivRatio@2")


def test_fairness_needs_categories():
    a = replace(
        zipf("a", 1, 0),
        tracked=(),
        masses={2: np.zeros((1, 200, 0))},
        histories=np.zeros((200, 0)),
    )
    with pytest.raises(BenchError, match="tracks none"):
        compare(a, a, "MGU@2")
