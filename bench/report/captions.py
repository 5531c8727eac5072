"""The captions of a board, fit for a paper: what ran, on what, and how it was tested."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from bench.config import plugins
from bench.config.cards import BoardCard, Rows
from bench.data.released_splits import RELEASED_SPLITS
from bench.data.split import describe_split
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.deviations import find_card
from bench.report.format import format_catalog, format_count
from bench.report.table import Block
from bench.stats.descriptions import (
    EQUIVALENT,
    ONE_RUN,
    describe_correction,
    describe_tests,
    join_words,
)
from bench.stats.ranks import rank_across_datasets

FULL_BUDGET = "paper"
RERANKING = "rerank"
CANDIDATES = {
    "catalog": "of the whole catalog, no sampled candidates",
    "trained": "of the items that are a training target, for every row",
}
RELEASED = "Training, validation and test samples are those that were released."
BY_ITEM = " Items of one title count separately."
SEEN = {
    False: "Items of the user's history stay in the lists. ",
    True: "Items of the user's history are removed from every list. ",
}


def scope(card: BoardCard, rows: Sequence[Rows]) -> str:
    """Say that a board ran on less than the papers did, so that nobody takes it for their table.

    Args:
        card: The board's card.
        rows: Largest number of rows per split that each trial used, floor rows aside.

    Returns:
        A sentence, or "" where the board ran on the papers' budget.
    """
    of_paper = budget_paper(card.budget)
    fewer = _fewer_rows(rows, card.budget if of_paper else FULL_BUDGET)
    if of_paper and not fewer:
        return ""
    what = "users" if _reranks(card) else "samples"
    sizes = [
        text for text in dict.fromkeys(_rows_text(trial_rows, what) for trial_rows in rows) if text
    ]
    return (
        f"{'Small budget' if fewer else 'Not the papers’ budget, but'} “{card.budget}”: "
        f"{'; '.join(sizes) or 'all samples'}. "
        "Compare values within this table only; they do not reproduce published results."
    )


def budget_paper(name: str) -> str:
    """Return the paper whose setting a budget is; "" for none."""
    budget = find_card(plugins.budget_card, name)
    return budget.paper if budget else ""


def _fewer_rows(rows: Sequence[Rows], budget: str) -> bool:
    card = find_card(plugins.budget_card, budget)
    full = card.rows.model_dump() if card else {}
    return any(
        size is not None and (full[split] is None or size < full[split])
        for sizes in rows
        for split, size in sizes.model_dump().items()
        if split in full
    )


def _rows_text(rows: Rows, what: str) -> str:
    sizes = [f"{size:,} {split}" for split, size in rows.model_dump().items() if size is not None]
    return f"at most {join_words(sizes)} {what}" if sizes else ""


def protocol(
    card: BoardCard, blocks: Sequence[Block], *, backbone: str = "", encoders: Sequence[str] = ()
) -> str:
    """Say what all rows have in common: cases, candidates, list lengths, seeds, models."""
    sizes = [
        f"{format_count(block.num_cases, 'test case')} over "
        f"{format_catalog(block.num_items, block.num_ids)} "
        f"({block.title})"
        for block in blocks
        if block.num_cases is not None and block.num_items is not None
    ]
    ks = sorted({k for name in card.metrics if (k := get_metric(name).k) is not None})
    cut = f"Lists are cut at k = {join_words([str(k) for k in ks])}; " if ks else ""
    task = (
        "Re-ranking of each test case's candidate list"
        if _reranks(card)
        else f"Next-item recommendation by full ranking {CANDIDATES[card.candidates]}"
    )
    return (
        task
        + (f": {'; '.join(sizes)}. " if sizes else ". ")
        + ("" if _reranks(card) else _describe_splits(blocks) + SEEN[card.exclude_seen])
        + cut
        + f"{format_count(card.seeds, 'seed')} per row."
        + ("" if _reranks(card) or card.group_titles else BY_ITEM)
        + (f" Backbone of the language models: {backbone}." if backbone else "")
        + (f" Their texts are encoded by {join_words(encoders)}." if encoders else "")
    )


def _describe_splits(blocks: Sequence[Block]) -> str:
    """Say how each data set is split: one sentence, or one per kind of split with its data sets."""
    titles: dict[str, list[str]] = {}
    for block in blocks:
        if data := find_card(plugins.dataset_card, block.dataset):
            text = RELEASED if data.reader in RELEASED_SPLITS else describe_split(data.split)
            titles.setdefault(text, []).append(block.title)
    if len(titles) == 1:
        return f"{next(iter(titles))} "
    return "".join(f"{join_words(names)}: {text} " for text, names in titles.items())


def _reranks(card: BoardCard) -> bool:
    """Tell whether all rows re-rank lists; their samples are counted by users."""
    tasks = set()
    for method in {row.method for row in card.rows}:
        with contextlib.suppress(BenchError):  # a method that no longer exists: its row says so
            tasks.add(getattr(plugins.method_class(method), "TASK", ""))
    return tasks == {RERANKING}


def reference(card: BoardCard) -> str:
    """Name what rows are compared with: one row, or the reference of each group."""
    names = card.references
    return names[0] if len(names) == 1 else "the reference of its group"


def equivalence(card: BoardCard) -> str:
    """Explain the mark of equivalent rows; "" on boards without bounds."""
    if not card.equivalence:
        return ""
    bounds = join_words([f"±{bound:g} ({metric})" for metric, bound in card.equivalence.items()])
    return f"≡: equivalent to {reference(card)}, the difference is within {bounds}: {EQUIVALENT}."


def statistics(card: BoardCard, blocks: Sequence[Block]) -> str:
    """Describe tests, correction and intervals of the comparisons that were made."""
    tests = [test for block in blocks for row in block.rows for test in row.comparisons]
    values = (
        f"Values are means over {format_count(card.seeds, 'seed')} ± the standard deviation "
        "between seeds."
        if card.seeds > 1
        else "Values are of a single seed, so the variance between seeds is unknown."
    )
    if not tests:
        return f"{values} No row could be compared with {reference(card)}."
    names = f" ({', '.join(card.references)})" if len(card.references) > 1 else ""
    sentences = [
        values,
        f"Each row was compared with {reference(card)}{names} on the same test cases: "
        f"{describe_tests((test.metric, test.question) for test in tests)}.",
        f"p-values, not intervals, are "
        f"{describe_correction(test.family_size for test in tests if test.question)}.",
        _marks({test.question for test in tests}),
    ]
    by_user = [
        block.title
        for block in blocks
        if any(test.unit == "user" for row in block.rows for test in row.comparisons)
    ]
    if by_user:  # cases of one user are not independent
        sentences.append(
            "Where users have several test cases, the user is the unit of the tests and intervals "
            f"({join_words(by_user)})."
        )
    return " ".join(sentences)


def _marks(questions: Collection[str | None]) -> str:
    """Say what † marks, or why there is none."""
    if "methods" in questions:
        return "† (better) and †− (worse) mark methods with an adjusted p ≤ .05."
    return f"{ONE_RUN} There is no † or ≈." if "models" in questions else "There is no † or ≈."


def mean_ranks(card: BoardCard, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Rank the ranked rows of each reference over the data sets with all values, by metric.

    A metric with such values on fewer than two data sets has none.
    """
    sentences = []
    for reference in card.references:
        rows = [
            (block.dataset, row)
            for block in blocks
            for family, members in block.families
            for row in members
            if row.ranked and family == reference
        ]
        for column, metric in enumerate(card.metrics if len(blocks) > 1 else ()):
            values: dict[str, dict[str, float]] = {}
            for dataset, row in rows:
                mean = row.cells[column].mean
                if mean is not None:
                    values.setdefault(row.name, {})[dataset] = mean
            with contextlib.suppress(BenchError):  # nothing to rank: the cells say why
                ranking = rank_across_datasets(metric, values)
                if ranking.num_datasets > 1:
                    sentences.append(ranking.sentence)
    return tuple(sentences)
