"""What a board cost, apart from its metrics: a table, a file, and cost against accuracy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from markupsafe import Markup

from bench.report.costs import Bill
from bench.report.format import arrow, number, seconds
from bench.report.render.csv import harmless
from bench.report.render.figures import (
    WIDTH,
    Dot,
    dots,
    horizontal_grid,
    scale,
    svg,
    svg_line,
    svg_text,
)
from bench.report.table import Block, BoardTable

COLUMNS = (
    "board",
    "dataset",
    "row",
    "num_trials",
    "seconds_from_scratch",
    "seconds_with_sharing",
    "seconds_alone",
    "peak_memory_mib",
)
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
TICKS = (
    *(0.1, 0.3, 1, 3, 10, 30),
    *(size * unit for unit in (MINUTE, HOUR) for size in (1, 3, 10, 30)),
    *(size * DAY for size in (3, 10, 30, 100)),
)


def render_csv(table: BoardTable, bills: Sequence[Bill]) -> bytes:
    """Write the bills as CSV with a header, seconds to the millisecond."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for bill in bills:
        values = (bill.from_scratch, bill.shared, bill.alone, bill.peak_memory_mib)
        writer.writerow(
            [
                table.name,
                harmless(bill.dataset),
                harmless(bill.row),
                bill.num_trials,
                *(f"{value:.3f}" for value in values),
            ]
        )
    return text.getvalue().encode()


def total(bills: Sequence[Bill]) -> tuple[float, float]:
    """Add up seconds from scratch and with sharing; the latter is what all work takes once."""
    return (
        math.fsum(bill.from_scratch for bill in bills),
        math.fsum(bill.shared for bill in bills),
    )


def cost_figure(block: Block, metric: str, bills: Sequence[Bill]) -> Markup | None:
    """Draw a metric against the seconds that a seed takes from scratch, on a logarithmic axis.

    Returns:
        The SVG, or None where fewer than two rows have both.
    """
    taken = {
        bill.row: bill.from_scratch / bill.num_trials
        for bill in bills
        if bill.dataset == block.title and bill.from_scratch > 0
    }
    points = [
        (row, taken[row.name], mean)
        for row in block.rows
        if row.name in taken and (mean := row.cell(metric).mean) is not None
    ]
    if len(points) < 2:
        return None
    left, top, bottom = 64, 20, 300
    x = scale([math.log10(cost) for _, cost, _ in points], left, WIDTH - 16)
    y = scale([mean for *_, mean in points], bottom, top)
    parts = [horizontal_grid(y, left, WIDTH - 16)]
    for tick in TICKS:
        if x.low <= math.log10(tick) <= x.high:
            px = x(math.log10(tick))
            parts.append(svg_line(px, top, px, bottom, "grid"))
            parts.append(svg_text(px, bottom + 18, _tick(tick), "middle", "tick"))
    parts += dots(
        [
            Dot(
                row=row,
                x=x(math.log10(cost)),
                y=y(mean),
                says=f"{metric} {number(mean)}, {seconds(cost)} a seed",
            )
            for row, cost, mean in points
        ],
        (left, top, bottom),
    )
    below = "time of one seed from scratch, logarithmic"
    parts.append(svg_text((left + WIDTH) / 2, bottom + 40, below, "middle", "axis"))
    parts.append(svg_text(4, top - 6, f"{metric} {arrow(metric)}", "start", "axis"))
    return svg(WIDTH, bottom + 52, f"{metric} against cost on {block.title}", parts)


def _tick(value: float) -> str:
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if value >= size and value % size == 0:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"
