"""Submissions to boards: results of one method, recomputed from their rankings of item ids.

    submission.toml   board, method, contact, division, hardware
    results/          as `bench run` writes them (see `bench.results.schema`)

Results of published boards are next to their folders, and are checked by the same rules. Training
on test cases cannot be seen in rankings; that rule is checked where a method is run.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from bench.config import plugins
from bench.config.request import PUBLISHED, DataOptions, RunRequest
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError
from bench.files import write_atomic
from bench.hashing import checksum, digest
from bench.metrics.accuracy import HALLUCINATION
from bench.plan.board_selection import (
    PlannedBoards,
    distinct_trials,
    plan_boards,
    select_boards,
)
from bench.plan.code_hash import plugin_hash
from bench.plan.code_versions import version_of
from bench.plan.trials import Board, collect_ks
from bench.report.board_test_cases import BoardCases, load_board_cases, require_cases, require_equal
from bench.report.boards import render_boards
from bench.report.compare.operands import compare
from bench.report.compare.pairwise import PairwiseReport
from bench.results.load import ResultSet, load_results
from bench.results.outcomes import shares_test_lists
from bench.results.run_records import list_recorded, read_board
from bench.results.schema import (
    FINAL,
    TABLES,
    DataFacts,
    Evaluation,
    Result,
    check_tables,
    copy_result,
    table_path,
    write_result,
)
from bench.results.score_file import RankingFile, read_ranking

CARD, RESULTS_FOLDER, TABLE = "submission.toml", "results", "table.csv"
FILES = re.compile(
    r"results/[^/]+/[^/]+/[^/]+/seed-\d+(\.json|\.cases\.parquet|\.ranking\.parquet)"
)
MAX_FIRST = 0.9
"""Share of cases with the target ranked first above which targets are taken to have leaked."""
TOLERANCE = 1e-9
Division = Literal["closed", "open"]


class Submission(Card):
    """What a package says of itself.

    Attributes:
        label: Name of the row.
        division: "closed": run by this harness on the board's rows, backbone and budget; "open":
            anything else that did not use the test cases.
        contact: Person or address for questions.
        hardware: What it was computed on; code: where the code is.
    """

    board: str
    label: str
    division: Division
    contact: str
    hardware: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedSubmission:
    """A submission, or a published board, that passed.

    Attributes:
        results: Its results, all recomputed.
        notes: What could not be recomputed from item ids, in sentences.
        comparisons: With the board's reference as published, by data set.
    """

    results: Sequence[Result]
    notes: Sequence[str]
    comparisons: Sequence[PairwiseReport]


def submit(
    rankings: Sequence[Path | str],
    *,
    board: str,
    label: str,
    contact: str,
    division: Division,
    hardware: str = "",
    code: str = "",
    dataset: str | None = None,
    settings: Mapping[str, str] | None = None,
    into: Path | str | None = None,
    options: DataOptions | None = None,
) -> Path:
    """Build a package for a pull request, and check it.

    Args:
        rankings: One ranking file per seed, in order (JSONL or parquet), or one folder
            `<results>/<dataset>/<method>/<hash>` per data set of results of `bench run`.
        board: The board, as its card says.
        label: Name of the row.
        contact: Person or address for questions.
        division: "closed" or "open"; ranking files are open.
        hardware: What it was computed on; taken from results of `bench run`.
        code: Where the code is.
        dataset: Of ranking files, if the board has several.
        settings: Of ranking files: hyper-parameters by name.
        into: Folder of the package; `submissions/<board>/<label>` by default.
        options: Raw files and store.

    Raises:
        BenchError: An option is missing, or the package does not pass `check_submission`.
    """
    options = options or DataOptions()
    target = Path(into or Path("submissions", board, _slug(label)))
    if target.exists():
        raise BenchError(f"{target} exists already.", "Remove it, or name another folder (--into).")
    paths = [Path(path) for path in rankings]
    with tempfile.TemporaryDirectory() as name:
        package = Path(name) / "package"
        if all(path.is_dir() for path in paths):
            if settings or dataset:
                raise BenchError("--set and --dataset are for ranking files.", "Leave them out.")
            recorded = _copy_results(paths, package / RESULTS_FOLDER)
            hardware = hardware or recorded
        else:
            if division == "closed":
                raise BenchError(
                    "Ranking files are for the open division: the closed one needs results of "
                    "bench run.",
                    "Use --division open, or give a folder of results.",
                )
            names = plugins.board_card(board).datasets
            if dataset is None and len(names) > 1:
                raise BenchError(f"{board} has several data sets.", f"--dataset {names[0]} …")
            cases = load_board_cases(board, dataset or names[0], options)
            for seed, path in enumerate(paths):
                _write_ranked(cases, read_ranking(path), package, _slug(label), seed, settings)
        if not hardware:
            raise BenchError("The hardware is not known.", 'Add --hardware "2 cores, no GPU".')
        card = Submission(
            board=board, label=label, division=division, contact=contact, hardware=hardware,
            code=code,
        )  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in card.model_dump().items()]
        write_atomic(package / CARD, "".join(lines).encode())
        check_submission(package, options)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(package, target)
    return target


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _copy_results(folders: Sequence[Path], target: Path) -> str:
    """Copy folders of results; return the hardware that they record."""
    hardware = []
    for folder in folders:
        root = folder.resolve().parents[2]
        for result in load_results(root):
            if (root / result.trial).parent == folder.resolve() and result.status == "ok":
                copy_result(result, root, target)
                devices = (result.provenance.get(name, "") for name in ("gpu", "cpu"))
                hardware += [next(filter(None, devices), "")]
    if not hardware:
        raise BenchError(
            f"{folders[0]} has no results.", "Name folders <results>/<dataset>/<method>/<hash>."
        )
    return ", ".join(dict.fromkeys(filter(None, hardware)))


def _write_ranked(
    cases: BoardCases,
    file: RankingFile,
    package: Path,
    method: str,
    seed: int,
    settings: Mapping[str, str] | None,
) -> None:
    """Write the result of one ranking file, whose cases must be the board's, in any order."""
    if cases.data.lists is not None:
        raise BenchError(
            "Ranking files are for boards of next-item recommendation.",
            "Give folders of results of bench run.",
        )
    ranked = {case.case: case for case in file.cases}
    rankings = []
    for expected in cases.cases:
        case = ranked.pop(expected["case"], None)
        if case is None:
            raise BenchError(
                f"Case {expected['case']} of {cases.dataset} is missing.", "bench export cases"
            )
        for name in ("user", "target"):
            if getattr(case, name) != str(expected[name]):
                raise BenchError(
                    f"Case {case.case} has the {name} {getattr(case, name)!r}, and the board's is "
                    f"{expected[name]!r}.",
                    "Rank the cases that bench export cases writes.",
                )
        rankings.append(case.items)
    if ranked:
        raise BenchError(f"Case {next(iter(ranked))} is not one of the board's.")
    values = dict(settings or {})
    trial = f"{cases.dataset}/{method}/{digest(values)[:12]}/seed-{seed}"
    folder = (package / RESULTS_FOLDER / trial).parent
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        content = cases.evaluate(rankings, collect_ks([Board(name="", card=cases.card)]), out)
        for table in TABLES:
            path = table_path(package / RESULTS_FOLDER, trial, table)
            write_atomic(path, (out / f"{table}.parquet").read_bytes())
    result = Result(
        trial=trial,
        method=method,
        dataset=cases.dataset,
        seed=seed,
        model=None,
        rows=plugins.budget_card(cases.card.budget).rows.model_dump(),
        settings=values,
        status="ok",
        data=DataFacts(**content["data"]),
        evaluations={FINAL: Evaluation(**content["evaluation"])},
        files={table: checksum(folder / f"seed-{seed}.{table}.parquet") for table in TABLES},
    )
    write_result(result, package / RESULTS_FOLDER)


