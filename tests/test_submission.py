"""Submissions: built from ranking files or results, recomputed, and refused where edited."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import check_submission, submit
from bench.config import plugins
from bench.config.request import DataOptions, ExecutionOptions, RunRequest
from bench.errors import BenchError
from bench.hashing import checksum
from bench.plan.board_selection import select_boards
from bench.report.board_test_cases import load_board_cases
from bench.report.boards import publish
from bench.report.run_boards import run
from bench.results.run_records import list_recorded
from bench.results.schema import read_result, table_path, write_result

WHO = {"board": "smoke", "label": "My method", "contact": "a@example.org"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the board `smoke` was run and published."""
    folder = tmp_path_factory.mktemp("ran")
    options = ExecutionOptions(
        executor="inline",
        store=folder / "store",
        results=folder / "results",
        pages=folder / "pages",
    )
    run(RunRequest(board="smoke"), options, quiet=True)
    publish("smoke", results=folder / "results", store=folder / "store", pages=folder / "boards")
    return folder


@pytest.fixture
def options(ran: Path) -> DataOptions:
    return DataOptions(store=ran / "store", offline=True)


@pytest.fixture
def package(ran: Path, options: DataOptions, tmp_path: Path) -> Path:
    (folder,) = {path.parent for path in ran.glob("results/synthetic/popularity/*/seed-0.json")}
    words: Any = {**WHO, "division": "closed"}
    return submit([folder], **words, into=tmp_path / "package", options=options)


def ranking_files(tmp_path: Path, options: DataOptions, seeds: int = 2) -> list[Path]:
    cases = load_board_cases("smoke", "synthetic", options)
    items = sorted({item for case in cases.cases for item in case["history"]})
    paths = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        rows = [case | {"items": random.permutation(items).tolist()} for case in cases.cases]
        paths.append(tmp_path / f"seed-{seed}.jsonl")
        paths[-1].write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))
    return paths


def test_ranking_files_become_results_that_are_recomputed_and_tested(
    ran: Path, options: DataOptions, tmp_path: Path
) -> None:
    paths = ranking_files(tmp_path, options)
    words: Any = {**WHO, "hardware": "a laptop", "settings": {"width": "8"}, "options": options}
    with pytest.raises(BenchError, match="for the open division"):
        submit(paths, division="closed", **words)
    made = submit(paths, division="open", into=tmp_path / "made", **words)
    checked = check_submission(made, options, published=ran / "boards")
    assert [result.seed for result in checked.results] == [0, 1]
    assert checked.results[0].settings == {"width": "8"}
    (comparison,) = checked.comparisons
    assert comparison.b == "popularity"
    assert {line.test.metric for line in comparison.metrics} <= {
        *plugins.board_card("smoke").metrics
    }
    with pytest.raises(BenchError, match="exists already"):
        submit(paths, division="open", into=tmp_path / "made", **words)


def test_the_folder_of_a_published_board_passes(ran: Path, options: DataOptions) -> None:
    checked = check_submission(ran / "boards" / "smoke", options)
    assert {result.method for result in checked.results} == {"random", "popularity", "sasrec"}


