"""The figures that a board declares, as charts: bars, logged curves, and measures of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.claims.measures import measure_seeds
from bench.report.costs import results_of
from bench.report.format import direction_arrow, format_mean, single_line
from bench.report.render import svg
from bench.report.render.charts import (
    NUM_STYLES,
    Chart,
    checkpoint_charts,
    curve_chart,
    step_chart,
    sweep_charts,
)
from bench.report.sweeps import CHECKPOINTS
from bench.report.table import Block, BoardTable, Figure, Row, Sweep
from bench.results.curves import Curve, join_curve, read_series
from bench.results.load import ResultSet
from bench.stats.descriptions import join_words
from bench.stats.seed_variance import summarize_seeds

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


def figure_charts(table: BoardTable, results: ResultSet) -> list[tuple[str, list[Chart]]]:
    """Draw the figures of a board: titles with one chart or more per data set.

    Those without any chart are listed if others have some.
    """
    figures = []
    several = len(table.datasets) > 1
    for figure in table.figures:
        charts = []
        for block in table.datasets:
            names = figure.card.rows or [row.name for row in block.rows if not row.floor]
            rows = [row for row in block.rows if row.name in names]
            if figure.card.x == CHECKPOINTS:
                charts += _name_block(checkpoint_charts(block, figure.card.metrics), block, several)
            elif figure.card.x:
                for sweep in (each for each in table.sweeps if each.x == figure.card.x):
                    lines = sweep_charts(block, sweep, figure.card.metrics)
                    charts += _name_block(lines, block, several)
                    charts += _measure_line(figure, block, sweep, results)
            elif figure.card.metrics:
                charts += _metric_bars(figure, block, rows)
            elif figure.card.curves:
                charts += [
                    chart
                    for row in rows
                    for chart in _name_block(_curve_charts(figure, row, results), block, several)
                ]
            else:
                charts += _measure_bars(figure, block, rows, results)
        figures.append((figure.card.title, charts))
    return figures if any(charts for _, charts in figures) else []


def _name_block(charts: Sequence[Chart], block: Block, several: bool) -> list[Chart]:
    """Add the data set to the headings if the board has several."""
    where = f" on {block.title}" if several else ""
    return [replace(chart, heading=chart.heading + where) for chart in charts]


def _metric_bars(figure: Figure, block: Block, rows: Sequence[Row]) -> list[Chart]:
    """Draw one group per metric and one bar per row."""
    metrics = [get_metric(name) for name in figure.card.metrics]
    cells = {row.name: [row.cell(metric.name) for metric in metrics] for row in rows}
    one_family = len({metric.family for metric in metrics}) == 1
    labels = [
        metric.category or metric.name + ("" if one_family else f" {direction_arrow(metric.name)}")
        for metric in metrics
    ]
    series = [
        Bars(
            name=name,
            style=index % NUM_STYLES,
            values=[cell.mean for cell in row_cells],
            deviations=[cell.sd for cell in row_cells],
        )
        for index, (name, row_cells) in enumerate(cells.items())
    ]
    words = f"{metrics[0].title} {direction_arrow(metrics[0].name)}. " if one_family else ""
    text = f"{words[:1].upper()}{words[1:]}Mean and deviation over seeds."
    return _bar_charts(block, labels, series, text)


def _measure_bars(
    figure: Figure, block: Block, rows: Sequence[Row], results: ResultSet
) -> list[Chart]:
    """Draw one group per row: reproduced, and published where the paper prints a value."""
    values = [_measure(figure, block, row.name, results) for row in rows]
    published = [figure.published.get(row.name) for row in rows]
    series = [_seed_bars("reproduced", 0, values)]
    if any(number is not None for number in published):
        printed = [None if number is None else number.value for number in published]
        none = [None] * len(rows)
        series.append(Bars(name="published", style=1, values=printed, deviations=none))
    text = "Mean and deviation over seeds."
    return _bar_charts(block, [row.name for row in rows], series, text)


def _seed_bars(name: str, style: int, values: Sequence[Sequence[float]]) -> Bars:
    means = [summarize_seeds(seeds)[:2] if seeds else (None, None) for seeds in values]
    return Bars(
        name=name,
        style=style,
        values=[mean for mean, _ in means],
        deviations=[deviation for _, deviation in means],
    )


def _bar_charts(
    block: Block, labels: Sequence[str], series: Sequence[Bars], text: str
) -> list[Chart]:
    picture = bar_chart(labels, series, title=f"{text} {block.title}")
    if picture is None:
        return []
    if empty := [
        bars.name for bars in series if not any(value is not None for value in bars.values)
    ]:
        text += f" No result: {join_words(empty)}."
    return [
        Chart(
            heading=block.title,
            text=text,
            svg=picture,
            legend=tuple((bars.style, bars.name) for bars in series) if len(series) > 1 else (),
            heads=("", *labels),
            rows=tuple(
                (bars.name, *map(format_mean, bars.values, bars.deviations)) for bars in series
            ),
            bars=True,
            wide=len(labels) * (len(series) * BAR + GAP) > MIN_WIDTH,
        )
    ]


def _measure(figure: Figure, block: Block, name: str, results: ResultSet) -> list[float]:
    """Read a measure of a row, one value per seed; empty where it has none."""
    assert figure.measure is not None
    names = (name, figure.measure.relative_to)
    rows = {
        row.name: results_of(row, results)
        for row in block.rows
        if row.name in names and row.successful
    }
    try:
        base = rows.get(figure.measure.relative_to, [])
        return [*measure_seeds(figure.measure, rows.get(name, []), base).values()]
    except BenchError:  # a row without this measure leaves a gap
        return []


def _measure_line(figure: Figure, block: Block, sweep: Sweep, results: ResultSet) -> list[Chart]:
    """Draw a measure along a sweep, if the figure names one."""
    if figure.measure is None:
        return []
    values = [_measure(figure, block, name, results) for _, name in sweep.steps]
    bars = _seed_bars("", 0, values)
    return step_chart(
        sweep,
        bars.values,
        [
            None if mean is None or deviation is None else (mean - deviation, mean + deviation)
            for mean, deviation in zip(bars.values, bars.deviations, strict=True)
        ],
        heading=block.title,
        text=f"{figure.card.measure} by {sweep.x}. Mean and deviation over seeds.",
        title=f"{figure.card.measure} by {sweep.x} on {block.title}",
        rows=[("mean", *map(format_mean, bars.values, bars.deviations))],
    )


def _curve_charts(figure: Figure, row: Row, results: ResultSet) -> list[Chart]:
    """Draw logged curves of a row over each other, one line per seed, and their difference."""
    card = figure.card
    lines: list[tuple[int, Curve]] = []
    differences: list[tuple[int, Curve]] = []
    for result in results_of(row, results):
        joined = []
        for label, field in card.curves.items():
            logged = [
                read_series(stage.metadata.get(field))
                for stage in result.stages
                if stage.kind == card.stages
            ]
            parts = [series for series in logged if series]
            if parts:
                joined.append(replace(join_curve(card.stages, field, parts), part=label))
        lines += [(result.seed, curve) for curve in joined]
        if card.difference and len(joined) == 2:
            pairs = zip(joined[0].points, joined[1].points, strict=False)
            points = tuple((at, first - second) for (at, first), (_, second) in pairs)
            label = f"{joined[0].part} − {joined[1].part}"
            differences.append((result.seed, replace(joined[0], part=label, points=points)))
    name = single_line(row.name)
    over = card.over or (lines[0][1].over if lines else "")
    return [curve_chart(name, curves, over=over) for curves in (lines, differences) if curves]


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
    fitted = svg.fit_scale([0.0, *ends], BOTTOM, TOP, num_ticks=4)
    y = replace(fitted, low=0.0) if min(ends) >= 0 else fitted
    step = max(BAR, MIN_BAR // len(series))
    width = max(step * len(series) + GAP, max(map(len, groups)) * svg.CHAR_WIDTH + 6)
    right = max(MIN_WIDTH, LEFT + 8 + width * len(groups))
    width = (right - LEFT) / len(groups)
    base = y(0.0)
    parts = [svg.horizontal_grid(y, LEFT, right)]
    for index, group in enumerate(groups):
        middle = LEFT + width * (index + 0.5)
        start = middle - step * len(series) / 2
        for slot, bars in enumerate(series):
            value, deviation = bars.values[index], bars.deviations[index]
            if value is None:
                continue
            x = start + step * slot
            label = f"{bars.name}, {group}: {format_mean(value, deviation)}"
            top, bottom = sorted((y(value), base))
            shape = Markup(
                '<rect class="style{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
            ).format(bars.style, x + 0.5, top, step - 1, bottom - top)
            if deviation:
                center, tips = x + step / 2, (y(value - deviation), y(value + deviation))
                shape += svg.line(center, tips[0], center, tips[1], "whisker")
            parts.append(svg.group(label, shape))
        parts.append(svg.text(middle, BOTTOM + 18, single_line(group), "middle", "tick"))
    parts.append(svg.line(LEFT, base, right, base, "zero"))
    return svg.picture(round(right), HEIGHT, title, parts)
