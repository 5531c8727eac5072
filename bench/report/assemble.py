"""From a board's trials and their results to its table.

Values and marks come from the results' own metrics; per-case tables are read only for statistics.
Where the statistics refuse, a cell keeps its values and carries the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardRow
from bench.config.scoped_cache import one_state
from bench.plan.trials import Board, Trial
from bench.report import captions
from bench.report.cells import aggregate_seeds, mark_best
from bench.report.deviations import (
    describe_data,
    describe_external,
    describe_used,
    find_card,
    name_backbone,
    name_external,
)
from bench.report.paper import Paper
from bench.report.significance import StatisticsCache, add_statistics
from bench.report.sweeps import find_sweeps
from bench.report.table import Block, BoardTable, Cell, Completeness, Figure, Gain, Row
from bench.results.load import FINAL, ResultSet, most_common_fingerprint
from bench.results.outcomes import Outcome, ambiguous_outcome, trial_outcome

OTHER_DATA = " (not the card’s data)"

RowTrials = Sequence[tuple[BoardRow, Trial]]
"""A board's planned trials, each with its row."""

ENCODER = "knowledge.encoding.encoder"


@one_state()
def assemble(
    board: Board,
    row_trials: RowTrials,
    results: ResultSet,
    *,
    tested: bool = True,
    cache: StatisticsCache | None = None,
) -> BoardTable:
    """Assemble the table of a board as it was run; equal results give an equal table.

    Without `tested` it has values and marks only; `cache` keeps statistics between renderings.
    """
    card = board.card
    paper = Paper.of_board(board.name)
    used = describe_used([trial for _, trial in row_trials], results)
    blocks = [
        _block(board, name, [pair for pair in row_trials if pair[1].dataset == name], results)
        for name in dict.fromkeys(trial.dataset for _, trial in row_trials)
    ]
    if paper is not None:
        blocks = [paper.add_published_values(block, card.in_place_of) for block in blocks]
    sweeps = find_sweeps(board, row_trials)
    steps = {name for sweep in sweeps for _, name in sweep.steps}
    if tested:
        blocks = [
            add_statistics(
                block, card.metrics, results, cache, intervals=steps, bounds=card.equivalence
            )
            for block in blocks
        ]
    backbone = _name_backbone(board, row_trials, results)
    limits = [trial.rows for row, trial in row_trials if not row.floor]
    encoders = {str(t.settings[ENCODER]) for _, t in row_trials if ENCODER in t.settings}
    return BoardTable(
        name=board.name,
        page=board.page,
        backbone=backbone,
        title=card.title,
        description=card.description,
        reference=captions.reference(card),
        equivalence=captions.equivalence(card),
        metrics=card.metrics,
        # Data sets with results come first, whatever the paper's order.
        datasets=tuple(sorted(blocks, key=lambda block: not block.has_results)),
        completeness=_count_statuses(blocks),
        budget=captions.scope(card, limits),
        differences=(*used, *(() if paper is None else paper.differences(card, blocks))),
        protocol=captions.protocol(
            card,
            blocks,
            backbone=backbone,
            encoders=sorted(encoders),
        ),
        statistics=captions.statistics(card, blocks),
        mean_ranks=captions.mean_ranks(card, blocks) if tested else (),
        source=None if paper is None else paper.source,
        sweeps=sweeps,
        figures=tuple(
            Figure(card=figure) if paper is None else paper.resolve_figure(figure)
            for figure in card.figures
        ),
    )