def check_submission(
    path: Path | str, options: DataOptions | None = None, *, published: Path | str = PUBLISHED
) -> CheckedSubmission:
    """Recompute a package, or the folder of a published board, from its rankings of item ids.

    Needs the raw files of the data sets, and no GPU. Every metric and per-case value is computed
    again; tests are computed against the published reference, or, for a published board, those of
    its table.

    Raises:
        BenchError: A case or file is missing, a number differs, a list has excluded or unknown
            items, targets have leaked, or the rules of the division are broken.
    """
    path, options = Path(path), options or DataOptions()
    card = None
    if (path / CARD).is_file():
        card = check_card(read_toml(path / CARD), Submission, str(path / CARD))
        _check_files(path)
    stored = load_results((path if card else path.resolve().parent) / RESULTS_FOLDER)
    for error in stored.unreadable.values():
        raise error
    record = None if card else list_recorded(stored.folder).get(path.resolve().name)
    selection = read_board(record) if record else None
    planned = plan_boards(selection, lenient=True) if selection else []
    trials = {trial.id for trial in distinct_trials(planned)}
    results = [r for r in stored if card or (r.trial in trials and r.status == "ok")]
    if not results:
        raise BenchError(f"{path} has no results.", f"Expected in {stored.folder}.")

    @cache
    def load(dataset: str) -> BoardCases:
        return load_board_cases(selection or board, dataset, options)

    board = card.board if card else path.resolve().name
    notes = []
    for result in results:
        notes += _recompute(result, stored, load(result.dataset), leaks=bool(card))
    comparisons: list[PairwiseReport] = []
    if card is None:
        _check_table(path, planned, stored)
    else:
        _check_seeds(results, plugins.board_card(board).datasets, card.division)
        if card.division == "closed":
            _check_closed(results, board)
        comparisons = _compare_with_reference(path, results, board, Path(published))
        if not comparisons:
            notes.append(f"{board} has no published results to test against.")
    return CheckedSubmission(
        results=results, notes=list(dict.fromkeys(notes)), comparisons=comparisons
    )


