"""What stands behind a board's values but is no part of them: cost, attempts, machines, training.

It is read apart from the table and shown apart from it, because a second run of the same trials
gives equal metrics and another bill.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.errors import BenchError
from bench.report.examples import Example, read_examples
from bench.report.table import BoardTable, Row
from bench.results.curves import Curve, curves
from bench.results.schema import Attempt, Result, find_result
from bench.runner.store import Store


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage behind a result: its kind and key, and what the run that made it took."""

    kind: str
    key: str
    seconds: float
    peak_memory_mib: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one trial took.

    Attributes:
        stages: All that it needs, in the order of the work.
        attempts: Tries that did not end well, in words.
        provenance: Versions, machine and device.
        curves: What its training noted step by step.
        setting: Hash of the settings, as in the trial's id.
        examples: Test cases in titles, for pages that stay on this machine.
    """

    trial: str
    setting: str
    stages: tuple[Work, ...]
    attempts: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    curves: tuple[Curve, ...]
    examples: tuple[Example, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall time of all its stages, as if nothing had been shared."""
        return math.fsum(stage.seconds for stage in self.stages)

    @property
    def peak_memory_mib(self) -> float:
        """The largest peak of a stage; 0 without stages."""
        return max((stage.peak_memory_mib for stage in self.stages), default=0.0)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a row of a data set took, over its seeds.

    Attributes:
        row: Its name; dataset: title of the data set.
        num_trials: Seeds with a recorded cost.
        from_scratch: Seconds of all stages, each trial for itself.
        shared: Seconds where a stage that several trials of the board need is paid by them in equal
            parts; sums to the time that the board's work takes once.
        alone: Seconds of the stages that no other row of the board needs.
        peak_memory_mib: Largest peak of a stage.
    """

    row: str
    dataset: str
    num_trials: int
    from_scratch: float
    shared: float
    alone: float
    peak_memory_mib: float


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Entries of a board's trials, by trial id; trials without a readable result have none."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def of_row(self, row: Row) -> list[Entry]:
        """Return the entries of a row's seeds."""
        return [self.entries[one.trial] for one in row.outcomes if one.trial in self.entries]


def read(table: BoardTable, folder: Path, store: Store | None = None) -> Ledger:
    """Read what stands behind a board's trials.

    Args:
        table: The board.
        folder: Where results are stored.
        store: Where the first seed of each row finds examples; without it there are none.
    """
    entries = {}
    told = _first_seeds(table) if store is not None else set()
    for trial in _trials(table):
        try:
            result = find_result(folder, trial)
        except BenchError:  # the table says why it has no value
            continue
        if result is not None:
            entries[trial] = _entry(result)
            if store is not None and trial in told:
                with contextlib.suppress(BenchError):  # data that were changed are no example
                    entries[trial] = replace(entries[trial], examples=read_examples(result, store))
    return Ledger(entries=entries)


def bills(table: BoardTable, ledger: Ledger) -> list[Bill]:
    """Add up what each row of each data set took, in the order of the table."""
    rows = [
        (block.title, row, entries)
        for block in table.datasets
        for row in block.rows
        if (entries := [one for one in ledger.of_row(row) if one.stages])
    ]
    needed = _counts(
        stage.key for entry in _once(rows) for stage in _distinct(entry.stages)
    )  # by how many trials
    by_rows = _counts(
        key for _, _, entries in rows for key in {one.key for e in entries for one in e.stages}
    )
    paid: set[str] = set()  # a trial on two lines of the board is paid on the first
    found = []
    for title, row, entries in rows:
        works = [stage for entry in entries for stage in _distinct(entry.stages)]
        fresh = [entry for entry in entries if entry.trial not in paid]
        paid |= {entry.trial for entry in fresh}
        own = _distinct([stage for stage in works if by_rows[stage.key] == 1])
        found.append(
            Bill(
                row=row.name,
                dataset=title,
                num_trials=len(entries),
                from_scratch=math.fsum(stage.seconds for stage in works),
                shared=math.fsum(
                    stage.seconds / needed[stage.key]
                    for entry in fresh
                    for stage in _distinct(entry.stages)
                ),
                alone=math.fsum(stage.seconds for stage in own),
                peak_memory_mib=max(entry.peak_memory_mib for entry in entries),
            )
        )
    return found


def _trials(table: BoardTable) -> list[str]:
    return list(
        dict.fromkeys(
            one.trial for block in table.datasets for row in block.rows for one in row.outcomes
        )
    )


def _first_seeds(table: BoardTable) -> set[str]:
    rows = [row for block in table.datasets for row in block.rows]
    good = [[one.trial for one in row.outcomes if one.status == "ok"] for row in rows]
    return {trials[0] for trials in good if trials}


def _entry(result: Result) -> Entry:
    return Entry(
        trial=result.trial,
        setting=result.trial.split("/")[-2] if result.trial.count("/") >= 2 else "",
        stages=tuple(
            Work(
                kind=one.kind,
                key=one.key,
                seconds=one.seconds,
                peak_memory_mib=one.peak_memory_mib,
            )
            for one in result.stages
        ),
        attempts=tuple(_attempt(one) for one in result.attempts),
        provenance=tuple(sorted(result.provenance.items())),
        curves=curves(result.stages),
    )


def _attempt(one: Attempt) -> str:
    where = f" in {one.stage}" if one.stage else ""
    smaller = one.micro_batch_divisor
    how = f", in micro-batches of 1/{smaller}" if smaller > 1 else ""
    return f"{one.failure}{where}{how}: {one.message}"


def _once(rows: Sequence[tuple[str, Row, list[Entry]]]) -> list[Entry]:
    return list({entry.trial: entry for *_, entries in rows for entry in entries}.values())


def _distinct(stages: Iterable[Work]) -> list[Work]:
    return list({stage.key: stage for stage in stages}.values())


def _counts(keys: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in keys:
        found[key] = found.get(key, 0) + 1
    return found