def values_json(name: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return the values of one board for JSON: no statistics, dates, costs or provenance.

    Returns:
        `{"name", "rows": [{"method", "dataset", "metrics": {name: {"mean", "sd", "n_seeds"}}}]}`;
        "method" is the row's name, "sd" is None with one seed, a metric without any value is left
        out, and one whose values are stale has a fourth field, "stale". Rows of a group have its
        heading as "group".
    """

    def describe(cell: Cell) -> dict[str, Any]:
        values = {"mean": cell.mean, "sd": cell.sd, "n_seeds": cell.num_seeds}
        return values | ({"stale": cell.stale} if cell.stale else {})

    rows = []
    for block in blocks:
        for row in block.rows:
            metrics = {cell.metric: describe(cell) for cell in row.cells if cell.mean is not None}
            content = {"method": row.name, "dataset": block.dataset, "metrics": metrics}
            rows.append(content | ({"group": row.group} if row.group else {}))
    return {"name": name, "rows": rows}


def _block(board: Board, dataset: str, row_trials: RowTrials, results: ResultSet) -> Block:
    """Fill in one data set's values and marks, without statistics."""
    outcomes = outcomes_by_row(row_trials, results)
    stored = [result for _, trial in row_trials if (result := results.get(trial.id)) is not None]
    fingerprint = block_fingerprint([trial for _, trial in row_trials], results)
    same_data = (r for r in stored if r.data is not None and r.data.fingerprint == fingerprint)
    evaluations = next((result.evaluations for result in same_data), {})
    first = evaluations.get(FINAL)
    other_data = any(result.status == "ok" and describe_data(result) for result in stored)
    rows = []
    gains = {group.gain for group in board.card.groups.values()}
    first_trials = {row.name: trial for row, trial in reversed(row_trials)}
    for name, board_row in {row.name: row for row, _ in row_trials}.items():
        models = (name_external(results.get(outcome.trial)) for outcome in outcomes[name])
        settings = sorted(first_trials[name].settings.items())
        gain = Gain() if name in gains else None
        cells = (aggregate_seeds(metric, outcomes[name]) for metric in board.card.metrics)
        rows.append(
            Row(
                name=name,
                method=board_row.method,
                ranked=board_row.ranked and not board_row.floor,
                floor=board_row.floor and board_row.test_order == "time",
                compared_with=board.card.reference_of(name),
                group=board.card.group_of(name),
                apart=board.card.is_apart(name),
                cells=tuple(replace(cell, gain=gain) for cell in cells),
                settings=tuple((path, _text(value)) for path, value in settings),
                outcomes=tuple(outcomes[name]),
                external=next(filter(None, models), ""),
            )
        )
    card = find_card(plugins.dataset_card, dataset)
    return Block(
        dataset=dataset,
        title=(card.title if card else dataset) + (OTHER_DATA if other_data else ""),
        num_cases=first.num_cases if first else None,
        num_items=first.num_items if first else None,
        num_ids=first.num_ids if first else None,
        fingerprint=fingerprint,
        note=card.note if card else "",
        license=card.license if card else "",
        citation=card.citation if card else "",
        homepage=(card.homepage or "") if card else "",
        external=describe_external(dataset, rows),
        rows=mark_best(rows, board.card.metrics),
    )


@one_state()
def outcomes_by_row(row_trials: RowTrials, results: ResultSet) -> dict[str, list[Outcome]]:
    """Return how the trials of one data set ended, by the row's name, one outcome per seed."""
    fingerprint = block_fingerprint([trial for _, trial in row_trials], results)
    rows: dict[str, dict[int, dict[str, Trial]]] = {}
    num_rounds = {row.name: row.rounds for row, _ in row_trials}
    for row, trial in row_trials:
        rows.setdefault(row.name, {}).setdefault(trial.seed, {})[trial.id] = trial

    def find(name: str, seed: int, trials: Sequence[Trial]) -> Outcome:
        if len(trials) > 1:
            return ambiguous_outcome(seed, trials)
        return trial_outcome(trials[0], results, fingerprint, num_rounds=num_rounds[name])

    return {
        name: [find(name, seed, [*trials.values()]) for seed, trials in seeds.items()]
        for name, seeds in rows.items()
    }


def block_fingerprint(trials: Sequence[Trial], results: ResultSet) -> str:
    """Return the fingerprint of the data that most of these trials were measured on."""
    unique = {trial.id: results.get(trial.id) for trial in trials}
    return most_common_fingerprint(
        result for result in unique.values() if result is not None and result.status == "ok"
    )


def _name_backbone(board: Board, row_trials: RowTrials, results: ResultSet) -> str:
    """Name the backbone by its card, or by its weights if those are not the card's."""
    stored = (results.get(trial.id) for _, trial in row_trials if trial.model == board.card.model)
    names = (name_backbone(result) for result in stored if result is not None)
    return next(filter(None, names), board.card.model or "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _count_statuses(blocks: Sequence[Block]) -> Completeness:
    outcomes = [outcome for block in blocks for row in block.rows for outcome in row.outcomes]
    statuses = [outcome.status for outcome in outcomes]
    return Completeness(
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        not_run=statuses.count("not run"),
        stale=sum(bool(outcome.stale) for outcome in outcomes),
    )
