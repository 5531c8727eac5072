"""Small line charts as inline SVG: training curves, metrics at checkpoints and along a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from bench.report import format as w
from bench.report.costs import results_of
from bench.report.render import svg
from bench.report.table import Block, Row, Sweep
from bench.results.curves import Curve, read_curves
from bench.results.load import FINAL, ResultSet
from bench.stats.descriptions import join_words

WIDTH, HEIGHT = 300, 196
LEFT, RIGHT, TOP, BOTTOM = 56, WIDTH - 20, 14, 150
NUM_STYLES = 8
MAX_MARKERS = 12


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        name: Its tooltip.
        style: 0 to `NUM_STYLES` - 1; color and dashes together.
        points: Position and value, from left to right.
        ranges: Position, lower and upper end of intervals.
    """

    name: str
    style: int
    points: Sequence[tuple[float, float]]
    ranges: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its heading, and its numbers as a table.

    Attributes:
        legend: Style and name of each kind of line; empty where there is one kind only.
        heads: Of the table; rows: of the table, as text.
        bars: Whether it has bars, not lines; wide: whether it takes the width of the page.
    """

    heading: str
    text: str
    svg: Markup
    legend: tuple[tuple[int, str], ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: bool = False
    wide: bool = False


def training_charts(row: Row, results: ResultSet) -> list[Chart]:
    """Draw the training curves of a row, one chart per measure, one line per seed and part."""
    groups: dict[tuple[str, str, str], list[tuple[int, Curve]]] = {}
    for result in results_of(row, results):
        for curve in read_curves(result.stages):
            key = (curve.kind, curve.measure, curve.over)
            groups.setdefault(key, []).append((result.seed, curve))
    return [
        curve_chart(f"{kind}: {measure}", curves, over=over)
        for (kind, measure, over), curves in groups.items()
    ]


def curve_chart(name: str, curves: Sequence[tuple[int, Curve]], *, over: str) -> Chart:
    """Draw curves, given with their seed, over each other, one line per seed and part.

    `over` is what the horizontal axis counts; the names of the parts are added to that of the
    chart.
    """
    parts = list(dict.fromkeys(curve.part for _, curve in curves))
    has_parts = any(parts)
    lines = [
        Line(
            name=f"seed {seed}{f', {curve.part}' if curve.part else ''}",
            style=parts.index(curve.part) % NUM_STYLES,
            points=curve.points,
        )
        for seed, curve in curves
    ]
    ends = curves[0][1].ends
    runs = f"{w.format_count(len(ends) + 1, 'run')} one after another. " if ends else ""
    heading = name + (f", {join_words(parts)}" if has_parts else "")
    num_seeds = len({seed for seed, _ in curves})
    return Chart(
        heading=heading,
        text=f"{runs}By {over}; {w.format_count(num_seeds, 'seed')}.",
        svg=line_chart(lines, title=f"{heading} by {over}", x_label=over, ends=ends),
        legend=tuple(enumerate(parts)) if len(parts) > 1 else (),
        heads=(
            *("seed", *(("part",) if has_parts else ()), "values"),
            *("first", "25 %", "50 %", "75 %", "last"),
        ),
        rows=tuple(
            (
                str(seed),
                *((curve.part,) if has_parts else ()),
                f"{curve.num_values:,}",
                *_five_values(curve.points),
            )
            for seed, curve in curves
        ),
    )


def _five_values(points: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    last = len(points) - 1
    return tuple(w.format_value(points[round(last * quarter / 4)][1]) for quarter in range(5))


def checkpoint_charts(block: Block, metrics: Sequence[str]) -> list[Chart]:
    """Draw every metric at the checkpoints of the rows that have some, one line per row.

    The last point is the final ranking, left out where it equals the last checkpoint's.
    """
    rows = {row.name: means for row in block.rows if (means := checkpoint_means(row))}
    longest_first = sorted(rows.values(), key=len, reverse=True)  # a row may lack some steps
    names = list(dict.fromkeys(name for means in longest_first for name in means if name != FINAL))
    if any(FINAL in means for means in rows.values()):
        names.append(FINAL)
    charts = []
    for metric in metrics:
        values = {
            row: [means.get(name, {}).get(metric) for name in names] for row, means in rows.items()
        }
        lines = [
            Line(name=row, style=index % NUM_STYLES, points=points)
            for index, (row, line) in enumerate(values.items())
            if (
                points := [(float(at), value) for at, value in enumerate(line) if value is not None]
            )
        ]
        if lines:
            title = f"{metric} by checkpoint on {block.title}"
            legend = tuple((line.style, line.name) for line in lines)
            charts.append(
                Chart(
                    heading=f"{metric} {w.direction_arrow(metric)}",
                    text="Mean over seeds.",
                    svg=line_chart(lines, title=title, x_label="checkpoint", names=names),
                    legend=legend if len(legend) > 1 else (),
                    heads=("row", *names),
                    rows=tuple((row, *map(w.format_value, line)) for row, line in values.items()),
                )
            )
    return charts


def checkpoint_means(row: Row) -> Mapping[str, Mapping[str, float]]:
    """Average each metric over the seeds that have it, by checkpoint; empty without checkpoints."""
    values: dict[str, dict[str, list[float]]] = {}
    for outcome in row.successful:
        if not outcome.checkpoints:
            continue
        last = outcome.checkpoints[-1][1]
        final = () if outcome.rounds or outcome.metrics == last else ((FINAL, outcome.metrics),)
        for name, metrics in (*outcome.checkpoints, *final):
            for metric, value in metrics:
                values.setdefault(name, {}).setdefault(metric, []).append(value)
    return {
        name: {metric: sum(seeds) / len(seeds) for metric, seeds in metrics.items()}
        for name, metrics in values.items()
    }


def sweep_charts(block: Block, sweep: Sweep, metrics: Sequence[str]) -> list[Chart]:
    """Draw every metric over the steps of a sweep."""
    rows = {row.name: row for row in block.rows}
    names = [name for _, name in sweep.steps]
    charts = []
    for metric in metrics:
        cells = [rows[name].cell(metric) for name in names]
        ends = [cell.interval for cell in cells]
        charts += step_chart(
            sweep,
            [cell.mean for cell in cells],
            ends,
            heading=f"{metric} {w.direction_arrow(metric)}",
            text="Mean over seeds" + ("; 95 % intervals." if any(ends) else "."),
            title=f"{metric} by {sweep.x} on {block.title}",
            rows=[
                ("row", *map(w.single_line, names)),
                ("mean", *(w.format_value(cell.mean) for cell in cells)),
                ("deviation between seeds", *(w.format_value(cell.sd) for cell in cells)),
                ("95 % interval", *(w.format_range(*(each or (None, None))) for each in ends)),
            ],
        )
    return charts


def step_chart(
    sweep: Sweep,
    means: Sequence[float | None],
    ends: Sequence[tuple[float, float] | None],
    *,
    heading: str,
    text: str,
    title: str,
    rows: Sequence[tuple[str, ...]],
) -> list[Chart]:
    """Draw means with intervals over the steps of a sweep; one without a value leaves a gap."""
    names = [f"{value:g}" for value, _ in sweep.steps]
    lines = []
    for points in _split_at_gaps(means):
        ranges = [(at, *each) for at, _ in points if (each := ends[int(at)]) is not None]
        lines.append(Line(name=sweep.row, style=0, points=points, ranges=ranges))
    if not lines:
        return []
    chart = Chart(
        heading=heading,
        text=text,
        svg=line_chart(lines, title=title, x_label=sweep.x, names=names),
        legend=(),
        heads=(sweep.x, *names),
        rows=tuple(rows),
    )
    return [chart]


def _split_at_gaps(values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Split a line where a value is missing; neighboring values stay connected."""
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((float(index), value))
    return [run for run in runs if run]


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    ends: Sequence[float] = (),
    names: Sequence[str] = (),
) -> Markup:
    """Draw lines over a common axis.

    Args:
        lines: At least one, none of them empty.
        title: For screen readers.
        x_label: What the horizontal axis counts.
        ends: Where one run ends and the next begins.
        names: Names of the positions 0, 1, …; otherwise positions are numbers.
    """
    positions = [x for line in lines for x, _ in line.points]
    y = _fit_vertical(
        [value for line in lines for _, value in line.points]
        + [end for line in lines for _, *ends in line.ranges for end in ends]
    )
    low, high = (0.0, len(names) - 1.0) if names else (min(positions), max(positions))
    end = high if high > low else low + 1.0
    x = svg.Scale(low=low, high=end, start=LEFT, end=RIGHT, ticks=())
    parts = [svg.horizontal_grid(y, LEFT, RIGHT)]
    parts += [svg.line(x(end), TOP, x(end), BOTTOM, "end") for end in ends]
    parts += [
        svg.line(x(at), y(low_end), x(at), y(high_end), "whisker")
        for line in lines
        for at, low_end, high_end in line.ranges
    ]
    parts += [
        _draw_line(line, [[(x(at), y(v)) for at, v in run] for run in _runs(line.points, ends)])
        for line in lines
    ]
    parts += _tick_labels([(x(at), at) for at in dict.fromkeys((low, high))], names)
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 36, x_label, "middle", "axis"))
    return svg.picture(WIDTH, HEIGHT, title, parts)


