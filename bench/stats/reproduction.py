"""Our numbers against published ones: by our interval of each cell, and by the order of the rows.

A paper prints one number per cell, mostly of one run and without an interval, so the question is:
does its number lie inside *our* 95 % interval of the mean? The interval covers other users, and
other seeds from two seeds on; it covers neither data preparation nor code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.stats.contrasts import AlignedSamples, Estimate
from bench.stats.samples import Sample

MIN_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """One published number and ours.

    Attributes:
        published: The paper's number, in the unit of ours.
        reproduced: Our estimate, a mean over seeds; None if we have none.
        difference: Reproduced - published; None likewise.
        in_interval: Whether the published number lies in our interval; None if there is none.
        reason: Why there is no estimate; empty otherwise.
    """

    row: str
    metric: str
    published: float
    reproduced: Estimate | None
    difference: float | None
    in_interval: bool | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """Whether our rows come in the published order.

    Attributes:
        metric: Of the column; "" for the whole table, rows ordered by their mean rank over columns.
        tau: Kendall's tau-b in [-1, 1]; None if it is not defined.
        p: Its two-sided p-value; None likewise. With 4 rows it is at least .083 (5: .017), so small
            tables are never significant.
    """

    metric: str
    tau: float | None
    p: float | None
    num_rows: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published table next to ours, on one data set.

    Attributes:
        cells: In the order of the published numbers.
        columns: Agreement of the order of rows, one per metric.
    """

    cells: tuple[PublishedComparison, ...]
    columns: tuple[Order, ...]
    table: Order

    @property
    def num_inside(self) -> int:
        """How many published numbers lie inside our intervals."""
        return sum(cell.in_interval is True for cell in self.cells)

    @property
    def num_judged(self) -> int:
        """How many cells have an interval."""
        return sum(cell.in_interval is not None for cell in self.cells)


def reproduce(
    published: Mapping[tuple[str, str], float], samples: Sequence[Sample]
) -> Reproduction:
    """Compare published numbers with ours.

    Args:
        published: Value by row and metric, e.g. `{("SASRec", "NDCG@5"): 0.0352}`, in the unit of
            ours (fractions, not per cent).
        samples: Our rows of the same data set; those without a published number are ignored.

    Raises:
        BenchError: If a published value is not a finite number, a metric is unknown, or two samples
            have the same name.
    """
    for (row, metric), value in published.items():
        get_metric(metric)
        if not math.isfinite(value):
            raise BenchError(f"The published {metric} of {row} is not a finite number.")
    by_name = {sample.name: sample for sample in samples}
    if len(by_name) < len(samples):
        raise BenchError("Two of our rows have one name.", "Give each row a label of its own.")
    cells = tuple(
        _compare_cell(row, metric, value, by_name.get(row))
        for (row, metric), value in published.items()
    )
    pairs = {
        metric: {
            cell.row: (cell.published, cell.reproduced.value)
            for cell in cells
            if cell.metric == metric and cell.reproduced is not None
        }
        for metric in dict.fromkeys(metric for _, metric in published)
    }
    columns = tuple(
        compare_orders(list(rows.values()), metric=metric) for metric, rows in pairs.items()
    )
    return Reproduction(cells=cells, columns=columns, table=_compare_table_order(pairs))


def estimate(sample: Sample, metric: str) -> Estimate:
    """Estimate a metric of one method, mean over seeds, with its 95 % intervals."""
    return AlignedSamples.align([sample], metric).estimate([1])


def compare_orders(pairs: Sequence[tuple[float, float]], *, metric: str = "") -> Order:
    """Compare two orders of the same rows by Kendall's tau-b, which allows for ties.

    Source: Kendall, Biometrika 33 (1945); p is exact without ties, otherwise asymptotic.
    """
    num, values = len(pairs), np.array(pairs, dtype=np.float64)
    tau: float | None = None
    p: float | None = None
    if num < MIN_ROWS:
        text = f"not defined: {num} row{'' if num == 1 else 's'}"
    elif (np.ptp(values, axis=0) == 0).any():
        text = "not defined: all rows are tied in one of the two"
    else:
        result = stats.kendalltau(*values.T)
        tau, p = float(result.statistic), float(result.pvalue)
        text = f"tau-b = {tau:.2f}, p = {f'{p:.2g}'.removeprefix('0')}, {num} rows"
    return Order(metric=metric, tau=tau, p=p, num_rows=num, text=text)


def _compare_cell(
    row: str, metric: str, value: float, sample: Sample | None
) -> PublishedComparison:
    reproduced, in_interval, reason = None, None, ""
    try:
        if sample is None:
            raise BenchError(f"There is no result of {row}.")
        reproduced = estimate(sample, metric)
        if (interval := reproduced.answer) is not None:
            in_interval = interval.low <= value <= interval.high
    except BenchError as error:
        reason = error.message
    return PublishedComparison(
        row=row,
        metric=metric,
        published=value,
        reproduced=reproduced,
        difference=reproduced.value - value if reproduced else None,
        in_interval=in_interval,
        reason=reason,
    )


def _compare_table_order(pairs: Mapping[str, Mapping[str, tuple[float, float]]]) -> Order:
    """Compare the orders by mean rank over all columns, of the rows that every column has."""
    names = dict.fromkeys(row for rows in pairs.values() for row in rows)
    shared = [row for row in names if all(row in rows for rows in pairs.values())]
    if not shared:
        return compare_orders([])
    ranks = []
    for metric, rows in pairs.items():
        sign = -1 if get_metric(metric).higher_is_better else 1
        values = sign * np.array([rows[row] for row in shared])
        ranks.append(stats.rankdata(values, axis=0))
    return compare_orders(np.mean(ranks, axis=0).tolist())
