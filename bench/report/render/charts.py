"""Small line charts as inline SVG: training step by step, and metrics at checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from bench.report.costs import Ledger
from bench.report.format import arrow, count, listed, number, one_line
from bench.report.render.figures import Scale, horizontal_grid, scale, svg, svg_line, svg_text
from bench.report.table import Block, Row, Sweep
from bench.results.curves import Curve

WIDTH, HEIGHT = 300, 196
LEFT, RIGHT, TOP, BOTTOM = 56, WIDTH - 20, 14, 150
NUM_LOOKS = 6
NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        name: Told by its title.
        look: 0 to `NUM_LOOKS` - 1; color and dashes together.
        points: Position and value, from left to right.
    """

    name: str
    look: int
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its heading, and its numbers as a table.

    Attributes:
        keys: Look and name of each kind of line; empty where there is one kind only.
        heads: Of the table; lines: of the table, as text.
    """

    heading: str
    text: str
    svg: Markup
    keys: tuple[tuple[int, str], ...]
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def training_charts(row: Row, ledger: Ledger) -> list[Chart]:
    """Draw what the training of a row's seeds noted, a chart a measure, a line a seed and part."""
    seeds = {one.trial: one.seed for one in row.outcomes}
    groups: dict[tuple[str, str, str], list[tuple[int, Curve]]] = {}
    for entry in ledger.of_row(row):
        for curve in entry.curves:
            key = (curve.kind, curve.measure, curve.over)
            groups.setdefault(key, []).append((seeds[entry.trial], curve))
    return [_training_chart(*key, found) for key, found in groups.items()]


def _training_chart(
    kind: str, measure: str, over: str, found: Sequence[tuple[int, Curve]]
) -> Chart:
    parts = list(dict.fromkeys(curve.part for _, curve in found))
    lines = [
        Line(
            name=f"seed {seed}{f', {curve.part}' if curve.part else ''}",
            look=parts.index(curve.part) % NUM_LOOKS,
            points=curve.points,
        )
        for seed, curve in found
    ]
    ends = found[0][1].ends
    runs = f"{count(len(ends) + 1, 'run')} one after another. " if ends else ""
    heading = f"{kind}: {measure}" + (f", {listed(parts)}" if any(parts) else "")
    return Chart(
        heading=heading,
        text=f"{runs}By {over}; {count(len({seed for seed, _ in found}), 'seed')}.",
        svg=line_chart(lines, title=f"{heading} by {over}", below=over, ends=ends),
        keys=tuple(enumerate(parts)) if len(parts) > 1 else (),
        heads=("seed", *(("part",) if any(parts) else ()), "values", *_shown_heads()),
        lines=tuple(
            (
                str(seed),
                *((curve.part,) if any(parts) else ()),
                f"{curve.num:,}",
                *_shown(curve.points),
            )
            for seed, curve in found
        ),
    )


def _shown_heads() -> tuple[str, ...]:
    return ("first", *(f"{round(100 * place / 4)} %" for place in range(1, 4)), "last")


