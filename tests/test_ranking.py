"""Rankings: made from distances, checked when built, checked against their cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking, top_items
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate

SHOP = Catalog(ids=("A", "B", "C"), titles=("A", "B", "C"), categories=((), (), ()))
A, B, C = range(3)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(1, 12)),
        elements=st.sampled_from([0.0, -0.0, 0.5, 1.0, np.inf]),
    ),
    st.integers(1, 12),
)
def test_top_items_is_a_stable_sort_cut_short(distances: NDArray[np.float32], depth: int) -> None:
    depth = min(depth, distances.shape[1])
    expected = np.argsort(distances, axis=1, kind="stable")[:, :depth]
    found = top_items(distances, depth)
    assert found.dtype == np.int32
    assert found.tolist() == expected.tolist()


def test_top_items_refuses() -> None:
    with pytest.raises(BenchError, match="Case 1 has a distance that is NaN"):
        top_items(np.array([[0.0, 1.0], [0.0, np.nan]]), 1)
    for depth in (0, 3):
        with pytest.raises(BenchError, match=f"the nearest {depth} of 2 items"):
            top_items(np.zeros((1, 2)), depth)


@pytest.mark.parametrize(
    ("items", "targets", "ks", "sentence"),
    [
        ([[A, B], [A, -2]], [A, A], (1, 2), "The list of case 1 has 1 items, fewer than k=2."),
        ([[A, B]], [A], (3,), "The list of case 0 has 2 items, fewer than k=3."),
        ([[A]], [A], (), "Metrics at k = [] are not defined."),
        ([[A]], [A], (0, 1), "Metrics at k = [0, 1] are not"),
        ([[A]], [A, A], (1,), "The ranking has 1 lists for 2 test cases."),
        ([[A], [B]], [-1, -1], (1,), "No case has a target in the catalog."),
        ([[A], [3]], [A, A], (1,), "The list of case 1 has an item index outside the"),
        ([[A], [-3]], [A, A], (1,), "The list of case 1 has an item index outside the"),
        ([[A, -2, B]], [A], (1,), "The list of case 0 continues after its end."),
    ],
)
def test_evaluate_refuses(
    items: list[list[int]], targets: list[int], ks: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(BenchError) as caught:
        evaluate(
            Ranking(items=np.array(items, dtype=np.int32)),
            targets=np.array(targets),
            histories=np.array([[A]] * len(targets)),
            catalog=SHOP,
            ks=ks,
        )
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


def test_no_cases_are_refused() -> None:
    empty = np.zeros((0, 1), dtype=np.int32)
    with pytest.raises(BenchError, match="There are no cases to score"):
        evaluate(Ranking(items=empty), targets=empty[:, 0], histories=empty, catalog=SHOP, ks=(1,))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_are_finite(broken: float) -> None:
    items = np.array([[A, B], [A, -2], [A, B]], dtype=np.int32)
    scores = np.zeros((3, 2))
    scores[1, 1] = broken
    assert len(Ranking(items=items, scores=scores)) == 3
    scores[2, 1] = broken
    with pytest.raises(BenchError, match=r"^Case 2 has a score that is not a finite number\.$"):
        Ranking(items=items, scores=scores)


def test_a_ranking_has_one_shape() -> None:
    items = np.zeros((2, 3), dtype=np.int32)
    with pytest.raises(BenchError, match="items of shape"):
        Ranking(items=items, scores=np.zeros((2, 2)))
    with pytest.raises(BenchError, match="2 cases and 1 texts"):
        Ranking(items=items, texts=("one",))
    with pytest.raises(BenchError, match="type float64"):
        Ranking(items=np.zeros((2, 3)))  # type: ignore[arg-type]
