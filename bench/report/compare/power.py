"""The smallest difference from its reference that each row of a board could show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, unknown
from bench.metrics.registry import get_metric
from bench.report.compare.board_blocks import find_blocks, require_rows
from bench.report.compare.systems import System, read_system, require_comparable
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
    """

    board: str
    dataset: str
    reference: str
    comparisons: tuple[DetectableDifference, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the power and the two-sided level of the test."""
        return {"power": POWER, "alpha": ALPHA, **dataclasses.asdict(self)}


def compute_power(
    results: Path,
    *,
    board: str | None,
    dataset: str | None,
    methods: Sequence[str],
    metrics: Sequence[str],
    num_cases: int | None,
    num_seeds: int | None,
) -> list[BlockPower]:
    """Compute detectable differences; see `bench.power` for the arguments."""
    names = [get_metric(name).name for name in metrics]
    blocks = find_blocks(results, board=board, dataset=dataset)
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
                system = read_system(row, block.list_paths(row, results), positions)
                if base is None:
                    base = system
                    continue
                for metric in _comparable_metrics(base, system, names or block.board.card.metrics):
                    comparisons.append(
                        detectable_difference(
                            base.sample,
                            system.sample,
                            metric,
                            num_cases=num_cases,
                            num_seeds=num_seeds,
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
