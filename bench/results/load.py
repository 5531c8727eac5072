"""From results and case tables to the samples that statistics take.

Only results on equal data share a table. Data are equal when their fingerprints are: one raw file
in another edition moves every number, and the page would call that a difference between methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.data.ranking import LIST_ENDS
from bench.errors import BenchError
from bench.plan.trials import Trial
from bench.results import staleness
from bench.results.schema import CaseTable, Evaluation, Result, find_result, read_cases
from bench.stats.samples import Sample

FINAL = "final"
SHOWN_DIGITS = 12

Key = TypeVar("Key")

SeedStatus = Literal["ok", "failed", "skipped", "not run"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one trial of a row ended.

    Attributes:
        trial: Its id, also the place of its result.
        reason: Why there are no values; empty where there are.
        metrics: Values of the final ranking by name, all that were computed.
        checkpoints: Name and values of each earlier ranking, in the order of the training.
        out_of_memory: Whether that is why there are no values.
        content: Checksums of the files that statistics are computed from; equal ones, equal values.
        stale: Which stage kinds have another version by now; empty where none has.
        undated: Whether it does not say on which versions it stands.
    """

    seed: int
    trial: str
    status: SeedStatus
    reason: str
    metrics: tuple[tuple[str, float], ...]
    checkpoints: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    out_of_memory: bool = False
    content: tuple[str, ...] = ()
    stale: str = ""
    undated: bool = False

    def value(self, metric: str) -> float | None:
        """The value of a metric; None where it has none."""
        return dict(self.metrics).get(metric)


def find(folder: Path, trial: Trial) -> Result | BenchError | None:
    """Look up a trial's result; a file that cannot be read is no reason to lose the page."""
    try:
        found = find_result(folder, trial.id)
    except BenchError as error:
        return error
    if found is not None and found.trial != trial.id:
        return BenchError(
            f"{folder / trial.id}.json is the result of another trial: {found.trial}.",
            "Move it away and run again.",
        )
    return found


def common_fingerprint(results: Sequence[Result]) -> str:
    """Name the data that most results were measured on, the first of several; "" without any."""
    counts = Counter(result.data.fingerprint for result in results if result.data is not None)
    return counts.most_common(1)[0][0] if counts else ""


def outcome(trial: Trial, found: Result | BenchError | None, fingerprint: str) -> Outcome:
    """Say how a trial ended, and refuse its values where they are from other data.

    Args:
        trial: The planned trial.
        found: What `find` returned.
        fingerprint: Of the data that the block is about.
    """
    status, reason = _ending(trial, found, fingerprint)
    if status != "ok" or not isinstance(found, Result):
        return Outcome(
            seed=trial.seed,
            trial=trial.id,
            status=status,
            reason=reason,
            metrics=(),
            out_of_memory=_ran_out_of_memory(found),
        )
    values = {name: tuple(sorted(one.metrics.items())) for name, one in found.evaluations.items()}
    return Outcome(
        seed=trial.seed,
        trial=trial.id,
        status=status,
        reason=reason,
        metrics=values.pop(FINAL),
        checkpoints=tuple(values.items()),
        content=tuple(checksum for _, checksum in sorted(found.files.items())),
        stale=staleness.staleness(found),
        undated=staleness.is_undated(found),
    )


def _ran_out_of_memory(found: Result | BenchError | None) -> bool:
    return isinstance(found, Result) and any(
        attempt.failure == "out of memory" for attempt in found.attempts[-1:]
    )


def twice(seed: int, trials: Sequence[Trial]) -> Outcome:
    """Refuse a cell that two trials claim: nobody could tell whose value it shows."""
    named = " and ".join(trial.id for trial in trials)
    return Outcome(
        seed=seed,
        trial=trials[0].id,
        status="failed",
        reason=f"{len(trials)} trials claim this cell, {named}; render the boards apart.",
        metrics=(),
    )


def _ending(
    trial: Trial, found: Result | BenchError | None, fingerprint: str
) -> tuple[SeedStatus, str]:
    if isinstance(found, BenchError):
        return "failed", f"{found.message} {found.hint}".strip()
    if found is None:
        return ("failed", trial.problem.strip()) if trial.problem else ("not run", "No result yet.")
    if found.status != "ok":
        return found.status, found.reason or "No reason was recorded."
    if FINAL not in found.evaluations or found.data is None:
        return "failed", "The result says ok but holds no metrics; run it again."
    if found.data.fingerprint != fingerprint:
        return "skipped", _other_data(found.data.fingerprint, fingerprint)
    return "ok", ""


