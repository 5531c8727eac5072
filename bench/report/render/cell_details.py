"""Details of each cell, as plain values that the page's script shows in a dialog.

Everything here is also in the page's tables: the script only arranges it by cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.metrics.registry import get_metric
from bench.report import format as w
from bench.report.costs import RowCost, results_of
from bench.report.examples import Example
from bench.report.table import Block, BoardTable, Cell, Row
from bench.results.load import ResultSet
from bench.results.outcomes import Outcome
from bench.results.schema import Attempt, Result
from bench.results.validation import read_validation
from bench.stats.descriptions import QUESTIONS, join_words

KEY_DIGITS = 12
TITLE_CHARS = 100
REASON_CHARS = 600
Pairs = list[tuple[str, str]]
Examples = Mapping[str, Sequence[Example]]
"""Test cases to show, by trial."""


def page_data(
    table: BoardTable, results: ResultSet, costs: Sequence[RowCost], examples: Examples
) -> dict[str, Any]:
    """Gather what the page's script needs: values to sort by, and details."""
    costs_of = {(cost.dataset, cost.row): cost for cost in costs}
    return {
        "name": table.name,
        "metrics": list(table.metrics),
        "higher": [get_metric(metric).higher_is_better for metric in table.metrics],
        "parts": ["pub"] if table.any_published else [],
        "blocks": [
            {
                "title": block.title,
                "dataset": block.dataset,
                "rows": [
                    _row(row, block, results, costs_of.get((block.title, row.name)), examples)
                    for row in block.rows
                ],
            }
            for block in table.datasets
        ],
    }


def _row(
    row: Row, block: Block, results: ResultSet, cost: RowCost | None, examples: Examples
) -> dict[str, Any]:
    return {
        "name": w.single_line(row.name),
        "method": row.method,
        "group": row.group,
        "status": "out of memory" if row.out_of_memory else row.status,
        "stale": row.stale,
        "about": _row_facts(row, results_of(row, results), cost),
        "trials": [
            _trial(outcome, results.get(outcome.trial), examples.get(outcome.trial, ()))
            for outcome in row.outcomes
        ],
        "cells": [
            {
                "mean": cell.mean,
                "facts": _cell_facts(cell, row, _interval_facts(block, row.name, cell.metric)),
                "seeds": {seed: w.format_value(value) for seed, value in cell.values},
            }
            for cell in row.cells
        ],
    }


def _cell_facts(cell: Cell, row: Row, interval: Pairs) -> Pairs:
    """List what is known about a cell as label and text, the value first."""
    if cell.mean is None:
        pairs: Pairs = [("Status", cell.status)]
        if cell.reason not in {outcome.reason for outcome in row.outcomes}:  # shown with the trials
            pairs.append(("Reason", w.single_line(cell.reason, REASON_CHARS)))
        return [*pairs, *_published_facts(cell)]
    pairs = [("Mean", f"{w.format_value(cell.mean)} over {w.format_count(cell.num_seeds, 'seed')}")]
    if cell.sd is not None:
        pairs.append(("Deviation between seeds", w.format_value(cell.sd)))
    if cell.num_seeds < cell.expected_seeds:
        seeds = f"{cell.num_seeds}/{cell.expected_seeds} seeds"
        pairs.append(("Incomplete", f"{seeds}: {w.single_line(cell.reason, REASON_CHARS)}"))
    if cell.stale:
        pairs.append(("Stale", cell.stale))
    if marks := w.describe_marks(cell):
        pairs.append(("Marks", marks))
    pairs += [*_published_facts(cell), *interval]
    test = cell.comparison
    if test is not None:
        pairs += [
            (f"Difference from {w.single_line(test.reference)}", w.format_signed(test.difference)),
            ("95 % interval", w.format_interval(test.low, test.high)),
            ("Relative", w.format_percent(test.relative)),
            *([] if test.d_z is None else [("d_z", w.format_signed(test.d_z, digits=2))]),
            ("p", f"{w.format_p(test.p)} (Holm: {w.format_p(test.p_adjusted)})"),
            ("Test", w.describe_test(test)),
        ]
        if test.p_equivalent is not None:
            pairs.append(("Equivalence", w.format_equivalence(test)))
        if test.question == "methods":
            pairs.append((QUESTIONS["models"].capitalize(), w.format_models(test)))
    if cell.refusal:
        pairs.append(("Not tested", w.single_line(cell.refusal, REASON_CHARS)))
    return pairs


