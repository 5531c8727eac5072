"""`bench compare`: two methods, metric by metric, with one sentence for a paper."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cli.previous_boards import Block
    from bench.report.compare.systems import System

RANKING_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
SHOWN_DIGITS = 6

Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="E.g. NDCG@5. Repeatable; the board's."),
]
OneDataset = Annotated[
    str | None, typer.Option("--dataset", metavar="D", help="Data set, where several were run.")
]


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Row or method of a board that was run; a folder <results>/<dataset>/<method>/"
            "<hash>; or a ranking file (JSONL, parquet). A word with a slash is a path.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The reference, given likewise.")],
    results: o.ResultsFolder = o.RESULTS,
    board: o.BoardName = None,
    dataset: OneDataset = None,
    metric: Metrics = None,
    catalog: Annotated[
        Path | None,
        typer.Option(
            "--catalog", "--catalogue", help="Of ranking files: id, title, categories of all items."
        ),
    ] = None,
    tracked: Annotated[
        list[str] | None,
        typer.Option("--category", help="Category that fairness tracks in ranking files."),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Compare A with B: difference, interval, p (Holm), effect size, seeds, and one sentence."""
    from bench.metrics.registry import DEFAULT_METRICS, get_metric
    from bench.report.compare.pairwise import (
        choose_metrics,
        compare_systems,
        format_report,
        report_to_json,
    )

    asked = [get_metric(name).name for name in metric or ()]
    _refuse_unused((a, b), board, dataset, catalog, tracked)
    block = _block((a, b), results, board, dataset)
    usual = block.board.card.metrics if block else DEFAULT_METRICS
    one, two = _systems((a, b), block, results, asked or usual, catalog, tracked)
    metrics, lacking = choose_metrics(one, two, requested=asked, default=usual)
    report = compare_systems(one, two, metrics)
    if lacking:
        note = f"Not measured on both sides, so left out: {', '.join(lacking)}."
        report = dataclasses.replace(report, notes=(*report.notes, note))
    if as_json:
        print(json.dumps(report_to_json(report), indent=2, allow_nan=False))
        return
    print(format_report(report))


def _is_path(word: str) -> bool:
    return "/" in word or word.endswith(RANKING_ENDINGS) or word in (".", "..")


def _is_file(word: str) -> bool:
    return _is_path(word) and word.endswith(RANKING_ENDINGS)


def _refuse_unused(
    words: tuple[str, str],
    board: str | None,
    dataset: str | None,
    catalog: Path | None,
    tracked: list[str] | None,
) -> None:
    if all(_is_path(word) for word in words) and (board or dataset):
        raise BenchError("--board and --dataset choose among rows, and two paths were given.")
    if not any(_is_file(word) for word in words) and (catalog or tracked):
        raise BenchError("--catalog and --category belong to ranking files, and none was given.")
    if tracked and not catalog:
        raise BenchError("--category needs --catalog, which says what has which category.")


def _block(
    words: tuple[str, str], results: Path, board: str | None, dataset: str | None
) -> Block | None:
    """Find the board's block that the names among the words stand on; None for two paths."""
    from bench.cli.previous_boards import blocks, only
    from bench.report.compare.systems import list_seeds
    from bench.results.schema import read_result

    names = [word for word in words if not _is_path(word)]
    if not names:
        return None
    folders = [Path(word) for word in words if _is_path(word) and not _is_file(word)]
    measured_on = {read_result(list_seeds(folder)[0]).dataset for folder in folders}
    return only(
        blocks(results, board=board, dataset=dataset),
        names,
        lambda block: not measured_on or block.dataset in measured_on,
    )


def _systems(
    words: tuple[str, str],
    block: Block | None,
    results: Path,
    metrics: list[str] | tuple[str, ...],
    catalog: Path | None,
    tracked: list[str] | None,
) -> tuple[System, System]:
    from bench.report.compare.systems import list_seeds, read_system

    positions: dict[str, int] = {}
    found: dict[str, System] = {}
    for word, name in zip(words, _names(words), strict=True):
        if not _is_path(word):
            assert block is not None
            row = block.row(word)
            assert row is not None
            found[word] = read_system(row, block.paths(row, results), positions)
        elif not _is_file(word):
            found[word] = read_system(name, list_seeds(Path(word)), positions)
    files = [word for word in words if _is_file(word)]
    if files:
        beside = next(iter(found.values()), None)
        found |= _outside(words, files, metrics, catalog, tracked, beside, positions)
    return found[words[0]], found[words[1]]


def _names(words: tuple[str, str]) -> tuple[str, str]:
    """Call folders by their method and files by their name; longer where that is no difference."""
    short, long = [], []
    for word in words:
        path = Path(word)
        if not _is_path(word):
            names = (word, word)
        elif _is_file(word):
            names = (path.name.split(".")[0], word)
        else:
            method, hash_ = path.resolve().parts[-2:]
            names = (method, f"{method} {hash_[:SHOWN_DIGITS]}")
        short.append(names[0])
        long.append(names[1])
    chosen = short if short[0].casefold() != short[1].casefold() else long
    return chosen[0], chosen[1]


def _outside(
    words: tuple[str, str],
    files: list[str],
    metrics: list[str] | tuple[str, ...],
    catalog: Path | None,
    tracked: list[str] | None,
    beside: System | None,
    positions: dict[str, int],
) -> dict[str, System]:
    from bench.metrics.registry import get_metric
    from bench.report.compare.external_ranking import read_system_file, track_categories
    from bench.results.score_file import collect_items, read_catalog, read_ranking

    names = dict(zip(words, _names(words), strict=True))
    read = {word: read_ranking(Path(word)) for word in files}
    if catalog is not None:
        items = read_catalog(catalog)
        chosen = tracked or (beside.sample.tracked if beside else None)
        items = items if chosen is None else track_categories(items, chosen)
    elif beside is not None:
        raise BenchError(
            f"{files[0]} is compared with a result, so its catalog must be known.",
            "Add --catalog FILE.",
        )
    else:
        items = collect_items(list(read.values()))
    ks = sorted({k for name in metrics if (k := get_metric(name).k) is not None}) or [1]
    return {
        word: read_system_file(
            names[word],
            Path(word),
            file,
            items,
            ks=ks,
            positions=positions,
            complete_catalog=catalog is not None,
        )
        for word, file in read.items()
    }
