"""Paired tests and corrections, against textbooks, scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from bench.stats.corrections import holm
from bench.stats.paired import paired_t, sign_flip

PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)
# Steps of 1/8 are exact in binary: sums are equal or clearly apart.
DIFFERENCES = st.lists(st.integers(-8, 8).map(lambda eighths: eighths / 8), min_size=2, max_size=9)


def ones(num):
    return np.ones(num, dtype=np.intp)


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


# Paired tests


@given(DIFFERENCES)
def test_sign_flip_equals_scipys_exact_answer(differences):
    exact = scipy_stats.permutation_test(
        (np.array(differences),),
        np.sum,
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert sign_flip(np.array(differences)) == pytest.approx(exact.pvalue)


def test_sign_flip_enumerates_only_what_differs():
    differences = np.zeros(1000)
    differences[::100] = 0.5
    assert sign_flip(differences) == 2 / 2**10


def test_random_flips_agree_with_all_flips():
    differences = np.random.default_rng(3).normal(0.4, 1, size=13)
    assert sign_flip(differences, num_resamples=8191) == pytest.approx(
        sign_flip(differences, num_resamples=8192), abs=0.02
    )


def test_p_is_never_zero():
    assert sign_flip(np.full(500, 0.7)) == 1 / 10_000
    assert sign_flip(np.full(500, 0.7), num_resamples=99) == 1 / 100


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.2])
def test_sign_flip_and_t_agree(shift):
    differences = np.random.default_rng(11).normal(shift, 1, size=400)
    fast = paired_t(differences, ones(400))
    expected = scipy_stats.ttest_1samp(differences, 0)
    assert sign_flip(differences) == pytest.approx(fast.p, abs=0.02)
    assert fast.p == pytest.approx(expected.pvalue)
    assert (fast.low, fast.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert fast.d_z == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_type_one_error_of_the_sign_flip():
    # Hits of two equally good methods: few cases differ, and most differences are 0.
    rng = np.random.default_rng(5)
    hits = rng.random((2, 600, 200)) < 0.1
    differences = hits[0].astype(float) - hits[1]
    rejected = np.mean([sign_flip(row, num_resamples=199) <= 0.05 for row in differences])
    assert 0.02 <= rejected <= 0.075


def test_users_of_unequal_size():
    # Users with 1, 2 and 3 cases: mean 6/6, residuals -1, -1 and 2 of the sums 0, 1 and 5.
    result = paired_t(np.array([0.0, 1.0, 5.0]), np.array([1, 2, 3]))
    error = np.sqrt(3 / 2 * 6) / 6
    assert result.value == 1
    assert result.high - 1 == pytest.approx(scipy_stats.t.ppf(0.975, 2) * error)
    assert result.d_z == pytest.approx(1 / error / np.sqrt(3))
