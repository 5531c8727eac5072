"""Seeds are added until each row is within the bound of its reference or beyond it."""

from __future__ import annotations

import pytest
from conftest import Bench

from bench.report.adaptive_seeds import decide, list_looks


def test_looks_grow_by_half_up_to_the_maximum() -> None:
    assert list_looks(2, 10) == [2, 3, 4, 6, 9, 10]
    assert list_looks(5, 3) == [5]


@pytest.mark.parametrize(
    ("p", "num_looks", "within"),
    [(0.01, 5, True), (0.011, 5, None), (0.011, 1, True), (0.991, 5, False), (None, 1, None)],
)
def test_each_look_has_its_part_of_the_level(p: float | None, num_looks: int, within: bool) -> None:
    assert decide(p, num_looks) is within


@pytest.mark.parametrize(
    ("bound", "num_seeds", "words"),
    [
        ("0.9", 2, "by less than 0.9."),
        ("0.53", 3, "(undecided)"),
        ("0.01", 2, "by more than 0.01."),
    ],
)
def test_a_run_stops_once_all_rows_are_decided(
    bench: Bench, bound: str, num_seeds: int, words: str
) -> None:
    done = bench(
        "run", "--method", "markov", "--method", "random", "--dataset", "synthetic",
        "--executor", "inline", "--seeds", "2",
        "--until-decided", f"NDCG@5={bound}", "--max-seeds", "3",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert words in done.out
    assert f"\n{num_seeds} seeds; decisions have the level 0.05 per row" in done.out
    assert ("†−≡" in done.out) == (bound == "0.9")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-seeds", "3"), "--max-seeds is for --until-decided"),
        (("--until-decided", "0.01"), "metric"),
        (("--until-decided", "NDCG@5=-1"), "bound above 0"),
    ],
)
def test_wrong_bounds_are_refused(bench: Bench, words: tuple[str, ...], message: str) -> None:
    done = bench("run", "--method", "random", "--dataset", "synthetic", *words)
    assert done.code == 2
    assert message in done.err
