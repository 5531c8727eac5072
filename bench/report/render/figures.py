"""Figures as inline SVG: differences with their intervals, and accuracy against diversity.

Written by hand rather than plotted, so that they inherit the page's type and its light and dark
colors, hold no date and no random id, and are readable by screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.report.format import arrow, interval, number, one_line, p_value, signed
from bench.report.table import Block, Row

if TYPE_CHECKING:
    from bench.stats.compare import Comparison

WIDTH = 560
CHAR = 7.7  # a generous mean width of the 13 px letters
LABEL_CHARS = 20
ALIKE, NOTHING = 1e-6, 1e-7  # a relative difference, and a value, too small to be drawn


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
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def tick_text(self, value: float) -> str:
        """Write a tick with as many digits as its step needs."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 0.1
        return number(value + 0.0, digits=max(0, -math.floor(math.log10(step) + 1e-9)))


def scale(values: Sequence[float], start: float, end: float, *, wanted: int = 5) -> Scale:
    """Fit a scale around values, with some air and ticks in steps of 1, 2 or 5 × 10^n."""
    low, high = min(values), max(values)
    reach = max(abs(low), abs(high))
    if high - low > max(ALIKE * reach, NOTHING):
        air = 0.08 * (high - low)
    else:  # equal but for the order of a sum: their last digits bear no ticks
        air = 0.1 * reach if reach > NOTHING else 1.0
    low, high = low - air, high + air
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(round(step * one, 12) for one in range(first, last + 1))
    return Scale(low=low, high=high, start=start, end=end, ticks=ticks)


def forest(block: Block, metric: str) -> Markup | None:
    """Draw each row's difference from the reference with its 95 % interval.

    A filled mark is significant after Holm, a hollow one is not; zero is the reference.

    Returns:
        The SVG, or None where there is nothing to compare.
    """
    tests = [
        (row, test)
        for row in block.rows
        if (test := row.cell(metric).comparison) is not None and test.low is not None
    ]
    if not tests or block.reference is None:
        return None
    left, right = 152, WIDTH - 178
    ends = [end for _, test in tests for end in (test.low, test.high) if end is not None]
    x = scale([0.0, *ends], left, right)
    bottom = 34 + 30 * len(tests)
    parts = [_vertical_grid(x, 20, bottom), svg_line(x(0), 20, x(0), bottom, "zero")]
    for place, (row, test) in enumerate(tests):
        assert test.low is not None
        assert test.high is not None
        y = 40 + 30 * place
        kind = "solid" if test.significant else "hollow"
        says = (
            f"{row.name}: {signed(test.difference)} {interval(test.low, test.high)}, "
            f"adjusted p {p_value(test.p_adjusted)}"
        )
        parts.append(
            Markup("<g><title>{}</title>{}{}{}{}</g>").format(
                one_line(says),
                svg_text(left - 14, y + 4, _short(row.name), "end"),
                svg_line(x(test.low), y, x(test.high), y, "bar"),
                Markup('<circle class="{}" cx="{:.1f}" cy="{}" r="5"/>').format(
                    kind, x(test.difference), y
                ),
                svg_text(right + 16, y + 4, _effect(test), "start", "value"),
            )
        )
    better = "right" if get_metric(metric).higher_is_better else "left"
    caption = f"{metric}: difference from {block.reference.name}; better to the {better}"
    axis = svg_text((left + right) / 2, bottom + 40, one_line(caption), "middle", "axis")
    parts.append(axis)
    title = f"Differences in {metric} from {block.reference.name} on {block.title}"
    return svg(WIDTH, bottom + 52, one_line(title), parts)


def scatter_metrics(metrics: Sequence[str]) -> tuple[str, str] | None:
    """Choose accuracy and diversity: the first NDCG or HR, and DivRatio, at the same k if it is."""
    parsed = [get_metric(name) for name in metrics]
    accuracy = next((one for one in parsed if one.family == "NDCG"), None) or next(
        (one for one in parsed if one.family == "HR"), None
    )
    spread = [one for one in parsed if one.family == "DivRatio"]
    if accuracy is None or not spread:
        return None
    same: list[Metric] = [one for one in spread if one.k == accuracy.k]
    return accuracy.name, (same or spread)[0].name


