"""Versions of stage kinds: recorded for the code as it is, carried by results, shown on boards."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from board_results import Line, assemble_from, make, row
from typer.testing import CliRunner

from bench.cli.run import run
from bench.errors import BenchError
from bench.plan import code_hash, code_versions
from bench.plan.code_versions import Version, changed_kinds, main, recorded_versions
from bench.report.assemble import values_json
from bench.report.render import pages
from bench.report.render.terminal import render_table
from bench.results.outcomes import staleness
from bench.results.schema import StageRecord, find_result, read_result, write_result

ADVICE = (
    "python -m bench.plan.code_versions --same-output 'how that was seen' where every output stays "
    "what it "
    "was, or --new-version where one may differ"
)


def test_the_code_of_every_stage_kind_is_recorded() -> None:
    left = changed_kinds(recorded_versions())
    assert not left, f"The code behind {', '.join(left)} changed; record it by {ADVICE}."


@pytest.mark.parametrize("name", ["python3.12", "python3.13"])
def test_other_pythons_give_the_same_hashes(name: str) -> None:
    program = (
        "import json, sys, types\n"
        "plugins = types.ModuleType('bench.config.plugins')\n"
        "plugins.method_module = None\n"
        "sys.modules['bench.config.plugins'] = plugins\n"
        "from bench.plan.code_hash import module_hash\n"
        "print(json.dumps({k: module_hash('bench.stages.' + k)[:16] for k in sys.argv[1:]}))"
    )
    kinds = ["sft", "decode", "prepare"]
    call = [shutil.which(name) or name, "-c", program, *kinds]
    try:
        done = subprocess.run(
            call, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60
        )
    except FileNotFoundError:
        pytest.skip(f"no {name} here")
    if "command not found" in done.stderr or "No module named 'pydantic'" in done.stderr:
        pytest.skip(f"no {name} here that could tell")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {kind: code_versions.code_of(kind) for kind in kinds}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `bench` of two stage kinds that share a module."""
    (tmp_path / "stages").mkdir()
    for name in ("__init__", "train", "rank"):
        (tmp_path / "stages" / f"{name}.py").write_text(
            "from bench.maths import add\n\ndef run(x):\n    return add(x, 1)\n"
        )
    (tmp_path / "maths.py").write_text("def add(a, b):\n    return a + b\n")
    monkeypatch.setattr(code_hash, "PACKAGE", tmp_path)
    monkeypatch.setattr(code_versions, "PACKAGE", tmp_path)
    monkeypatch.setattr(code_versions, "FILE", tmp_path / "stages" / "versions.toml")
    recorded_versions.cache_clear()
    main(["--new-version"])
    yield tmp_path
    recorded_versions.cache_clear()


def test_an_edit_is_seen_and_a_new_version_makes_it_recorded(package, capsys):
    assert [one.version for one in recorded_versions().values()] == [1, 1]
    assert main([]) == 0
    (package / "maths.py").write_text("def add(a, b):\n    return b + a\n")
    assert code_versions.version_of("train") is None, "results must not claim version 1"
    assert main([]) == 1
    assert capsys.readouterr().out.endswith("rank\ntrain\n")
    assert main(["--new-version", "train"]) == 0
    assert (code_versions.version_of("train"), code_versions.version_of("rank")) == (2, None)


def test_equal_output_keeps_the_version_and_says_how_it_was_checked(package):
    reason = 'a name; "golden" files are equal'
    (package / "maths.py").write_text("def add(first, b):\n    return first + b\n")
    assert main(["--same-output", reason]) == 0
    version = recorded_versions()["train"]
    assert (version.version, version.checked) == (1, reason)
    assert version.code == code_versions.code_of("train")
    (package / "maths.py").write_text("def add(a, b):\n    return 2\n")
    main(["--new-version"])
    assert recorded_versions()["train"].version == 2
    assert not recorded_versions()["train"].checked


def test_kinds_come_and_go(package):
    (package / "stages" / "rank.py").unlink()
    (package / "stages" / "sort.py").write_text("VALUE = 1\n")
    assert changed_kinds(recorded_versions()) == ["sort", "rank"]
    main(["--new-version"])
    assert {kind: one.version for kind, one in recorded_versions().items()} == {
        "sort": 1,
        "train": 1,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--new-version", "trian"], "no changed stage kind named 'trian'"),
        (["--same-output", " "], "reason is missing"),
    ],
)
def test_mistakes_are_sentences(package, words, message):
    (package / "maths.py").write_text("def add(a, b):\n    return 0\n")
    with pytest.raises(BenchError, match=message):
        main(words)


