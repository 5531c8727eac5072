"""What a click on a cell tells, as plain values that the page carries along.

Everything here also stands in the page's tables: the script only puts it together by cell.
"""

from __future__ import annotations

from typing import Any

from bench.metrics.registry import get_metric
from bench.report import format as w
from bench.report.costs import Bill, Entry, Ledger
from bench.report.examples import Example
from bench.report.render.exports import TYPES, page_pieces, switches
from bench.report.table import Block, BoardTable, Cell, Row
from bench.results.load import Outcome

KEY_DIGITS = 12
TITLE_CHARS = 100
Facts = list[tuple[str, str]]


def page_data(table: BoardTable, ledger: Ledger, bills: list[Bill]) -> dict[str, Any]:
    """Gather what the page's script needs: values to sort by, details, pieces of the files."""
    costs = {(bill.dataset, bill.row): bill for bill in bills}
    return {
        "name": table.name,
        "metrics": list(table.metrics),
        "higher": [get_metric(metric).higher_is_better for metric in table.metrics],
        "shown": list(switches(table)),
        "files": page_pieces(table),
        "types": TYPES,
        "blocks": [
            {
                "title": block.title,
                "dataset": block.dataset,
                "rows": [
                    _row(row, block, ledger, costs.get((block.title, row.name)))
                    for row in block.rows
                ],
            }
            for block in table.datasets
        ],
    }


def _row(row: Row, block: Block, ledger: Ledger, bill: Bill | None) -> dict[str, Any]:
    return {
        "name": w.one_line(row.name),
        "method": row.method,
        "status": "out of memory" if row.out_of_memory else row.status,
        "stale": row.stale,
        "about": _about(row, ledger, bill),
        "trials": [_trial(one, ledger.entries.get(one.trial)) for one in row.outcomes],
        "cells": [
            {
                "mean": cell.mean,
                "facts": _facts(cell, _in_interval(block, row.name, cell.metric)),
                "seeds": {seed: w.number(value) for seed, value in cell.values},
            }
            for cell in row.cells
        ],
    }


def _facts(cell: Cell, interval: Facts) -> Facts:
    """Say in pairs of words what is known of a cell, the value first."""
    if cell.mean is None:
        found: Facts = [("Status", cell.status), ("Reason", w.one_line(cell.reason, 600))]
        return [*found, *_in_print(cell)]
    found = [("Mean", f"{w.number(cell.mean)} over {w.count(cell.n_seeds, 'seed')}")]
    if cell.sd is not None:
        found.append(("Deviation between seeds", w.number(cell.sd)))
    if cell.n_seeds < cell.expected_seeds:
        missing = f"{cell.n_seeds}/{cell.expected_seeds} seeds: {w.one_line(cell.reason, 600)}"
        found.append(("Incomplete", missing))
    if cell.stale:
        found.append(("Stale", cell.stale))
    if w.standing(cell):
        found.append(("Standing", w.standing(cell)))
    found += [*_in_print(cell), *interval]
    test = cell.comparison
    if test is not None:
        found += [
            (f"Against {w.one_line(test.reference)}", w.signed(test.difference)),
            ("95 % interval of it", w.interval(test.low, test.high)),
            ("Relative", w.percent(test.relative)),
            ("p, and after Holm", f"{w.p_value(test.p)}, {w.p_value(test.p_adjusted)}"),
            ("Test", w.how_tested(test)),
        ]
        if test.d_z is not None:
            found.insert(-2, ("d_z", w.signed(test.d_z, digits=2)))
    if cell.refusal:
        found.append(("Not tested", w.one_line(cell.refusal, 600)))
    return found


def _in_print(cell: Cell) -> Facts:
    if cell.published is None:
        return []
    found: Facts = [("Published", w.number(cell.published.value))]
    if cell.from_published is not None:
        found.append(("Ours − published", w.signed(cell.from_published)))
    return found


def _in_interval(block: Block, row: str, metric: str) -> Facts:
    """Say whether the published number lies inside our interval of the mean."""
    if block.reproduction is None:
        return []
    for one in block.reproduction.cells:
        if (one.row, one.metric) == (row, metric) and one.ours and one.inside is not None:
            ends = w.span(one.ours.low, one.ours.high)
            word = "inside" if one.inside else "outside"
            return [("Our 95 % interval", f"{ends}: the published value lies {word}")]
    return []


def _about(row: Row, ledger: Ledger, bill: Bill | None) -> Facts:
    entries = ledger.of_row(row)
    found: Facts = [("Method", row.method)]
    settings = ", ".join(f"{key} = {value}" for key, value in row.settings)
    found.append(("Settings", w.one_line(settings, 2000) or "none"))
    hashes = dict.fromkeys(entry.setting for entry in entries)
    if hashes:
        found.append(("Settings hash", w.listed([*hashes])))
    if bill is not None:
        found.append(("From scratch", w.seconds(bill.from_scratch)))
        found.append(("With sharing", w.seconds(bill.shared)))
    if entries:
        found += [(key, w.one_line(value, 200)) for key, value in entries[0].provenance]
    return found


def example_lines(example: Example) -> Facts:
    """Say in pairs of words what happened in a test case."""
    history = " → ".join(w.one_line(title, TITLE_CHARS) for title in example.history)
    where = "not on the list" if example.place is None else f"place {example.place} of the list"
    found: Facts = [("Case", example.case), ("History", history or "none")]
    if example.written:
        found.append(("Written", w.one_line(example.written, 3 * TITLE_CHARS)))
    found.append(("Shown first", w.one_line(example.shown, TITLE_CHARS)))
    return [*found, ("Target", f"{w.one_line(example.target, TITLE_CHARS)} ({where})")]


def _trial(outcome: Outcome, entry: Entry | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seed": outcome.seed,
        "id": outcome.trial,
        "status": outcome.status,
        "reason": w.one_line(outcome.reason, 600),
    }
    if entry is not None:
        if entry.stages:
            found["took"] = w.seconds(entry.seconds)
            found["memory"] = f"{entry.peak_memory_mib:,.0f} MiB"
        found["stages"] = " ".join(f"{one.kind}:{one.key[:KEY_DIGITS]}" for one in entry.stages)
        found["attempts"] = [w.one_line(one, 300) for one in entry.attempts]
        if entry.examples:
            found["examples"] = [example_lines(one) for one in entry.examples]
    return found
