"""The metrics: worked vectors, properties, and agreement with a second provider."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking, top_items
from bench.metrics.accuracy import hits, ndcg
from bench.metrics.diversity import coverage, div_ratio, gini, or_ratio
from bench.metrics.evaluate import Scores, evaluate
from bench.metrics.fairness import dgu, group_unfairness, mgu
from bench.metrics.registry import BUILT_IN, get_metric

A, B, C, D, E = range(5)
UNKNOWN = -1
SHOP = Catalog(
    ids=("A", "B", "C", "D", "E"),
    titles=("A", "B", "C", "D", "E"),
    categories=(("g1",), ("g1", "g2"), ("g2",), ("untracked",), ("g3",)),
    tracked=("g1", "g2", "g3"),
)
DISTANCES = np.array(
    [
        [0.3, 0.1, 0.5, 0.9, 0.7],
        [0.2, 0.6, 0.4, 0.3, 0.5],
        [0.2, 0.9, 0.8, 0.7, 0.1],
        [0.1, 0.2, 0.3, 0.4, 0.5],
    ]
)
HISTORIES = np.array([[A, B], [C, UNKNOWN], [D, E], [B, B]])
TARGETS = np.array([B, E, A, UNKNOWN])

VECTOR_R = {
    1: {
        "HR": 0.25,
        "NDCG": 0.25,
        "DivRatio": 1.0,
        "ORRatio": 1.0,
        "GU[g1]": 0.083333,
        "GU[g2]": 0.25,
        "GU[g3]": 0.166667,
        "MGU": 0.166667,
        "DGU": 0.416667,
        "Coverage": 0.6,
    },
    2: {
        "HR": 0.5,
        "NDCG": 0.407732,
        "DivRatio": 0.666667,
        "ORRatio": 0.833333,
        "GU[g1]": 0.283333,
        "GU[g2]": 0.316667,
        "GU[g3]": 0.033333,
        "MGU": 0.211111,
        "DGU": 0.6,
        "Coverage": 0.8,
    },
}


def score(
    items: list[list[int]],
    targets: list[int],
    ks: tuple[int, ...] = (1,),
    histories: list[list[int]] | None = None,
) -> Scores:
    return evaluate(
        Ranking(items=np.array(items, dtype=np.int32)),
        targets=np.array(targets),
        histories=np.array(histories or [[A]] * len(targets)),
        catalog=SHOP,
        ks=ks,
    )


def test_vector_r() -> None:
    ranking = Ranking(items=top_items(DISTANCES, 2))
    assert ranking.items.tolist() == [[B, A], [A, D], [E, A], [A, B]]
    scores = evaluate(ranking, targets=TARGETS, histories=HISTORIES, catalog=SHOP, ks=(2, 1))
    for k, values in VECTOR_R.items():
        for name, value in values.items():
            assert scores.metrics[f"{name}@{k}"] == pytest.approx(value, abs=1e-6), (name, k)
    # Counts (1, 1, 0, 0, 1) and (3, 1, 0, 1, 1): 2 * (3 + 4 + 5) / 15 - 6/5, 2 * 24 / 30 - 6/5.
    assert scores.metrics["Gini@1"] == pytest.approx(0.4)
    assert scores.metrics["Gini@2"] == pytest.approx(0.4)
    assert scores.metrics["Hallucination"] == 0
    assert len(scores.metrics) == 2 * 11 + 1

    assert scores.known.tolist() == [True, True, True, False]
    assert scores.ranks.tolist() == [0, -1, 1, -1]
    assert scores.cases["NDCG@2"] == pytest.approx([1, 0, 0.630930, 0], abs=1e-6)
    mix = scores.masses[2].sum(axis=0)
    assert mix / mix.sum() == pytest.approx([0.7, 0.1, 0.2])
    assert scores.masses[2][3].tolist() == [0, 0, 0]
    history_mass = scores.history_masses.sum(axis=0)
    shares = history_mass / history_mass.sum()
    assert shares == pytest.approx([0.416667, 0.416667, 0.166667], abs=1e-6)


def test_vector_b_with_the_first_place_of_a_repeated_item() -> None:
    beams = [[B, A, C], [A, D, C], [E, A, A], [A, C, B]]
    metrics = score(beams, [B, E, A, C], ks=(1, 3)).metrics
    assert metrics["HR@1"] == 0.25
    assert metrics["HR@3"] == 0.75
    assert metrics["NDCG@3"] == pytest.approx(0.565465, abs=1e-6)


def test_a_place_without_an_item_is_a_slot_and_nothing_else() -> None:
    scores = score([[-1, A], [B, -1]], [A, B], ks=(1, 2), histories=[[A, -1], [-1, -1]])
    assert scores.ranks.tolist() == [1, 0]
    assert scores.metrics["DivRatio@2"] == pytest.approx(2 / 4)
    assert scores.metrics["ORRatio@2"] == pytest.approx(2 / 4)
    assert scores.masses[2].tolist() == [[1, 0, 0], [0.5, 0.5, 0]]
    assert scores.metrics["Hallucination"] == 0.5
    assert scores.cases["Hallucination"].tolist() == [1, 0]


def test_an_unknown_target_never_meets_a_place_without_an_item() -> None:
    scores = score([[-1], [A]], [UNKNOWN, A])
    assert scores.ranks.tolist() == [-1, 0]
    assert scores.metrics["HR@1"] == 0.5
    assert scores.metrics["Hallucination"] == 0.5
    assert scores.metrics["DivRatio@1"] == 1


def test_a_list_may_end_after_the_largest_k() -> None:
    assert score([[A, B, -2], [C, A, B]], [B, B], ks=(2,)).ranks.tolist() == [1, 2]


def test_every_metric_of_rankings_is_computed() -> None:
    metrics = [get_metric(name) for name in score([[A]], [A]).metrics]
    assert {metric.family for metric in metrics} == {
        metric.family for metric in BUILT_IN if metric.of_rankings
    }


def test_without_tracked_categories_there_is_no_fairness() -> None:
    plain = Catalog(ids=("A",), titles=("A",), categories=((),))
    items = np.zeros((1, 1), dtype=np.int32)
    scores = evaluate(
        Ranking(items=items), targets=items[0], histories=items, catalog=plain, ks=(1,)
    )
    assert not any("GU" in name for name in scores.metrics)


lists = st.integers(1, 12).flatmap(
    lambda num_cases: st.tuples(
        hnp.arrays(np.int32, (num_cases, 4), elements=st.integers(-1, 4)),
        hnp.arrays(np.int32, (num_cases,), elements=st.integers(0, 4)),
        hnp.arrays(np.int32, (num_cases, 3), elements=st.integers(-1, 4)),
        st.permutations(range(num_cases)),
    )
)


@given(lists)
def test_the_order_of_cases_changes_nothing(
    drawn: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], list[int]],
) -> None:
    items, targets, histories, order = drawn
    one, other = (
        evaluate(
            Ranking(items=items[rows]),
            targets=targets[rows],
            histories=histories[rows],
            catalog=SHOP,
            ks=(1, 2, 4),
        )
        for rows in (list(range(len(items))), order)
    )
    assert one.metrics == pytest.approx(other.metrics, abs=1e-12)
    assert one.ranks[order].tolist() == other.ranks.tolist()
    for name, values in one.cases.items():
        assert values.mean() == pytest.approx(one.metrics[name])


@given(lists)
def test_metrics_agree_with_their_definitions(
    drawn: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], list[int]],
) -> None:
    items, targets, histories, _ = drawn
    scores = evaluate(
        Ranking(items=items), targets=targets, histories=histories, catalog=SHOP, ks=(3,)
    )
    shown = [item for row in items.tolist() for item in row[:3] if item >= 0]
    slots = 3 * len(items)
    commonest = sorted((shown.count(item) for item in set(shown)), reverse=True)
    places = [
        row.index(target) if target in row else 99
        for row, target in zip(items.tolist(), targets.tolist(), strict=True)
    ]
    assert scores.metrics["HR@3"] == pytest.approx(np.mean([place < 3 for place in places]))
    assert scores.metrics["DivRatio@3"] == pytest.approx(len(set(shown)) / slots)
    assert scores.metrics["ORRatio@3"] == pytest.approx(sum(commonest[:3]) / slots)
    assert scores.metrics["Coverage@3"] == pytest.approx(len(set(shown)) / 5)
    mass = sum((SHOP.shares[item] for item in shown), np.zeros(3))
    assert scores.masses[3].sum(axis=0) == pytest.approx(mass)


@given(st.integers(1, 50), st.integers(0, 4))
def test_identical_lists_at_one(num_cases: int, item: int) -> None:
    metrics = score([[item]] * num_cases, [A] * num_cases).metrics
    assert metrics["DivRatio@1"] == pytest.approx(1 / num_cases)
    assert metrics["ORRatio@1"] == 1


@given(st.lists(st.permutations([A, C, E]), min_size=1, max_size=20))
def test_three_items_at_most_fill_all_slots(orders: list[list[int]]) -> None:
    metrics = score(orders, [A] * len(orders), ks=(1, 2, 3)).metrics
    assert [metrics[f"ORRatio@{k}"] for k in (1, 2, 3)] == [1, 1, 1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_the_histories_own_mix_is_fair(items: list[int]) -> None:
    column = [[item] for item in items]
    metrics = score(column, items, histories=column).metrics
    assert metrics["MGU@1"] == pytest.approx(0, abs=1e-12)
    assert metrics["DGU@1"] == pytest.approx(0, abs=1e-12)


positive = hnp.arrays(np.float64, (3, 4), elements=st.floats(0.01, 100))


@given(positive, positive)
def test_fairness_of_batches(
    recommended: NDArray[np.float64], history: NDArray[np.float64]
) -> None:
    assert (mgu(recommended, history) <= dgu(recommended, history) + 1e-12).all()
    assert mgu(recommended, history) == pytest.approx(mgu(7 * recommended, history / 3))
    for row in range(3):
        pair = recommended[row], history[row]
        assert mgu(recommended, history)[row] == pytest.approx(mgu(*pair))
        assert dgu(recommended, history)[row] == pytest.approx(dgu(*pair))
    assert mgu(recommended, history[0]).shape == (3,)


def test_no_recommended_mass_is_as_far_as_the_histories_shares() -> None:
    assert group_unfairness(np.zeros(2), np.array([3.0, 1.0])).tolist() == [0.75, 0.25]
    assert mgu(np.zeros(2), np.zeros(2)) == 0


counts = hnp.arrays(np.int64, (2, 3, 6), elements=st.integers(0, 9))


@given(counts)
def test_diversity_of_batches(batch: NDArray[np.int64]) -> None:
    for measure, scale in ((div_ratio, 60), (or_ratio, 60), (coverage, 8), (gini, 8)):
        values = measure(batch, scale)
        assert values.shape == (2, 3)
        single = [[float(measure(row, scale)) for row in rows] for rows in batch]
        assert values == pytest.approx(np.array(single))


@given(hnp.arrays(np.int64, 6, elements=st.integers(0, 9)).filter(np.any))
def test_gini_is_the_mean_difference(exposure: NDArray[np.int64]) -> None:
    whole = np.append(exposure, [0, 0])
    differences = np.abs(whole[:, None] - whole[None, :])
    expected = differences.sum() / (2 * len(whole) * whole.sum())
    assert gini(whole, 8) == pytest.approx(expected)
    assert gini(exposure[exposure > 0], 8) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("exposure", "num_items", "value"),
    [
        ([1, 1, 1, 1], 4, 0.0),
        ([5], 4, 0.75),
        ([1, 2, 3, 4], 4, 0.25),
        ([2, 2], 4, 0.5),
        ([0, 0], 4, 1.0),
    ],
)
def test_gini(exposure: list[int], num_items: int, value: float) -> None:
    assert gini(np.array(exposure), num_items) == pytest.approx(value)


def test_accuracy_agrees_with_ir_measures() -> None:
    ir_measures = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(7)
    items = top_items(rng.random((40, 30)), 30)
    targets = rng.integers(0, 30, 40)
    ranks = np.argmax(items == targets[:, None], axis=1)
    qrels = [ir_measures.Qrel(str(case), str(item), 1) for case, item in enumerate(targets)]
    run = [
        ir_measures.ScoredDoc(str(case), str(item), float(-place))
        for case, row in enumerate(items)
        for place, item in enumerate(row)
    ]
    for k in (1, 5, 10, 20):
        measures = {ir_measures.Success @ k: hits(ranks, k), ir_measures.nDCG @ k: ndcg(ranks, k)}
        theirs = ir_measures.calc_aggregate(list(measures), qrels, run)
        for measure, ours in measures.items():
            assert ours.mean() == pytest.approx(theirs[measure], abs=1e-12)
