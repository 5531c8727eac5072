"""Figures as inline SVG: differences with their intervals, and rows in a plane.

Written by hand rather than plotted, so that they inherit the page's typeface and its light and dark
colors, contain no date and no random id, and are readable by screen readers.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.metrics.registry import get_metric
from bench.report.costs import RowCost
from bench.report.format import (
    direction_arrow,
    format_interval,
    format_p,
    format_seconds,
    format_signed,
    format_value,
    single_line,
)
from bench.report.table import Block, Row

WIDTH = 560
CHAR_WIDTH = 7.7  # generous mean width of the 13 px letters
CAPITAL_WIDTH = 8.6  # of names with many capitals
LABEL_CHARS = 20
MIN_RELATIVE_RANGE, MIN_VALUE = 1e-6, 1e-7  # below these, differences and values are rounding
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
SECONDS_TICKS = (
    *(0.1, 0.3, 1, 3, 10, 30),
    *(size * unit for unit in (MINUTE, HOUR) for size in (1, 3, 10, 30)),
    *(size * DAY for size in (3, 10, 30, 100)),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A linear map from values to pixels, with round ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Map a value."""
        fraction = (value - self.low) / (self.high - self.low)
        return self.start + fraction * (self.end - self.start)

    def clamp(self, value: float) -> float:
        """Map a value, at the nearest end if it lies outside."""
        return self(min(max(value, self.low), self.high))

    def tick_text(self, value: float) -> str:
        """Write a tick with as many digits as its step needs."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 0.1
        return format_value(value + 0.0, digits=max(0, -math.floor(math.log10(step) + 1e-9)))


def fit_scale(
    values: Sequence[float], start: float, end: float, *, num_ticks: int = 5
) -> Scale:  # fmt: skip
    """Fit a scale around values, with a margin and about `num_ticks` ticks of 1, 2 or 5 × 10^n."""
    low, high = min(values), max(values)
    largest = max(abs(low), abs(high))
    if high - low > max(MIN_RELATIVE_RANGE * largest, MIN_VALUE):
        margin = 0.08 * (high - low)
    else:  # equal except for the order of a sum: their last digits need no ticks
        margin = 0.1 * largest
    low, high = (low - margin, high + margin) if largest > MIN_VALUE else (low, low + 1.0)
    rough = (high - low) / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(round(step * number, 12) for number in range(first, last + 1))
    return Scale(low=low, high=high, start=start, end=end, ticks=ticks)


def forest_plot(title: str, reference: str, rows: Sequence[Row], metric: str) -> Markup | None:
    """Draw each row's difference from its reference with its 95 % interval.

    A filled mark is significant after Holm, a hollow one is not; zero is the reference.

    Args:
        title: Of the data set.
        reference: Name of the reference.
        rows: A family of rows that are compared with it.
        metric: Name of the metric.

    Returns:
        The SVG, or None where there is nothing to compare.
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
    x = fit_scale([0.0, *(end for *_, low, high in tests for end in (low, high))], left, right)
    num_chars = int((left - 14) / CAPITAL_WIDTH)
    labels = [textwrap.wrap(single_line(row.name), num_chars) or [""] for row, *_ in tests]
    step = max(30, 15 * max(map(len, labels)) + 6)
    bottom = 34 + step * len(tests)
    parts = [_vertical_grid(x, 20, bottom), svg_line(x(0), 20, x(0), bottom, "zero")]
    for index, (row, test, low, high) in enumerate(tests):
        y = 25 + step / 2 + step * index
        name = Markup("").join(
            svg_text(left - 14, y + 4 + 15 * (line - (len(labels[index]) - 1) / 2), text, "end")
            for line, text in enumerate(labels[index])
        )
        style = "solid" if test.significant else "hollow"
        difference = f"{format_signed(test.difference)} {format_interval(low, high)}"
        effect = f"{format_signed(test.difference, digits=3)} " + format_interval(
            low, high, digits=3
        )
        parts.append(
            Markup("<g><title>{}</title>{}{}{}{}</g>").format(
                single_line(
                    f"{row.name}: {difference}, p {format_p(test.p)} "
                    f"(Holm: {format_p(test.p_adjusted)})"
                ),
                name,
                svg_line(x(low), y, x(high), y, "bar"),
                _circle(x(test.difference), y, style),
                svg_text(
                    right + 16, y + 4, effect + (" †" if test.significant else ""), "start", "value"
                ),
            )
        )
    better = "right" if get_metric(metric).higher_is_better else "left"
    caption = f"{metric}: difference from {reference}; better to the {better}"
    parts.append(
        svg_text((left + right) / 2, bottom + 40, single_line(caption), "middle", "axis")
    )  # fmt: skip
    label = f"Differences in {metric} from {reference} on {title}"
    return svg(WIDTH, bottom + 52, single_line(label), parts)


def tradeoff_metrics(metrics: Sequence[str]) -> tuple[str, str] | None:
    """Choose accuracy and diversity: the first NDCG or HR, and DivRatio, at the same k if any."""
    parsed = [get_metric(name) for name in metrics]
    accuracy = next((metric for metric in parsed if metric.family == "NDCG"), None) or next(
        (metric for metric in parsed if metric.family == "HR"), None
    )
    diversity = [metric for metric in parsed if metric.family == "DivRatio"]
    if accuracy is None or not diversity:
        return None
    same_k = [metric for metric in diversity if metric.k == accuracy.k]
    return accuracy.name, (same_k or diversity)[0].name


