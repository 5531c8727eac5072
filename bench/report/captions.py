"""The sentences of a board that a paper could print: what ran, on what, and how it was tested."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from bench.config import plugins
from bench.config.cards import BoardCard, Rows
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.format import count, listed
from bench.report.table import Block
from bench.stats.descriptions import (
    RESAMPLING,
    describe_correction,
    describe_intervals,
    describe_tests,
)

FULL_BUDGET = "paper"
RERANKING = "rerank"


def scope(card: BoardCard, rows: Sequence[Rows]) -> str:
    """Say that a board ran on less than the papers did, so that nobody takes it for their table.

    Args:
        card: The board's.
        rows: Upper bounds of the rows of each split, as the trials used them.

    Returns:
        A sentence, or "" where the board ran on the papers' budget.
    """
    fewer = _fewer_rows(rows)
    if card.budget == FULL_BUDGET and not fewer:
        return ""
    what = "users" if _reranks(card) else "samples"
    used = [text for text in dict.fromkeys(_rows_text(one, what) for one in rows) if text]
    return (
        f"{'Small budget' if fewer else 'Other budget than the papers’,'} “{card.budget}”: "
        f"{'; '.join(used) or 'all samples'}. "
        "Read the values within this table; they are no reproduction of published ones."
    )


def _fewer_rows(rows: Sequence[Rows]) -> bool:
    try:
        full = plugins.budget_card(FULL_BUDGET).rows.model_dump()
    except BenchError:
        return False
    for one in rows:
        for split, asked in one.model_dump().items():
            if asked is not None and (full[split] is None or asked < full[split]):
                return True
    return False


def _rows_text(rows: Rows, what: str) -> str:
    sizes = [f"{size:,} {split}" for split, size in rows.model_dump().items() if size is not None]
    return f"at most {listed(sizes)} {what}" if sizes else ""


def protocol(card: BoardCard, blocks: Sequence[Block]) -> str:
    """Say what every row was asked to do: cases, candidates, list lengths, seeds, backbone."""
    sizes = [
        f"{count(block.num_cases, 'test case')} over {block.num_items:,} items ({block.title})"
        for block in blocks
        if block.num_cases is not None and block.num_items is not None
    ]
    ks = sorted({k for name in card.metrics if (k := get_metric(name).k) is not None})
    cut = f"Lists are cut at k = {listed([str(k) for k in ks])}; " if ks else ""
    return (
        _task(card)
        + (f": {'; '.join(sizes)}. " if sizes else ". ")
        + cut
        + f"{count(card.seeds, 'seed')} per row."
        + (f" Backbone of the language models: {card.model}." if card.model else "")
    )


def _task(card: BoardCard) -> str:
    if _reranks(card):
        return "Re-ranking of the list that each test case is given"
    return "Next-item recommendation by full ranking, no sampled candidates"


def _reranks(card: BoardCard) -> bool:
    """Tell whether all rows re-rank lists, which are counted by their users."""
    tasks = set()
    for method in {row.method for row in card.rows}:
        with contextlib.suppress(BenchError):  # a method that is gone: its row says so
            tasks.add(getattr(plugins.method_class(method), "TASK", ""))
    return tasks == {RERANKING}


def statistics(card: BoardCard, blocks: Sequence[Block]) -> str:
    """Describe tests, correction and intervals of what was really compared."""
    cells = [cell for block in blocks for row in block.rows for cell in row.cells]
    tested = [cell for cell in cells if cell.comparison is not None]
    values = (
        f"Values are means over {count(card.seeds, 'seed')} ± the standard deviation between seeds."
        if card.seeds > 1
        else "Values are of a single seed, so the variance of training is unknown."
    )
    if not tested:
        return f"{values} No row could be compared with {card.reference_row}."
    metrics = [cell.metric for cell in tested]
    sizes = [cell.comparison.family_size for cell in tested if cell.comparison]
    return " ".join(
        [
            values,
            f"Each row was compared with {card.reference_row} on the same test cases by "
            f"{describe_tests(metrics)}; tests are {RESAMPLING}.",
            f"p-values are {describe_correction(sizes)}; † marks adjusted p ≤ .05.",
            f"Intervals are 95 % and not corrected: {describe_intervals(metrics)}.",
            *_common_seeds(blocks),
            *_units(blocks),
        ]
    )


def _common_seeds(blocks: Sequence[Block]) -> list[str]:
    """Explain why a difference need not be that of the two means where seeds are missing."""
    sets = any(not get_metric(cell.metric).per_case for row in blocks[0].rows for cell in row.cells)
    partial = any(row.status == "partial" for block in blocks for row in block.rows)
    if not (sets and partial):
        return []
    return ["Where seeds are missing, set-level metrics are compared over the common seeds only."]


def _units(blocks: Sequence[Block]) -> list[str]:
    """Name the data sets whose unit is the user, as cases of one user are not independent."""
    nested = [
        block.title
        for block in blocks
        if any(
            cell.comparison is not None and cell.comparison.unit == "user"
            for row in block.rows
            for cell in row.cells
        )
    ]
    if not nested:
        return []
    return [f"Users with several test cases are flipped, swapped and resampled as one unit "
            f"({listed(nested)})."]  # fmt: skip


def across_datasets(card: BoardCard, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Rank the ranked rows over the data sets with values of all of them, a sentence a metric.

    None for a metric with such values on one data set only.
    """
    from bench.stats.ranks import rank_across_datasets  # bare values do not wait for scipy

    found = []
    for column, metric in enumerate(card.metrics if len(blocks) > 1 else ()):
        values: dict[str, dict[str, float]] = {}
        for block in blocks:
            for row in block.rows:
                mean = row.cells[column].mean
                if row.ranked and mean is not None:
                    values.setdefault(row.name, {})[block.dataset] = mean
        with contextlib.suppress(BenchError):  # nothing to rank: the cells say why
            ranking = rank_across_datasets(metric, values)
            if ranking.num_datasets > 1:
                found.append(ranking.sentence)
    return tuple(found)