def stage(kind: str, version: int | None) -> StageRecord:
    return StageRecord(
        key=kind, kind=kind, seconds=1, peak_memory_mib=1, shared=False, version=version
    )


def test_staleness_names_each_kind_that_moved_with_its_oldest_version():
    now = {kind: Version(version=3, code="x") for kind in ("sft", "decode", "draw")}
    stages = [stage("sft", 2), stage("sft", 1), stage("decode", 3), stage("gone", 1)]
    result = SimpleNamespace(stages=[*stages, stage("draw", None)])
    text = "Made by another version of its stages: sft 1 → 3, gone 1 → removed. Run it again."
    assert staleness(result, now) == text
    fresh = SimpleNamespace(stages=[stage("sft", 3)])
    assert staleness(fresh, now) == ""


@pytest.fixture
def old(tmp_path: Path) -> SimpleNamespace:
    """Base is fresh, one of two seeds of Old is stale, and nobody knows how old Bare is."""
    lines = [Line("Base", 0.2), Line("Old", 0.6), Line("Bare", 0.4)]
    board, cells = make(tmp_path, lines, seeds=2, metrics=["HR@5", "NDCG@5"])
    today = recorded_versions()["sft"].version
    given = {("Old", 1): today + 1, ("Bare", 0): None, ("Bare", 1): None}
    for line, trial in cells:
        version = given.get((line.name, trial.seed), today)
        result = find_result(tmp_path, trial.id)
        write_result(result.model_copy(update={"stages": [stage("sft", version)]}), tmp_path)
    table = assemble_from(board, cells, tmp_path)
    return SimpleNamespace(
        table=table,
        json=values_json(table.name, table.datasets),
        text=f"sft {today + 1} → {today}",
        folder=tmp_path,
        trial=cells[0][1].id,
    )


def test_a_stale_value_is_kept_marked_and_explained_in_every_rendering(old):
    cell = row(old.table, "Old").cell("HR@5")
    assert cell.mean is not None
    assert old.text in cell.stale
    assert (old.table.completeness.ok, old.table.completeness.stale) == (6, 1)
    files = {name: page.decode() for name, page in pages.board_pages(old.table).items()}
    files["terminal"] = render_table(old.table)
    for name in ("README.md", "index.html", "terminal"):
        assert "6 of 6 trials (1 stale)" in files[name]
        assert "stale, seed 1" in files[name]
        assert old.text in " ".join(files[name].split()), name
    for name in ("README.md", "index.html", "terminal"):
        marked = [one for one in files[name].splitlines() if "‡" in one]
        assert len([one for one in marked if "stale, made by" not in one]) in (1, 2), name
    assert r"\ddagger" in files["table.tex"]
    assert [old.text in line for line in files["table.csv"].splitlines()[1:]] == [
        *(False, False, True, True, False, False)
    ]
    rows = {one["method"]: one["metrics"]["HR@5"] for one in old.json["rows"]}
    assert old.text in rows["Old"]["stale"]
    assert set(rows["Base"]) == {"mean", "sd", "n_seeds"}
    assert json.loads(files["table.json"])["boards"] == [old.json]


def test_results_without_versions_are_shown_and_said_to_be_of_unknown_age(old):
    assert not row(old.table, "Bare").stale
    assert row(old.table, "Bare").cell("HR@5").num_seeds == 2
    assert "Bare · version unknown" in render_table(old.table)


def test_results_of_before_there_were_versions_can_be_read(old):
    path = old.folder / f"{old.trial}.json"
    content = json.loads(path.read_text())
    del content["stages"][0]["version"], content["checksum"]
    path.write_text(json.dumps(content))
    assert read_result(path).stages[0].version is None


def test_a_fresh_board_has_no_word_of_staleness(tmp_path):
    table = assemble_from(
        *make(tmp_path, [Line("Base", 0.2), Line("Good", 0.6)], seeds=1), tmp_path
    )
    for name, page in pages.board_pages(table).items():
        if name not in ("index.html", "table.csv"):
            assert "stale" not in page.decode(), name
    assert "‡" not in pages.board_pages(table)["index.html"].decode()


def test_a_run_writes_versions_into_its_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(run)
    words = "--board smoke --method Popularity --seeds 1 --executor inline --json"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    paths = list((tmp_path / "results").glob("*/*/*/seed-*.json"))
    written = {one.kind: one.version for path in paths for one in read_result(path).stages}
    assert "evaluate" in written
    assert written == {kind: code_versions.version_of(kind) for kind in written}
