"""Where the variance of a row's value comes from, where a board was run with several data seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.report.compare.board_blocks import BoardBlock, split_selection
from bench.report.compare.systems import read_system
from bench.results.run_records import read_boards
from bench.stats.contrasts import AlignedSamples
from bench.stats.seed_variance import VarianceParts, decompose_variance

DECODING = (
    "Decoding has no part of its own: greedy and beam search draw nothing, and sampling takes the "
    "seed of the training."
)


@dataclass(frozen=True, kw_only=True)
class RowVariance:
    """One row and metric.

    Attributes:
        num_draws: Number of data seeds.
        num_seeds: Training seeds of each.
        parts: The variances.
    """

    row: str
    metric: str
    num_draws: int
    num_seeds: int
    parts: VarianceParts


def decompose_block(
    block: BoardBlock, results: Path, rows: Sequence[str], metrics: Sequence[str]
) -> tuple[RowVariance, ...]:
    """Decompose the variance of rows that were run with two data seeds or more, and two seeds.

    Args:
        block: One data set of a board.
        results: Folder of the results.
        rows: Names of rows.
        metrics: Names of metrics.
    """
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
            for metric in metrics:
                methods = [AlignedSamples.align([sample], metric).methods[0] for sample in samples]
                same = len({sample.cases for sample in samples}) == 1
                parts = decompose_variance(methods, same_users=same)
                lines.append(
                    RowVariance(
                        row=row,
                        metric=metric,
                        num_draws=len(samples),
                        num_seeds=num_seeds,
                        parts=parts,
                    )
                )
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
