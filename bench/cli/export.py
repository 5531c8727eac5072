"""`bench export`: data sets, rankings and results in other projects' forms."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.cli.materialize import Place
    from bench.cli.selection import Cells
    from bench.data.prepared import Prepared
    from bench.plan.trials import Board
    from bench.results.schema import Result

    Planned = list[tuple[Board, Cells]]


class Form(StrEnum):
    """Whose form."""

    recbole = "recbole"
    d3 = "d3"
    sprec = "sprec"
    trec = "trec"
    every_eval_ever = "every-eval-ever"
    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"


class Relationship(StrEnum):
    """Of the evaluator to the methods, as Every Eval Ever knows them."""

    first_party = "first_party"
    third_party = "third_party"
    collaborative = "collaborative"
    other = "other"


OF_DATA = (Form.recbole, Form.d3, Form.sprec)
OF_TRACKERS = (Form.mlflow, Form.tensorboard, Form.wandb)
RANKING_FILES = (".jsonl", ".gz", ".parquet")

FormName = Annotated[
    Form,
    typer.Argument(
        metavar="FORMAT",
        help="Of data: recbole, d3, sprec. Of results: trec, every-eval-ever, mlflow, tensorboard, "
        "wandb.",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]…",
        help="Data sets; or boards that were run, all by default; trec: also ranking files.",
    ),
]
Into = Annotated[
    str | None,
    typer.Option(
        "--into",
        metavar="WHERE",
        help="Folder; mlflow: tracking URI; wandb: project. Trackers have a place of their own.",
    ),
]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="every-eval-ever: who evaluated.")
]
Related = Annotated[
    Relationship | None,
    typer.Option("--relationship", help="every-eval-ever: of the evaluator to the methods."),
]


def export(
    form: FormName,
    names: Names = None,
    into: Into = None,
    by: By = None,
    relationship: Related = None,
    results: o.ResultsFolder = o.RESULTS,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    file: o.Files = None,
    offline: o.Offline = False,
) -> None:
    """Write data sets, rankings or results in the form of another project."""
    _check(form, into, by, relationship, data_dir, file)
    if form in OF_TRACKERS:
        _to_tracker(form, _boards(names, results), into, results, offline=offline)
        return
    assert into is not None, "checked above"
    folder = Path(into)
    from bench.cli.materialize import Place

    place = Place(store=store, data_dir=data_dir, offline=offline)
    if form in OF_DATA:
        written = _data(form, names or [], folder, place, file)
    elif form is Form.trec:
        written = _trec(names or [], folder, results, place, file)
    else:
        assert by is not None, "checked above"
        assert relationship is not None, "checked above"
        written = _every_eval_ever(_boards(names, results), folder, results, by, relationship)
    for path in written:
        print(path)


def _check(
    form: Form,
    into: str | None,
    by: str | None,
    relationship: Relationship | None,
    data_dir: Path | None,
    file: Sequence[str] | None,
) -> None:
    """Refuse what does not go together.

    Raises:
        BenchError: If an option is missing, or would be without effect.
    """
    if form not in OF_TRACKERS and not into:
        raise BenchError(f"{form.value} needs a place.", "Name a folder with --into DIR.")
    if form is Form.every_eval_ever and not (by and any(map(str.isalnum, by)) and relationship):
        raise BenchError(
            "A record of Every Eval Ever says who evaluated, and how they stand to the methods.",
            "Add --by NAME and --relationship first_party, third_party, collaborative or other.",
        )
    if form is not Form.every_eval_ever and (by is not None or relationship is not None):
        raise BenchError("--by and --relationship are every-eval-ever's.", "Leave them out.")
    if form not in (*OF_DATA, Form.trec) and (data_dir is not None or file):
        raise BenchError(
            f"--data-dir and --file do not go with {form.value}.", "It is written from results."
        )


def _boards(names: Sequence[str] | None, results: Path) -> Planned:
    """Return boards that were run, with their trials; all of them if none is named."""
    from bench.cli.report import plan_leniently
    from bench.cli.selection import recall

    selections = {selection.boards[0].name: selection for selection in recall(results)}
    for name in names or ():
        if name not in selections:
            raise unknown(f"board in {results}", name, selections)
    return [found for name in names or selections for found in plan_leniently(selections[name])]


def _found(planned: Planned, results: Path, *, only_ok: bool) -> list[Result]:
    """Read the results of boards; what has none is told on standard error."""
    from bench.results.schema import find_result

    ids = dict.fromkeys(trial.id for _, cells in planned for _, trial in cells)
    read = [find_result(results, name) for name in ids]
    found = [one for one in read if one is not None and (one.status == "ok" or not only_ok)]
    if len(found) < len(ids):
        print(f"{len(ids) - len(found)} of {len(ids)} trials have no values yet.", file=sys.stderr)
    return found


def _to_tracker(
    form: Form, planned: Planned, into: str | None, results: Path, *, offline: bool
) -> None:
    from bench.results.trackers.hook import Trackers, collect_tags, parse_targets

    targets = parse_targets([f"{form.value}={into}" if into else form.value], offline=offline)
    found = _found(planned, results, only_ok=False)
    problems: list[str] = []
    with Trackers(targets, results, collect_tags(planned), warn=problems.append) as trackers:
        for result in found:
            trackers.report(result.trial)
    if problems:
        raise BenchError(problems[0])
    print(f"{len(found)} trials are in {form.value}.")


def _data(
    form: Form, names: Sequence[str], folder: Path, place: Place, files: Sequence[str] | None
) -> list[Path]:
    from bench.cli.materialize import prepare_stage
    from bench.config import plugins
    from bench.data.user_files import parse_files
    from bench.results.formats.prepared_data import export_data

    if not names:
        raise BenchError(f"{form.value} needs a data set.", "See: bench list datasets")
    written = []
    for name, own in parse_files(files or [], list(dict.fromkeys(names))).items():
        prepared = prepare_stage(name, place, own)[1]
        nouns = plugins.dataset_card(name).nouns
        written += export_data(prepared, form.value, folder, name=name, nouns=nouns)
    return written


def _trec(
    names: Sequence[str],
    folder: Path,
    results: Path,
    place: Place,
    files: Sequence[str] | None,
) -> list[Path]:
    from bench.results.formats import trec
    from bench.results.schema import read_cases
    from bench.results.score_file import read_ranking

    rankings = [Path(name) for name in names if Path(name).suffix.lower() in RANKING_FILES]
    boards = [name for name in names if Path(name).suffix.lower() not in RANKING_FILES]
    if rankings and not boards and (files or place.data_dir is not None):
        raise BenchError(
            "--data-dir and --file do not go with ranking files.", "Their targets stand in them."
        )
    written = []
    for path in rankings:
        stem = path.name.split(".")[0]
        written += _pair(folder / stem, *trec.convert_file(read_ranking(path), stem))
    if boards or not rankings:
        found = _found(_boards(boards, results), results, only_ok=True)
        data = _prepared({result.dataset for result in found}, place, files)
        for result in found:
            table = read_cases(results, result.trial)
            texts = trec.convert_result(result, table, data[result.dataset])
            written += _pair(folder / result.trial, *texts)
    return written


def _prepared(names: set[str], place: Place, files: Sequence[str] | None) -> dict[str, Prepared]:
    from bench.cli.materialize import prepare_stage
    from bench.data.user_files import parse_files

    own = parse_files(files or [], sorted(names))
    return {name: prepare_stage(name, place, paths)[1] for name, paths in own.items()}


def _pair(path: Path, run: str, qrels: str) -> list[Path]:
    from bench.files import write_atomic

    paths = [path.with_name(f"{path.name}.{ending}") for ending in ("run", "qrels")]
    for one, text in zip(paths, (run, qrels), strict=True):
        write_atomic(one, text.encode())
    return paths


def _every_eval_ever(
    planned: Planned, folder: Path, results: Path, by: str, relationship: Relationship
) -> list[Path]:
    from bench.config import plugins
    from bench.files import write_atomic
    from bench.results.formats.every_eval_ever import Source, build_record
    from bench.results.schema import read_cases

    known = plugins.card_paths("datasets")
    written = []
    for result in _found(planned, results, only_ok=True):
        card = plugins.dataset_card(result.dataset) if result.dataset in known else None
        source = Source(
            developer=by,
            relationship=relationship.value,
            homepage=None if card is None else card.homepage,
        )
        when = (results / f"{result.trial}.json").stat().st_mtime
        place, content = build_record(result, read_cases(results, result.trial), source, when)
        write_atomic(folder / place, (json.dumps(content, indent=1) + "\n").encode())
        written.append(folder / place)
    return written
