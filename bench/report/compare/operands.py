"""The two sides of a comparison from words: rows of boards, folders of results, ranking files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bench.config.request import RESULTS
from bench.errors import BenchError
from bench.metrics.registry import DEFAULT_METRICS, get_metric, parse_bounds
from bench.report.compare.board_blocks import BoardBlock, find_block, find_blocks
from bench.report.compare.external_ranking import read_system_file, track_categories
from bench.report.compare.pairwise import PairwiseReport, choose_metrics, compare_systems
from bench.report.compare.systems import System, list_seeds, read_system
from bench.results.schema import read_result
from bench.results.score_file import collect_items, read_catalog, read_ranking

RANKING_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
NUM_HASH_DIGITS = 6


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
    words = (a, b)
    folder = Path(results)
    names = [get_metric(name).name for name in metrics]
    _refuse_unused_options(words, board, dataset, catalog, categories)
    block = _find_block(words, folder, board, dataset)
    default = block.board.card.metrics if block else DEFAULT_METRICS
    first, second = _read_systems(words, block, folder, names or default, catalog, categories)
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


def _refuse_unused_options(
    words: tuple[str, str],
    board: str | None,
    dataset: str | None,
    catalog: Path | None,
    categories: Sequence[str],
) -> None:
    if all(map(_is_path, words)) and (board or dataset):
        raise BenchError("--board and --dataset choose among rows, and two paths were given.")
    if not any(map(_is_file, words)) and (catalog or categories):
        raise BenchError("--catalog and --category are for ranking files, and none was given.")
    if categories and not catalog:
        raise BenchError("--category needs --catalog, which lists the categories of each item.")


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


def _read_systems(
    words: tuple[str, str],
    block: BoardBlock | None,
    results: Path,
    metrics: Sequence[str],
    catalog: Path | None,
    categories: Sequence[str],
) -> tuple[System, System]:
    positions: dict[str, int] = {}
    systems: dict[str, System] = {}
    names = dict(zip(words, _choose_names(words), strict=True))
    for word, name in names.items():
        if not _is_path(word):
            assert block is not None
            row = block.find_row(word)
            assert row is not None
            systems[word] = read_system(row, block.list_paths(row, results), positions)
        elif not _is_file(word):
            systems[word] = read_system(name, list_seeds(Path(word)), positions)
    files = {word: name for word, name in names.items() if _is_file(word)}
    if files:
        other = next(iter(systems.values()), None)
        systems |= _read_files(files, metrics, catalog, categories, other, positions)
    return systems[words[0]], systems[words[1]]


def _choose_names(words: tuple[str, str]) -> tuple[str, str]:
    """Name folders by their method and files by their name; longer if these are equal."""
    short, long = [], []
    for word in words:
        path = Path(word)
        if not _is_path(word):
            names = (word, word)
        elif _is_file(word):
            names = (path.name.split(".")[0], word)
        else:
            method, setting_hash = path.resolve().parts[-2:]
            names = (method, f"{method} {setting_hash[:NUM_HASH_DIGITS]}")
        short.append(names[0])
        long.append(names[1])
    first, second = short if short[0].casefold() != short[1].casefold() else long
    return first, second


def _read_files(
    names: dict[str, str],
    metrics: Sequence[str],
    catalog: Path | None,
    categories: Sequence[str],
    other: System | None,
    positions: dict[str, int],
) -> dict[str, System]:
    """Score ranking files, given by path with their names; `other` is the side that is none."""
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
    return {
        path: read_system_file(
            names[path],
            Path(path),
            file,
            items,
            ks=ks,
            positions=positions,
            complete_catalog=catalog is not None,
        )
        for path, file in files.items()
    }