def tradeoff_plot(block: Block, metrics: Sequence[str]) -> Markup | None:
    """Draw accuracy against diversity, with the Pareto front of the ranked rows.

    Returns:
        The SVG, or None where the board lacks one of the two, or fewer than two rows have both.
    """
    names = tradeoff_metrics(metrics)
    if names is None:
        return None
    accuracy, diversity = names
    points = [
        Point(
            row=row,
            x=x,
            y=y,
            text=f"{accuracy} {format_value(x)}, {diversity} {format_value(y)}",
        )
        for row in block.rows
        if (x := row.cell(accuracy).mean) is not None
        and (y := row.cell(diversity).mean) is not None
    ]
    return _scatter_plot(
        points,
        x_label=f"{accuracy} {direction_arrow(accuracy)}",
        y_label=f"{diversity} {direction_arrow(diversity)}",
        title=f"{accuracy} against {diversity} on {block.title}",
        front=True,
    )


def cost_plot(block: Block, metric: str, costs: Sequence[RowCost]) -> Markup | None:
    """Draw a metric against the standalone seconds per seed, on a logarithmic axis.

    Returns:
        The SVG, or None where fewer than two rows have both.
    """
    seconds = {
        cost.row: cost.standalone / cost.num_trials
        for cost in costs
        if cost.dataset == block.title and cost.standalone > 0
    }
    points = [
        Point(
            row=row,
            x=math.log10(seconds[row.name]),
            y=mean,
            text=f"{metric} {format_value(mean)}, {format_seconds(seconds[row.name])} per seed",
        )
        for row in block.rows
        if row.name in seconds and (mean := row.cell(metric).mean) is not None
    ]
    return _scatter_plot(
        points,
        x_label="standalone time per seed (logarithmic)",
        y_label=f"{metric} {direction_arrow(metric)}",
        title=f"{metric} against cost on {block.title}",
        x_ticks=[(math.log10(tick), _tick_seconds(tick)) for tick in SECONDS_TICKS],
    )


@dataclass(frozen=True, kw_only=True)
class Point:
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
    parts = [_vertical_grid(x, top, bottom, ticks), horizontal_grid(y, left, WIDTH - 16)]
    if front:
        best = pareto_front([(point.x, point.y) for point in points if point.row.ranked])
        if len(best) > 1:
            path = " ".join(f"{x(right):.1f},{y(up):.1f}" for right, up in best)
            parts.append(Markup('<polyline class="front" points="{}"/>').format(path))
    names = []
    for point in points:
        px, py = x.clamp(point.x), y.clamp(point.y)
        parts.append(_marker(point, px, py))
        is_inside = (px, py) == (x(point.x), y(point.y))
        name = single_line(point.row.name, LABEL_CHARS)
        names.append((name if is_inside else f"{name} (off scale)", px, py))
    parts += _place_labels(names, left, top, bottom)
    parts.append(svg_text((left + WIDTH) / 2, bottom + 40, x_label, "middle", "axis"))
    parts.append(svg_text(4, top - 6, y_label, "start", "axis"))
    return svg(WIDTH, bottom + 52, title, parts)


def _fit_ranked(
    points: Sequence[Point], values: Sequence[float], start: float, end: float
) -> Scale:
    """Fit a scale around the ranked rows, and others no farther away than their whole range."""
    ranked = [value for point, value in zip(points, values, strict=True) if point.row.ranked]
    if len(ranked) < 2 or max(ranked) - min(ranked) <= MIN_VALUE:
        return fit_scale(values, start, end)
    span = max(ranked) - min(ranked)
    low, high = min(ranked) - span, max(ranked) + span
    return fit_scale([value for value in values if low <= value <= high], start, end)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other exceeds in both coordinates, from left to right."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points), reverse=True):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front[::-1]


def _marker(point: Point, px: float, py: float) -> Markup:
    style = "solid" if point.row.ranked else "hollow"
    title = f"{point.row.name}: {point.text}" + ("" if point.row.ranked else " (not ranked)")
    if point.row.reference:
        shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="10" height="10"/>').format(
            style, px - 5, py - 5
        )
    else:
        shape = _circle(px, py, style)
    return Markup("<g><title>{}</title>{}</g>").format(single_line(title), shape)


def _circle(px: float, py: float, style: str) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(style, px, py)


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
        width = CHAR_WIDTH * len(name)
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
            fits = (
                box[0] >= left and box[2] <= WIDTH and box[1] >= top - 12 and box[3] <= bottom + 6
            )
            if fits and not any(_overlaps(box, other) for other in taken):
                taken.append(box)
                labels.append(svg_text(tx, ty, name, anchor))
                break  # without a free spot the name stays in the tooltip and in the table
    return labels


def _overlaps(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _vertical_grid(
    x: Scale, top: float, bottom: float, ticks: Sequence[tuple[float, str]] | None = None
) -> Markup:
    """Draw a thin line and a label at every tick of a horizontal scale."""
    if ticks is None:
        ticks = [(tick, x.tick_text(tick)) for tick in x.ticks]
    return Markup("").join(
        svg_line(x(at), top, x(at), bottom, "grid")
        + svg_text(x(at), bottom + 18, text, "middle", "tick")
        for at, text in ticks
    )


def horizontal_grid(y: Scale, left: float, right: float) -> Markup:
    """Draw a thin line and a number at every tick of a vertical scale."""
    return Markup("").join(
        svg_line(left, y(tick), right, y(tick), "grid")
        + svg_text(left - 8, y(tick) + 4, y.tick_text(tick), "end", "tick")
        for tick in y.ticks
    )


def svg_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Draw a line; `kind` is its CSS class."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def svg_text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> Markup:
    """Write an escaped text, anchored at "start", "middle" or "end"; `kind` is its CSS class."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """Combine parts into one picture with a title for screen readers."""
    return Markup('<svg role="img" viewBox="0 0 {} {}"><title>{}</title>{}</svg>').format(
        width, height, title, Markup("").join(parts)
    )
