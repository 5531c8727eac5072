"""A board as one self-contained HTML page.

The page loads nothing: styles and the small script are part of it, and its security policy forbids
everything else. All texts are escaped, for titles and error messages come from outside.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.metrics.registry import get_metric
from bench.report import format as wording
from bench.report.costs import Ledger, bills
from bench.report.render import charts, costs, figures
from bench.report.render.cell_details import example_lines, page_data
from bench.report.render.charts import sweep_charts
from bench.report.table import BoardTable


def render_html(table: BoardTable, ledger: Ledger | None = None) -> str:
    """Render a board's page.

    Args:
        table: What it says.
        ledger: What stands behind it; without one the page tells neither cost nor training.
    """
    ledger = ledger or Ledger()
    costs_of_rows = bills(table, ledger)
    return fill_template(
        "board.html.j2",
        "board.js",
        table=table,
        ledger=ledger,
        header=header(table.metrics),
        main=wording.main_metric(table),
        ks=list(
            dict.fromkeys(k for name in table.metrics if (k := get_metric(name).k) is not None)
        ),
        bills=costs_of_rows,
        total=costs.total(costs_of_rows),
        steps=[charts.checkpoint_charts(block, table.metrics) for block in table.datasets],
        swept=[
            (block, sweep, drawn)
            for sweep in table.sweeps
            for block in table.datasets
            if (drawn := sweep_charts(block, sweep, table.metrics))
        ],
        training=[
            (block, row, drawn)
            for block in table.datasets
            for row in block.rows
            if (drawn := charts.training_charts(row, ledger))
        ],
        data=page_data(table, ledger, costs_of_rows),
    )


def index_html(tables: Sequence[BoardTable]) -> str:
    """Render the list of boards."""
    return fill_template("index.html.j2", tables=tables)


def header(metrics: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Group neighboring columns of one family: [("HR", [("HR@5", "@5"), ("HR@10", "@10")])]."""
    columns = [(name, "" if (k := get_metric(name).k) is None else f"@{k}") for name in metrics]
    groups = groupby(columns, key=lambda column: column[0].removesuffix(column[1]))
    return [(family, list(names)) for family, names in groups]


def fill_template(template: str, script_name: str = "", **values: Any) -> str:
    """Render a template into one self-contained page, its style and script allowed by hash."""
    style, script = source("board.css"), source(script_name) if script_name else ""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 (our own files, without a single variable)
            script=Markup(script),  # noqa: S704
            style_sha256=sha256(style),
            script_sha256=sha256(script),
            **values,
        )
    )


def source(name: str) -> str:
    """Read one of our own styles or scripts, with what it includes."""
    return _environment().get_template(name).render()


def sha256(text: str) -> str:
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
        forest=figures.forest,
        scatter=figures.scatter,
        scatter_metrics=figures.scatter_metrics,
        cost_figure=costs.cost_figure,
        example_lines=example_lines,
        per_case=lambda name: get_metric(name).per_case,
    )
    return environment