def _fit_vertical(values: Sequence[float]) -> svg.Scale:
    """Fit a vertical scale with at least two ticks: a single one shows no distance."""
    scales = (svg.fit_scale(values, BOTTOM, TOP, num_ticks=number) for number in (4, 6, 9, 14))
    return next(scale for scale in scales if len(scale.ticks) > 1)


def _runs(
    points: Sequence[tuple[float, float]], ends: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """Split a line where a run ended: nothing was measured between two runs."""
    edges = [-math.inf, *ends, math.inf]
    runs = [[point for point in points if low < point[0] <= high] for low, high in pairwise(edges)]
    return [run for run in runs if run]


def _draw_line(line: Line, runs: Sequence[Sequence[tuple[float, float]]]) -> Markup:
    points = [point for run in runs for point in run]
    kind = f"style{line.style}"
    shapes = [svg.polyline(run, kind) for run in runs]
    if len(points) <= MAX_MARKERS:
        shapes += [svg.circle(px, py, kind, 2.5) for px, py in points]
    return svg.group(line.name, *shapes)


def _tick_labels(ends: Sequence[tuple[float, float]], names: Sequence[str]) -> list[Markup]:
    """Label the first and the last position, or the named positions as far as they fit."""
    if not names:
        return [
            svg.text(px, BOTTOM + 18, f"{at:,g}", anchor, "tick")
            for (px, at), anchor in zip(ends, ("start", "end"), strict=False)
        ]
    low, high = ends[0][0], ends[-1][0]
    gap = (high - low) / max(len(names) - 1, 1)
    every = max(1, round(44 / gap)) if gap else 1
    return [
        svg.text(low + gap * at, BOTTOM + 18, w.single_line(name, 8), "middle", "tick")
        for at, name in enumerate(names)
        if at % every == 0
    ]
