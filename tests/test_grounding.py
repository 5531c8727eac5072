"""Grounding: what counts as the written title, distances, ties, and the metrics at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate
from bench.models.lm.encode.grounding import (
    BATCH_SIZE,
    compute_distances,
    extract_title,
    ground,
    shrink_distances,
)
from bench.results.ranking_file import read_ranking, write_ranking


class Table:
    """An encoder that looks vectors up, and writes down what it was asked."""

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([self.vectors[text] for text in texts], dtype=np.float32)


LINE = Table({"A": [0], "B": [1], "C": [3], "near B": [1.4], "NAN": [-9], "": [2.5]})


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('"Emma"', "Emma"),
        ('"Emma"\n', "Emma"),
        ('you may like "Emma" or "Persuasion"', "Emma"),
        ('"Emma', "Emma"),
        ('try "Emma\nand more', "Emma\nand more"),
        ('A Child Called "It" (#1)', "It"),
        ("Emma", "Emma"),
        ("Emma\nby Jane Austen", "Emma"),
        (" Emma ", " Emma "),
        ("\nEmma", ""),
        ('""', ""),
        ('"', ""),
        ("", "NAN"),
    ],
)
def test_the_written_title(text: str, title: str) -> None:
    assert extract_title(text) == title


floats = st.floats(-100, 100, width=32)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(3)), elements=floats),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=floats),
)
def test_distances_agree_with_a_loop(
    queries: NDArray[np.float32], titles: NDArray[np.float32]
) -> None:
    found = compute_distances(queries, titles)
    assert (found.dtype, found.shape) == (np.float32, (len(queries), len(titles)))
    for row, query in zip(found, queries.astype(np.float64), strict=True):
        for value, title in zip(row, titles.astype(np.float64), strict=True):
            assert value == pytest.approx(np.sqrt(((query - title) ** 2).sum()), abs=1e-4)


def test_near_titles_stay_apart_where_single_precision_would_fail() -> None:
    titles = np.full((2, 384), 5, dtype=np.float32)
    titles[1, 0] += 0.001
    assert compute_distances(titles, titles) == pytest.approx(
        np.array([[0, 1e-3], [1e-3, 0]]), abs=2e-6
    )


def test_more_texts_than_fit_at_once() -> None:
    rng = np.random.default_rng(3)
    queries, titles = rng.random((BATCH_SIZE + 3, 4)), rng.random((5, 4))
    expected = np.linalg.norm(queries[:, None] - titles[None], axis=2)
    assert compute_distances(queries, titles) == pytest.approx(expected, abs=1e-6)
    names = [f"text {number}" for number in range(len(queries))]
    table = Table(dict(zip([*names, *"ABCDE"], [*queries.tolist(), *titles.tolist()], strict=True)))
    ranking = ground(names, "ABCDE", table, 5)
    assert ranking.items.tolist() == np.argsort(expected, axis=1).tolist()
    assert ranking.scores is not None
    assert -ranking.scores == pytest.approx(np.sort(expected, axis=1), abs=1e-6)


def test_the_nearest_title_first() -> None:
    texts = ['"near B"', '"A"\n', "", '"near B', "C", '""']
    ranking = ground(texts, ("C", "A", "B"), LINE, 2)
    assert ranking.items.tolist() == [[2, 1], [1, 2], [1, 2], [2, 1], [0, 2], [0, 2]]
    assert ranking.texts == tuple(texts)
    assert ranking.valid is not None
    assert ranking.valid.tolist() == [False, True, False, False, True, False]


def test_every_text_is_encoded_once_and_a_title_never_again() -> None:
    table = Table(LINE.vectors)
    ground(['"near B"', "near B", '"A"', '"A"', "B"], ("A", "B", "A"), table, 1)
    assert sorted(table.asked) == ["A", "B", "near B"]
    table.asked.clear()
    vectors = np.array([[0], [1], [0]], dtype=np.float32)
    ranking = ground(['"near B"', '"A"'], ("A", "B", "A"), table, 3, vectors)
    assert table.asked == ["near B"]
    assert ranking.items.tolist() == [[1, 0, 2], [0, 2, 1]]


def test_ties_are_stable() -> None:
    # A stands three times; D, on the other side, is as near.
    table = Table({"A": [0, 0.2], "D": [0, -0.2], "far": [9, 9], "text": [0, 0]})
    ranking = ground(["text"], ("far", "D", "A", "A", "D", "A"), table, 4)
    assert ranking.items.tolist() == [[1, 2, 3, 4]]


def test_a_written_title_is_at_distance_zero() -> None:
    rng = np.random.default_rng(5)
    names = [f"title {number}" for number in range(300)]
    table = Table(dict(zip(names, (6 * rng.standard_normal((300, 384))).tolist(), strict=True)))
    ranking = ground([f'"{name}"' for name in names], names, table, 1)
    assert ranking.items[:, 0].tolist() == list(range(300))
    assert ranking.scores is not None
    assert ranking.scores == pytest.approx(np.zeros((300, 1)), abs=1e-5)


def test_refusals() -> None:
    with pytest.raises(BenchError, match="nearest 4 of 3 items"):
        ground(['"A"'], ("A", "B", "C"), LINE, 4)
    broken = Table({"A": [0], "B": [1], "x": [np.nan]})
    with pytest.raises(BenchError, match="distance that is NaN"):
        ground(["x"], ("A", "B"), broken, 1)


def test_no_texts() -> None:
    assert ground([], ("A", "B"), LINE, 2).items.shape == (0, 2)


# --- metrics ------------------------------------------------------------------------------------

DISTANCES = [
    [0.3, 0.1, 0.5, 0.9, 0.7],
    [0.2, 0.6, 0.4, 0.3, 0.5],
    [0.2, 0.9, 0.8, 0.7, 0.1],
    [0.1, 0.2, 0.3, 0.4, 0.5],
]
SHOP = Catalog(
    ids=tuple("ABCDE"),
    titles=tuple("ABCDE"),
    categories=(("g1",), ("g1", "g2"), ("g2",), (), ("g3",)),
    tracked=("g1", "g2", "g3"),
)
VECTOR_R = {
    "HR@1": 0.25, "HR@2": 0.5, "NDCG@1": 0.25, "NDCG@2": 0.407732,
    "DivRatio@1": 1.0, "DivRatio@2": 0.666667, "ORRatio@1": 1.0, "ORRatio@2": 0.833333,
    "GU[g1]@1": 0.083333, "GU[g2]@1": 0.25, "GU[g3]@1": 0.166667,
    "GU[g1]@2": 0.283333, "GU[g2]@2": 0.316667, "GU[g3]@2": 0.033333,
    "MGU@1": 0.166667, "MGU@2": 0.211111, "DGU@1": 0.416667, "DGU@2": 0.6,
}  # fmt: skip


def test_vector_r_from_texts_to_metrics() -> None:
    # No points lie at just these distances (A and B would be at most .4 and at least .7 apart), but
    # |text - title|² = |text|² + 1 + 2 d is in the same order: titles are axes, texts are -d.
    titles = dict(zip("ABCDE", np.eye(5).tolist(), strict=True))
    texts = {f"text {row}": [-d for d in part] for row, part in enumerate(DISTANCES)}
    ranking = ground([f'"{text}"' for text in texts], SHOP.titles, Table({**titles, **texts}), 2)
    metrics = evaluate(
        ranking,
        targets=np.array([1, 4, 0, -1]),
        histories=np.array([[0, 1], [2, -1], [3, 4], [1, 1]]),
        catalog=SHOP,
        ks=(1, 2),
    ).metrics
    assert {name: metrics[name] for name in VECTOR_R} == pytest.approx(VECTOR_R, abs=1e-6)
    assert metrics["Hallucination"] == 1


def test_an_invented_title_is_hallucinated_though_an_item_stands_in_for_it(tmp_path: Path) -> None:
    ranking = ground(['"near B"', '"A"', "", '"C"'], SHOP.titles[:3], LINE, 1)
    write_ranking(ranking, tmp_path)
    stored = read_ranking(tmp_path)
    for lists in (ranking, stored):
        scores = evaluate(
            lists,
            targets=np.array([1, 0, 1, 2]),
            histories=np.zeros((4, 1), dtype=np.int32),
            catalog=SHOP,
            ks=(1,),
        )
        assert scores.cases["Hallucination"].tolist() == [1, 0, 1, 0]
        assert scores.metrics["HR@1"] == 0.75
    assert stored.texts == ranking.texts


def test_marks_do_not_hide_a_place_without_an_item() -> None:
    items = np.array([[-1], [0], [0]], dtype=np.int32)
    marks = np.array([True, True, False])
    scores = evaluate(
        Ranking(items=items, valid=marks),
        targets=np.zeros(3, dtype=np.int32),
        histories=items,
        catalog=SHOP,
        ks=(1,),
    )
    assert scores.cases["Hallucination"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("marks", [np.array([True]), np.array([1, 0]), np.array([[True], [True]])])
def test_marks_that_do_not_fit(marks: NDArray[np.bool_]) -> None:
    with pytest.raises(BenchError, match="has 2 cases, but `valid` has shape"):
        Ranking(items=np.zeros((2, 1), dtype=np.int32), valid=marks)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [(0, [0, 1, 0.666667]), (1, [0, 0.5, 0.533333]), (3, [0, 0.125, 0.341333])],
)
def test_preferred_items_are_drawn_nearer(gamma: float, expected: list[float]) -> None:
    near, liked = np.array([[0.2, 0.5, 0.4]]), np.array([[0, 1, 0.25]])
    assert shrink_distances(near, liked, gamma)[0] == pytest.approx(expected, abs=1e-6)


@given(
    hnp.arrays(np.float64, (2, 5), elements=st.floats(0, 9), unique=True),
    hnp.arrays(np.float64, (2, 5), elements=st.floats(0, 1)),
    st.floats(0, 50),
)
def test_the_nearest_item_stays_the_first(
    near: NDArray[np.float64], liked: NDArray[np.float64], gamma: float
) -> None:
    adjusted = shrink_distances(near, liked, gamma)
    rows = np.arange(len(near))
    assert (adjusted[rows, near.argmin(axis=1)] == 0).all()
    assert (adjusted >= 0).all()
    if gamma == 0:
        assert (np.diff(np.take_along_axis(adjusted, near.argsort(axis=1), axis=1)) >= 0).all()


def test_cases_of_one_text_may_be_drawn_apart() -> None:
    # B, at distance 1 from A, is liked by the second case alone; C is at 3.
    liked = np.array([[0, 0, 1], [0, 1, 0]])

    def adjust(rows: NDArray[np.int64], far: NDArray[np.floating]) -> NDArray[np.floating]:
        return shrink_distances(far, liked[rows], 2)

    found = ground(['"A"', '"A"'], ["A", "B", "C"], LINE, 3, adjust=adjust)
    assert found.items.tolist() == [[0, 2, 1], [0, 1, 2]]
    assert found.scores is not None
    assert found.scores.tolist() == pytest.approx(np.array([[0, -1 / 4, -1 / 3], [0, -1 / 12, -1]]))
