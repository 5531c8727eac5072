"""Examples in a cell's details: the first test cases in titles, and nowhere that is committed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from board_results import assemble_from
from typer.testing import CliRunner

from bench.cli import report
from bench.cli.run import run as run_command
from bench.config.request import RunRequest
from bench.data import prepared
from bench.errors import BenchError
from bench.plan.board_selection import plan_boards, select_boards
from bench.report.examples import Example, board_examples, read_examples
from bench.report.page_server import LivePages
from bench.report.render import pages
from bench.results.load import load_results
from bench.results.schema import find_result
from bench.runner.store import Store

COMMITTED = Path(__file__).parents[1] / "leaderboards"
REQUEST = RunRequest(board="smoke", methods=("Popularity",), seeds=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The smoke board's popularity row, really run."""
    folder = tmp_path_factory.mktemp("run")
    app = typer.Typer()
    app.command()(run_command)
    words = "--board smoke --method Popularity --seeds 2 --executor inline --json"
    places = {name: folder / name for name in ("store", "results", "out")}
    told = CliRunner().invoke(
        app, [*words.split(), *(word for one in places.items() for word in ("--" + one[0], one[1]))]
    )
    assert told.exit_code == 0, told.output
    ((board, cells),) = plan_boards(select_boards(REQUEST))
    return SimpleNamespace(**places, board=board, cells=cells)


def test_examples_are_the_first_cases_of_the_test_in_titles(done):
    trial = done.cells[0][1]
    result = find_result(done.results, trial.id)
    found = read_examples(result, Store(done.store))
    kinds = {stage.kind: stage.key for stage in result.stages}
    data = prepared.read(done.store / "prepare" / kinds["prepare"])
    final = trial.evaluations["final"]
    samples = prepared.load_rows(done.store / "draw" / final.inputs["cases"].key)
    titles = data.catalog.titles
    assert [one.case for one in found] == [str(sample) for sample in samples[:3]]
    for one, sample in zip(found, samples, strict=False):
        assert one.target == titles[data.items[data.target[sample]]]
        start, end = data.start[sample], data.target[sample]
        assert one.history == tuple(titles[item] for item in data.items[start:end][-10:])
        assert one.generated == ""
        assert one.top_item in titles
    assert len({one.top_item for one in found}) == 1, "popularity shows everybody the same"


def test_without_the_store_there_are_none(done, tmp_path):
    result = find_result(done.results, done.cells[0][1].id)
    assert read_examples(result, Store(tmp_path)) == ()
    bare = result.model_copy(update={"stages": []})
    assert read_examples(bare, Store(done.store)) == ()


def test_only_the_first_seed_of_a_row_tells_them(done):
    table = assemble_from(done.board, done.cells, done.results, tested=False)
    examples = board_examples(table, load_results(done.results), Store(done.store))
    assert {trial: len(cases) for trial, cases in examples.items()} == {done.cells[0][1].id: 3}


def test_pages_that_a_run_writes_have_none_and_served_ones_have(done):
    written = (done.out / done.board.page / "index.html").read_text()
    assert '"examples"' not in written
    assert "<dt>Recommended first</dt>" not in written
    shown = LivePages(REQUEST, done.results, done.store)
    assert shown.refresh()
    page = shown.content[f"{done.board.page}/index.html"].decode()
    assert page.count("<dt>Recommended first</dt>") == 3
    title = read_examples(find_result(done.results, done.cells[0][1].id), Store(done.store))[0]
    assert title.target in page


def test_a_report_writes_them_where_asked_but_never_into_a_repository(done, tmp_path):
    app = typer.Typer()
    app.command()(report.report)
    words = ["--board", "smoke", "--method", "Popularity", "--seeds", "2", "--examples"]
    places = ["--results", str(done.results), "--store", str(done.store)]
    inside = tmp_path / "repository"
    (inside / ".git").mkdir(parents=True)
    refused = CliRunner().invoke(app, [*words, *places, "--out", str(inside / "leaderboards")])
    assert isinstance(refused.exception, BenchError)
    assert "git repository" in refused.exception.message
    assert not (inside / "leaderboards").exists()
    told = CliRunner().invoke(app, [*words, *places, "--out", str(tmp_path / "pages")])
    assert told.exit_code == 0, told.output
    page = tmp_path / "pages" / done.board.page / "index.html"
    assert "<dt>Recommended first</dt>" in page.read_text()


def test_titles_and_texts_are_escaped(done):
    table = assemble_from(done.board, done.cells, done.results, tested=False)
    evil = '</script><img src=x onerror="alert(1)">'
    example = Example(
        case="7", history=(evil, "b"), generated=evil, top_item=evil, target=evil, rank=None
    )
    examples = {done.cells[0][1].id: (example,)}
    page = pages.board_pages(table, load_results(done.results), examples)["index.html"].decode()
    assert "<img" not in page
    assert page.count("</script>") == 2, "the data's and our own"
    data = json.loads(page.partition('id="board-data">')[2].partition("</script>")[0])
    (told,) = data["blocks"][0]["rows"][0]["trials"][0]["examples"]
    assert dict(told)["Generated"] == evil
    assert dict(told)["Target"] == f"{evil} (not in the list)"


def test_what_is_committed_holds_none():
    found = [path for path in COMMITTED.rglob("*") if path.suffix in (".html", ".md", ".json")]
    assert len(found) > 3
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert '"examples"' not in text, path
        assert "<dt>Recommended first</dt>" not in text, path
