"""Comparisons of means over cases: direction, refusals, nesting, families and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.errors import BenchError
from bench.stats.compare import (
    compare,
    compare_with_reference,
    correct_family,
    find_ties_with_best,
)
from bench.stats.contrasts import estimate_relative
from bench.stats.corrections import holm
from bench.stats.samples import Sample, align_cases
from bench.stats.seed_variance import compute_seed_values, summarize_seeds


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
        histories=np.zeros((num_cases, 0)),
        tracked=(),
        num_items=1,
    )


@pytest.mark.parametrize(
    ("metric", "gain", "better"),
    [("NDCG@5", 0.1, True), ("NDCG@5", -0.1, False), ("Hallucination", -0.1, True)],
)
def test_direction(metric, gain, better):
    rng = np.random.default_rng(0)
    base = rng.random((2, 200))
    ours = base.mean(axis=0) + gain + rng.normal(0, 0.05, size=(2, 200))
    result = compare(
        sample("base", base, metric=metric), sample("ours", ours, metric=metric), metric
    )
    assert result.p < 0.05
    assert result.better is better
    assert result.low < result.difference < result.high
    assert result.low * result.high > 0
    assert result.difference == pytest.approx((ours - base).mean())
    assert result.relative == pytest.approx((ours - base).mean() / base.mean())
    assert (result.question, result.unit, result.num_units) == ("methods", "case", 200)
    assert (result.num_seeds, result.refusal) == ((2, 2), "")
    assert result.p_adjusted is None
    assert not result.significant


def test_identical_systems():
    values = np.random.default_rng(0).random((3, 50))
    # The same seeds in another order sum to something else in the last bits.
    result = compare(sample("a", values), sample("b", values[::-1]), "NDCG@5")
    assert (result.difference, result.low, result.p, result.d_z) == (0, None, None, None)
    assert result.better is None
    assert "0 of 50 cases differ" in result.refusal


@settings(max_examples=30)
@given(st.permutations(range(30)), st.integers(1, 3))
def test_order_of_the_rows_does_not_matter(order, cases_per_user):
    values = np.random.default_rng(1).random((2, 30))
    cases = [f"c{case}" for case in range(30)]
    users = [f"u{case // cases_per_user}" for case in range(30)]
    first, second = (sample(str(i), values[i], cases=cases, users=users) for i in range(2))
    moved = second.select_cases(np.array(order))
    expected = compare(first, second, "NDCG@5")
    for result in (
        compare(first, moved, "NDCG@5"),
        compare(first.select_cases(np.array(order)), second, "NDCG@5"),
    ):
        assert result.p == pytest.approx(expected.p)
        assert result.low == pytest.approx(expected.low)


def test_swapping_the_two_mirrors_the_result():
    a, b = (sample(str(i), np.random.default_rng(i).random(40)) for i in range(2))
    there, back = compare(a, b, "NDCG@5"), compare(b, a, "NDCG@5")
    assert there.p == pytest.approx(back.p)
    assert (there.difference, there.low) == pytest.approx((-back.difference, -back.high))


def test_nested_cases_make_the_user_the_unit():
    """Users with 1, 2 and 3 cases in turn: the errors are those of a ratio (Cochran 1977)."""
    rng = np.random.default_rng(6)
    sizes = np.tile([1, 2, 3], 8)
    users = [f"user{user:02d}" for user in np.repeat(np.arange(24), sizes)]
    gains = rng.normal(0.1, 0.3, size=len(users))
    result = compare(
        sample("base", np.zeros(len(users)), users=users),
        sample("ours", gains, users=users),
        "NDCG@5",
    )
    sums = np.add.reduceat(gains, np.cumsum(sizes) - sizes)
    error = np.sqrt(24 / 23 * np.square(sums - gains.mean() * sizes).sum()) / sizes.sum()
    assert (result.unit, result.num_units, result.relative) == ("user", 24, None)
    assert result.high - gains.mean() == pytest.approx(stats.t.ppf(0.975, 23) * error)
    assert result.d_z == pytest.approx(gains.mean() / error / np.sqrt(24))


@pytest.mark.parametrize(("num_hits", "testable"), [(9, False), (10, True)])
def test_too_few_hits_are_refused(num_hits, testable):
    hits = np.zeros(500)
    hits[:num_hits] = 1
    result = compare(sample("none", np.zeros(500)), sample("some", hits), "NDCG@5")
    assert (result.p is not None, result.question == "models") == (testable, testable)
    assert result.difference == num_hits / 500
    assert testable or f"{num_hits} of 500 cases differ" in result.refusal


def test_one_training_run_says_nothing_about_methods():
    rng = np.random.default_rng(7)
    base, ours = rng.random(100), rng.random((3, 100)) + 1
    family = compare_with_reference(sample("base", base), [sample("ours", ours)], "NDCG@5")
    (result,) = family
    assert (result.question, result.differs, result.significant) == ("models", True, False)
    assert "One training run per row" in result.refusal
    assert (result.models.low, result.models.p) == (result.low, result.p)
    rivals = [sample("a", base + 0.001), sample("b", base[::-1])]
    assert find_ties_with_best(rivals, "NDCG@5") == ("a",)


def test_equivalence_within_a_bound_is_a_finding_of_its_own():
    """Equal methods are equivalent within a wide bound only; the family is corrected by Holm."""
    rng = np.random.default_rng(9)
    base, *others = (sample(str(i), rng.normal(0.5, 0.1, size=(3, 400))) for i in range(3))
    wide = compare_with_reference(base, others, "NDCG@5", 0.05)
    assert all(test.equivalent and not test.significant for test in wide)
    ps = [test.p_equivalent for test in wide]
    assert [test.p_equivalent_adjusted for test in wide] == pytest.approx(holm(ps))
    narrow = compare_with_reference(base, others, "NDCG@5", 1e-4)
    assert not any(test.equivalent for test in narrow)
    assert compare(base, others[0], "NDCG@5").p_equivalent is None


def test_a_relative_change_is_refused_where_the_reference_could_be_zero():
    rng = np.random.default_rng(10)
    base, ours = (sample(name, rng.normal(0.01, 1, size=50)) for name in "ab")
    change = estimate_relative(base, ours, "NDCG@5")
    assert change.ends is None
    assert "a could have NDCG@5 = 0" in change.refusal


def test_seeds_that_differ_widen_the_interval_of_the_methods():
    """One model per seed is off by .2 or .3 for every user: users cannot tell, seeds can."""
    rng = np.random.default_rng(8)
    users = rng.random(300)
    base = sample("base", users + np.array([[0.2], [-0.2]]))
    result = compare(base, sample("ours", 1.01 * users + np.array([[0.4], [-0.2]])), "NDCG@5")
    assert result.models.p < 0.001
    assert result.p > 0.5
    (adjusted,) = correct_family([result])
    assert not adjusted.significant


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
    assert (result.difference, result.question) == (1, None)
    assert result.p is result.low is result.high is result.d_z is None


def test_against_reference_is_one_family():
    rng = np.random.default_rng(2)
    base = rng.random((2, 100))
    others = [
        sample(f"m{i}", base + 0.02 * i * rng.normal(1, 3, size=(2, 100))) for i in range(1, 5)
    ]
    family = compare_with_reference(sample("base", base), others, "NDCG@5")
    assert [one.other for one in family] == ["m1", "m2", "m3", "m4"]
    assert [one.p_adjusted for one in family] == holm([one.p for one in family])
    assert {one.family_size for one in family} == {4}
    assert all(one.significant == (one.p_adjusted <= 0.05) for one in family)


@pytest.mark.parametrize(("metric", "sign"), [("NDCG@5", 1), ("Hallucination", -1)])
def test_ties_with_the_best(metric, sign):
    rng = np.random.default_rng(4)
    base = rng.random((2, 300))
    gains = {"worst": -0.5, "near": 0.0, "best": 0.001}
    samples = [
        sample(name, base + sign * gain + rng.normal(0, 0.05, size=(2, 300)), metric=metric)
        for name, gain in gains.items()
    ]
    assert find_ties_with_best(samples, metric) == ("near", "best")
    assert find_ties_with_best(samples[:1], metric) == ("worst",)
    assert find_ties_with_best([], metric) == ()


# Seeds


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
