"""What a board cost: time and memory of the stages behind each row, shared stages counted once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.table import BoardTable, Row
from bench.results.load import ResultSet
from bench.results.schema import Result, StageRecord


@dataclass(frozen=True, kw_only=True)
class RowCost:
    """What a row of a data set cost, over its seeds.

    Attributes:
        row: Its name; dataset: title of the data set.
        num_trials: Seeds with a recorded cost.
        standalone: Seconds of all stages, each trial on its own.
        amortized: Seconds where a stage that several trials of the board need is split equally
            among them; sums to the time of computing the board once.
        exclusive: Seconds of the stages that no other row of the board needs.
        gpu: The GPU of the board's costs; "" if all was computed on CPUs. Trials that were computed
            on another one are left out.
    """

    row: str
    dataset: str
    num_trials: int
    standalone: float
    amortized: float
    exclusive: float
    peak_memory_mib: float
    gpu: str = ""


def row_costs(table: BoardTable, results: ResultSet) -> list[RowCost]:
    """Compute what each row of each data set cost, in the order of the table."""
    stored = [
        (block.title, row.name, [each for each in results_of(row, results) if each.stages])
        for block, row in table.rows
    ]
    cards = Counter(card for *_, measured in stored for each in measured for card in _gpus(each))
    gpu = cards.most_common(1)[0][0] if cards else ""
    rows = [
        (title, name, on_one_card)
        for title, name, measured in stored
        if (on_one_card := [result for result in measured if _gpus(result) <= {gpu}])
    ]
    stages_of = {each.trial: _distinct(each.stages) for *_, measured in rows for each in measured}
    num_trials = Counter(stage.key for stages in stages_of.values() for stage in stages)
    num_rows = Counter(
        key
        for *_, measured in rows
        for key in {stage.key for result in measured for stage in result.stages}
    )
    counted: set[str] = set()  # a trial in two rows of the board is amortized in the first
    costs = []
    for title, name, measured in rows:
        stages = [stage for result in measured for stage in stages_of[result.trial]]
        first = [each for result in measured if (each := result.trial) not in counted]
        counted |= {*first}
        shared = [stage for trial in first for stage in stages_of[trial]]
        own = _distinct(stage for stage in stages if num_rows[stage.key] == 1)
        costs.append(
            RowCost(
                row=name,
                dataset=title,
                num_trials=len(measured),
                standalone=math.fsum(stage.seconds for stage in stages),
                amortized=math.fsum(stage.seconds / num_trials[stage.key] for stage in shared),
                exclusive=math.fsum(stage.seconds for stage in own),
                peak_memory_mib=max(stage.peak_memory_mib for stage in stages),
                gpu=gpu,
            )
        )
    return costs


def results_of(row: Row, results: ResultSet) -> list[Result]:
    """Return the readable results of a row's seeds, failed ones included."""
    stored = (results.get(outcome.trial) for outcome in row.outcomes)
    return [result for result in stored if result is not None]


def _gpus(result: Result) -> set[str]:
    return {stage.gpu for stage in result.stages} - {""}


def _distinct(stages: Iterable[StageRecord]) -> Sequence[StageRecord]:
    return list({stage.key: stage for stage in stages}.values())
