"""Running replaces nothing that is committed; `bench publish` writes what is to be committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_explain import call

from bench.config.request import RunRequest
from bench.plan.board_selection import plan_boards, select_boards
from bench.report.boards import render_boards
from bench.report.render.pages import render_index
from bench.results.load import load_results
from bench.results.run_records import list_recorded, read_board

COMMITTED = Path(__file__).parents[1] / "leaderboards"
RUN = ("run", "--board", "smoke", "--executor", "inline", "--method", "popularity")
OWN = ("--method", "popularity", "--method", "random", "--dataset", "synthetic")


def page(**changes: object) -> str:
    (board,) = select_boards(RunRequest(**changes)).boards  # type: ignore[arg-type]
    return board.page


def test_pages_are_named_by_their_selection() -> None:
    smoke = {"board": "smoke"}
    assert page(**smoke) == page(**smoke, seeds=2) == "smoke"
    assert page(**smoke, seeds=1) == "smoke-seeds-1"
    assert page(**smoke, settings=("sasrec.hidden_size=8",)) == "smoke-sasrec-hidden-size-8"
    assert page(**smoke, rows={"train": 9}) == "smoke-train-9"
    assert page(methods=("random",), datasets=("synthetic",)) == "random-on-synthetic"
    assert page(methods=("random",), datasets=("synthetic",), name="mine") == "mine"
    long = [page(**smoke, settings=(f"sasrec.hidden_size={8 * n}",) * 9) for n in (1, 2)]
    assert len({*long}) == 2
    assert max(map(len, long)) <= 60


@pytest.mark.parametrize("name", ["quick", "../up", "A b"])
def test_a_name_of_pages_is_no_board_and_a_plain_folder(name: str) -> None:
    from bench.errors import BenchError

    with pytest.raises(BenchError, match="--name"):
        page(methods=("random",), datasets=("synthetic",), name=name)


def test_only_publish_writes_to_leaderboards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *RUN, "--seeds", "1") == 0
    assert call(monkeypatch, "publish", "smoke") == 2
    assert "was not run" in capsys.readouterr().err
    assert not Path("leaderboards").exists()
    assert call(monkeypatch, "run", *OWN, "--seeds", "1", "--executor", "inline") == 0
    index = Path(".bench/pages/README.md").read_text()
    assert "smoke-popularity-seeds-1" in index
    assert "popularity-random-on-synthetic" in index
    (tmp_path / "leaderboards" / "old").mkdir(parents=True)
    (tmp_path / "leaderboards" / "old" / "table.json").write_text("{}")
    assert call(monkeypatch, "run", "--board", "smoke", "--executor", "inline") == 0
    capsys.readouterr()
    assert call(monkeypatch, "publish", "smoke") == 0
    assert "old" in capsys.readouterr().err
    (own,) = (path.stem for path in Path("results/boards").glob("popularity-*"))
    assert call(monkeypatch, "publish", own) == 0
    assert "smoke/README.md" in Path("leaderboards/README.md").read_text()
    # A clone of the repository renders the same bytes, without the store and the other results.
    published = Path("leaderboards/results")
    assert {path.parent.parent.name for path in published.rglob("seed-1.json")} == {
        "random",
        "popularity",
        "sasrec",
    }
    call(monkeypatch, "report", "--results", str(published), "--out", "again", "--store", "none")
    for name in ("smoke", own):
        pages = list(Path("leaderboards", name).iterdir())
        assert len(pages) == 6
        for path in pages:
            assert path.read_bytes() == Path("again", name, path.name).read_bytes()


def test_the_committed_index_lists_every_committed_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_PATH", raising=False)  # a suite there would order the index
    folders = [path.parent.name for path in COMMITTED.glob("*/table.json")]
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.json").write_bytes((COMMITTED / name / "table.json").read_bytes())
    render_index(tmp_path)
    for name in ("README.md", "methods.html", "how-to-read.html"):
        assert (tmp_path / name).read_bytes() == (COMMITTED / name).read_bytes()
    for name in ("README.md", "index.html"):
        assert all(f"{folder}/" in (COMMITTED / name).read_text() for folder in folders)


@pytest.mark.parametrize(
    "name",
    [
        "igd-table3-tiny",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in sorted(path.stem for path in COMMITTED.glob("results/boards/*.json"))
            if name != "igd-table3-tiny"
        ),
    ],
)
def test_committed_results_give_the_committed_pages(tmp_path: Path, name: str) -> None:
    stored = load_results(COMMITTED / "results")
    record = list_recorded(stored.folder)[name]
    planned = plan_boards(read_board(record), lenient=True)
    _, written = render_boards(planned, stored, tmp_path, store=tmp_path)
    assert {path.name for path in written} == {path.name for path in (COMMITTED / name).iterdir()}
    for path in written:
        assert path.read_bytes() == (COMMITTED / name / path.name).read_bytes(), path.name
