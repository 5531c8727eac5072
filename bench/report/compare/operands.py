"""The two sides of a comparison from words: rows of boards, folders of results, ranking files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.config.request import RESULTS
from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.metrics.registry import DEFAULT_METRICS, get_metric, parse_bounds
from bench.report.compare.board_blocks import BoardBlock, find_block, find_blocks
from bench.report.compare.pairwise import PairwiseReport, choose_metrics, compare_systems
from bench.report.compare.systems import System, list_seeds, read_system
from bench.results.schema import read_result
from bench.results.score_file import (
    RankingFile,
    collect_items,
    evaluate_file,
    read_catalog,
    read_ranking,
    track_categories,
)
from bench.stats.samples import Sample

RANKING_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
NUM_HASH_DIGITS = 6
NO_FINGERPRINT = (
    "{name} is a file without a data fingerprint: that its cases are the same ones is checked by "
    "their ids, users and, between two files, targets."
)


def compare(
    a: str,
    b: str,
    *,
    results: Path | str = RESULTS,
    board: str | None = None,
    dataset: str | None = None,
    metrics: Sequence[str] = (),
    catalog: Path | None = None,
    categories: Sequence[str] = (),
    equivalence: Sequence[str] = (),
) -> PairwiseReport:
    """Compare two methods: difference, interval, p-value, effect size and seeds per metric.

    Args:
        a: A row or method of a board that was run, a folder `<results>/<dataset>/<method>/<hash>`,
            or a ranking file (JSONL or parquet). A word with a slash is a path.
        b: The reference, named likewise.
        results: Folder of the results.
        board: The board, if several have such rows.
        dataset: The data set, if several were run.
        metrics: Names of metrics; the board's by default.
        catalog: All items of ranking files, with id, title and categories.
        categories: Categories that fairness metrics of ranking files track; all by default.
        equivalence: `METRIC=BOUND`, the difference up to which the two count as equivalent; the
            board's by default.

    Raises:
        BenchError: If one side does not exist, or the two were not measured on the same cases.
    """
    words, folder = (a, b), Path(results)
    names = [get_metric(name).name for name in metrics]
    if all(map(_is_path, words)) and (board or dataset):
        raise BenchError("--board and --dataset choose among rows, and two paths were given.")
    if not any(map(_is_file, words)) and (catalog or categories):
        raise BenchError("--catalog and --category are for ranking files, and none was given.")
    if categories and not catalog:
        raise BenchError("--category needs --catalog, which lists the categories of each item.")
    block = _find_block(words, folder, board, dataset)
    default = block.board.card.metrics if block else DEFAULT_METRICS
    positions: dict[str, int] = {}
    systems: dict[str, System] = {}
    files: dict[str, str] = {}
    for word, name in zip(words, _choose_names(words), strict=True):
        if _is_file(word):
            files[word] = name
        elif _is_path(word):
            systems[word] = read_system(name, list_seeds(Path(word)), positions)
        else:
            assert block is not None
            row = block.find_row(word)
            assert row is not None
            systems[word] = read_system(row, block.list_paths(row, folder), positions)
    if files:
        other = next(iter(systems.values()), None)
        systems |= _read_files(files, names or default, catalog, categories, other, positions)
    first, second = systems[a], systems[b]
    measured, lacking = choose_metrics(first, second, requested=names, default=default)
    bounds = parse_bounds(equivalence) or (block.board.card.equivalence if block else {})
    report = compare_systems(first, second, measured, bounds)
    if lacking:
        note = f"Not measured on both sides, so left out: {', '.join(lacking)}."
        report = dataclasses.replace(report, notes=(*report.notes, note))
    return report


def _is_file(word: str) -> bool:
    return word.endswith(RANKING_ENDINGS)


def _is_path(word: str) -> bool:
    return "/" in word or _is_file(word) or word in (".", "..")


def _find_block(
    words: tuple[str, str], results: Path, board: str | None, dataset: str | None
) -> BoardBlock | None:
    """Find the block that has the rows among the words; None for two paths."""
    rows = [word for word in words if not _is_path(word)]
    if not rows:
        return None
    folders = [Path(word) for word in words if _is_path(word) and not _is_file(word)]
    datasets = {read_result(list_seeds(folder)[0]).dataset for folder in folders}
    return find_block(find_blocks(results, board=board, dataset=dataset), rows, datasets)


def _choose_names(words: tuple[str, str]) -> list[str]:
    """Name folders by their method and files by their name; longer if these are equal."""
    names = []
    for word in words:
        path = Path(word)
        if not _is_path(word):
            names.append((word, word))
        elif _is_file(word):
            names.append((path.name.split(".")[0], word))
        else:
            method, setting_hash = path.resolve().parts[-2:]
            names.append((method, f"{method} {setting_hash[:NUM_HASH_DIGITS]}"))
    short, long = map(list, zip(*names, strict=True))
    return short if short[0].casefold() != short[1].casefold() else long


def _read_files(
    names: dict[str, str],
    metrics: Sequence[str],
    catalog: Path | None,
    categories: Sequence[str],
    other: System | None,
    positions: dict[str, int],
) -> dict[str, System]:
    """Score ranking files, given by path with their names; `other` is the side that is none.

    Without a catalog there are only the items of the files, so that metrics which need all items
    are left out.
    """
    files = {path: read_ranking(Path(path)) for path in names}
    if catalog is not None:
        items = read_catalog(catalog)
        tracked = categories or (other.sample.tracked if other else None)
        items = items if tracked is None else track_categories(items, tracked)
    elif other is not None:
        raise BenchError(
            f"{next(iter(names))} is compared with a result, so its catalog must be known.",
            "Add --catalog FILE.",
        )
    else:
        items = collect_items(list(files.values()))
    ks = sorted({k for metric in metrics if (k := get_metric(metric).k) is not None}) or [1]
    systems = {}
    for path, file in files.items():
        system = _score_file(names[path], path, file, items, ks, positions)
        if catalog is None:
            recorded = system.recorded[0].items()
            values = {name: value for name, value in recorded if not get_metric(name).needs_catalog}
            system = dataclasses.replace(system, recorded={0: values})
        systems[path] = system
    return systems


def _score_file(
    name: str,
    path: str,
    file: RankingFile,
    catalog: Catalog,
    ks: Sequence[int],
    positions: dict[str, int],
) -> System:
    """Score a ranking file as a method with a single seed, number 0; see `read_system`."""
    try:
        (ranking, _, _, catalog), scores = evaluate_file(file, catalog, ks)
    except BenchError as error:
        raise BenchError(f"{Path(path).name}: {error.message}", error.hint) from error
    items = ranking.items
    shared = np.array([positions.setdefault(id_, len(positions)) for id_ in catalog.ids])
    sample = Sample(
        name=name,
        seeds=(0,),
        cases=tuple(case.case for case in file.cases),
        users=tuple(case.user for case in file.cases),
        values={metric: values[None] for metric, values in scores.cases.items()},
        items=np.where(items >= 0, shared[np.maximum(items, 0)], items)[None].astype(np.int32),
        known=scores.known,
        masses={k: mass[None] for k, mass in scores.masses.items()},
        histories=scores.history_masses,
        tracked=catalog.tracked,
        num_items=len(catalog),
    )
    return System(
        sample=sample,
        dataset="",
        fingerprint="",
        recorded={0: scores.metrics},
        paths={0: path},
        targets={case.case: case.target for case in file.cases},
        notes=(NO_FINGERPRINT.format(name=name),),
    )