def edit_table(path: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table, and seal the result again, as somebody would who wants to deceive."""
    json_path = next((path / "results").rglob("seed-0.json"))
    result = read_result(json_path)
    table = table_path(path / "results", result.trial, name)
    pq.write_table(change(pq.read_table(table)), table)
    files = {**result.files, name: checksum(table)}
    write_result(result.model_copy(update={"files": files}), path / "results")


def edit_result(path: Path, **changes: Any) -> None:
    result = read_result(next((path / "results").rglob("seed-0.json")))
    write_result(result.model_copy(update=changes), path / "results")


def set_column(name: str, value: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = [value(each) for each in table[name].to_pylist()]
        index = table.column_names.index(name)
        return table.set_column(index, name, pa.array(values, table.schema.field(name).type))

    return change


def better(path: Path) -> None:
    """Every hit ratio is 1, in the table and in the metrics."""
    edit_table(path, "cases", set_column("HR@5", lambda value: 1.0))
    result = read_result(next((path / "results").rglob("seed-0.json")))
    final = result.evaluations["final"]
    metrics = {**final.metrics, "HR@5": 1.0}
    edit_result(path, evaluations={"final": final.model_copy(update={"metrics": metrics})})


def metric_only(path: Path) -> None:
    result = read_result(next((path / "results").rglob("seed-0.json")))
    final = result.evaluations["final"]
    metrics = {**final.metrics, "DivRatio@5": 0.99}
    edit_result(path, evaluations={"final": final.model_copy(update={"metrics": metrics})})


def without_a_case(path: Path) -> None:
    edit_table(path, "cases", lambda table: table.slice(1))
    edit_table(path, "ranking", lambda table: table.slice(1))
    result = read_result(next((path / "results").rglob("seed-0.json")))
    final = result.evaluations["final"]
    fewer = final.model_copy(update={"num_cases": final.num_cases - 1, "metrics": {}})
    edit_result(path, evaluations={"final": fewer})


def with_titles(path: Path) -> None:
    edit_table(
        path, "cases", lambda table: table.append_column("title", pa.array(["x"] * len(table)))
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (better, r"HR@5 1\.0, and its ranking gives"),
        (metric_only, r"DivRatio@5 is 0\.99, and its rankings give"),
        (without_a_case, "its test cases are not those of the board: 1 missing"),
        (with_titles, "'title' must not be published"),
        (lambda path: edit_table(path, "ranking", set_column("items", lambda row: row[::-1])),
         "and its ranking gives"),
        (lambda path: edit_table(path, "ranking", set_column("items", lambda row: row[:1] * 20)),
         "an item twice"),
        (lambda path: edit_table(path, "ranking", set_column("items", lambda row: ["B0", *row])),
         "'B0', which is not in the catalog"),
        (lambda path: edit_result(path, rows={"train": 9, "valid": 9, "test": 9}),
         "closed division does not allow"),
        (lambda path: edit_result(path, plugins={"popularity": "0" * 64}),
         "another version of its"),
        (lambda path: edit_result(path, stages=[]), "was not run by bench run"),
        (lambda path: next(path.rglob("seed-1.json")).unlink(), "seeds per row, and there are 1"),
        (lambda path: (path / "titles.csv").write_text("1,A"), "does not belong in a submission"),
    ],
)  # fmt: skip
def test_what_was_edited_is_refused(
    package: Path, options: DataOptions, spoil: Callable[[Path], object], words: str
) -> None:
    assert check_submission(package, options).notes == [
        "smoke has no published results to test against."
    ]
    spoil(package)
    with pytest.raises(BenchError, match=words):
        check_submission(package, options)


def test_targets_that_are_always_first_have_leaked(options: DataOptions, tmp_path: Path) -> None:
    cases = load_board_cases("smoke", "synthetic", options).cases
    catalog = sorted({str(item) for case in cases for item in (*case["history"], case["target"])})
    lines = [
        case | {"items": [case["target"], *(id_ for id_ in catalog if id_ != case["target"])]}
        for case in cases
    ]
    path = tmp_path / "leaked.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words: Any = {**WHO, "hardware": "?", "division": "open", "options": options}
    with pytest.raises(BenchError, match="as if they were known"):
        submit([path], into=tmp_path / "made", **words)


def test_lists_must_not_have_the_history_that_a_board_excludes(
    package: Path, options: DataOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = plugins.board_card("smoke").model_copy(update={"exclude_seen": True})
    monkeypatch.setattr(plugins, "board_card", lambda name: card)
    with pytest.raises(BenchError, match="of its own history"):
        check_submission(package, options)


def test_a_published_table_must_be_that_of_its_results(
    ran: Path, options: DataOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "boards" / "smoke"
    shutil.copytree(ran / "boards", tmp_path / "boards")
    text = (folder / "table.csv").read_text()
    lines = text.splitlines()
    (folder / "table.csv").write_text(text.replace(lines[1], f"{lines[1]}0"))
    with pytest.raises(BenchError, match=r"Line 2 of .*table\.csv"):
        check_submission(folder, options)


def test_re_ranked_lists_are_recomputed(
    options: DataOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest(
        methods=("listorder",), datasets=("synthetic-rated",), budget="smoke", seeds=1
    )
    folders = {"store": options.store, "results": tmp_path / "r", "pages": tmp_path / "p"}
    run(request, ExecutionOptions(executor="inline", **folders), quiet=True)  # type: ignore[arg-type]
    (board,) = select_boards(request).boards
    monkeypatch.setattr(plugins, "board_card", lambda name: board.card)
    (folder,) = {path.parent for path in (tmp_path / "r").rglob("seed-0.json")}
    words: Any = {**WHO, "division": "open", "hardware": "?", "options": options}
    monkeypatch.setattr("bench.report.submission._compare_with_reference", lambda *given: [])
    made = submit([folder], into=tmp_path / "made", **words)
    edit_table(made, "ranking", set_column("items", lambda row: row[:-1] + row[:1]))
    with pytest.raises(BenchError, match="candidate list, each once"):
        check_submission(made, options)


RERANKING = """
title = "T"
datasets = ["synthetic-rated"]
metrics = ["MAP@5"]
seeds = 1
budget = "smoke"
rows = [
    { method = "listorder", label = "A", settings.by = "given" },
    { method = "listorder", label = "B", settings.by = "oracle" },
    { method = "listorder", label = "Floor", floor = true },
]
"""


def test_a_board_of_lists_passes_with_its_floor_and_copies_of_items_in_any_order(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle sorts copies by their labels; the floor has the fingerprint of all users."""
    Path("lists.toml").write_text(RERANKING)
    monkeypatch.setenv("BENCH_PATH", ".")
    done = bench("run", "--board", "lists", "--rows", "train=40", "--executor", "inline")
    assert done.code == 0, done.err
    (name,) = list_recorded(Path("results"))
    publish(name, pages="boards")
    folder = Path("boards", name)
    checked = check_submission(folder)
    assert len(checked.results) == 3
    results = {result.settings["by"]: result for result in checked.results}
    stored, oracle = Path("boards/results"), results["oracle"]

    rankings = pq.read_table(table_path(stored, oracle.trial, "ranking"))["items"].to_pylist()
    path = table_path(stored, oracle.trial, "cases")
    table, content = pq.read_table(path), path.read_bytes()
    has_copies = [len({*items}) < len(items) for items in rankings]
    assert any(has_copies)
    # Some order of the copies may give this rank, and none gives it with the metrics of the row.
    ranks = np.array(table["rank"]) + has_copies
    index = table.column_names.index("rank")
    pq.write_table(table.set_column(index, "rank", pa.array(ranks)), path)
    files = {**oracle.files, "cases": checksum(path)}
    write_result(oracle.model_copy(update={"files": files}), stored)
    with pytest.raises(BenchError, match=r"has rank \d+, and its ranking gives"):
        check_submission(folder)
    path.write_bytes(content)
    write_result(oracle, stored)

    floor = results["popularity"].model_copy(update={"rows": oracle.rows})
    write_result(floor, stored)
    with pytest.raises(BenchError, match="measured on another edition"):
        check_submission(folder)


def test_the_commands(bench: Any, tmp_path: Path) -> None:
    """The commands of docs/submit.md, with generated rankings."""
    assert bench("export", "cases", "smoke", "--into", "cases").code == 0
    lines = [
        json.loads(line)
        for line in Path("cases/smoke-synthetic.cases.jsonl").read_text().splitlines()
    ]
    assert {*lines[0]} == {"case", "user", "history", "target"}
    (path,) = ranking_files(tmp_path, DataOptions(), seeds=1)
    words = ("--board", "smoke", "--label", "mine", "--contact", "me", "--hardware", "one laptop")
    made = bench("submit", str(path), *words)
    assert made.code == 0, made.err
    assert "submissions/smoke/mine" in made.out
    checked = bench("check", "submission", "submissions/smoke/mine")
    assert checked.code == 0, checked.err
    assert "cases recomputed" in checked.out
    assert bench("check", "x.py", "y").code == 2
    assert bench("check", "submission", "nowhere").code == 2


def test_the_workflow_checks_what_a_pull_request_changes() -> None:
    import subprocess

    import yaml

    path = Path(__file__).parents[1] / ".github" / "workflows" / "submissions.yml"
    script = yaml.safe_load(path.read_text())["jobs"]["check"]["steps"][-1]["run"]
    assert "bench check submission" in script
    names = "submissions/quick/mine/results/a.json\nleaderboards/quick/table.csv\nREADME.md\n"
    stub = script.replace('git diff --name-only --diff-filter=d "$BASE...HEAD"', "cat")
    done = subprocess.run(
        ["bash", "-ec", stub.replace("bench check submission", "echo")],
        input=names, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["leaderboards/quick", "submissions/quick/mine"]