def scatter(block: Block, metrics: Sequence[str]) -> Markup | None:
    """Draw accuracy against diversity, with the rows that no ranked row beats in both.

    Returns:
        The SVG, or None where the board lacks one of the two, or fewer than two rows have both.
    """
    chosen = scatter_metrics(metrics)
    if chosen is None:
        return None
    points = [
        (row, right, up)
        for row in block.rows
        if (right := row.cell(chosen[0]).mean) is not None
        and (up := row.cell(chosen[1]).mean) is not None
    ]
    if len(points) < 2:
        return None
    left, top, bottom = 64, 20, 300
    x = scale([right for _, right, _ in points], left, WIDTH - 16)
    y = scale([up for _, _, up in points], bottom, top)
    parts = [_vertical_grid(x, top, bottom), horizontal_grid(y, left, WIDTH - 16)]
    front = pareto([(right, up) for row, right, up in points if row.ranked])
    if len(front) > 1:
        path = " ".join(f"{x(right):.1f},{y(up):.1f}" for right, up in front)
        parts.append(Markup('<polyline class="front" points="{}"/>').format(path))
    parts += dots(
        [
            Dot(
                row=row,
                x=x(right),
                y=y(up),
                says=f"{chosen[0]} {number(right)}, {chosen[1]} {number(up)}",
            )
            for row, right, up in points
        ],
        (left, top, bottom),
    )
    below = f"{chosen[0]} {arrow(chosen[0])}"
    parts.append(svg_text((left + WIDTH) / 2, bottom + 40, below, "middle", "axis"))
    parts.append(svg_text(4, top - 6, f"{chosen[1]} {arrow(chosen[1])}", "start", "axis"))
    return svg(WIDTH, bottom + 52, f"{chosen[0]} against {chosen[1]} on {block.title}", parts)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the points that no other beats in both coordinates, from left to right."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points), reverse=True):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front[::-1]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A row in a plane, in pixels, and what its title says of it."""

    row: Row
    x: float
    y: float
    says: str


def dots(found: Sequence[Dot], frame: tuple[float, float, float]) -> list[Markup]:
    """Draw rows as dots with their names; `frame` is the left, upper and lower edge."""
    names = [(_short(one.row.name), one.x, one.y) for one in found]
    return [_dot(one.row, one.x, one.y, one.says) for one in found] + _labels(names, *frame)


def _dot(row: Row, px: float, py: float, says: str) -> Markup:
    kind = "solid" if row.ranked else "hollow"
    title = f"{row.name}: {says}" + ("" if row.ranked else " (not ranked)")
    if row.reference:
        shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="10" height="10"/>').format(
            kind, px - 5, py - 5
        )
    else:
        shape = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(kind, px, py)
    return Markup("<g><title>{}</title>{}</g>").format(one_line(title), shape)


def _labels(
    dots: Sequence[tuple[str, float, float]], left: float, top: float, bottom: float
) -> list[Markup]:
    """Put each label where it hits no dot and no earlier label; first fit, the same every time."""
    taken = [(px - 7, py - 7, px + 7, py + 7) for _, px, py in dots]
    placed = []
    for name, px, py in dots:
        wide = CHAR * len(name)
        spots = (
            (px + 10, py + 4, "start", px + 10),
            (px - 10, py + 4, "end", px - 10 - wide),
            (px, py - 11, "middle", px - wide / 2),
            (px, py + 20, "middle", px - wide / 2),
            (px + 7, py - 9, "start", px + 7),
            (px + 7, py + 18, "start", px + 7),
            (px - 7, py - 9, "end", px - 7 - wide),
            (px - 7, py + 18, "end", px - 7 - wide),
        )
        fitting = [
            (tx, ty, anchor, box)
            for tx, ty, anchor, start in spots
            if (box := (start, ty - 11, start + wide, ty + 3))[0] >= left
            and box[2] <= WIDTH
            and box[1] >= top - 12
            and box[3] <= bottom + 6
            and not any(_overlap(box, other) for other in taken)
        ]
        if fitting:  # without room the name stays in the dot's title and in the table
            tx, ty, anchor, box = fitting[0]
            taken.append(box)
            placed.append(svg_text(tx, ty, name, anchor))
    return placed


Box = tuple[float, float, float, float]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _vertical_grid(x: Scale, top: float, bottom: float) -> Markup:
    return Markup("").join(
        svg_line(x(tick), top, x(tick), bottom, "grid")
        + svg_text(x(tick), bottom + 18, x.tick_text(tick), "middle", "tick")
        for tick in x.ticks
    )


def horizontal_grid(y: Scale, left: float, right: float) -> Markup:
    """Draw a thin rule and a number at every tick of a vertical scale."""
    return Markup("").join(
        svg_line(left, y(tick), right, y(tick), "grid")
        + svg_text(left - 8, y(tick) + 4, y.tick_text(tick), "end", "tick")
        for tick in y.ticks
    )


def svg_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Draw a line; its class decides its looks."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def svg_text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> Markup:
    """Write a text, escaped, anchored at "start", "middle" or "end"."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def _effect(test: Comparison) -> str:
    ends = interval(test.low, test.high, digits=3)
    return f"{signed(test.difference, digits=3)} {ends}" + (" †" if test.significant else "")


def _short(name: str) -> str:
    return one_line(name, LABEL_CHARS)


def svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """Put parts into one picture with a title for screen readers."""
    return Markup('<svg role="img" viewBox="0 0 {} {}"><title>{}</title>{}</svg>').format(
        width, height, title, Markup("").join(parts)
    )
