"""Grouped bars as inline SVG: one group per metric or row, one bar per row or source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bench.report.format import format_mean, single_line
from bench.report.render.figures import (
    CHAR_WIDTH,
    fit_scale,
    horizontal_grid,
    svg,
    svg_line,
    svg_text,
)

LEFT, TOP, BOTTOM, HEIGHT = 56, 14, 150, 184
BAR, MIN_BAR, GAP = 11, 22, 18
MIN_WIDTH = 300


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The bars of one color `style`, with a value per group; None leaves a gap.

    `deviations` are half lengths of the error bars; None without one.
    """

    name: str
    style: int
    values: Sequence[float | None]
    deviations: Sequence[float | None]


def bar_chart(groups: Sequence[str], series: Sequence[Bars], *, title: str) -> Markup | None:
    """Draw bars from zero by group, with error bars of one standard deviation; None without any."""
    ends = [
        value + sign * (deviation or 0)
        for bars in series
        for value, deviation in zip(bars.values, bars.deviations, strict=True)
        if value is not None
        for sign in (-1, 1)
    ]
    if not ends:
        return None
    fitted = fit_scale([0.0, *ends], BOTTOM, TOP, num_ticks=4)
    y = replace(fitted, low=0.0) if min(ends) >= 0 else fitted
    step = max(BAR, MIN_BAR // len(series))
    width = max(step * len(series) + GAP, max(map(len, groups)) * CHAR_WIDTH + 6)
    right = max(MIN_WIDTH, LEFT + 8 + width * len(groups))
    width = (right - LEFT) / len(groups)
    base = y(0.0)
    parts = [horizontal_grid(y, LEFT, right)]
    for index, group in enumerate(groups):
        middle = LEFT + width * (index + 0.5)
        start = middle - step * len(series) / 2
        for place, bars in enumerate(series):
            value, deviation = bars.values[index], bars.deviations[index]
            if value is None:
                continue
            x = start + step * place
            label = f"{bars.name}, {group}: {format_mean(value, deviation)}"
            top, bottom = sorted((y(value), base))
            shape = Markup(
                '<rect class="style{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
            ).format(bars.style, x + 0.5, top, step - 1, bottom - top)
            if deviation:
                center = x + step / 2
                shape += svg_line(
                    center, y(value - deviation), center, y(value + deviation), "whisker"
                )
            parts.append(Markup("<g><title>{}</title>{}</g>").format(single_line(label), shape))
        parts.append(svg_text(middle, BOTTOM + 18, single_line(group), "middle", "tick"))
    parts.append(svg_line(LEFT, base, right, base, "zero"))
    return svg(round(right), HEIGHT, single_line(title), parts)
