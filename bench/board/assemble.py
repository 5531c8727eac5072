"""From a board's trials and their results to its table.

Values and marks come from the results' own metrics; the case tables are only read for statistics.
Where the statistics refuse, a cell keeps its values and carries the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import plugins
from bench.board import samples, sentences
from bench.board.table import (
    Block,
    BoardTable,
    Cell,
    Completeness,
    Outcome,
    Row,
    overall,
)
from bench.cards import BoardRow, DatasetCard
from bench.errors import BenchError
from bench.metrics.names import parse
from bench.records import Plain
from bench.results import Evaluation, Result
from bench.stats.sample import Sample
from bench.stats.seeds import mean_sd
from bench.trials import Board, Trial

Cells = Sequence[tuple[BoardRow, Trial]]

# Means that lie closer than this differ by the order of a sum only.
ROUNDING = 1e-12


def assemble(
    board: Board, cells: Cells, results_folder: Path, *, judged: bool = True
) -> BoardTable:
    """Assemble a board's table, with its statistics.

    Args:
        board: The board, as it was run.
        cells: Its planned trials, each with its row.
        results_folder: Where results are stored.
        judged: Whether to test; a list of boards needs their state only.

    Returns:
        The table; the same results give an equal one, on any day and any machine.
    """
    blocks = _blocks(board, cells, results_folder)
    if judged:
        blocks = [_judged(block, board, results_folder) for block in blocks]
    outcomes = [outcome for block in blocks for row in block.rows for outcome in row.outcomes]
    return BoardTable(
        name=board.name,
        title=board.card.title,
        description=board.card.description,
        reference=board.card.reference_row,
        metrics=board.card.metrics,
        datasets=tuple(blocks),
        completeness=_completeness(outcomes),
        scope=sentences.scope(board.card, [trial.rows for _, trial in cells]),
        protocol=sentences.protocol(board.card, blocks),
        statistics=sentences.statistics(board.card, blocks),
        across=sentences.across_datasets(board.card, blocks) if judged else (),
    )


def report_json(
    boards: Sequence[tuple[Board, Cells]], results_folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Report values only: no statistics, dates, cost or provenance; case tables are not opened.

    Returns:
        `{"boards": [{"name", "rows": [{"method", "dataset", "metrics": {name: {"mean", "sd",
        "n_seeds"}}}]}]}`; "method" is the row's name, "sd" is None with one seed, and a metric
        without any value is left out.
    """
    return {
        "boards": [
            {
                "name": board.name,
                "rows": [
                    {"method": row.name, "dataset": block.dataset, "metrics": _plain_metrics(row)}
                    for block in _blocks(board, cells, results_folder)
                    for row in block.rows
                ],
            }
            for board, cells in boards
        ]
    }


def _plain_metrics(row: Row) -> dict[str, dict[str, float | int | None]]:
    return {
        cell.metric: {"mean": cell.mean, "sd": cell.sd, "n_seeds": cell.n_seeds}
        for cell in row.cells
        if cell.mean is not None
    }


def _blocks(board: Board, cells: Cells, folder: Path) -> list[Block]:
    datasets = dict.fromkeys(trial.dataset for _, trial in cells)
    return [
        _block(board, name, [cell for cell in cells if cell[1].dataset == name], folder)
        for name in datasets
    ]


def _block(board: Board, dataset: str, cells: Cells, folder: Path) -> Block:
    """Fill in one data set's values and marks, without statistics."""
    found = {trial.id: samples.find(folder, trial) for _, trial in cells}
    results = [one for one in found.values() if isinstance(one, Result) and one.status == "ok"]
    fingerprint = samples.common_fingerprint(results)
    rows = []
    for line in {row.name: row for row, _ in cells}.values():
        trials = [trial for row, trial in cells if row.name == line.name]
        outcomes = [samples.outcome(trial, found[trial.id], fingerprint) for trial in trials]
        rows.append(_row(board, line, trials, outcomes))
    facts = _facts(results, fingerprint)
    card = _card(dataset)
    return Block(
        dataset=dataset,
        title=card.title if card else dataset,
        num_cases=facts.num_cases if facts else None,
        num_items=facts.num_items if facts else None,
        fingerprint=fingerprint,
        licence=card.licence if card else "",
        citation=card.citation if card else "",
        homepage=(card.homepage or "") if card else "",
        rows=_marked(rows, board.card.metrics),
    )


def _card(dataset: str) -> DatasetCard | None:
    """Load the card for what it says about the data; results outlive cards, so it may be gone."""
    try:
        return plugins.dataset_card(dataset)
    except BenchError:
        return None


