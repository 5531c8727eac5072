"""MAP and NDCG of labeled lists: the worked tables, a plain loop, switches."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.metrics.rerank import (
    average_precision,
    ndcg_of_labels,
    sort_labels,
    standard_average_precision,
)

FIRST = [0, 1, 0, 1, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "k", "precision", "gain"),
    [
        (FIRST, 1, 0, 0),
        (FIRST, 3, 0.5, 0.296082),
        (FIRST, 5, 0.533333, 0.565450),
        (FIRST, 7, 0.533333, 0.565450),
        (FIRST, 10, 0.5, 0.678295),
        ([0, 0, 0, 0, 0, 1, 1, 0, 0, 0], 5, 0, 0),
        ([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], 5, 1, 1),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5, 1, 0.613147),
        ([0] * 10, 5, 0, 0),
    ],
)
def test_the_worked_table(labels: list[int], k: int, precision: float, gain: float) -> None:
    row = np.array([labels])
    assert average_precision(row, k)[0] == pytest.approx(precision, abs=1e-6)
    assert ndcg_of_labels(row, k)[0] == pytest.approx(gain, abs=1e-6)


def test_two_lists_together_and_ties() -> None:
    labels = np.array([FIRST, [0] * 10])
    falling = np.tile(np.arange(10.0, 0, -1), (2, 1))
    both = evaluate_lists(falling, labels, ks=[5])
    assert both.metrics["MAP@5"] == pytest.approx(0.266667, abs=1e-6)
    assert both.metrics["NDCG@5"] == pytest.approx(0.282725, abs=1e-6)
    assert both.metrics["ListCap"] == 0.5
    tied = evaluate_lists(np.zeros((1, 10)), labels[:1], ks=[5])
    assert tied.metrics["MAP@5"] == pytest.approx(0.533333, abs=1e-6)
    assert tied.metrics["NDCG@5"] == pytest.approx(0.565450, abs=1e-6)
    oracle = evaluate_lists(labels.astype(float), labels, ks=[5])
    assert oracle.metrics["MAP@5"] == oracle.metrics["NDCG@5"] == oracle.metrics["ListCap"]


@pytest.mark.parametrize(
    ("positives", "precision", "gain"),
    [
        (0, 0, 0),
        (1, 0.228333, 0.294846),
        (2, 0.385370, 0.361568),
        (3, 0.497847, 0.415095),
        (4, 0.584861, 0.460408),
    ],
)
def test_the_mean_over_all_orders(positives: int, precision: float, gain: float) -> None:
    rows = np.zeros((math.comb(10, positives), 10), dtype=np.int8)
    for row, chosen in zip(rows, combinations(range(10), positives), strict=True):
        row[list(chosen)] = 1
    assert average_precision(rows, 5).mean() == pytest.approx(precision, abs=1e-6)
    assert ndcg_of_labels(rows, 5).mean() == pytest.approx(gain, abs=1e-6)


def plainly(scores: list[float], labels: list[int], k: int) -> dict[str, float]:
    """The definitions, written out for one list."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    result, best = [labels[place] for place in order], sorted(labels, reverse=True)
    length = min(k, len(labels))
    dcg, ideal = (
        sum((2 ** row[i] - 1) / math.log2(i + 2) for i in range(length)) for row in (result, best)
    )
    hits, summed = 0, 0.0
    for i in range(length):
        if result[i]:
            hits += 1
            summed += hits / (i + 1)
    return {
        f"NDCG@{k}": dcg / ideal if ideal else 0.0,
        f"MAP@{k}": summed / hits if hits else 0.0,
        f"MAPstd@{k}": summed / min(k, sum(labels)) if sum(labels) else 0.0,
        f"CLICK@{k}": float(hits),
    }


lists = st.lists(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.integers(0, 1)), min_size=6, max_size=6
    ),
    min_size=1,
    max_size=12,
)


@given(lists, st.lists(st.integers(1, 8), min_size=1, max_size=3))
def test_every_measure_equals_a_plain_loop(
    made: list[list[tuple[float, int]]], ks: list[int]
) -> None:
    table = np.array(made)
    scores, labels = table[:, :, 0], table[:, :, 1].astype(np.int64)
    result = evaluate_lists(scores, labels, ks=ks)
    rows = [
        {name: value for k in ks for name, value in plainly(list(s), list(y), k).items()}
        for s, y in zip(scores, labels.tolist(), strict=True)
    ]
    for name in rows[0]:
        column = np.array([row[name] for row in rows])
        np.testing.assert_allclose(result.lists[name], column, atol=1e-12)
        assert result.metrics[name] == pytest.approx(column.mean())
    assert len(result.lists) == len(set(ks)) * 4 + 1
    assert result.lists["ListCap"].tolist() == (labels.sum(axis=1) > 0).tolist()


def test_the_standard_form_counts_all_positives() -> None:
    row = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 1]])
    assert standard_average_precision(row, 5)[0] == 0.5
    assert average_precision(row, 5)[0] == 1.0


def test_equal_scores_keep_the_given_order() -> None:
    labels = np.array([[1, 2, 3, 4]])
    assert sort_labels(np.array([[0.0, 1, 0, 1]]), labels).tolist() == [[2, 4, 1, 3]]


@pytest.mark.parametrize(
    ("scores", "ks", "message"),
    [
        (np.zeros((1, 3)), [5], "shape"),
        (np.full((1, 4), np.nan), [5], "not a finite number"),
        (np.zeros((1, 4)), [0], "k ="),
        (np.zeros((1, 4)), [], "k ="),
    ],
)
def test_what_cannot_be_scored_is_refused(
    scores: NDArray[np.float64], ks: list[int], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        evaluate_lists(scores, np.zeros((1, 4), dtype=np.int8), ks=ks)