def _check_files(path: Path) -> None:
    """Refuse files that are no results: a package is read by others, and has no titles."""
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if not file.is_dir() and name != CARD and not FILES.fullmatch(name):
            raise BenchError(
                f"{file} does not belong in a submission.",
                f"It has {CARD} and results/<dataset>/<method>/<hash>/seed-<n>.* only.",
            )


def _recompute(result: Result, results: ResultSet, cases: BoardCases, *, leaks: bool) -> list[str]:
    """Compute a result again, and return notes; refuse one that differs or breaks a rule."""
    where, folder = result.trial, results.folder
    if result.status != "ok":
        raise BenchError(f"{where}: the trial {result.status}.", "Submit complete results.")
    check_tables(result, folder)
    evaluation = result.evaluations[FINAL]
    table = pq.read_table(table_path(folder, result.trial, "cases"))
    extra = {"title", "titles", "text", "target", "history_items"} & set(table.column_names)
    if extra:
        raise BenchError(f"{where}: the column {extra.pop()!r} must not be published.")
    ranking = pq.read_table(table_path(folder, result.trial, "ranking"))
    require_cases(ranking["case"].to_pylist(), [case["case"] for case in cases.cases], where)
    rankings: list[list[str | None]] = ranking["items"].to_pylist()
    if cases.card.exclude_seen:
        for case, ranked in zip(cases.cases, rankings, strict=True):
            if seen := {*ranked} & {*case["history"]}:
                raise BenchError(
                    f"{where}: the list of case {case['case']} has {seen.pop()!r} of its own "
                    "history, which the board excludes."
                )
    notes, valid = [], None
    if (name := HALLUCINATION.name) in table.column_names:
        valid = table[name].to_numpy() == 0
        if not valid.all():
            notes.append(f"{name} is as submitted: whether a text named an item needs the texts.")
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        own = table_path(folder, result.trial, "cases")
        content = cases.evaluate(rankings, evaluation.ks, out, valid=valid, stored=own)
        for each in TABLES:
            stored = table_path(folder, result.trial, each)
            depth = max(map(len, rankings))
            require_equal(stored, out / f"{each}.parquet", f"{where}: {each}", depth)
    fingerprint = content["data"]["fingerprint"]
    if result.data is None or (
        result.data.fingerprint != fingerprint
        and not shares_test_lists(result, fingerprint, results)
    ):
        raise BenchError(
            f"{where} was measured on another edition of {result.dataset}.",
            "Their fingerprints differ: prepare the data again from the card's files.",
        )
    _check_metrics(where, evaluation, content["evaluation"])
    notes += [
        f"The checkpoint {name} has no ranking to recompute it from."
        for name in result.evaluations
        if name != FINAL
    ]
    first = np.array(pq.read_table(table_path(folder, result.trial, "cases"))["rank"]) == 0
    if leaks and cases.data.lists is None and first.mean() > MAX_FIRST:
        raise BenchError(
            f"{where}: {first.mean():.0%} of the targets are ranked first, as if they were known.",
            "Look for test targets in the training data.",
        )
    return notes


