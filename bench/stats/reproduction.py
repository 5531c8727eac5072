"""Our numbers against published ones: cell by cell with our interval, and by the order of the rows.

A paper prints one number a cell, mostly of one run and without an interval, so the question is put
the other way round: does its number lie inside *our* 95 % interval of the mean? The interval says
what other test users would have given; other seeds, data or code it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from bench.errors import BenchError
from bench.metrics.names import Metric, parse
from bench.stats.intervals import interval
from bench.stats.paired import paired_t
from bench.stats.samples import Sample, Units, known_only, per_case
from bench.stats.set_metrics import Tally, tallies

MIN_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Our value of one cell.

    Attributes:
        value: Mean over seeds.
        low: Lower end of its 95 % interval over users; None with a single unit.
        high: Upper end of it; None likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One published number and ours.

    Attributes:
        row: Name of the row.
        metric: Name of the metric.
        published: The paper's number, in the unit of ours.
        ours: Our estimate; None where we have none.
        difference: Ours - published; None likewise.
        inside: Whether the published number lies inside our interval; None where there is none.
        reason: Why there is no estimate; empty otherwise.
    """

    row: str
    metric: str
    published: float
    ours: Estimate | None
    difference: float | None
    inside: bool | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """Whether the rows come in the published order.

    Attributes:
        metric: Of the column; "" for the whole table, rows ordered by their mean rank over columns.
        tau: Kendall's tau-b in [-1, 1]; None where it does not exist.
        p: Its two-sided p-value; None likewise. With 4 rows it is at least .083 (5: .017), so small
            tables decide nothing.
        num_rows: Rows with both numbers.
        text: Both in words, or why there is none.
    """

    metric: str
    tau: float | None
    p: float | None
    num_rows: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published table beside ours, on one data set.

    Attributes:
        cells: In the order of the published numbers.
        columns: Agreement of the order, one a metric.
        table: The same over all metrics.
    """

    cells: tuple[Cell, ...]
    columns: tuple[Order, ...]
    table: Order

    @property
    def num_inside(self) -> int:
        """How many published numbers lie inside our intervals."""
        return sum(cell.inside is True for cell in self.cells)

    @property
    def num_judged(self) -> int:
        """How many cells have an interval at all."""
        return sum(cell.inside is not None for cell in self.cells)


def reproduce(
    published: Mapping[tuple[str, str], float], samples: Sequence[Sample], *, seed: int = 0
) -> Reproduction:
    """Put published numbers beside ours.

    Args:
        published: Value by row and metric, e.g. `{("SASRec", "NDCG@5"): 0.0352}`, in the unit that
            we print (shares, not per cent).
        samples: Our rows of the same data set, named as above; further ones are left aside.
        seed: Of the draws behind the intervals of set-level metrics.

    Raises:
        BenchError: If a published value is not a finite number, a metric's name is unknown, or two
            samples have one name.
    """
    for (row, metric), value in published.items():
        parse(metric)
        if not math.isfinite(value):
            raise BenchError(f"The published {metric} of {row} is not a finite number.")
    ours = {sample.name: sample for sample in samples}
    if len(ours) < len(samples):
        raise BenchError("Two of our rows have one name.", "Give each row a label of its own.")
    cells = tuple(
        _cell(row, metric, value, ours.get(row), seed) for (row, metric), value in published.items()
    )
    pairs = {
        metric: {
            cell.row: (cell.published, cell.ours.value)
            for cell in cells
            if cell.metric == metric and cell.ours is not None
        }
        for metric in dict.fromkeys(metric for _, metric in published)
    }
    columns = tuple(
        rank_agreement(list(rows.values()), metric=metric) for metric, rows in pairs.items()
    )
    return Reproduction(cells=cells, columns=columns, table=_table_order(pairs))


def estimate(sample: Sample, metric: str, *, seed: int = 0) -> Estimate:
    """Estimate a metric of one method, mean over seeds, with its 95 % interval over users.

    Means over cases get a t interval over units (cases, or users where cases are nested);
    set-level metrics the interval that `bench.stats.intervals` chooses for their differences, here
    of the difference from nothing.

    Raises:
        BenchError: If the sample lacks the metric, or a value is not a finite number.
    """
    parsed = parse(metric)
    if parsed.per_case:
        units = sample.units()
        values = per_case(sample, metric).mean(axis=0)
        sums = np.bincount(units.of_case, weights=values).astype(np.float64)
        mean = paired_t(sums, units.sizes)
        return Estimate(value=mean.difference, low=mean.low, high=mean.high)
    sample = known_only(sample)
    units = sample.units()
    (tally,) = tallies([sample], parsed, units)
    low, high = interval(parsed, _nothing(units), tally, seed=seed)
    return Estimate(value=float(tally.mean(units.each_once())[0]), low=low, high=high)


def rank_agreement(pairs: Sequence[tuple[float, float]], *, metric: str = "") -> Order:
    """Compare two orders of the same rows by Kendall's tau-b, which allows for ties.

    Source: Kendall, Biometrika 33 (1945); p is exact without ties, otherwise asymptotic.

    Args:
        pairs: The published and our value of each row.
        metric: For the record.
    """
    num = len(pairs)
    if num < MIN_ROWS:
        rows = f"{num} row{'' if num == 1 else 's'}"
        return Order(metric=metric, tau=None, p=None, num_rows=num, text=f"not defined: {rows}")
    theirs, ours = np.array(pairs, dtype=np.float64).T
    if np.ptp(theirs) == 0 or np.ptp(ours) == 0:
        text = "not defined: all rows are tied in one of the two"
        return Order(metric=metric, tau=None, p=None, num_rows=num, text=text)
    found = stats.kendalltau(theirs, ours)
    tau, p = float(found.statistic), float(found.pvalue)
    text = f"tau-b = {tau:.2f}, p = {f'{p:.2g}'.removeprefix('0')}, {num} rows"
    return Order(metric=metric, tau=tau, p=p, num_rows=num, text=text)


def _cell(row: str, metric: str, value: float, sample: Sample | None, seed: int) -> Cell:
    ours, reason = None, ""
    if sample is None:
        reason = f"There is no result of {row}."
    else:
        try:
            ours = estimate(sample, metric, seed=seed)
        except BenchError as error:
            reason = error.message
    return Cell(
        row=row,
        metric=metric,
        published=value,
        ours=ours,
        difference=None if ours is None else ours.value - value,
        inside=_inside(ours, value),
        reason=reason,
    )


def _inside(ours: Estimate | None, value: float) -> bool | None:
    if ours is None or ours.low is None or ours.high is None:
        return None
    return ours.low <= value <= ours.high


def _nothing(units: Units) -> Tally:
    """Make up a method that scores 0: a difference from it is the value itself."""

    def zero(_: NDArray[np.float64], num_lists: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(len(num_lists))

    empty = sparse.csr_array(np.zeros((1, units.num), dtype=np.int32))
    return Tally(amounts=(empty,), sizes=units.sizes, score=zero)


def _table_order(pairs: Mapping[str, Mapping[str, tuple[float, float]]]) -> Order:
    """Compare the orders by mean rank over all columns, of the rows that every column has."""
    shared = [
        row
        for row in dict.fromkeys(row for rows in pairs.values() for row in rows)
        if all(row in rows for rows in pairs.values())
    ]
    if not shared:
        return rank_agreement([])
    ranks = np.mean(
        [_ranks([rows[row] for row in shared], parse(metric)) for metric, rows in pairs.items()],
        axis=0,
    )
    return rank_agreement([(float(theirs), float(ours)) for theirs, ours in ranks])


def _ranks(values: Sequence[tuple[float, float]], metric: Metric) -> NDArray[np.float64]:
    """Rank the rows in both orders, the best first, shape (rows, 2)."""
    sign = -1 if metric.higher_is_better else 1
    return np.asarray(stats.rankdata(sign * np.array(values), axis=0))
