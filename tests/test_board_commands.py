"""Boards while a run goes on: `status`, `serve`, and rows that cannot be planned any more."""

from __future__ import annotations

import dataclasses
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from board_results import Line, assemble_from, make, row, write
from typer.testing import CliRunner

from bench.cli import status
from bench.config.request import STORE, RunRequest
from bench.errors import BenchError
from bench.hashing import checksum
from bench.plan.board_selection import (
    plan_boards,
    select_boards,
)
from bench.plan.trials import Board, BoardSelection, Trial
from bench.report import significance
from bench.report.block_tests import compare_block
from bench.report.format import format_seconds
from bench.report.page_server import LivePages, make_server
from bench.report.significance import StatisticsCache
from bench.results.run_records import record_boards
from bench.results.schema import find_result, table_path, write_result


def failed(folder: Path, trial: str) -> None:
    content = json.loads((folder / f"{trial}.json").read_text())
    (folder / f"{trial}.json").write_text(
        json.dumps(content | {"status": "failed", "reason": "no <b>room</b>", "evaluations": {}})
    )


@pytest.fixture
def run(tmp_path: Path) -> SimpleNamespace:
    """The smoke board: Random and Popularity done, SASRec not; one seed of Random failed."""
    selection = select_boards(RunRequest(board="smoke"))
    record_boards(selection, tmp_path)
    ((board, cells),) = plan_boards(selection, lenient=True)
    lines = {"Random": Line("Random", 0.1), "Popularity": Line("Popularity", 0.6)}
    for line, trial in cells:
        if line.name in lines:
            write(tmp_path, trial, lines[line.name])
    failed(tmp_path, cells[1][1].id)
    return SimpleNamespace(folder=tmp_path, board=board, cells=cells, selection=selection)


def call(command: Callable[..., None], *words: str) -> str:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_status_counts_what_is_done_failed_and_missing(run):
    text = call(status.status, "--results", str(run.folder))
    assert "3 of 6 trials (1 failed, 2 not run)" in text
    lines = {line.split()[1]: line for line in text.splitlines() if "/2" in line}
    assert lines["Random"].split()[2:] == ["1/2", "1", "failed"]
    assert lines["SASRec"].split()[2:] == ["0/2", "2", "not", "run"]
    assert "! Random on Synthetic, failed, seed 1: no <b>room</b>" in text
    assert "! SASRec" not in text
    (board,) = json.loads(call(status.status, "--results", str(run.folder), "--json"))["boards"]
    assert board["trials"] == {"ok": 3, "failed": 1, "skipped": 0, "not_run": 2}
    assert [one["status"] for one in board["rows"][0]["trials"]] == ["ok", "failed"]


def test_status_of_a_board_that_never_ran(tmp_path):
    text = call(status.status, "--board", "smoke", "--results", str(tmp_path))
    assert "0 of 6 trials (6 not run)" in text


