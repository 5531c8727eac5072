"""Item-ID methods without training, and lists without the items of the history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Bench
from hypothesis import given
from hypothesis import strategies as st

from bench.config.cards import Split
from bench.config.plugins import method_module
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.data.ranking import LIST_ENDS, Ranking, remove_items
from bench.data.split import make_samples
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.results.load import load_results
from bench.stages.reorder import shuffle_histories

ease, itemknn, markov, transitiongraph = map(
    method_module, ("ease", "itemknn", "markov", "transitiongraph")
)

CATALOG = Catalog(
    ids=tuple("abcd"), titles=("x one", "x two", "y", "z"), categories=(("k",), ("k",), (), ())
)
TRAIN = Windows(
    users=np.array([0, 0, 1], dtype=np.int32),
    histories=np.array([[0, -1], [0, 1], [0, 3]], dtype=np.int32),
    targets=np.array([1, 2, 1], dtype=np.int32),
)
"""User 0: a b c (as two overlapping windows); user 1: a d b."""


def test_itemknn_is_the_shrunk_cosine_of_sessions_weighted_by_recency() -> None:
    score = itemknn.fit(TRAIN, CATALOG, session="user", decay=0.5, shrinkage=1.0)
    (scores,) = score(np.array([[2, 1, -1]], dtype=np.int32))
    cosine_ab, cosine_bc, cosine_ac = 2 / (2 + 1), 1 / (2**0.5 + 1), 1 / (2**0.5 + 1)
    assert scores[0] == pytest.approx(cosine_ab + 0.5 * cosine_ac)
    assert scores[1] == pytest.approx(0.5 * cosine_bc), "no item resembles itself"
    by_window = itemknn.fit(TRAIN, CATALOG, session="window", decay=0.5, shrinkage=0.0)
    assert by_window(np.array([[1]], dtype=np.int32))[0, 0] == pytest.approx(3 / 3), "a in all 3"


def test_markov_backs_off_to_popularity() -> None:
    score = markov.fit(TRAIN, CATALOG, backoff=3.0)
    known, unknown = score(np.array([[0], [2]], dtype=np.int32))
    # After a: b once (user 0, in both windows) and d once; targets are b, c, b.
    assert known == pytest.approx(np.array([0, 1 + 2, 1, 1]) / (2 + 3))
    assert unknown == pytest.approx(np.array([0, 2, 1, 0]) / 3), "nothing follows c"
    assert score(np.full((1, 2), -1, dtype=np.int32)).sum() == pytest.approx(1)


def test_transition_graph_walks_two_steps_and_weighs_features() -> None:
    settings = {"previous": 0.5, "second_step": 0.1, "features": 0.0}
    (scores,) = transitiongraph.fit(TRAIN, CATALOG, **settings)(
        np.array([[3, 0, -1]], dtype=np.int32)
    )
    # From a: b 1/2, d 1/2; two steps: c 1/2 by b, b 1/2 by d. From d: b 1; two steps: c 1.
    first = np.array([0, 0.5 + 0.1 * 0.5, 0.1 * 0.5, 0.5])
    assert scores == pytest.approx(first + 0.5 * np.array([0, 1, 0.1, 0]))
    settings["features"] = 1.0
    (scored,) = transitiongraph.fit(TRAIN, CATALOG, **settings)(np.array([[0]], dtype=np.int32))
    assert scored[1] / first[1] > 1.1 > scored[3] / first[3] == 1, "b shares a word and a category"


def test_ease_is_ridge_regression_of_each_item_on_the_others() -> None:
    rng = np.random.default_rng(0)
    train = Windows(
        users=np.arange(60, dtype=np.int32),
        histories=rng.permuted(np.tile(np.arange(4, dtype=np.int32), (60, 1)), axis=1)[:, :2],
        targets=rng.integers(4, size=60, dtype=np.int32),
    )
    weights = ease.fit(train, CATALOG, l2=2.0, decay=1.0, max_items=4)(
        np.arange(4, dtype=np.int32)[:, None]
    )
    sessions = np.zeros((60, 4))
    rows = np.arange(60)[:, None]
    sessions[rows, np.column_stack([train.histories, train.targets])] = 1
    for item in range(4):
        others = np.delete(sessions, item, axis=1)
        ridge = np.linalg.solve(others.T @ others + 2.0 * np.eye(3), others.T @ sessions[:, item])
        assert np.delete(weights[:, item], item) == pytest.approx(ridge)
        assert weights[item, item] == 0
    with pytest.raises(BenchError, match="max_items"):
        ease.fit(train, CATALOG, l2=2.0, decay=1.0, max_items=3)


@given(
    st.lists(st.permutations(range(6)), min_size=1, max_size=4),
    st.data(),
)
def test_removing_items_keeps_the_order_of_the_others(
    lists: list[list[int]], data: st.DataObject
) -> None:
    excluded = data.draw(
        st.lists(
            st.lists(st.integers(-1, 5), min_size=3, max_size=3),
            min_size=len(lists),
            max_size=len(lists),
        )
    )
    scores = -np.tile(np.arange(6.0), (len(lists), 1))
    shorter = remove_items(
        Ranking(items=np.array(lists, dtype=np.int32), scores=scores), np.array(excluded)
    )
    assert shorter.scores is not None
    for row, (items, gone) in enumerate(zip(lists, excluded, strict=True)):
        left = [item for item in items if item not in gone]
        assert shorter.items[row].tolist() == left + [LIST_ENDS] * (6 - len(left))
        assert shorter.scores[row, : len(left)].tolist() == [-float(items.index(i)) for i in left]


METHODS = ("itemknn", "markov", "popularity")


def run_on(bench: Bench, *words: str) -> dict[str, float]:
    """Run the methods on all rows; return HR@5 by method."""
    methods = [word for name in METHODS for word in ("--method", name)]
    done = bench("run", *methods, "--rows", "all", "--seeds", "1", "--executor", "inline", *words)
    assert done.code == 0, done.err
    return {
        result.method: result.evaluations["final"].metrics["HR@5"]
        for result in load_results("results")
    }


def test_a_board_without_seen_items_has_its_own_results(bench: Bench) -> None:
    seen = run_on(bench, "--dataset", "synthetic")
    assert run_on(bench, "--dataset", "synthetic", "--exclude-seen") != seen
    assert len(load_results("results")) == 2 * len(METHODS), "results of both protocols coexist"
    pages = [path.read_text() for path in Path(".bench/pages").glob("*/README.md")]
    assert sorted("removed from every list" in page for page in pages) == [False, True]
    assert sorted("stay in the lists" in page for page in pages) == [False, True]


def test_simple_methods_on_all_rows_of_movielens(bench: Bench, shared_data: Path) -> None:
    hits = run_on(bench, "--dataset", "ml-100k", "--data-dir", str(shared_data / "ml-100k"))
    expected = {"itemknn": 0.0625, "markov": 0.0508, "popularity": 0.0180}
    assert hits == pytest.approx(expected, abs=5e-4)


def test_a_floor_is_added_to_what_is_run(bench: Bench) -> None:
    words = ["run", "--method", "popularity", "--dataset", "synthetic", "--rows", "train=8"]
    words += ["--seeds", "1", "--executor", "inline"]
    bench(*words)
    assert bench(*words, "--floor", "itemknn").code == 0
    pages = Path(".bench/pages")
    without = pages / "popularity-on-synthetic-seeds-1-train-8" / "README.md"
    assert "(bench run --floor itemknn adds one)" in without.read_text()
    added = pages / "popularity-on-synthetic-floor-itemknn-seeds-1-train-8" / "README.md"
    assert "the floor, itemknn (floor) on all training rows (" in added.read_text()
    limits = {result.method: result.rows["train"] for result in load_results("results")}
    assert limits == {"popularity": 8, "itemknn": None}
    assert "no method named 'itemk'" in bench(*words, "--floor", "itemk").err


# --- order test ---------------------------------------------------------------------------------

LOG = [(0, item, time) for item, time in enumerate((1, 2, 2, 2, 3, 4))] + [
    (1, item, time) for item, time in enumerate((1, 1, 5, 6))
]


@given(st.sampled_from(["ties", "all"]), st.integers(0, 5))
def test_only_the_histories_of_test_cases_are_shuffled(within: str, seed: int) -> None:
    users, items, times = map(np.array, zip(*LOG, strict=True))
    split = Split(history=4, min_history=1, ratios=(1, 1, 2))
    samples = make_samples(users.astype(np.int32), times.astype(np.int64), split)
    source = Prepared(
        catalog=CATALOG, user_ids=("u", "v"), users=users.astype(np.int32),
        items=items.astype(np.int32), ratings=np.full(len(LOG), np.nan, np.float32),
        times=times.astype(np.int64), history=4, **vars(samples),
    )  # fmt: skip
    shuffled = shuffle_histories(source, within, seed)  # type: ignore[arg-type]
    assert (np.diff(shuffled.users) >= 0).all()
    for number in range(len(source.target)):
        (before,), (after,) = (
            [[*window.histories[0], window.targets[0]]]
            for window in (source.windows([number]), shuffled.windows([number]))
        )
        if number not in source.sample_range("test"):
            assert before == after
        assert (sorted(before), before[-1]) == (sorted(after), after[-1])
        times_after = shuffled.times[shuffled.start[number] : shuffled.target[number]]
        assert within == "all" or (np.diff(times_after) >= 0).all()


def test_the_order_test_compares_each_row_with_its_shuffled_histories(bench: Bench) -> None:
    done = bench(
        "run", "--method", "markov", "--method", "popularity", "--dataset", "synthetic",
        "--seeds", "1", "--order-test", "--executor", "inline",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "6 trials ok" in done.out
    results = list(load_results("results"))
    popularity, markov = (
        {each.evaluations["final"].metrics["NDCG@20"] for each in results if each.method == name}
        for name in ("popularity", "markov")
    )
    assert len(popularity) == 1, "popularity does not look at histories"
    assert len(markov) > 1, "the last item decides"
    assert len({r.data.fingerprint for r in results if r.data}) == 1
