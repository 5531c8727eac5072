"""The smallest difference from its reference that each row of a board could show.

Where a board was run with several data seeds, also where the variance of a row's value comes from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.request import RESULTS
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.compare.board_blocks import (
    BoardBlock,
    find_blocks,
    require_rows,
    split_selection,
)
from bench.report.compare.systems import read_system, require_comparable
from bench.report.format import format_count
from bench.results.run_records import read_boards
from bench.stats.contrasts import AlignedSamples
from bench.stats.power import DetectableDifference, detectable_difference
from bench.stats.seed_variance import VarianceParts, decompose_variance

ALPHA = 0.05
POWER = 0.8
DECODING = (
    "Decoding has no part of its own: greedy and beam search draw nothing, and sampling takes the "
    "seed of the training."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowVariance:
    """What makes a metric of a row vary, from `num_draws` data seeds with `num_seeds` each."""

    row: str
    metric: str
    num_draws: int
    num_seeds: int
    parts: VarianceParts


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPower:
    """Smallest detectable differences on one data set of a board.

    Attributes:
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
        measured = names or block.board.card.metrics
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
                require_comparable(system, base)
                for metric in measured:
                    for side in (base, system):
                        side.require(metric)
                        side.check(metric)
                    samples = base.sample, system.sample
                    comparisons.append(
                        detectable_difference(*samples, metric, num_cases=cases, num_seeds=seeds)
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
                variances=_decompose_block(block, folder, rows or [*block.trials], measured),
            )
        )
    return powers


def _decompose_block(
    block: BoardBlock, results: Path, rows: Sequence[str], metrics: Sequence[str]
) -> tuple[RowVariance, ...]:
    """Decompose the variance of rows that were run with two data seeds or more, and two seeds."""
    draws: dict[int, BoardBlock] = {}
    for selection in read_boards(results):
        for other in split_selection(selection):
            if other.dataset == block.dataset and _are_draws(other, block):
                draws.setdefault(other.board.card.data_seed, other)
    lines = []
    for row in rows if len(draws) > 1 else ():
        try:
            samples = [
                read_system(row, draw.list_paths(row, results), {}).sample
                for draw in draws.values()
            ]
            num_seeds = min(len(sample.seeds) for sample in samples)
            if num_seeds < 2:
                continue
            same = len({sample.cases for sample in samples}) == 1
            for metric in metrics:
                methods = [AlignedSamples.align([sample], metric).methods[0] for sample in samples]
                parts = decompose_variance(methods, same_users=same)
                sizes = {"num_draws": len(samples), "num_seeds": num_seeds}
                lines.append(RowVariance(row=row, metric=metric, parts=parts, **sizes))
        except BenchError:  # a row that misses a draw, or a metric that it lacks
            continue
    return tuple(lines)


def _are_draws(a: BoardBlock, b: BoardBlock) -> bool:
    """Tell whether two blocks differ in nothing but data seeds, titles, seeds and bounds."""
    blank = {"data_seed": 0, "title": "", "seeds": 1, "equivalence": {}}
    cards = [block.board.card.model_copy(update=blank) for block in (a, b)]
    rows = [{str(t.rows) for trials in block.trials.values() for t in trials} for block in (a, b)]
    return a.board.name == b.board.name and cards[0] == cards[1] and rows[0] == rows[1]


def describe_variance(lines: Sequence[RowVariance]) -> str:
    """Say in one sentence per metric what makes a run's value vary: the median over rows."""
    sentences = []
    for metric in dict.fromkeys(line.metric for line in lines):
        shares = np.array([line.parts.shares for line in lines if line.metric == metric])
        data, training, users = 100 * np.median(shares, axis=0)
        sentences.append(
            f"{metric}: of the variance of one run (median over rows) the data draw is "
            f"{data:.0f} %, training {training:.0f} % and the sample of test users {users:.0f} %."
        )
    return "\n".join([*sentences, DECODING])
