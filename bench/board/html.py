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

from bench.board import figures, wording
from bench.board.table import BoardTable, Row
from bench.metrics.names import parse


def render_html(table: BoardTable) -> str:
    """Render a board's page."""
    return fill_template(
        "board.html.j2",
        table=table,
        header=header(table.metrics),
        main=wording.main_metric(table),
    )


def index_html(tables: Sequence[BoardTable]) -> str:
    """Render the list of boards."""
    return fill_template("index.html.j2", tables=tables)


def header(metrics: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Group neighbouring columns of one family: [("HR", [("HR@5", "@5"), ("HR@10", "@10")])]."""
    columns = [(name, "" if (k := parse(name).k) is None else f"@{k}") for name in metrics]
    groups = groupby(columns, key=lambda column: column[0].removesuffix(column[1]))
    return [(family, list(names)) for family, names in groups]


def gap(row: Row) -> tuple[str, str] | None:
    """Return status and reason of a row without any value, told once instead of in each cell."""
    if any(cell.mean is not None for cell in row.cells):
        return None
    told = dict.fromkeys((cell.status, cell.reason) for cell in row.cells)
    return next(iter(told)) if len(told) == 1 else None


def fill_template(template: str, **values: Any) -> str:
    """Render a template into one self-contained page, its style and script allowed by hash."""
    environment = _environment()
    style, script = (environment.get_template(name).render() for name in ("board.css", "board.js"))
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 (our own files, without a single variable)
        script=Markup(script),  # noqa: S704
        style_sha256=_checksum(style),
        script_sha256=_checksum(script),
        **values,
    )


def _checksum(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.board"),
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
        gap=gap,
        per_case=lambda name: parse(name).per_case,
    )
    return environment