def _published_facts(cell: Cell) -> Pairs:
    if cell.published is None:
        return []
    pairs: Pairs = [("Published", w.format_value(cell.published.value))]
    if (difference := cell.difference_from_published) is not None:
        pairs.append(("Reproduced − published", w.format_signed(difference)))
    return pairs


def _interval_facts(block: Block, row: str, metric: str) -> Pairs:
    """Say whether the published number is inside our interval of the mean."""
    for cell in block.reproduction.cells if block.reproduction else ():
        if (cell.row, cell.metric) == (row, metric) and cell.in_interval is not None:
            assert cell.reproduced is not None
            low, high = cell.reproduced.ends or (None, None)
            side = "inside" if cell.in_interval else "outside"
            return [
                ("Our 95 % interval", f"{w.format_range(low, high)}: the published value is {side}")
            ]
    return []


def _row_facts(row: Row, results: Sequence[Result], cost: RowCost | None) -> Pairs:
    settings = ", ".join(f"{path} = {value}" for path, value in row.settings)
    pairs: Pairs = [
        ("Method", row.method),
        ("Settings", w.single_line(settings, 2000) or "none"),
    ]
    if row.external:
        pairs.append(("Pretrained on other text", row.external))
    pairs += describe_selections(results)
    if hashes := dict.fromkeys(result.settings_hash for result in results):
        pairs.append(("Settings hash", join_words([*hashes])))
    if cost is not None:
        pairs.append(("Standalone time", w.format_seconds(cost.standalone)))
        pairs.append(("Amortized time", w.format_seconds(cost.amortized)))
    if results:
        provenance = sorted(results[0].provenance.items())
        pairs += [(name, w.single_line(value, 200)) for name, value in provenance]
    return pairs


def describe_selections(results: Sequence[Result]) -> Pairs:
    """Say what validation selected, by which value, and the test value, per seed."""
    return [
        (f"Selected on validation, seed {result.seed}", value.text)
        for result in results
        if (value := read_validation(result)) is not None
    ]


def example_facts(example: Example) -> Pairs:
    """List what happened in a test case as label and text."""
    history = " → ".join(w.single_line(title, TITLE_CHARS) for title in example.history)
    pairs: Pairs = [("Case", example.case), ("History", history or "none")]
    if example.generated:
        pairs.append(("Generated", w.single_line(example.generated, 3 * TITLE_CHARS)))
    pairs.append(("Recommended first", w.single_line(example.top_item, TITLE_CHARS)))
    rank = "not in the list" if example.rank is None else f"rank {example.rank} in the list"
    return [*pairs, ("Target", f"{w.single_line(example.target, TITLE_CHARS)} ({rank})")]


def _trial(outcome: Outcome, result: Result | None, examples: Sequence[Example]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "seed": outcome.seed,
        "id": outcome.trial,
        "status": outcome.status,
        "reason": w.single_line(outcome.reason, REASON_CHARS),
    }
    if result is not None:
        if stages := result.stages:
            data["time"] = w.format_seconds(sum(stage.seconds for stage in stages))
            data["memory"] = f"{max(stage.peak_memory_mib for stage in stages):,.0f} MiB"
        keys = [f"{stage.kind}:{stage.key[:KEY_DIGITS]}" for stage in result.stages]
        attempts = [w.single_line(describe_attempt(each), 300) for each in result.attempts]
        data |= {"stages": " ".join(keys), "attempts": attempts}
    if examples:
        data["examples"] = [example_facts(example) for example in examples]
    return data


def describe_attempt(attempt: Attempt) -> str:
    """Say in one sentence how an attempt failed."""
    stage = f" in {attempt.stage}" if attempt.stage else ""
    divisor = attempt.micro_batch_divisor
    size = f", with micro-batches divided by {divisor}" if divisor > 1 else ""
    return f"{attempt.failure}{stage}{size}: {attempt.message}"
