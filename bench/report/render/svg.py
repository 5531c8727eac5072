"""Shapes, scales and pictures as inline SVG.

Written by hand rather than plotted, so that they inherit the page's typeface and its light and dark
colors, contain no date and no random id, and are readable by screen readers. `kind` is a CSS class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.report import format as w

CHAR_WIDTH = 7.7  # generous mean width of the 13 px letters
MIN_RELATIVE_RANGE, MIN_VALUE = 1e-6, 1e-7  # below these, differences and values are rounding


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
        return w.format_value(value + 0.0, digits=max(0, -math.floor(math.log10(step) + 1e-9)))


def fit_scale(values: Sequence[float], start: float, end: float, *, num_ticks: int = 5) -> Scale:
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


def vertical_grid(
    x: Scale, top: float, bottom: float, ticks: Sequence[tuple[float, str]] | None = None
) -> Markup:
    """Draw a thin line and a label at every tick of a horizontal scale."""
    if ticks is None:
        ticks = [(tick, x.tick_text(tick)) for tick in x.ticks]
    return Markup("").join(
        line(x(at), top, x(at), bottom, "grid") + text(x(at), bottom + 18, label, "middle", "tick")
        for at, label in ticks
    )


def horizontal_grid(y: Scale, left: float, right: float) -> Markup:
    """Draw a thin line and a number at every tick of a vertical scale."""
    return Markup("").join(
        line(left, y(tick), right, y(tick), "grid")
        + text(left - 8, y(tick) + 4, y.tick_text(tick), "end", "tick")
        for tick in y.ticks
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Draw a line; `kind` is its CSS class."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def polyline(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """Draw lines from point to point."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def circle(x: float, y: float, kind: str, radius: float = 5) -> Markup:
    """Draw a mark."""
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)


def group(title: str, *shapes: Markup) -> Markup:
    """Group shapes under one tooltip."""
    return Markup("<g><title>{}</title>{}</g>").format(
        w.single_line(title), Markup("").join(shapes)
    )


def text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> Markup:
    """Write an escaped text, anchored at "start", "middle" or "end"; `kind` is its CSS class."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def picture(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """Combine parts into one picture with a title for screen readers."""
    return Markup('<svg role="img" viewBox="0 0 {} {}"><title>{}</title>{}</svg>').format(
        width, height, w.single_line(title), Markup("").join(parts)
    )
