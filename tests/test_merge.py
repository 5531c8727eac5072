"""Results of several machines become one folder, whole or not at all."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from board_results import Line, write
from test_compare import change, made, restate, trial
from typer.testing import CliRunner

from bench.cli import merge as command
from bench.errors import BenchError
from bench.files import write_atomic
from bench.results.merge import BOARDS, merge
from bench.results.schema import find_result, read_cases

CARD = {
    "title": "T",
    "datasets": ["synthetic"],
    "rows": [{"method": "popularity"}, {"method": "random"}],
    "metrics": ["HR@5"],
}


@pytest.fixture
def one(tmp_path: Path) -> Path:
    made(tmp_path / "one", Line("Good", 0.6), seeds=2)
    return tmp_path / "one"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    made(tmp_path / "two", Line("Base", 0.1), seeds=2)
    return tmp_path / "two"


def path_of(folder: Path, name: str = "Good", seed: int = 0) -> Path:
    return folder / f"{trial(name, seed).id}.json"


def record(folder: Path, card: dict[str, object], **more: object) -> None:
    (folder / BOARDS).mkdir(parents=True, exist_ok=True)
    content = {"card": card, "settings": [], "rows": {"train": None}} | more
    (folder / BOARDS / "b.json").write_text(json.dumps(content))


def refused(tmp_path: Path, *sources: Path, match: str) -> None:
    with pytest.raises(BenchError, match=match):
        merge(sources, tmp_path / "into")
    assert not (tmp_path / "into").exists(), "nothing is written when something is refused"


def test_trials_of_two_machines(tmp_path, one, two):
    into = tmp_path / "into"
    done = merge([one, two], into)
    assert (done.num_trials, done.num_copied, done.num_duplicates, done.unassigned) == (4, 4, 0, ())
    for name, folder in (("Good", one), ("Base", two)):
        for suffix in (".json", ".cases.parquet", ".ranking.parquet"):
            source = path_of(folder, name).with_suffix("").with_name("seed-0" + suffix)
            assert (into / source.relative_to(folder)).read_bytes() == source.read_bytes()
        assert find_result(into, trial(name, 1).id).status == "ok"
        assert len(read_cases(into, trial(name, 1).id).cases) == 60


def test_merging_again_changes_nothing(tmp_path, one, two):
    into = tmp_path / "into"
    merge([one, two], into)
    before = {path: path.stat().st_mtime_ns for path in into.rglob("*")}
    done = merge([one, two, into], into)
    assert (done.num_trials, done.num_copied, done.num_duplicates) == (4, 0, 4)
    assert {path: path.stat().st_mtime_ns for path in into.rglob("*")} == before


def test_the_same_trial_twice_is_one(tmp_path, one):
    again = tmp_path / "again"
    shutil.copytree(one, again)
    content = json.loads(path_of(again).read_text())
    content["provenance"] = {"host": "another"}
    path_of(again).write_text(json.dumps(content))
    # Other bytes, the same table.
    cases = path_of(again).with_name("seed-0.cases.parquet")
    pq.write_table(pq.read_table(cases), cases, compression="gzip")
    done = merge([one, again], tmp_path / "into")
    assert (done.num_trials, done.num_duplicates) == (2, 2)
    kept = find_result(tmp_path / "into", trial("Good", 0).id)
    assert kept.provenance == {"host": "a-machine"}


@pytest.mark.parametrize("turned", [False, True])
def test_a_trial_that_ended_well_replaces_a_failure(tmp_path, one, turned):
    failed = tmp_path / "failed"
    made(failed, Line("Good", 0.6, reasons={0: "CUDA out of memory"}, unrun=[1]), seeds=2)
    sources = [failed, one] if turned else [one, failed]
    merge(sources, tmp_path / "into")
    assert find_result(tmp_path / "into", trial("Good", 0).id).status == "ok"
    merge([one], failed)
    assert find_result(failed, trial("Good", 0).id).status == "ok"
    assert len(read_cases(failed, trial("Good", 0).id).cases) == 60


def test_other_data_are_refused(tmp_path, one):
    other = tmp_path / "other"
    made(other, Line("Base", 0.1, fingerprint="0" * 64), seeds=1)
    refused(tmp_path, one, other, match=r"one/.*seed-0.json and .*other/.*seed-0.json were .*f{12}")
    shutil.rmtree(other)
    made(other, Line("Good", 0.6, fingerprint="0" * 64), seeds=1)
    refused(tmp_path, one, other, match="different data")


def test_other_code_is_refused(tmp_path, one):
    other = tmp_path / "other"
    shutil.copytree(one, other)
    content = json.loads(path_of(other).read_text())
    content["stages"] = [
        {"key": "k", "kind": "rank", "seconds": 1, "peak_memory_mib": 1, "shared": False}
    ]
    path_of(other).write_text(json.dumps(content))
    refused(tmp_path, one, other, match=r"one/.*seed-0.json and .*other/.*were made by other code")


def test_other_numbers_of_the_same_work_are_refused(tmp_path, one):
    other = tmp_path / "other"
    shutil.copytree(one, other)
    restate(path_of(other), HR_at_5=0.75)
    change(path_of(other).with_name("seed-0.cases.parquet"), HR_at_5=[0.75] * 60)
    refused(tmp_path, one, other, match=r"with other numbers: HR@5 is 0\.\d+ and 0\.75")
    shutil.rmtree(other)
    shutil.copytree(one, other)
    change(path_of(other).with_name("seed-0.cases.parquet"), user=["someone"] * 60)
    refused(tmp_path, one, other, match="with other numbers: values per case")


def test_another_schema_version_is_refused(tmp_path, one, two):
    path = path_of(two, "Base")
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 9'))
    refused(tmp_path, one, two, match=r"two/.*seed-0.json is not a result of schema version 3")


def test_torn_files_are_refused(tmp_path, one, two):
    path = path_of(two, "Base")
    whole = path.read_text()
    path.write_text(whole[:-200])
    refused(tmp_path, one, two, match=r"two/.*seed-0.json is not a result")
    path.write_text(whole)
    cases = path.with_name("seed-0.cases.parquet")
    content = cases.read_bytes()
    cases.write_bytes(content[:-100])
    refused(tmp_path, one, two, match=r"seed-0.cases.parquet is torn")
    cases.write_bytes(content)
    pq.write_table(pq.read_table(cases).slice(0, 59), cases)
    refused(tmp_path, one, two, match=r"do not belong together: 59 rows")
    cases.write_bytes(content)
    path.write_text(json.dumps(json.loads(whole) | {"files": {"cases": "0", "ranking": "0"}}))
    refused(tmp_path, one, two, match="their checksums differ")


def test_a_missing_parquet_is_refused(tmp_path, one, two):
    path_of(two, "Base", 1).with_name("seed-1.ranking.parquet").unlink()
    refused(tmp_path, one, two, match=r"seed-1.json says ok, but seed-1.ranking.parquet is missing")


def test_a_result_in_the_wrong_place_is_refused(tmp_path, one):
    path = path_of(one)
    path.rename(path.with_name("seed-7.json"))
    refused(
        tmp_path, one, match=r"seed-7.json is the result of another trial: synthetic/good/.*/seed-0"
    )


def test_folders_without_results_are_refused(tmp_path, one):
    (tmp_path / "empty").mkdir()
    refused(tmp_path, one, tmp_path / "empty", match="no results in .*empty")
    refused(tmp_path, one, tmp_path / "nowhere", match="no results in .*nowhere")


def test_what_belongs_to_no_result_stays(tmp_path, one):
    loose = path_of(one).with_name("seed-9.cases.parquet")
    loose.write_bytes(b"a run was killed here")
    done = merge([one], tmp_path / "into")
    assert done.unassigned == (loose,)
    assert not list((tmp_path / "into").rglob("seed-9*"))


# Records of boards


def test_equal_records_are_one_and_parts_are_joined(tmp_path, one, two):
    popularity, random = CARD["rows"]
    record(one, CARD | {"rows": [popularity], "reference": "popularity", "seeds": 2})
    record(two, CARD | {"rows": [random], "datasets": ["synthetic", "ml-100k"], "seeds": 5})
    into = tmp_path / "into"
    assert merge([one, two], into).boards == ("b",)
    card = json.loads((into / BOARDS / "b.json").read_text())["card"]
    assert [row["method"] for row in card["rows"]] == ["popularity", "random"]
    assert (card["datasets"], card["seeds"]) == (["synthetic", "ml-100k"], 5)
    assert card["reference"] == "popularity"
    before = (into / BOARDS / "b.json").read_bytes()
    merge([one, two], into)
    assert (into / BOARDS / "b.json").read_bytes() == before


@pytest.mark.parametrize(
    ("card", "more"),
    [
        ({"metrics": ["HR@1"]}, {}),
        ({"budget": "nano"}, {}),
        ({"title": "U"}, {}),
        ({"rows": [{"method": "random", "settings": {"x": 1}}]}, {}),
        ({}, {"settings": ["sasrec.hidden_size=8"]}),
        ({}, {"rows": {"train": 5}}),
    ],
)
def test_records_of_different_boards_are_refused(tmp_path, one, two, card, more):
    record(one, CARD)
    record(two, CARD | card, **more)
    refused(tmp_path, one, two, match=r"one/boards/b.json .*two/boards/b.json")


def test_a_torn_record_is_refused(tmp_path, one, two):
    record(one, CARD)
    record(two, CARD)
    (two / BOARDS / "b.json").write_text("{")
    refused(tmp_path, one, two, match=r"two/boards/b.json is torn")


# The command


def test_command(tmp_path, one, two):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("merge")(command.merge)
    record(one, CARD)
    write(two, trial("Base", 2), Line("Base", reasons={2: "hang"}))
    words = [str(one), str(two), "--into", str(tmp_path / "into")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "5 trials in" in done.stdout
    assert "5 copied, 0 duplicates. Boards: b." in done.stdout.replace("\n", " ")
    content = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert content == {"trials": 5, "copied": 0, "twice": 5, "boards": ["b"], "left_aside": []}


@pytest.mark.parametrize("existing", [False, True])
def test_a_merge_that_is_stopped_half_way_leaves_nothing(
    tmp_path: Path, one: Path, two: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    into = tmp_path / "into"
    if existing:
        merge([one], into)
    before = {path: path.read_bytes() for path in into.rglob("*") if path.is_file()}
    num_files = itertools.count()

    def write_some(path: Path, content: bytes) -> None:
        if next(num_files) == 3:
            raise KeyboardInterrupt
        write_atomic(path, content)

    monkeypatch.setattr("bench.results.merge.write_atomic", write_some)
    with pytest.raises(KeyboardInterrupt):
        merge([one, two], into)
    assert {path: path.read_bytes() for path in into.rglob("*") if path.is_file()} == before
    assert into.exists() == existing
    assert not (tmp_path / ".into.merging").exists()