def _shown(points: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """Pick the first, the last and three values between for a table."""
    last = len(points) - 1
    places = [round(last * place / (NUM_SHOWN - 1)) for place in range(NUM_SHOWN)]
    return tuple(number(points[place][1]) for place in places)


def checkpoint_charts(block: Block, metrics: Sequence[str]) -> list[Chart]:
    """Draw every metric at the checkpoints of the rows that have some, a line a row.

    The last point is the final ranking, left out where it is the last checkpoint's.
    """
    rows = {row.name: found for row in block.rows if (found := checkpoints(row))}
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    if FINAL in names:
        names = [*(name for name in names if name != FINAL), FINAL]
    return [
        chart
        for metric in metrics
        if names and (chart := _checkpoint_chart(block, metric, names, rows)) is not None
    ]


FINAL = "final"
Steps = Mapping[str, Mapping[str, float]]


def checkpoints(row: Row) -> Steps:
    """Average each metric over the seeds that have it, by checkpoint; empty without checkpoints."""
    good = [one for one in row.outcomes if one.status == "ok" and one.checkpoints]
    found: dict[str, dict[str, list[float]]] = {}
    for outcome in good:
        last = outcome.checkpoints[-1][1]
        final = () if outcome.metrics == last else ((FINAL, outcome.metrics),)
        for name, values in (*outcome.checkpoints, *final):
            for metric, value in values:
                found.setdefault(name, {}).setdefault(metric, []).append(value)
    return {
        name: {metric: sum(values) / len(values) for metric, values in metrics.items()}
        for name, metrics in found.items()
    }


def _checkpoint_chart(
    block: Block, metric: str, names: Sequence[str], rows: Mapping[str, Steps]
) -> Chart | None:
    lines = [
        Line(
            name=row,
            look=place % NUM_LOOKS,
            points=[
                (float(at), steps[name][metric])
                for at, name in enumerate(names)
                if name in steps and metric in steps[name]
            ],
        )
        for place, (row, steps) in enumerate(rows.items())
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    heading = f"{metric} {arrow(metric)}"
    return Chart(
        heading=heading,
        text="Mean over seeds.",
        svg=line_chart(
            lines,
            title=f"{metric} by checkpoint on {block.title}",
            below="checkpoint",
            named=names,
        ),
        keys=tuple((line.look, line.name) for line in lines) if len(lines) > 1 else (),
        heads=("row", *names),
        lines=tuple(
            (row, *(number(steps.get(name, {}).get(metric)) for name in names))
            for row, steps in rows.items()
        ),
    )


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    below: str,
    ends: Sequence[float] = (),
    named: Sequence[str] = (),
) -> Markup:
    """Draw lines over a common axis.

    Args:
        lines: At least one, none of them empty.
        title: For screen readers.
        below: What the horizontal axis counts.
        ends: Where one run ends and the next begins.
        named: Names of the positions 0, 1, …; otherwise positions are numbers.
    """
    positions = [x for line in lines for x, _ in line.points]
    y = _rising([value for line in lines for _, value in line.points])
    low, high = min(positions), max(positions)
    width = high - low or 1.0

    def x(position: float) -> float:
        return LEFT + (position - low) / width * (RIGHT - LEFT)

    parts = [horizontal_grid(y, LEFT, RIGHT)]
    parts += [svg_line(x(end), TOP, x(end), BOTTOM, "end") for end in ends]
    parts += [
        _line(line, [[(x(at), y(value)) for at, value in run] for run in _runs(line.points, ends)])
        for line in lines
    ]
    parts += _below([(x(at), at) for at in dict.fromkeys((low, high))], named)
    parts.append(svg_text((LEFT + RIGHT) / 2, BOTTOM + 36, below, "middle", "axis"))
    return svg(WIDTH, HEIGHT, one_line(title), parts)


def _rising(values: Sequence[float]) -> Scale:
    """Fit a vertical scale with two ticks at least: a single one tells no distance."""
    scales = (scale(values, BOTTOM, TOP, wanted=wanted) for wanted in (4, 6, 9, 14))
    return next(one for one in scales if len(one.ticks) > 1)


def _runs(
    points: Sequence[tuple[float, float]], ends: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """Part a line where a run ended: nothing was measured between two runs."""
    edges = [-math.inf, *ends, math.inf]
    runs = [[point for point in points if low < point[0] <= high] for low, high in pairwise(edges)]
    return [run for run in runs if run]


def _line(line: Line, runs: Sequence[Sequence[tuple[float, float]]]) -> Markup:
    points = [point for run in runs for point in run]
    shape = Markup("").join(
        Markup('<polyline class="look{}" points="{}"/>').format(
            line.look, " ".join(f"{px:.1f},{py:.1f}" for px, py in run)
        )
        for run in runs
    )
    if len(points) <= 2 * NUM_LOOKS:
        shape += Markup("").join(
            Markup('<circle class="look{}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(
                line.look, px, py
            )
            for px, py in points
        )
    return Markup("<g><title>{}</title>{}</g>").format(one_line(line.name), shape)


def _below(ends: Sequence[tuple[float, float]], named: Sequence[str]) -> list[Markup]:
    """Name the first and the last position, and those between where they have names and room."""
    if not named:
        anchors = ("start", "end")
        return [
            svg_text(px, BOTTOM + 18, f"{at:,g}", anchor, "tick")
            for (px, at), anchor in zip(ends, anchors, strict=False)
        ]
    low, high = ends[0][0], ends[-1][0]
    gap = (high - low) / max(len(named) - 1, 1)
    every = max(1, round(44 / gap)) if gap else 1
    return [
        svg_text(low + gap * at, BOTTOM + 18, one_line(name, 8), "middle", "tick")
        for at, name in enumerate(named)
        if at % every == 0
    ]


def sweep_charts(block: Block, sweep: Sweep, metrics: Sequence[str]) -> list[Chart]:
    """Draw every metric over the steps of a sweep; a step without a value leaves a gap."""
    rows = {row.name: row for row in block.rows}
    found = []
    for metric in metrics:
        cells = [rows[name].cell(metric) for _, name in sweep.steps]
        means = [cell.mean for cell in cells]
        if all(mean is None for mean in means):
            continue
        names = [f"{value:g}" for value, _ in sweep.steps]
        heading = f"{metric} {arrow(metric)}"
        found.append(
            Chart(
                heading=heading,
                text="Mean over seeds.",
                svg=line_chart(
                    _unbroken(sweep.row, means),
                    title=f"{metric} by {sweep.x} on {block.title}",
                    below=sweep.x,
                    named=names,
                ),
                keys=(),
                heads=(sweep.x, *names),
                lines=(
                    ("row", *(one_line(name) for _, name in sweep.steps)),
                    ("mean", *map(number, means)),
                    ("deviation between seeds", *(number(cell.sd) for cell in cells)),
                ),
            )
        )
    return found


def _unbroken(name: str, means: Sequence[float | None]) -> list[Line]:
    """Join neighboring steps that have a value."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place, mean in enumerate(means):
        if mean is None:
            runs.append([])
        else:
            runs[-1].append((float(place), mean))
    return [Line(name=name, look=0, points=run) for run in runs if run]
