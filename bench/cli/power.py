"""`bench power`: the smallest difference that a board could detect."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.cli.compare import Metrics, OneDataset

if TYPE_CHECKING:
    from bench.cli.previous_boards import Block
    from bench.stats.power import DetectableDifference


def power(
    results: o.ResultsFolder = o.RESULTS,
    board: o.BoardName = None,
    dataset: OneDataset = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="M", help="Only this row or method. Repeatable; all."),
    ] = None,
    metric: Metrics = None,
    cases: Annotated[
        int | None, typer.Option("--cases", min=2, metavar="N", help="What if: so many test cases.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, metavar="S", help="What if: so many seeds.")
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Say which difference from the reference each row would show with 80 % power (two-sided .05).

    The spread comes from the results at hand; what is approximate is said below the table.
    """
    from bench.cli.previous_boards import blocks
    from bench.metrics.registry import get_metric

    asked = [get_metric(name).name for name in metric or ()]
    content = []
    for block in _chosen(blocks(results, board=board, dataset=dataset), method or []):
        found, refused = _block(block, results, method or [], asked, cases, seeds)
        content.append((block, found, refused))
    if as_json:
        print(json.dumps([_plain(*one) for one in content], indent=2, allow_nan=False))
        return
    print("\n\n".join(_text(*one) for one in content))


def _chosen(found: list[Block], methods: list[str]) -> list[Block]:
    """Keep the blocks that have one of the methods; a name that none has is refused."""
    from bench.errors import unknown

    for name in methods:
        if not any(block.row(name) for block in found):
            known = {row for block in found for row in (*block.trials, *block.methods)}
            raise unknown("row or method of the boards that were run", name, known)
    return [block for block in found if not methods or any(block.row(name) for name in methods)]


def _block(
    block: Block,
    results: Path,
    methods: list[str],
    metrics: list[str],
    cases: int | None,
    seeds: int | None,
) -> tuple[list[DetectableDifference], list[str]]:
    """Compute every row against the reference; a row that cannot be is named with the reason."""
    from bench.errors import BenchError, unknown
    from bench.report.compare.systems import read_system, require_comparable
    from bench.stats.power import detectable_difference

    positions: dict[str, int] = {}
    reference = block.board.card.reference_row
    try:
        base = read_system(reference, block.paths(reference, results), positions)
    except BenchError as error:  # one board without its reference must not cost the others
        return [], [f"{reference}: {error.message} {error.hint}".strip()]
    wanted = [row for name in methods if (row := block.row(name))] or list(block.trials)
    found, refused = [], []
    for row in dict.fromkeys(wanted):
        if row == reference:
            continue
        try:
            other = read_system(row, block.paths(row, results), positions)
            require_comparable(other, base)
            for metric in metrics or block.board.card.metrics:
                for system in (base, other):
                    if not system.has(metric):
                        known = next(iter(system.recorded.values()))
                        raise unknown(f"metric of {system.name}", metric, known)
                    system.check(metric)
                found.append(
                    detectable_difference(
                        base.sample, other.sample, metric, num_cases=cases, num_seeds=seeds
                    )
                )
        except BenchError as error:
            refused.append(f"{row}: {error.message} {error.hint}".strip())
    return found, refused


def _text(block: Block, found: list[DetectableDifference], refused: list[str]) -> str:
    from tabulate import tabulate

    from bench.report.format import format_percent, format_value

    reference = block.board.card.reference_row
    rows = [
        (
            one.other,
            one.metric,
            format_value(one.difference, digits=5),
            format_percent(one.relative).removeprefix("+"),
            format_value(one.error, digits=5),
            f"{one.num_cases:,}",
            f"{one.num_units:,.0f} {one.unit}s",
            one.num_seeds or "as run",
            one.basis,
        )
        for one in found
    ]
    headers = (
        "row", "metric", "smallest difference", "relative", "standard error", "cases", "units",
        "seeds", "from",
    )  # fmt: skip
    notes: dict[str, dict[str, None]] = {}
    for one in found:
        for text in one.approximations:
            notes.setdefault(text, {})[one.metric] = None
    parts = [
        f"{block.board.name} on {block.dataset}: the smallest difference from {reference} that a "
        "two-sided test at .05 detects with 80 % power, before any correction for the family.",
        tabulate(rows, headers=headers, disable_numparse=True) if rows else "",
        "\n".join(f"Approximate ({', '.join(names)}): {text}" for text, names in notes.items()),
        "\n".join(f"Left out: {text}" for text in refused),
    ]
    return "\n\n".join(part for part in parts if part)


def _plain(block: Block, found: list[DetectableDifference], refused: list[str]) -> dict[str, Any]:
    return {
        "board": block.board.name,
        "dataset": block.dataset,
        "reference": block.board.card.reference_row,
        "power": 0.8,
        "alpha": 0.05,
        "comparisons": [dataclasses.asdict(one) for one in found],
        "left_out": refused,
    }
