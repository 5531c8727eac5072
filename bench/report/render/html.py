"""A board as one self-contained HTML page.

The page loads nothing: styles and the small script are part of it, and its security policy forbids
everything else. All texts are escaped, for titles and error messages come from outside.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.metrics.registry import get_metric
from bench.plan.board_selection import split_title
from bench.report import format as wording
from bench.report.costs import results_of, row_costs
from bench.report.render import charts, figures
from bench.report.render.cell_details import Examples, example_facts, page_data
from bench.report.render.paper_figures import figure_charts
from bench.report.sweeps import CHECKPOINTS
from bench.report.table import BoardTable
from bench.results.load import ResultSet
from bench.stats import descriptions


def render_html(
    table: BoardTable, results: ResultSet | None = None, examples: Examples | None = None
) -> str:
    """Render a board's page.

    Args:
        table: What it says.
        results: The results behind it; without them the page shows neither costs nor training.
        examples: Test cases in titles, by trial; only for pages that stay on this machine.
    """
    results = results or ResultSet(Path(), {}, {})
    costs = row_costs(table, results)
    in_figures = {figure.card.x for figure in table.figures if figure.card.metrics}
    return fill_template(
        "board.html.j2",
        "board.js",
        table=table,
        title=split_title(table.title),
        results_of=lambda row: results_of(row, results),
        examples=examples or {},
        header=group_columns(table.metrics),
        main=wording.choose_main_metric(table.metrics),
        ks=list(
            dict.fromkeys(k for metric in table.metrics if (k := get_metric(metric).k) is not None)
        ),
        costs=costs,
        ran=describe_run(table, results),
        total=(
            math.fsum(cost.standalone for cost in costs),
            math.fsum(cost.amortized for cost in costs),
        ),
        figures=figure_charts(table, results),
        checkpoints=[
            (block.title, plots)
            for block in table.datasets
            if CHECKPOINTS not in in_figures
            and (plots := charts.checkpoint_charts(block, table.metrics))
        ],
        sweeps=[
            (f"{sweep.row} by {sweep.x} on {block.title}", plots)
            for sweep in table.sweeps
            if sweep.x not in in_figures
            for block in table.datasets
            if (plots := charts.sweep_charts(block, sweep, table.metrics))
        ],
        training=[
            (f"{wording.single_line(row.name)} on {block.title}", plots)
            for block, row in table.rows
            if (plots := charts.training_charts(row, results))
        ],
        data=page_data(table, results, costs, examples or {}),
    )


def describe_run(table: BoardTable, results: ResultSet | None, *, brief: bool = False) -> str:
    """Say with which backbone, when, by which code and on what a board's results were computed.

    Args:
        table: The board.
        results: The results behind it.
        brief: Whether to name backbone and date only.
    """
    provenances = [
        result.provenance
        for _, row in table.rows
        for result in (results_of(row, results) if results else ())
    ]

    def collect(*fields: str) -> list[str]:
        values = {" ".join(each[name] for name in fields if name in each) for each in provenances}
        return sorted(values - {""})

    if not provenances:
        return ""
    dates, commits = collect("date"), collect("commit")
    parts = [
        table.backbone,
        " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "",
        f"llmrec-bench {descriptions.join_words(collect('llmrec-bench'))}".strip(),
        f"commit {descriptions.join_words(commits)}" if commits else "",
        descriptions.join_words(collect("gpu") or collect("cpu", "instruction_set")),
    ]
    return ", ".join(filter(None, parts[:2] if brief else parts))


def group_columns(metrics: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Group neighboring columns of one family: [("HR", [("HR@5", "@5"), ("HR@10", "@10")])]."""
    columns = [(name, "" if (k := get_metric(name).k) is None else f"@{k}") for name in metrics]
    groups = groupby(columns, key=lambda column: column[0].removesuffix(column[1]))
    return [(family, list(names)) for family, names in groups]


def fill_template(template: str, script_name: str = "", **values: Any) -> str:
    """Render a template into one self-contained page, its style and script allowed by hash."""
    style, script = read_source("board.css"), read_source(script_name) if script_name else ""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 (our own files, without a single variable)
            script=Markup(script),  # noqa: S704
            style_sha256=policy_hash(style),
            script_sha256=policy_hash(script),
            **values,
        )
    )


def read_source(name: str) -> str:
    """Read one of our own styles or scripts, with what it includes."""
    return _environment().get_template(name).render()


def policy_hash(text: str) -> str:
    """Return a text's checksum as security policies write it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.report.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.globals.update(
        w=wording,
        d=descriptions,
        forest_plot=figures.forest_plot,
        tradeoff_plot=figures.tradeoff_plot,
        tradeoff_metrics=figures.tradeoff_metrics,
        cost_plot=figures.cost_plot,
        example_facts=example_facts,
        per_case=lambda name: get_metric(name).per_case,
    )
    return environment
