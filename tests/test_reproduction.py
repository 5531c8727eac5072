"""Published numbers beside ours, on numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from test_stats_compare import sample
from test_stats_sets import zipf

from bench.errors import BenchError
from bench.stats.reproduction import compare_orders, estimate, reproduce
from bench.stats.seed_variance import compute_seed_values

FOUR = [0.3, 0.5, 0.4, 0.8]


def test_interval_of_a_mean_by_hand():
    # Mean .5, variance .56 / 15 over 16 cases; t(15, .975) = 2.1314.
    ours = estimate(sample("a", FOUR * 4), "NDCG@5")
    reach = 2.131450 * np.sqrt(0.56 / 15) / 4
    assert ours.value == pytest.approx(0.5)
    assert (ours.models.low, ours.models.high) == pytest.approx((0.5 - reach, 0.5 + reach))
    assert ours.methods is None
    assert ours.answer == ours.models


def test_seeds_are_averaged_first_and_users_are_the_unit():
    values = np.tile([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]], 10)
    ours = estimate(sample("a", values, users=[f"u{case // 2}" for case in range(40)]), "NDCG@5")
    # All users have mean .5, so nothing varies between them.
    assert (ours.value, ours.answer) == (0.5, None)
    assert "0 of 20 users differ" in ours.refusal
    single = estimate(sample("a", [0.4]), "NDCG@5")
    assert (single.value, single.answer) == (0.4, None)


def test_cells():
    found = reproduce(
        {
            ("a", "NDCG@5"): 0.55,
            ("b", "NDCG@5"): 0.9,
            ("gone", "NDCG@5"): 0.1,
            ("a", "HR@5"): 0.1,
        },
        [sample("a", FOUR * 4), sample("b", FOUR * 4), sample("c", [0.1])],
    )
    a, b, gone, lacking = found.cells
    assert (a.published, a.difference, a.in_interval) == (0.55, pytest.approx(-0.05), True)
    assert (b.difference, b.in_interval) == (pytest.approx(-0.4), False)
    assert (gone.reproduced, gone.in_interval) == (None, None)
    assert gone.reason == "There is no result of gone."
    assert "no per-case metric" in lacking.reason
    assert (found.num_inside, found.num_judged) == (1, 2)
    assert [column.metric for column in found.columns] == ["NDCG@5", "HR@5"]
    assert found.columns[0].text == "not defined: 2 rows"


def test_one_case_has_a_value_but_no_verdict():
    (cell,) = reproduce({("a", "NDCG@5"): 0.4}, [sample("a", [0.4])]).cells
    assert (cell.difference, cell.in_interval) == (0, None)


@pytest.mark.parametrize("metric", ["DivRatio@2", "ORRatio@2", "MGU@2", "Coverage@2", "Gini@2"])
def test_set_level_intervals_hold_the_value(metric):
    one = zipf("a", 1.0, 3, num_seeds=2, unknown=(4,))
    ours = estimate(one, metric)
    assert ours.value == pytest.approx(np.mean(list(compute_seed_values(one, metric).values())))
    for interval in (ours.models, ours.methods):
        assert interval.low < ours.value < interval.high
    assert ours == estimate(one, metric)


def test_jackknife_interval_covers_a_single_systems_expectation():
    """Expected distinct items among 200 users with a Zipf law over 60, two different ones each."""
    values = [estimate(zipf("a", 1.0, seed, k=1), "DivRatio@1") for seed in range(60)]
    weights = 1 / np.arange(1, 61)
    truth = (1 - (1 - weights / weights.sum()) ** 200).sum() / 200
    assert np.mean([one.models.low <= truth <= one.models.high for one in values]) >= 0.85


def test_order_of_the_rows_by_hand():
    # Of 6 pairs 5 agree: tau = (5 - 1) / 6, exact p = .333.
    found = compare_orders([(1, 1), (2, 2), (3, 4), (4, 3)])
    assert (found.tau, found.num_rows) == (pytest.approx(4 / 6), 4)
    assert found.p == pytest.approx(1 / 3)
    assert found.text == "tau-b = 0.67, p = .33, 4 rows"
    assert compare_orders([(1, 4), (2, 3), (3, 2), (4, 1)]).tau == pytest.approx(-1)
    ties = compare_orders([(1, 1), (1, 2), (2, 3)])
    assert ties.tau == pytest.approx(2 / np.sqrt(2 * 3))
    assert compare_orders([(1, 1), (1, 2), (1, 3)]).tau is None
    assert compare_orders([(1, 1), (2, 2)]).text == "not defined: 2 rows"


def test_order_of_a_table():
    ours = {"a": (0.1, 0.9), "b": (0.2, 0.6), "c": (0.3, 0.3), "d": (0.4, 0.1)}
    samples = []
    for name, (hits, texts) in ours.items():
        one = sample(name, [hits] * 5, metric="HR@5")
        values = {**one.values, "Hallucination": np.full((1, 5), texts)}
        samples.append(type(one)(**{**vars(one), "values": values}))
    published = {(name, "HR@5"): value for name, (value, _) in ours.items()}
    # Fewer hallucinations are better, so this column orders the rows as the hits do.
    published |= {(name, "Hallucination"): value for name, (_, value) in ours.items()}
    found = reproduce(published, samples)
    assert [column.tau for column in found.columns] == pytest.approx([1, 1])
    assert found.table.tau == pytest.approx(1)
    assert found.table.p == pytest.approx(stats.kendalltau(range(4), range(4)).pvalue)
    assert found.table.num_rows == 4
    turned = {**published, ("a", "HR@5"): 0.9, ("a", "Hallucination"): 0.0}
    assert reproduce(turned, samples).table.tau == pytest.approx(0)


def test_bad_input():
    one = sample("a", [0.1, 0.2])
    with pytest.raises(BenchError, match="published NDCG@5 of a is not a finite"):
        reproduce({("a", "NDCG@5"): float("nan")}, [one])
    with pytest.raises(BenchError, match="no metric named"):
        reproduce({("a", "NGCD@5"): 0.1}, [one])
    with pytest.raises(BenchError, match="one name"):
        reproduce({}, [one, one])
    (cell,) = reproduce({("a", "NDCG@5"): 0.1}, [sample("a", [0.1, np.nan])]).cells
    assert "not a finite number for 1 of 2 cases" in cell.reason
    assert reproduce({}, []).table.text == "not defined: 0 rows"
