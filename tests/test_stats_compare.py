"""Comparisons of means over cases: direction, refusals, nesting, families and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.stats.compare import compare, compare_with_reference, find_ties_with_best
from bench.stats.corrections import holm
from bench.stats.samples import Sample, align_cases
from bench.stats.seed_variance import compare_seeds, compute_seed_values, summarize_seeds


def sample(name, values, *, metric="NDCG@5", cases=None, users=None, seeds=None):
    """A method with the given values, (C,) or (S, C), of one per-case metric."""
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    num_seeds, num_cases = values.shape
    cases = cases or tuple(f"case{case:04d}" for case in range(num_cases))
    return Sample(
        name=name,
        seeds=seeds or tuple(range(num_seeds)),
        cases=tuple(cases),
        users=tuple(users or cases),
        values={metric: values},
        items=np.zeros((num_seeds, num_cases, 1), dtype=np.int32),
        known=np.ones(num_cases, dtype=np.bool_),
        masses={},
        history_mass=np.zeros(0),
        tracked=(),
        num_items=1,
    )


@pytest.mark.parametrize(
    ("metric", "gain", "better"),
    [("NDCG@5", 0.1, True), ("NDCG@5", -0.1, False), ("Hallucination", -0.1, True)],
)
def test_direction(metric, gain, better):
    rng = np.random.default_rng(0)
    base = rng.random(200)
    ours = base + gain + rng.normal(0, 0.05, size=200)
    result = compare(
        sample("base", base, metric=metric), sample("ours", ours, metric=metric), metric
    )
    assert result.p == 1 / 10_000
    assert result.better is better
    assert result.low < result.difference < result.high
    assert result.low * result.high > 0
    assert result.difference == pytest.approx((ours - base).mean())
    assert result.relative == pytest.approx((ours - base).mean() / base.mean())
    assert (result.test, result.unit, result.num_units) == ("sign-flip", "case", 200)
    assert result.significant is None


def test_identical_systems():
    values = np.random.default_rng(0).random((3, 50))
    # The same seeds in another order sum to something else in the last bits.
    result = compare(sample("a", values), sample("b", values[::-1]), "NDCG@5")
    assert (result.difference, result.low, result.high, result.d_z) == (0, 0, 0, 0)
    assert (result.p, result.better) == (1, None)


@settings(max_examples=30)
@given(st.permutations(range(30)), st.integers(1, 3))
def test_order_of_the_rows_does_not_matter(order, cases_per_user):
    values = np.random.default_rng(1).random((2, 30))
    cases = [f"c{case}" for case in range(30)]
    users = [f"u{case // cases_per_user}" for case in range(30)]
    first, second = (sample(str(i), values[i], cases=cases, users=users) for i in range(2))
    moved = second.select_cases(np.array(order))
    expected = compare(first, second, "NDCG@5", num_resamples=500)
    for result in (
        compare(first, moved, "NDCG@5", num_resamples=500),
        compare(first.select_cases(np.array(order)), second, "NDCG@5", num_resamples=500),
    ):
        assert result.p == expected.p
        assert result.low == pytest.approx(expected.low)


def test_swapping_the_two_mirrors_the_result():
    a, b = (sample(str(i), np.random.default_rng(i).random(40)) for i in range(2))
    there, back = compare(a, b, "NDCG@5"), compare(b, a, "NDCG@5")
    assert there.p == back.p
    assert (there.difference, there.low) == pytest.approx((-back.difference, -back.high))


def test_nested_cases_make_the_user_the_unit():
    users = [f"user{case // 20}" for case in range(100)]
    base, ours = np.zeros(100), np.full(100, 0.5)
    result = compare(sample("base", base, users=users), sample("ours", ours, users=users), "NDCG@5")
    assert (result.unit, result.num_units) == ("user", 5)
    assert result.p == 2 / 2**5
    assert result.relative is None


def test_other_cases_are_refused_by_name():
    a = sample("a", np.zeros(9), cases=[f"c{i}" for i in range(9)])
    b = sample("b", np.zeros(3), cases=["c0", "c1", "x"])
    with pytest.raises(BenchError, match=r"b lacks 7 of 9 .* of a: c2, .*c6 and 2 more\. a la.*x"):
        compare(a, b, "NDCG@5")


def test_other_users_are_refused():
    a, b = (sample(name, np.zeros(2), users=users) for name, users in (("a", "uv"), ("b", "uw")))
    with pytest.raises(BenchError, match="user of case0001"):
        align_cases(a, b)


def test_cases_that_occur_twice_are_refused():
    with pytest.raises(BenchError, match="occur twice: c"):
        sample("a", np.zeros(3), cases=["c", "d", "c"])
    with pytest.raises(BenchError, match="no test cases"):
        sample("a", np.zeros(0))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_missing_numbers_are_refused_by_case(broken):
    values = np.zeros((2, 5))
    values[1, 3] = broken
    with pytest.raises(BenchError, match=r"NDCG@5 of b .* 1 of 5 cases: case0003"):
        compare(sample("a", np.zeros(5)), sample("b", values), "NDCG@5")


def test_missing_metric_is_refused_with_the_nearest():
    a = sample("a", np.zeros(5))
    with pytest.raises(BenchError) as caught:
        compare(a, a, "NDCG@10")
    assert "NDCG@5" in caught.value.hint


def test_seeds_need_not_match_for_means():
    a = sample("a", [[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]], seeds=(1, 2))
    b = sample("b", [0.6, 0.5, 0.4], seeds=(7,))
    assert compare(a, b, "NDCG@5").difference == pytest.approx(0.2)


def test_a_single_case_decides_nothing():
    result = compare(sample("a", [0.0]), sample("b", [1.0]), "NDCG@5")
    assert (result.difference, result.p) == (1, 1)
    assert result.low is result.high is result.d_z is None


def test_against_reference_is_one_family():
    rng = np.random.default_rng(2)
    base = rng.random(100)
    others = [sample(f"m{i}", base + 0.02 * i * rng.normal(1, 3, size=100)) for i in range(1, 5)]
    family = compare_with_reference(sample("base", base), others, "NDCG@5")
    assert [one.other for one in family] == ["m1", "m2", "m3", "m4"]
    assert [one.p_adjusted for one in family] == holm([one.p for one in family])
    assert {one.family_size for one in family} == {4}
    assert all(one.significant == (one.p_adjusted <= 0.05) for one in family)


@pytest.mark.parametrize(("metric", "sign"), [("NDCG@5", 1), ("Hallucination", -1)])
def test_ties_with_the_best(metric, sign):
    rng = np.random.default_rng(4)
    base = rng.random(300)
    gains = {"worst": -0.5, "near": 0.0, "best": 0.001}
    samples = [
        sample(name, base + sign * gain + rng.normal(0, 0.05, size=300), metric=metric)
        for name, gain in gains.items()
    ]
    assert find_ties_with_best(samples, metric) == ("near", "best")
    assert find_ties_with_best(samples[:1], metric) == ("worst",)
    assert find_ties_with_best([], metric) == ()


# Seeds


@pytest.mark.parametrize(
    ("num_seeds", "smallest"), [(1, "1"), (2, ".5"), (3, ".25"), (4, ".125"), (5, ".0625")]
)
def test_few_seeds_are_not_testable(num_seeds, smallest):
    values = dict.fromkeys(range(num_seeds), 0.1)
    result = compare_seeds(values, dict.fromkeys(values, 0.9))
    assert result.p is None
    assert result.text == f"not testable: smallest possible p = {smallest}"


def test_six_common_seeds_are_testable():
    base = dict.fromkeys(range(7), 0.1)
    other = {seed: 0.2 + 0.01 * seed for seed in range(1, 9)}
    result = compare_seeds(base, other)
    assert (result.p, result.num_seeds) == (2 / 2**6, 6)
    assert result.text == "sign-flip over 6 seeds: p = .031"
    assert compare_seeds({1: 0.1}, {2: 0.1}).text == "not testable: no common seed"
    with pytest.raises(BenchError, match=r"seeds \[3\]"):
        compare_seeds({3: np.nan}, {3: 0.1})


def test_values_by_seed():
    assert compute_seed_values(sample("a", [[0.0, 1.0], [1.0, 1.0]], seeds=(4, 2)), "NDCG@5") == {
        4: 0.5,
        2: 1,
    }


def test_mean_and_standard_deviation():
    assert summarize_seeds([1.0, 2.0, 3.0]) == (2, 1, 3)
    assert summarize_seeds([0.5]) == (0.5, None, 1)
    with pytest.raises(BenchError):
        summarize_seeds([])
