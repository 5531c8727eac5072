"""The smallest difference from its reference that each row of a board could show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.config.request import RESULTS
from bench.errors import BenchError, unknown
from bench.metrics.registry import get_metric
from bench.report.compare.board_blocks import find_blocks, require_rows
from bench.report.compare.systems import System, read_system, require_comparable
from bench.report.compare.variance import RowVariance, decompose_block
from bench.report.format import format_count
from bench.stats.power import DetectableDifference, detectable_difference

ALPHA = 0.05
POWER = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPower:
    """Smallest detectable differences on one data set of a board.

    Attributes:
        board: Name of the board.
        dataset: Name of the data set.
        reference: Row that the others are compared with.
        comparisons: One per row and metric.
        left_out: Rows without an answer, each with the reason.
        variances: Of rows that were run with several data seeds: what makes their values vary.
    """

    board: str
    dataset: str
    reference: str
    comparisons: tuple[DetectableDifference, ...]
    left_out: tuple[str, ...]
    variances: tuple[RowVariance, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """One sentence per metric for the planning of a board: the median over its rows."""
        lines: dict[str, list[DetectableDifference]] = {}
        for line in self.comparisons:
            if line.difference is not None:
                lines.setdefault(line.metric, []).append(line)
        return [_summarize(metric, rows) for metric, rows in lines.items()]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the power and the two-sided level of the test."""
        return {"power": POWER, "alpha": ALPHA, **dataclasses.asdict(self)}


def _summarize(metric: str, rows: Sequence[DetectableDifference]) -> str:
    ordered = sorted(rows, key=lambda line: line.difference or 0.0)
    line = ordered[(len(ordered) - 1) // 2]
    if line.question == "models":
        return (
            f"{metric}: with {format_count(min(line.num_seeds), 'training run')} per row this "
            f"board can detect a difference of {line.difference:.4f} between two trained models, "
            "and none between methods; run two seeds or more."
        )
    num_seeds = max(line.num_seeds)
    if line.seeds_to_halve is None:
        advice = "no number of seeds up to 100 would halve it; use more test cases."
    else:
        more = format_count(line.seeds_to_halve - num_seeds, "more seed")
        advice = f"{more} would halve it."
    return (
        f"{metric}: with {format_count(num_seeds, 'seed')} this board can detect a difference of "
        f"{line.difference:.4f} (median over rows); {advice}"
    )


def power(
    *,
    results: Path | str = RESULTS,
    board: str | None = None,
    dataset: str | None = None,
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    cases: int | None = None,
    seeds: int | None = None,
) -> list[BlockPower]:
    """Compute the smallest difference that each row would show with 80 % power (two-sided .05).

    Args:
        results: Folder of the results, whose variance is used.
        board: Only this board.
        dataset: Only this data set.
        methods: Only these rows or methods.
        metrics: Names of metrics; the board's by default.
        cases: Hypothetical number of test cases; None for the actual one.
        seeds: Hypothetical number of seeds; None for the actual one.

    Returns:
        One entry per board and data set.

    Raises:
        BenchError: If a board, data set, row or metric does not exist.
    """
    folder = Path(results)
    names = [get_metric(name).name for name in metrics]
    blocks = find_blocks(folder, board=board, dataset=dataset)
    require_rows(blocks, methods)
    powers = []
    for block in blocks:
        rows = [row for name in methods if (row := block.find_row(name))]
        if methods and not rows:
            continue
        comparisons: list[DetectableDifference] = []
        left_out: list[str] = []
        reference = block.board.card.reference_row
        positions: dict[str, int] = {}
        base = None
        for row in dict.fromkeys([reference, *(rows or block.trials)]):
            try:
                system = read_system(row, block.list_paths(row, folder), positions)
                if base is None:
                    base = system
                    continue
                for metric in _comparable_metrics(base, system, names or block.board.card.metrics):
                    comparisons.append(
                        detectable_difference(
                            base.sample,
                            system.sample,
                            metric,
                            num_cases=cases,
                            num_seeds=seeds,
                        )
                    )
            except BenchError as error:  # one row must not cost the others
                left_out.append(f"{row}: {error.message} {error.hint}".strip())
                if base is None:
                    break
        powers.append(
            BlockPower(
                board=block.board.name,
                dataset=block.dataset,
                reference=reference,
                comparisons=tuple(comparisons),
                left_out=tuple(left_out),
                variances=decompose_block(
                    block,
                    folder,
                    rows or [*block.trials],
                    names or block.board.card.metrics,
                ),
            )
        )
    return powers


def _comparable_metrics(base: System, other: System, metrics: Sequence[str]) -> Iterator[str]:
    """Yield the metrics after checking both sides.

    Raises:
        BenchError: If the two cannot be compared or one lacks a metric.
    """
    require_comparable(other, base)
    for metric in metrics:
        for system in (base, other):
            if not system.has(metric):
                recorded = next(iter(system.recorded.values()))
                raise unknown(f"metric of {system.name}", metric, recorded)
            system.check(metric)
        yield metric