def _check_metrics(where: str, stored: Evaluation, computed: dict[str, Any]) -> None:
    for name, value in computed["metrics"].items():
        submitted = stored.metrics.get(name)
        if submitted is None or abs(submitted - value) > TOLERANCE:
            raise BenchError(f"{where}: {name} is {submitted}, and its rankings give {value}.")
    if unchecked := sorted(stored.metrics.keys() - computed["metrics"].keys()):
        raise BenchError(
            f"{where}: {unchecked[0]} cannot be recomputed.", "Leave out metrics of plug-ins."
        )
    for name in ("num_cases", "num_known", "num_items", "tracked"):
        if getattr(stored, name) != computed[name]:
            raise BenchError(f"{where}: {name} is {getattr(stored, name)}, not {computed[name]}.")


def _check_seeds(results: Sequence[Result], datasets: Sequence[str], division: Division) -> None:
    """Check that a package is one method, with the same seeds from 0 on each data set."""
    if len({result.method for result in results}) > 1:
        raise BenchError("A submission has one method.", "Submit each row on its own.")
    seeds: dict[str, list[int]] = {}
    for result in results:
        seeds.setdefault(result.dataset, []).append(result.seed)
    for dataset, numbers in seeds.items():
        if sorted(numbers) != list(range(len(numbers))):
            raise BenchError(f"The seeds on {dataset} are {sorted(numbers)}, not 0, 1, ….")
    if len({len(numbers) for numbers in seeds.values()}) > 1:
        raise BenchError("The data sets have different numbers of seeds.")
    if division == "closed" and (missing := set(datasets) - seeds.keys()):
        raise BenchError(f"The closed division needs results on {min(missing)}, too.")


def _check_closed(results: Sequence[Result], board: str) -> None:
    """Check the rules of the closed division: the board's rows, seeds, backbone, and this code."""
    card = plugins.board_card(board)
    rows = plugins.budget_card(card.budget).rows.model_dump()
    seeds = 1 + max(result.seed for result in results)
    if seeds < card.seeds:
        raise BenchError(f"{board} has {card.seeds} seeds per row, and there are {seeds}.")
    for result in results:
        problem = ""
        if not result.stages:
            problem = "was not run by bench run"
        elif result.rows != rows:
            problem = f"used other numbers of rows than the budget {card.budget}"
        elif result.model not in (None, card.model):
            problem = f"used the backbone {result.model}, not {card.model}"
        elif any(stage.version != version_of(stage.kind) for stage in result.stages):
            problem = "was computed by another version of the harness"
        elif any(plugin_hash(name) != value for name, value in result.plugins.items()):
            problem = "was computed by another version of its method than is here"
        if problem:
            raise BenchError(
                f"{result.trial} {problem}, which the closed division does not allow.",
                "Run it again, or submit it to the open division.",
            )


def _compare_with_reference(
    path: Path, results: Sequence[Result], board: str, published: Path
) -> list[PairwiseReport]:
    """Test each data set's results against the board's reference row as published."""
    card = plugins.board_card(board)
    reference = card.reference or card.rows[0].name
    ((_, planned),) = plan_boards(select_boards(RunRequest(board=board)), lenient=True)
    reports = []
    for dataset in dict.fromkeys(result.dataset for result in results):
        own = next(result for result in results if result.dataset == dataset)
        theirs = next(
            trial for row, trial in planned if (row.name, trial.dataset) == (reference, dataset)
        )
        folder = (published / RESULTS_FOLDER / theirs.id).parent
        if folder.is_dir():
            mine = (path / RESULTS_FOLDER / own.trial).parent
            reports.append(compare(f"{mine}/", f"{folder}/", metrics=card.metrics))
    return reports


def _check_table(path: Path, planned: PlannedBoards, results: ResultSet) -> None:
    """Compare the table of a published board with the one that its results give."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render_boards(planned, results, folder, store=folder / "store")
        tables = path / TABLE, folder / path.resolve().name / TABLE
        lines = [file.read_text().splitlines() for file in tables]
    for number, (stored, computed) in enumerate(zip(*lines, strict=False), 1):
        if stored != computed:
            raise BenchError(
                f"Line {number} of {path / TABLE} is not what its results give: {computed}",
                f"Publish it again: bench publish {path.resolve().name}",
            )
    if len(lines[0]) != len(lines[1]):
        raise BenchError(f"{path / TABLE} has {len(lines[0])} lines, not {len(lines[1])}.")