def _other_data(fingerprint: str, expected: str) -> str:
    return (
        f"Not compared: it was measured on other data (fingerprint {fingerprint[:SHOWN_DIGITS]}, "
        f"this table {expected[:SHOWN_DIGITS]}). Run it again on the same data."
    )


def read_row(
    folder: Path, trials: Sequence[str]
) -> tuple[tuple[Evaluation, ...], tuple[CaseTable, ...]]:
    """Read the evaluations and per-case values of a row's seeds that ended well.

    Raises:
        BenchError: Where a file is missing or torn.
    """
    evaluations = []
    for trial in trials:
        result = find_result(folder, trial)
        if result is None:
            raise BenchError(f"The result of {trial} is gone.", "Run the same command again.")
        evaluations.append(result.evaluations[FINAL])
    return tuple(evaluations), tuple(read_cases(folder, trial) for trial in trials)


def build(
    name: str,
    seeds: Sequence[int],
    evaluations: Sequence[Evaluation],
    tables: Sequence[CaseTable],
    positions: dict[str, int],
) -> Sample:
    """Put the seeds of one row on top of one another, in the order of the first seed's cases.

    Args:
        name: The row's.
        seeds: Length S, as are the next two.
        evaluations: Metrics and category facts of each seed.
        tables: Per-case values of each seed.
        positions: Position of each item id, shared by all samples of a data set; grows.

    Raises:
        BenchError: If two seeds differ in cases, catalog or tracked categories.
    """
    first, facts = tables[0], evaluations[0]
    orders = [_order(name, first, table) for table in tables]
    if any((one.num_items, one.tracked) != (facts.num_items, facts.tracked) for one in evaluations):
        raise BenchError(f"The seeds of {name} differ in catalog or tracked categories.")
    return Sample(
        name=name,
        seeds=tuple(seeds),
        cases=first.cases,
        users=first.users,
        values=_stacked([table.values for table in tables], orders),
        masses=_stacked([table.masses for table in tables], orders),
        items=_items(tables, orders, positions),
        known=first.known,
        history_mass=np.array(facts.history_mass, dtype=np.float64),
        tracked=tuple(facts.tracked),
        num_items=facts.num_items,
    )


def _order(name: str, first: CaseTable, table: CaseTable) -> NDArray[np.intp]:
    place = {case: row for row, case in enumerate(table.cases)}
    if place.keys() != set(first.cases) or len(table.cases) != len(first.cases):
        raise BenchError(
            f"The seeds of {name} were measured on different test cases.",
            "Run all seeds on the same test rows.",
        )
    return np.array([place[case] for case in first.cases], dtype=np.intp)


def _stacked(
    tables: Sequence[Mapping[Key, NDArray[np.float64]]], orders: Sequence[NDArray[np.intp]]
) -> dict[Key, NDArray[np.float64]]:
    """Keep what every seed has; a metric that one seed lacks has no mean over seeds."""
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return {
        key: np.stack([table[key][order] for table, order in zip(tables, orders, strict=True)])
        for key in shared
    }


def _items(
    tables: Sequence[CaseTable], orders: Sequence[NDArray[np.intp]], positions: dict[str, int]
) -> NDArray[np.int32]:
    ragged = [
        [list(row) for row in table.items[order]]
        for table, order in zip(tables, orders, strict=True)
    ]
    depth = max((len(row) for rows in ragged for row in rows), default=0)
    items = np.full((len(tables), len(orders[0]), depth), LIST_ENDS, dtype=np.int32)
    lengths = np.array([[len(row) for row in rows] for rows in ragged], dtype=np.intp)
    flat = np.array([one for rows in ragged for row in rows for one in row], dtype=object)
    codes, ids = pd.factorize(flat)  # None becomes -1, just what stands for "no item"
    of_code = np.array([*(positions.setdefault(one, len(positions)) for one in ids), -1])
    items[np.arange(depth) < lengths[..., None]] = of_code[codes]
    return items
