"""Statistics that outlive a report: read back equal, and only for equal files and equal code."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from board_results import Line, assemble_from, make, row

from bench.errors import BenchError
from bench.hashing import checksum
from bench.report import stats_cache
from bench.report.claims.judge import claim_lines
from bench.report.stats_cache import StoredStatistics
from bench.results.load import load_results
from bench.results.schema import TABLES, find_result, table_path, write_result


@pytest.fixture
def board(tmp_path: Path) -> SimpleNamespace:
    """A mirrored table, so that both kinds of answers occur, its results with checksums."""
    results, store = tmp_path / "results", tmp_path / "store"
    store.mkdir()
    lines = [Line("BIGRec", 0.1), Line("SPRec", 0.7), Line("DMPO", 0.4, unrun=[0])]
    board, cells = make(results, lines, metrics=["HR@5", "MGU@5"], seeds=2, datasets=["ml-10m"])
    board = type(board)(name="sprec-table1", card=board.card)
    for _, trial in cells:
        if (found := find_result(results, trial.id)) is not None:
            files = {name: checksum(table_path(results, trial.id, name)) for name in TABLES}
            write_result(found.model_copy(update={"files": files}), results)
    first = assemble_from(board, cells, results, cache=StoredStatistics(store))
    return SimpleNamespace(results=results, store=store, board=board, cells=cells, first=first)


def again(board: SimpleNamespace) -> object:
    return assemble_from(
        board.board, board.cells, board.results, cache=StoredStatistics(board.store)
    )


def refuse_to_read(folder: Path, trial: str) -> None:
    raise BenchError("The table cannot be read.")


@pytest.fixture
def unreadable(board: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing can be computed from the tables."""
    monkeypatch.setattr("bench.results.load.read_cases", refuse_to_read)


def test_what_is_kept_is_equal_to_what_was_computed(board):
    assert board.first == assemble_from(board.board, board.cells, board.results)
    assert board.first.datasets[0].reproduction is not None


def test_what_is_kept_is_read_back(board, unreadable):
    assert again(board) == board.first, "read back, for nothing can be computed any more"
    kinds = [path.parent.name for path in sorted(board.store.rglob("*.json"))]
    assert kinds == ["checks", "reproduction", "verdicts", "verdicts"]


@pytest.mark.parametrize("change", ["a table", "an evaluation"])
def test_other_contents_are_other_answers(board, unreadable, change):
    trial = board.cells[0][1].id
    result = find_result(board.results, trial)
    if change == "a table":
        path = table_path(board.results, trial, "ranking")
        pq.write_table(pq.read_table(path), path, compression="gzip")
        update = {"files": result.files | {"ranking": checksum(path)}}
    else:
        final = result.evaluations["final"]
        update = {"evaluations": {"final": final.model_copy(update={"num_items": 1})}}
    write_result(result.model_copy(update=update), board.results)
    assert "cannot be read" in row(again(board), "SPRec").cell("HR@5").refusal


def test_other_code_or_libraries_are_other_answers(board, unreadable, monkeypatch):
    monkeypatch.setattr(stats_cache, "_code_and_libraries", lambda _: ("other code", "1", "2"))
    assert "cannot be read" in row(again(board), "SPRec").cell("HR@5").refusal


@pytest.mark.parametrize("content", [b"", b"{", b'{"SPRec": {"tied": 3}}', None])
def test_what_is_torn_or_edited_is_computed_and_kept_anew(board, content):
    paths = sorted((board.store / ".statistics").rglob("*.json"))
    before = [path.read_bytes() for path in paths]
    for path, text in zip(paths, before, strict=True):
        edited = text.replace(b"0", b"1").replace(b"false", b"true")
        assert edited != text
        path.write_bytes(edited if content is None else content)
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


def test_claims_are_kept_too_and_follow_the_results(board, monkeypatch):
    planned = {board.board.name: (board.board, board.cells)}

    def ask():
        return board.first, planned, load_results(board.results)

    first = claim_lines(*ask(), StoredStatistics(board.store))
    assert any(line.cells for line in first)
    monkeypatch.setattr("bench.results.load.read_cases", refuse_to_read)
    assert claim_lines(*ask(), StoredStatistics(board.store)) == first
    (board.results / f"{board.cells[2][1].id}.json").unlink()
    assert claim_lines(*ask(), StoredStatistics(board.store)) != first