@pytest.fixture
def served(run: SimpleNamespace) -> Iterator[SimpleNamespace]:
    pages = LivePages(RunRequest(), run.folder, STORE)
    assert pages.refresh()
    server = make_server(pages, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run.pages, run.port = pages, server.server_address[1]
    run.host = server.server_address[0]
    yield run
    server.shutdown()
    server.server_close()


def fetch(run: SimpleNamespace, path: str, method: str = "GET", **headers: str):
    request = urllib.request.Request(
        f"http://127.0.0.1:{run.port}{path}", method=method, headers=headers
    )
    return urllib.request.urlopen(request, timeout=10)


def test_pages_are_served_on_loopback_and_follow_the_results(served):
    assert served.host == "127.0.0.1"
    index = fetch(served, "/").read().decode()
    assert 'href="smoke/index.html"' in index
    first = fetch(served, "/smoke/index.html")
    assert "2 not run" in first.read().decode()
    assert fetch(served, "/smoke/index.html", "HEAD").headers["ETag"] == first.headers["ETag"]
    assert not served.pages.refresh(), "nothing has changed"
    write(served.folder, served.cells[-1][1], Line("SASRec", 0.5))
    assert served.pages.refresh()
    second = fetch(served, "/smoke/")
    assert second.headers["ETag"] != first.headers["ETag"]
    assert "1 not run" in second.read().decode()


def test_served_pages_may_only_ask_whether_they_changed(served):
    page = fetch(served, "/smoke/index.html").read().decode()
    assert page.count("connect-src 'self'") == 1
    assert page.count("<script>") == 2
    assert fetch(served, "/smoke/table.csv").headers["Content-Type"].startswith("text/csv")


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/%2e%2e/x", "/smoke"])
def test_nothing_else_is_served(served, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(served, path)
    assert refused.value.code == 404


def test_another_name_for_this_machine_is_refused(served):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(served, "/", Host="evil.example")
    assert refused.value.code == 403


def test_a_taken_port_is_a_sentence(served):
    with pytest.raises(BenchError, match="cannot be used"):
        make_server(served.pages, served.port)


def test_an_empty_folder_cannot_be_served(tmp_path):
    with pytest.raises(BenchError, match="There are no results"):
        LivePages(RunRequest(), tmp_path, STORE).refresh()


def gone(selection: BoardSelection) -> BoardSelection:
    (board,) = selection.boards
    lost = board.card.rows[2].model_copy(update={"method": "sasrek"})
    card = board.card.model_copy(update={"rows": (*board.card.rows[:2], lost)})
    return dataclasses.replace(selection, boards=(Board(name=board.name, card=card),))


def test_a_method_that_is_gone_costs_its_row_only(run):
    ((board, cells),) = plan_boards(gone(run.selection), lenient=True)
    table = assemble_from(board, cells, run.folder)
    cell = row(table, "SASRec").cell("HR@5")
    assert (cell.status, cell.mean) == ("failed", None)
    assert "There is no method named 'sasrek'. Did you mean 'sasrec'?" in cell.reason
    assert row(table, "Popularity").cell("HR@5").mean is not None
    assert [line.name for line, _ in cells] == [
        name for name in ("Random", "Popularity", "SASRec") for _ in range(2)
    ]


def test_settings_for_other_methods_do_not_cost_a_row(run):
    chosen = dataclasses.replace(gone(run.selection), settings=("popularity.nothing=1",))
    with pytest.raises(BenchError):
        plan_boards(chosen)
    ((_, planned),) = plan_boards(chosen, lenient=True)
    problems = {line.name: trial.problem for line, trial in planned}
    assert not problems["Random"]
    assert "nothing" in problems["Popularity"]


def test_a_mistake_in_the_selection_itself_is_raised(run):
    board = run.selection.boards[0]
    card = board.card.model_copy(update={"budget": "nanno"})
    chosen = dataclasses.replace(run.selection, boards=(Board(name=board.name, card=card),))
    with pytest.raises(BenchError, match="nanno"):
        plan_boards(chosen, lenient=True)


def test_a_result_in_the_wrong_place_is_refused(tmp_path):
    board, cells = make(tmp_path, [Line("Base", 0.1), Line("Other", 0.6)], seeds=1)
    source, target = (tmp_path / f"{trial.id}.json" for _, trial in cells)
    target.write_bytes(source.read_bytes())
    cell = row(assemble_from(board, cells, tmp_path), "Other").cell("HR@5")
    assert cell.status == "failed"
    assert "is the result of another trial" in cell.reason


def test_two_results_for_one_cell_are_refused_and_named(tmp_path):
    board, cells = make(tmp_path, [Line("Base", 0.1), Line("Twice", 0.6)], seeds=1)
    line, trial = cells[1]
    other = dataclasses.replace(trial, settings={"row": "Twice", "epochs": 2})
    write(tmp_path, other, Line("Twice", 0.9))
    table = assemble_from(board, [*cells, (line, other)], tmp_path)
    cell = row(table, "Twice").cell("HR@5")
    assert (cell.status, cell.mean, cell.expected_seeds) == ("failed", None, 1)
    assert trial.id in cell.reason
    assert other.id in cell.reason
    assert row(table, "Base").cell("HR@5").mean is not None


def test_statistics_of_equal_files_are_computed_once(tmp_path, monkeypatch):
    board, cells = make(tmp_path, [Line("Base", 0.1), Line("Good", 0.7)], metrics=["HR@5"])
    tests: list[str] = []

    def count(metric: str, *samples: Any, **options: Any) -> Any:
        tests.append(metric)
        return compare_block(metric, *samples, **options)

    def seal(trial: Trial) -> None:
        files = {
            name: checksum(table_path(tmp_path, trial.id, name)) for name in ("cases", "ranking")
        }
        result = find_result(tmp_path, trial.id)
        write_result(result.model_copy(update={"files": files}), tmp_path)

    monkeypatch.setattr(significance, "compare_block", count)
    for _, trial in cells:
        seal(trial)
    memory: StatisticsCache = {}
    first = assemble_from(board, cells, tmp_path, cache=memory)
    assert tests == ["HR@5"]
    assert assemble_from(board, cells, tmp_path, cache=memory) == first
    assert tests == ["HR@5"]
    write(tmp_path, cells[0][1], Line("Base", 0.3))
    seal(cells[0][1])
    assert assemble_from(board, cells, tmp_path, cache=memory) != first
    assert tests == ["HR@5", "HR@5"]


def test_results_without_checksums_are_never_remembered(tmp_path):
    board, cells = make(tmp_path, [Line("Base", 0.1), Line("Good", 0.7)], metrics=["HR@5"])
    memory: StatisticsCache = {}
    assemble_from(board, cells, tmp_path, cache=memory)
    assert not memory


def test_durations_in_words():
    assert [format_seconds(one) for one in (0.01, 0.44, 12.4, 185, 7810)] == [
        "< 0.1 s", "0.4 s", "12 s", "3 min 5 s", "2 h 10 min",
    ]  # fmt: skip


def test_titles_with_anything_in_them_stay_titles(tmp_path):
    from bench.report.render.pages import board_pages

    strange = [
        '<img src=x onerror="alert(1)">',
        "שלום \u202eevil",
        "🎬 {{ 7*7 }} {% x %}",
        "=1+1|`$",
    ]
    lines = [Line(name, 0.2 * place) for place, name in enumerate(strange, start=1)]
    table = assemble_from(*make(tmp_path, lines, title="</script><b>", seeds=1), tmp_path)
    files = {name: page.decode() for name, page in board_pages(table).items()}
    html = files["index.html"]
    assert "<img" not in html
    assert html.count("</script>") == 2, "the data's and our own"
    assert "\u202e" not in html, "it would turn round what follows"
    assert "7*7" in html
    assert "49" not in html.partition("🎬")[2][:12]
    assert "'=1+1" in files["table.csv"]
    assert "<img" not in files["README.md"]
