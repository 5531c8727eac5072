"""Data sets, rankings and results written in the formats of other projects."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from bench.config import plugins
from bench.config.request import RESULTS, TRACKERS, DataOptions, ExportFormat, Relationship
from bench.data.assets import checksums
from bench.errors import BenchError, unknown
from bench.files import write_atomic
from bench.plan.board_selection import (
    PlannedBoards,
    distinct_trials,
    find_trial,
    plan_boards,
)
from bench.report import hub_folder
from bench.report.board_test_cases import load_board_cases
from bench.results.formats import croissant, every_eval_ever, prepared_data, trec
from bench.results.load import load_results
from bench.results.run_records import read_boards
from bench.results.schema import Result, read_cases
from bench.results.score_file import read_ranking
from bench.results.trackers.hook import Trackers, collect_tags, parse_targets
from bench.runner.prepared_data import prepare_datasets

DATA_FORMATS = ("recbole", "d3", "sprec")
TREC, EVERY_EVAL_EVER, CASES = "trec", "every-eval-ever", "cases"
CROISSANT, HUB = "croissant", "hub"
RANKING_ENDINGS = (".jsonl", ".gz", ".parquet")
NAMES = {
    **dict.fromkeys((*DATA_FORMATS, CROISSANT), ("data set", "bench list datasets")),
    CASES: ("board", "bench list boards"),
    HUB: ("trial", "bench status"),
}
"""What a format needs a name of, and the command that lists these names."""


def export(
    format_: str,
    names: Sequence[str] = (),
    *,
    into: str | None = None,
    results: Path | str = RESULTS,
    data: DataOptions | None = None,
    evaluator: str | None = None,
    relationship: str | None = None,
    samples: bool = False,
) -> list[str]:
    """Write data sets, rankings or results in the format of another project.

    Args:
        format_: For data sets: recbole, d3, sprec, croissant. For boards, their test cases: cases.
            For results: trec, every-eval-ever, mlflow, tensorboard, wandb. For trials: hub.
        names: Data sets, boards that were run (all by default), or trials; for trec also ranking
            files.
        into: Folder; for mlflow the tracking URI, for wandb the project. Required except for
            trackers.
        results: Folder of the results.
        data: Where prepared data and their raw files are.
        evaluator: For every-eval-ever: who evaluated.
        relationship: For every-eval-ever: of the evaluator to the methods; first_party,
            third_party, collaborative or other.
        samples: For every-eval-ever: whether to write per-case samples, too.

    Returns:
        Paths of the files written; for trackers, ids of the trials reported.

    Raises:
        BenchError: If an option is missing or would have no effect, or a name does not exist.
    """
    data = data or DataOptions()
    source = Path(results)
    _check(format_, into, evaluator, relationship, data)
    if format_ in NAMES and not names:
        noun, command = NAMES[format_]
        raise BenchError(f"{format_} needs a {noun}.", f"See: {command}")
    if samples and format_ != EVERY_EVAL_EVER:
        raise BenchError("--samples is for every-eval-ever.", "Leave it out.")
    if format_ in TRACKERS:
        planned = _plan_named(names, source)
        return _send_to_tracker(format_, planned, into, source, data.offline)
    folder = Path(into or "")
    written: Iterable[Path]
    if format_ in DATA_FORMATS:
        written = _export_data(format_, names, folder, data)
    elif format_ == CASES:
        written = _export_cases(names, folder, data)
    elif format_ == CROISSANT:
        written = _export_croissant(names, folder, data)
    elif format_ == HUB:
        trials = distinct_trials(_plan_named((), source))
        written = [
            hub_folder.write_hub_folder(find_trial(trials, name, None), source, data.store, folder)
            for name in names
        ]
    elif format_ == TREC:
        written = _export_trec(names, folder, source, data)
    else:
        stored = _read_results(_plan_named(names, source), source, only_ok=True)
        who = str(evaluator), str(relationship)
        written = _export_every_eval_ever(stored, folder, source, *who, samples=samples)
    return [str(path) for path in written]


def _check(
    format_: str,
    target: str | None,
    evaluator: str | None,
    relationship: str | None,
    data: DataOptions,
) -> None:
    """Refuse a missing option, or one that would have no effect."""
    if format_ not in get_args(ExportFormat):
        raise unknown("format", format_, get_args(ExportFormat))
    if format_ not in TRACKERS and not target:
        raise BenchError(f"{format_} needs a folder to write to.", "Name it with --into DIR.")
    if format_ == EVERY_EVAL_EVER:
        is_named = evaluator and any(map(str.isalnum, evaluator))
        if not (is_named and relationship in get_args(Relationship)):
            raise BenchError(
                "A record of Every Eval Ever names the evaluator and their relationship to the "
                "methods.",
                "Add --by NAME and --relationship first_party, third_party, collaborative or "
                "other.",
            )
    elif evaluator is not None or relationship is not None:
        raise BenchError("--by and --relationship are for every-eval-ever.", "Leave them out.")
    if format_ not in (*DATA_FORMATS, CROISSANT, CASES, TREC) and (
        data.data_dir is not None or data.files
    ):
        raise BenchError(
            f"--data-dir and --file cannot be used with {format_}.", "It is written from results."
        )


def _plan_named(names: Sequence[str], results: Path) -> PlannedBoards:
    """Plan boards that were run; all of them if none is named."""
    selections = {selection.boards[0].name: selection for selection in read_boards(results)}
    for name in names:
        if name not in selections:
            raise unknown(f"board in {results}", name, selections)
    return [
        board
        for name in names or selections
        for board in plan_boards(selections[name], lenient=True)
    ]


def _read_results(planned: PlannedBoards, results: Path, *, only_ok: bool) -> list[Result]:
    """Read the results of boards; print to standard error how many trials have none."""
    trials = [trial.id for trial in distinct_trials(planned)]
    stored = load_results(results)
    for error in (stored.unreadable[trial] for trial in trials if trial in stored.unreadable):
        raise error
    present = filter(None, map(stored.get, trials))
    usable = [result for result in present if result.status == "ok" or not only_ok]
    if len(usable) < len(trials):
        number = len(trials) - len(usable)
        print(f"{number} of {len(trials)} trials have no values yet.", file=sys.stderr)
    return usable


def _send_to_tracker(
    tracker: str, planned: PlannedBoards, target: str | None, results: Path, offline: bool
) -> list[str]:
    targets = parse_targets([f"{tracker}={target}" if target else tracker], offline=offline)
    stored = _read_results(planned, results, only_ok=False)
    problems: list[str] = []
    with Trackers(targets, results, collect_tags(planned), warn=problems.append) as trackers:
        for result in stored:
            trackers.report(result.trial)
    if problems:
        raise BenchError(problems[0])
    return [result.trial for result in stored]


def _export_data(
    format_: str, names: Sequence[str], folder: Path, options: DataOptions
) -> Iterator[Path]:
    for name, (_, prepared) in prepare_datasets(names, options).items():
        nouns = plugins.dataset_card(name).nouns
        yield from prepared_data.export_data(prepared, format_, folder, name=name, nouns=nouns)


def _export_cases(names: Sequence[str], folder: Path, options: DataOptions) -> Iterator[Path]:
    """Write the test cases of boards: ranking files that lack only the items."""
    for name in names:
        for dataset in plugins.board_card(name).datasets:
            cases = load_board_cases(name, dataset, options).cases
            text = "".join(f"{json.dumps(case, ensure_ascii=False)}\n" for case in cases)
            yield _write(folder / f"{name}-{dataset}.cases.jsonl", text)


def _export_croissant(names: Sequence[str], folder: Path, options: DataOptions) -> Iterator[Path]:
    for name in names:
        card = plugins.dataset_card(name)
        sha256s = checksums(card, options.data_dir)
        content, missing = croissant.build_croissant(name, card, sha256s)
        if missing:
            print(f"{name}: its card has nothing for {', '.join(missing)}.", file=sys.stderr)
        yield _write_json(folder / f"{name}.croissant.json", content)


def _export_trec(
    names: Sequence[str], folder: Path, results: Path, options: DataOptions
) -> Iterator[Path]:
    files = [Path(name) for name in names if name.lower().endswith(RANKING_ENDINGS)]
    boards = [name for name in names if not name.lower().endswith(RANKING_ENDINGS)]
    if files and not boards and (options.files or options.data_dir is not None):
        raise BenchError(
            "--data-dir and --file cannot be used with ranking files.",
            "These files contain the targets.",
        )
    for path in files:
        stem = path.name.split(".")[0]
        yield from _write_trec(folder / stem, trec.convert_file(read_ranking(path), stem))
    if boards or not files:
        stored = _read_results(_plan_named(boards, results), results, only_ok=True)
        data = prepare_datasets(sorted({result.dataset for result in stored}), options)
        for result in stored:
            table = read_cases(results, result.trial)
            texts = trec.convert_result(result, table, data[result.dataset][1])
            yield from _write_trec(folder / result.trial, texts)


def _write_trec(path: Path, texts: Iterable[str]) -> Iterator[Path]:
    for ending, text in zip(("run", "qrels"), texts, strict=True):
        yield _write(path.with_name(f"{path.name}.{ending}"), text)


def _export_every_eval_ever(
    stored: Sequence[Result],
    folder: Path,
    results: Path,
    evaluator: str,
    relationship: str,
    *,
    samples: bool,
) -> Iterator[Path]:
    cards = plugins.card_paths("datasets")
    for result in stored:
        card = plugins.dataset_card(result.dataset) if result.dataset in cards else None
        source = every_eval_ever.Source(
            developer=evaluator, relationship=relationship, homepage=card.homepage if card else None
        )
        when = (results / f"{result.trial}.json").stat().st_mtime
        cases = read_cases(results, result.trial)
        path, content = every_eval_ever.build_record(result, cases, source, when)
        if samples:
            lines_path, lines = every_eval_ever.add_samples(path, content, cases)
            yield _write(folder / lines_path, lines)
        yield _write_json(folder / path, content)


def _write_json(path: Path, content: Any) -> Path:
    return _write(path, json.dumps(content, indent=1) + "\n")


def _write(path: Path, text: str) -> Path:
    write_atomic(path, text.encode())
    return path
