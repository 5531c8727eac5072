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
from bench.config.cards import BoardRow, DatasetCard
from bench.config.scoped_cache import one_state
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.report import captions
from bench.report.cells import aggregate_seeds, mark_best, plain_cells
from bench.report.external_data import describe_external, name_external
from bench.report.paper import Paper
from bench.report.setups import describe_data, describe_used, name_backbone
from bench.report.significance import StatisticsCache, add_statistics
from bench.report.sweeps import find_sweeps
from bench.report.table import Block, BoardTable, Completeness, Figure, Gain, Row
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
    """Assemble a board's table, with its statistics.

    Args:
        board: The board, as it was run.
        row_trials: Its planned trials.
        results: The results.
        tested: Whether to test; False gives values and marks only.
        cache: Statistics of equal files, kept between renderings.

    Returns:
        The table; equal results give an equal table on any day and any machine.
    """
    card = board.card
    paper = Paper.of_board(board.name)
    used = describe_used([trial for _, trial in row_trials], results)
    blocks = _blocks(board, row_trials, results)
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
            encoders=sorted(
                {
                    str(trial.settings[ENCODER])
                    for _, trial in row_trials
                    if ENCODER in trial.settings
                }
            ),
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


def report_json(
    boards: Sequence[tuple[Board, RowTrials]], results: ResultSet
) -> dict[str, list[dict[str, Any]]]:
    """Report values only: no statistics, dates, costs or provenance.

    Returns:
        `{"boards": [{"name", "rows": [{"method", "dataset", "metrics": {name: {"mean", "sd",
        "n_seeds"}}}]}]}`; "method" is the row's name, "sd" is None with one seed, a metric without
        any value is left out, and one whose values are stale has a fourth field, "stale". Rows of
        a group have its heading as "group".
    """
    return {
        "boards": [
            values_json(board.name, _blocks(board, row_trials, results))
            for board, row_trials in boards
        ]
    }


def values_json(name: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return the values of one board for JSON; see `report_json`."""
    return {
        "name": name,
        "rows": [
            {"method": row.name, "dataset": block.dataset, "metrics": plain_cells(row)}
            | ({"group": row.group} if row.group else {})
            for block in blocks
            for row in block.rows
        ],
    }


def _blocks(board: Board, row_trials: RowTrials, results: ResultSet) -> list[Block]:
    datasets = dict.fromkeys(trial.dataset for _, trial in row_trials)
    return [
        _block(board, name, [pair for pair in row_trials if pair[1].dataset == name], results)
        for name in datasets
    ]


def _block(board: Board, dataset: str, row_trials: RowTrials, results: ResultSet) -> Block:
    """Fill in one data set's values and marks, without statistics."""
    outcomes = outcomes_by_row(row_trials, results)
    fingerprint = block_fingerprint([trial for _, trial in row_trials], results)
    first = next(
        (
            result.evaluations.get(FINAL)
            for _, trial in row_trials
            if (result := results.get(trial.id)) is not None
            and result.data is not None
            and result.data.fingerprint == fingerprint
        ),
        None,
    )
    other_data = any(
        result is not None and result.status == "ok" and describe_data(result)
        for _, trial in row_trials
        for result in (results.get(trial.id),)
    )
    rows = []
    gains = {group.gain for group in board.card.groups.values()}
    for board_row in {row.name: row for row, _ in row_trials}.values():
        trial = next(trial for row, trial in row_trials if row.name == board_row.name)
        rows.append(
            Row(
                name=board_row.name,
                method=board_row.method,
                ranked=board_row.ranked and not board_row.floor,
                floor=board_row.floor and board_row.test_order == "time",
                compared_with=board.card.reference_of(board_row.name),
                group=board.card.group_of(board_row.name),
                apart=board.card.is_apart(board_row.name),
                cells=tuple(
                    replace(
                        aggregate_seeds(metric, outcomes[board_row.name]),
                        gain=Gain() if board_row.name in gains else None,
                    )
                    for metric in board.card.metrics
                ),
                settings=tuple(
                    (path, _text(value)) for path, value in sorted(trial.settings.items())
                ),
                outcomes=tuple(outcomes[board_row.name]),
                external=next(
                    filter(
                        None,
                        (name_external(results.get(o.trial)) for o in outcomes[board_row.name]),
                    ),
                    "",
                ),
            )
        )
    card = _card(dataset)
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
    return {
        name: [
            ambiguous_outcome(seed, [*trials.values()])
            if len(trials) > 1
            else trial_outcome(
                next(iter(trials.values())), results, fingerprint, num_rounds=num_rounds[name]
            )
            for seed, trials in seeds.items()
        ]
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


def _card(dataset: str) -> DatasetCard | None:
    """Load a data set's card; results outlive cards, so it may no longer exist."""
    try:
        return plugins.dataset_card(dataset)
    except BenchError:
        return None


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
