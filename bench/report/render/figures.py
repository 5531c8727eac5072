"""Figures as inline SVG: differences with their intervals, and rows in a plane."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from bench.metrics.registry import get_metric
from bench.report import format as w
from bench.report.costs import RowCost
from bench.report.render import svg
from bench.report.table import Block, Row

WIDTH = 560
CAPITAL_WIDTH = 8.6  # of names with many capitals
LABEL_CHARS = 20
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
SECONDS_TICKS = (
    *(0.1, 0.3, 1, 3, 10, 30),
    *(size * unit for unit in (MINUTE, HOUR) for size in (1, 3, 10, 30)),
    *(size * DAY for size in (3, 10, 30, 100)),
)


def forest_plot(title: str, reference: str, rows: Sequence[Row], metric: str) -> Markup | None:
    """Draw each row's difference from its reference with its 95 % interval; None without any.

    A filled mark is significant after Holm, a hollow one is not; zero is the reference. The rows
    are a family that is compared with it; `title` is that of the data set.
    """
    tests = [
        (row, test, test.low, test.high)
        for row in rows
        if (test := row.cell(metric).comparison) is not None
        and test.low is not None
        and test.high is not None
    ]
    if not tests:
        return None
    left, right = 152, WIDTH - 178
    x = svg.fit_scale([0.0, *(end for *_, low, high in tests for end in (low, high))], left, right)
    num_chars = int((left - 14) / CAPITAL_WIDTH)
    labels = [textwrap.wrap(w.single_line(row.name), num_chars) or [""] for row, *_ in tests]
    step = max(30, 15 * max(map(len, labels)) + 6)
    bottom = 34 + step * len(tests)
    parts = [svg.vertical_grid(x, 20, bottom), svg.line(x(0), 20, x(0), bottom, "zero")]
    for index, (row, test, low, high) in enumerate(tests):
        y = 25 + step / 2 + step * index
        name = Markup("").join(
            svg.text(left - 14, y + 4 + 15 * (line - (len(labels[index]) - 1) / 2), text, "end")
            for line, text in enumerate(labels[index])
        )
        style = "solid" if test.significant else "hollow"
        difference = f"{w.format_signed(test.difference)} {w.format_interval(low, high)}"
        interval = w.format_interval(low, high, digits=3)
        effect = f"{w.format_signed(test.difference, digits=3)} {interval}"
        parts.append(
            svg.group(
                f"{row.name}: {difference}, p {w.format_p(test.p)} "
                f"(Holm: {w.format_p(test.p_adjusted)})",
                name,
                svg.line(x(low), y, x(high), y, "bar"),
                svg.circle(x(test.difference), y, style),
                svg.text(right + 16, y + 4, effect + " †" * test.significant, "start", "value"),
            )
        )
    better = "right" if get_metric(metric).higher_is_better else "left"
    caption = f"{metric}: difference from {reference}; better to the {better}"
    parts.append(
        svg.text((left + right) / 2, bottom + 40, w.single_line(caption), "middle", "axis")
    )
    label = f"Differences in {metric} from {reference} on {title}"
    return svg.picture(WIDTH, bottom + 52, label, parts)


def tradeoff_metrics(metrics: Sequence[str]) -> tuple[str, str] | None:
    """Choose accuracy and diversity: the first NDCG or HR, and DivRatio, at the same k if any."""
    parsed = [get_metric(name) for name in metrics]
    accuracy = [m for family in ("NDCG", "HR") for m in parsed if m.family == family]
    diversity = [metric for metric in parsed if metric.family == "DivRatio"]
    if not accuracy or not diversity:
        return None
    same_k = [metric for metric in diversity if metric.k == accuracy[0].k]
    return accuracy[0].name, (same_k or diversity)[0].name


def tradeoff_plot(block: Block, metrics: Sequence[str]) -> Markup | None:
    """Draw accuracy against diversity, with the Pareto front of the ranked rows.

    There is none where the board lacks one of the two, or fewer than two rows have both.
    """
    names = tradeoff_metrics(metrics)
    if names is None:
        return None
    accuracy, diversity = names
    points = [
        Point(row, x, y, f"{accuracy} {w.format_value(x)}, {diversity} {w.format_value(y)}")
        for row in block.rows
        if (x := row.cell(accuracy).mean) is not None
        and (y := row.cell(diversity).mean) is not None
    ]
    return _scatter_plot(
        points,
        x_label=f"{accuracy} {w.direction_arrow(accuracy)}",
        y_label=f"{diversity} {w.direction_arrow(diversity)}",
        title=f"{accuracy} against {diversity} on {block.title}",
        front=True,
    )


def cost_plot(block: Block, metric: str, costs: Sequence[RowCost]) -> Markup | None:
    """Draw a metric against the standalone seconds per seed, on a logarithmic axis.

    There is none where fewer than two rows have both.
    """
    seconds = {
        cost.row: cost.standalone / cost.num_trials
        for cost in costs
        if cost.dataset == block.title and cost.standalone > 0
    }
    points = [
        Point(
            row,
            math.log10(seconds[row.name]),
            mean,
            f"{metric} {w.format_value(mean)}, {w.format_seconds(seconds[row.name])} per seed",
        )
        for row in block.rows
        if row.name in seconds and (mean := row.cell(metric).mean) is not None
    ]
    return _scatter_plot(
        points,
        x_label="standalone time per seed (logarithmic)",
        y_label=f"{metric} {w.direction_arrow(metric)}",
        title=f"{metric} against cost on {block.title}",
        x_ticks=[(math.log10(tick), _tick_seconds(tick)) for tick in SECONDS_TICKS],
    )


class Point(NamedTuple):
    """A row in a plane, and what its tooltip says."""

    row: Row
    x: float
    y: float
    text: str


def _scatter_plot(
    points: Sequence[Point],
    *,
    x_label: str,
    y_label: str,
    title: str,
    x_ticks: Sequence[tuple[float, str]] = (),
    front: bool = False,
) -> Markup | None:
    """Draw rows as labeled points; `x_ticks` replaces the ticks of a linear horizontal axis."""
    if len(points) < 2:
        return None
    left, top, bottom = 64, 20, 300
    x = _fit_ranked(points, [point.x for point in points], left, WIDTH - 16)
    y = _fit_ranked(points, [point.y for point in points], bottom, top)
    ticks = [(at, text) for at, text in x_ticks if x.low <= at <= x.high] if x_ticks else None
    parts = [svg.vertical_grid(x, top, bottom, ticks), svg.horizontal_grid(y, left, WIDTH - 16)]
    if front:
        best = pareto_front([(point.x, point.y) for point in points if point.row.ranked])
        if len(best) > 1:
            parts.append(svg.polyline([(x(right), y(up)) for right, up in best], "front"))
    names = []
    for point in points:
        px, py = x.clamp(point.x), y.clamp(point.y)
        parts.append(_marker(point, px, py))
        is_inside = (px, py) == (x(point.x), y(point.y))
        name = w.single_line(point.row.name, LABEL_CHARS)
        names.append((name if is_inside else f"{name} (off scale)", px, py))
    parts += _place_labels(names, left, top, bottom)
    parts.append(svg.text((left + WIDTH) / 2, bottom + 40, x_label, "middle", "axis"))
    parts.append(svg.text(4, top - 6, y_label, "start", "axis"))
    return svg.picture(WIDTH, bottom + 52, title, parts)


def _fit_ranked(
    points: Sequence[Point], values: Sequence[float], start: float, end: float
) -> svg.Scale:
    """Fit a scale around the ranked rows, and others no farther away than their whole range."""
    ranked = [value for point, value in zip(points, values, strict=True) if point.row.ranked]
    if len(ranked) < 2 or max(ranked) - min(ranked) <= svg.MIN_VALUE:
        return svg.fit_scale(values, start, end)
    span = max(ranked) - min(ranked)
    low, high = min(ranked) - span, max(ranked) + span
    return svg.fit_scale([value for value in values if low <= value <= high], start, end)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other exceeds in both coordinates, from left to right."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points), reverse=True):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front[::-1]


def _marker(point: Point, px: float, py: float) -> Markup:
    style = "solid" if point.row.ranked else "hollow"
    shape = svg.circle(px, py, style)
    if point.row.reference:
        shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="10" height="10"/>').format(
            style, px - 5, py - 5
        )
    not_ranked = "" if point.row.ranked else " (not ranked)"
    return svg.group(f"{point.row.name}: {point.text}{not_ranked}", shape)


def _tick_seconds(value: float) -> str:
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if value >= size and value % size == 0:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"


Box = tuple[float, float, float, float]


def _place_labels(
    points: Sequence[tuple[str, float, float]], left: float, top: float, bottom: float
) -> list[Markup]:
    """Place each label where it overlaps no point and no earlier label; the first fit wins."""
    taken: list[Box] = [(px - 7, py - 7, px + 7, py + 7) for _, px, py in points]
    labels = []
    for name, px, py in points:
        width = svg.CHAR_WIDTH * len(name)
        spots = (
            (px + 10, py + 4, "start", px + 10),
            (px - 10, py + 4, "end", px - 10 - width),
            (px, py - 11, "middle", px - width / 2),
            (px, py + 20, "middle", px - width / 2),
            (px + 7, py - 9, "start", px + 7),
            (px + 7, py + 18, "start", px + 7),
            (px - 7, py - 9, "end", px - 7 - width),
            (px - 7, py + 18, "end", px - 7 - width),
        )
        for tx, ty, anchor, start in spots:
            box = (start, ty - 11, start + width, ty + 3)
            is_inside = (
                start >= left and start + width <= WIDTH and ty >= top - 1 and ty <= bottom + 3
            )
            if is_inside and not any(_overlaps(box, other) for other in taken):
                taken.append(box)
                labels.append(svg.text(tx, ty, name, anchor))
                break  # without a free spot the name stays in the tooltip and in the table
    return labels


def _overlaps(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