def _facts(results: Sequence[Result], fingerprint: str) -> Evaluation | None:
    for result in results:
        if result.data is not None and result.data.fingerprint == fingerprint:
            return result.evaluations.get(samples.FINAL)
    return None


def _row(board: Board, line: BoardRow, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> Row:
    return Row(
        name=line.name,
        method=line.method,
        ranked=line.ranked,
        reference=line.name == board.card.reference_row,
        cells=tuple(_cell(metric, outcomes) for metric in board.card.metrics),
        settings=tuple((key, _text(value)) for key, value in sorted(trials[0].settings.items())),
        outcomes=tuple(outcomes),
    )


def _text(value: Plain) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(metric: str, outcomes: Sequence[Outcome]) -> Cell:
    by_seed = [
        (outcome.seed, metrics[metric])
        for outcome in outcomes
        if metric in (metrics := dict(outcome.metrics))
    ]
    reasons = dict.fromkeys(outcome.reason for outcome in outcomes if outcome.status != "ok")
    absent = [
        one.seed for one in outcomes if one.status == "ok" and metric not in dict(one.metrics)
    ]
    if absent:
        reasons[f"{metric} was not measured here: {_why_absent(metric)}"] = None
    status = overall(
        "skipped" if outcome.seed in absent else outcome.status for outcome in outcomes
    )
    mean, sd = mean_sd([value for _, value in by_seed])[:2] if by_seed else (None, None)
    return Cell(
        metric=metric,
        status=status,
        expected_seeds=len(outcomes),
        mean=mean,
        sd=sd,
        reason=" ".join(reasons),
        values=tuple(by_seed),
    )


def _why_absent(metric: str) -> str:
    if parse(metric).family in ("MGU", "DGU", "GU"):
        return "the catalogue does not track its categories."
    return "the catalogue may hold fewer items than its lists need."


def _marked(rows: Sequence[Row], metrics: Sequence[str]) -> tuple[Row, ...]:
    """Mark best and second of the ranked rows; a single row is no contest and gets no mark."""
    columns = []
    for column, metric in enumerate(metrics):
        sign = 1 if parse(metric).higher_is_better else -1
        cells = [row.cells[column] for row in rows]
        scores = [
            sign * cell.mean
            for row, cell in zip(rows, cells, strict=True)
            if row.ranked and cell.mean is not None
        ]
        best = max(scores) if len(scores) > 1 else None
        lower = [score for score in scores if best is not None and score < best - ROUNDING]
        second = max(lower, default=None)
        columns.append(
            [
                cell
                if not row.ranked or cell.mean is None
                else replace(
                    cell, best=_is(sign * cell.mean, best), second=_is(sign * cell.mean, second)
                )
                for row, cell in zip(rows, cells, strict=True)
            ]
        )
    return tuple(
        replace(row, cells=cells)
        for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    )


def _is(score: float, mark: float | None) -> bool:
    return mark is not None and abs(score - mark) <= ROUNDING


def _judged(block: Block, board: Board, folder: Path) -> Block:
    """Add the verdicts of the statistics to a block's cells."""
    from bench.board.verdicts import verdicts  # a report of values does not wait for the statistics

    known = _samples(block, folder)
    rows = list(block.rows)
    for column, metric in enumerate(board.card.metrics):
        found = verdicts(
            metric,
            reference=board.card.reference_row,
            samples={
                row.name: known[row.name] for row in rows if row.cells[column].mean is not None
            },
            ranked={row.name for row in rows if row.ranked},
        )
        for place, row in enumerate(rows):
            if row.name not in found:
                continue
            verdict, cells = found[row.name], list(row.cells)
            cells[column] = replace(
                cells[column],
                tied=verdict.tied and not cells[column].best,
                comparison=verdict.comparison,
                refusal=verdict.refusal,
            )
            rows[place] = replace(row, cells=tuple(cells))
    return replace(block, rows=tuple(rows))


def _samples(block: Block, folder: Path) -> Mapping[str, Sample | BenchError]:
    positions: dict[str, int] = {}
    found: dict[str, Sample | BenchError] = {}
    for row in block.rows:
        good = [outcome for outcome in row.outcomes if outcome.status == "ok"]
        if not good:
            continue
        try:
            facts, tables = samples.read_row(folder, [outcome.trial for outcome in good])
            seeds = [outcome.seed for outcome in good]
            found[row.name] = samples.build(row.name, seeds, facts, tables, positions)
        except BenchError as error:
            found[row.name] = error
    return found


def _completeness(outcomes: Sequence[Outcome]) -> Completeness:
    statuses = [outcome.status for outcome in outcomes]
    return Completeness(
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        not_run=statuses.count("not run"),
    )
