"""The statistics of a block, written into its cells, and the published table beside ours."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from bench.errors import BenchError
from bench.report.table import Block, Row
from bench.results import load
from bench.stats.samples import Sample

Memory: TypeAlias = MutableMapping[Any, Any]
"""What was computed of equal files before; whoever renders again and again keeps one."""


def judged(
    block: Block, metrics: Sequence[str], reference: str, folder: Path, memory: Memory | None = None
) -> Block:
    """Add to a block what the statistics say of it.

    Args:
        block: With values, marks and published numbers.
        metrics: Its columns.
        reference: Name of the row that the others are tested against.
        folder: Where results are stored.
        memory: Kept between calls, so that only what changed is tested anew.
    """
    from bench.report.block_tests import (
        verdicts,  # a report of values does not wait for the statistics
    )

    work = _Work(block, folder, memory)
    rows = list(block.rows)
    for column, metric in enumerate(metrics):
        named = [row.name for row in rows if row.cells[column].mean is not None]
        ranked = {row.name for row in rows if row.ranked}
        found = work.once(
            ("verdicts", metric, reference, tuple(sorted(ranked))),
            named,
            lambda known, metric=metric, ranked=ranked: verdicts(
                metric, reference=reference, samples=known, ranked=ranked
            ),
        )
        for place, row in enumerate(rows):
            if row.name in found:
                rows[place] = _with_verdict(row, column, found[row.name])
    return replace(block, rows=tuple(rows), reproduction=_reproduction(block, work))


def _with_verdict(row: Row, column: int, verdict: Any) -> Row:
    cells = list(row.cells)
    cells[column] = replace(
        cells[column],
        tied=verdict.tied and not cells[column].best,
        comparison=verdict.comparison,
        refusal=verdict.refusal,
    )
    return replace(row, cells=tuple(cells))


def _reproduction(block: Block, work: _Work) -> Any:
    """Put the published numbers beside ours; None where the paper prints none of them."""
    numbers = {
        (row.name, cell.metric): cell.published.value
        for row in block.rows
        for cell in row.cells
        if cell.published is not None
    }
    if not numbers:
        return None
    from bench.stats.reproduction import reproduce  # see above

    named = [row.name for row in block.rows if row.num_ok]
    return work.once(
        ("reproduction", tuple(numbers.items())),
        named,
        lambda known: reproduce(
            numbers, [one for one in known.values() if isinstance(one, Sample)]
        ),
    )


class _Work:
    """The samples of a block, read when first needed, and what was computed of them before."""

    def __init__(self, block: Block, folder: Path, memory: Memory | None) -> None:
        self.block = block
        self.folder = folder
        self.memory = memory

    def once(self, what: tuple[Any, ...], names: Sequence[str], compute: Any) -> Any:
        """Compute something of these rows, or return what was computed of equal files."""
        key = self._key(what, names)
        if self.memory is None or key is None:
            return compute({name: self._samples[name] for name in names})
        if key not in self.memory:
            self.memory[key] = compute({name: self._samples[name] for name in names})
        return self.memory[key]

    def _key(self, what: tuple[Any, ...], names: Sequence[str]) -> tuple[Any, ...] | None:
        """Name the files that the answer depends on; None where their checksums are unknown."""
        good = [
            (row.name, outcome.seed, outcome.content)
            for row in self.block.rows
            if row.name in names
            for outcome in row.outcomes
            if outcome.status == "ok"
        ]
        if not all(content for *_, content in good):
            return None
        return (*what, self.block.fingerprint, tuple(good))

    @cached_property
    def _samples(self) -> Mapping[str, Sample | BenchError]:
        positions: dict[str, int] = {}
        found: dict[str, Sample | BenchError] = {}
        for row in self.block.rows:
            good = [outcome for outcome in row.outcomes if outcome.status == "ok"]
            if not good:
                continue
            try:
                facts, tables = load.read_row(self.folder, [one.trial for one in good])
                seeds = [one.seed for one in good]
                found[row.name] = load.build(row.name, seeds, facts, tables, positions)
            except BenchError as error:
                found[row.name] = error
        return found
