"""Intervals, p-values and corrections, against textbooks, scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from bench.report.format import format_interval, format_p
from bench.stats.corrections import ALPHA, holm
from bench.stats.inference import SeedValues, Variance

PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def variance(*, users=0.0, between=(0.0, 0.0), noise=(0.0, 0.0), seeds=(3, 3), parts=100):
    return Variance(users=users, num_parts=parts, between=between, noise=noise, num_seeds=seeds)


# Corrections


def test_holm_textbook():
    # .01 x 4, .02 x 3, .03 x 2 = .06 as well, and .04 x 1 is lifted to the .06 before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_keeps_the_order_of_p_values():
    # Alone, .013 x 2 would stay below the adjusted value of the smaller .012.
    assert holm([0.012, 0.013, 0.9]) == pytest.approx([0.036, 0.036, 0.9])


# Few examples: statsmodels collects garbage in every call of Holm, some 50 ms each.
@settings(max_examples=25)
@given(PS)
def test_holm_against_its_definition(ps):
    order, m = np.argsort(ps, kind="stable"), len(ps)
    down = np.minimum(np.maximum.accumulate(np.array(ps)[order] * np.arange(m, 0, -1)), 1)
    assert np.array(holm(ps))[order] == pytest.approx(down)
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


def test_no_hypotheses_need_no_correction():
    assert holm([]) == []


# Users and seeds


def test_users_alone_give_the_paired_t_test():
    differences = np.random.default_rng(11).normal(0.1, 1, size=400)
    expected = scipy_stats.ttest_1samp(differences, 0)
    users = differences.var(ddof=1) / 400
    result = variance(users=users, parts=400).infer(differences.mean(), seeds=False)
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5)])
def test_seeds_alone_give_welchs_t_test(sizes):
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=size) for size in sizes)
    expected = scipy_stats.ttest_ind(b, a, equal_var=False)
    result = variance(between=(a.var(ddof=1), b.var(ddof=1)), seeds=sizes).infer(
        b.mean() - a.mean(), seeds=True
    )
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_noise_of_the_users_is_not_counted_twice():
    """Hits that only users make random: seeds differ, but no more than the noise explains."""
    rng = np.random.default_rng(3)
    hits = rng.random((200, 3, 400)) < 0.1
    for one in hits:
        values = one.mean(axis=1)
        method = SeedValues(values=values, deviations=(one - values[:, None]) / 400)
        assert method.noise == pytest.approx(0.09 / 400, rel=0.35)
        combined = Variance.combine([1], [method])
        assert combined.users == pytest.approx(0.09 / 1200, rel=0.5)
        assert method.between == pytest.approx(max(0, values.var(ddof=1) - 2 / 3 * method.noise))


@pytest.mark.parametrize("bound", [0.05, 0.2, 0.3])
def test_equivalence_is_two_one_sided_t_tests(bound):
    differences = np.random.default_rng(5).normal(0.1, 1, size=400)
    one_sided = [
        scipy_stats.ttest_1samp(differences, -bound, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(differences, bound, alternative="less").pvalue,
    ]
    spread = variance(users=differences.var(ddof=1) / 400, parts=400)
    value = differences.mean()
    p = spread.test_equivalence(value, bound, seeds=False)
    assert p == pytest.approx(max(one_sided), rel=1e-6)
    inside = abs(value) + spread.margin(2 * ALPHA, seeds=False) <= bound
    assert (p <= ALPHA) == inside


@settings(max_examples=300)
@given(
    st.floats(-1, 1),
    st.floats(0, 1e-2),
    st.tuples(st.floats(0, 1e-2), st.floats(0, 1e-2)),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.integers(10, 2000),
    st.booleans(),
    st.integers(3, 4),
    st.sampled_from([None, -1e-6, -1e-14, 0, 1e-14, 1e-6, 3e-4]),
)
def test_p_and_interval_never_contradict_each_other(
    value, users, between, seeds, parts, with_seeds, digits, near
):
    """Whatever is drawn, also at the edge and as displayed; with `near`, p is close to .05."""
    spread = variance(users=users, between=between, seeds=seeds, parts=parts)
    if near is not None:
        value = spread.margin(ALPHA, seeds=with_seeds) * (1 + near)
    result = spread.infer(value, seeds=with_seeds)
    if result is None:
        assert users <= 1e-20
        return
    assert 0 < result.p <= 1
    excluded = result.low > 0 or result.high < 0
    assert excluded == (result.p <= ALPHA)
    text = format_p(result.p)
    assert (text.startswith("<") or float(text) <= ALPHA) == excluded
    low, high = (
        float(end.replace("\N{MINUS SIGN}", "-"))
        for end in format_interval(result.low, result.high, digits=digits)[1:-1].split(", ")
    )
    assert (low > 0 or high < 0) == excluded
