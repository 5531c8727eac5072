"""Statistics that outlive a report: read back equal, and only for equal files and equal code."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from board_results import Line, assemble_from, make, row

from bench.report import stats_cache
from bench.report.claims.section import claim_lines
from bench.report.stats_cache import StoredStatistics
from bench.results.load import load_results
from bench.results.schema import find_result, write_result


@pytest.fixture
def board(tmp_path: Path) -> SimpleNamespace:
    """A mirrored table, so that both kinds of answers occur, its results with checksums."""
    results, store = tmp_path / "results", tmp_path / "store"
    store.mkdir()
    lines = [Line("BIGRec", 0.1), Line("SPRec", 0.7), Line("DMPO", 0.4, unrun=[0])]
    board, cells = make(results, lines, metrics=["HR@5", "MGU@5"], seeds=2, datasets=["ml-10m"])
    board = type(board)(name="sprec-table1", card=board.card)
    for number, (_, trial) in enumerate(cells):
        if (found := find_result(results, trial.id)) is not None:
            files = {"cases": f"c{number}", "ranking": f"r{number}"}
            write_result(found.model_copy(update={"files": files}), results)
    first = assemble_from(board, cells, results, cache=StoredStatistics(store))
    return SimpleNamespace(results=results, store=store, board=board, cells=cells, first=first)


def again(board: SimpleNamespace) -> object:
    return assemble_from(
        board.board, board.cells, board.results, cache=StoredStatistics(board.store)
    )


def without_tables(board: SimpleNamespace) -> None:
    for path in board.results.rglob("*.parquet"):
        path.unlink()


def test_what_is_kept_is_equal_to_what_was_computed(board):
    assert board.first == assemble_from(board.board, board.cells, board.results)
    assert board.first.datasets[0].reproduction is not None
    without_tables(board)
    assert again(board) == board.first, "read back, for nothing can be computed any more"
    kinds = [path.parent.name for path in sorted(board.store.rglob("*.json"))]
    assert kinds == ["checks", "reproduction", "verdicts", "verdicts"]


def test_other_files_are_other_answers(board):
    without_tables(board)
    trial = board.cells[0][1].id
    result = find_result(board.results, trial)
    files = {"cases": "another", "ranking": "another"}
    write_result(result.model_copy(update={"files": files}), board.results)
    assert "cannot be read" in row(again(board), "SPRec").cell("HR@5").refusal


def test_other_code_or_libraries_are_other_answers(board, monkeypatch):
    without_tables(board)
    monkeypatch.setattr(stats_cache, "_code_and_libraries", lambda _: ("other code", "1", "2"))
    assert "cannot be read" in row(again(board), "SPRec").cell("HR@5").refusal


@pytest.mark.parametrize("content", [b"", b"{", b'{"SPRec": {"tied": 3}}'])
def test_what_is_torn_is_computed_and_kept_anew(board, content):
    paths = sorted((board.store / ".statistics").rglob("*.json"))
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.write_bytes(content)
    assert again(board) == board.first
    assert [path.read_bytes() for path in paths] == before


def test_what_could_not_be_read_back_is_not_kept(board):
    memory = StoredStatistics(board.store)
    before = sorted(board.store.rglob("*.json"))
    from bench.stats.reproduction import Order, Reproduction

    order = Order(metric="HR@5", tau=float("inf"), p=None, num_rows=2, text="")
    value = Reproduction(cells=(), columns=(), table=order)
    memory["reproduction", "x"] = value
    assert memory["reproduction", "x"] is value
    assert sorted(board.store.rglob("*.json")) == before


def test_without_a_store_nothing_is_written(board, tmp_path):
    absent = tmp_path / "absent"
    table = assemble_from(board.board, board.cells, board.results, cache=StoredStatistics(absent))
    assert table == board.first
    assert not absent.exists()


def test_a_read_only_store_keeps_nothing_and_costs_nothing(board, monkeypatch):
    def refuse(path: object, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    shutil.rmtree(board.store / ".statistics")
    monkeypatch.setattr(stats_cache, "write_atomic", refuse)
    assert again(board) == board.first


def test_claims_are_kept_too_and_follow_the_results(board):
    planned = {board.board.name: (board.board, board.cells)}

    def ask():
        return board.first, planned, load_results(board.results)

    first = claim_lines(*ask(), StoredStatistics(board.store))
    assert any(line.cells for line in first)
    without_tables(board)
    assert claim_lines(*ask(), StoredStatistics(board.store)) == first
    (board.results / f"{board.cells[2][1].id}.json").unlink()
    assert claim_lines(*ask(), StoredStatistics(board.store)) != first
