"""A board as Markdown: the README that a repository's page shows."""

from __future__ import annotations

import html
import re
from typing import Any

from markupsafe import Markup

from bench.report import format as w
from bench.report.render.html import page_environment
from bench.report.table import Block, BoardTable

HOW_TO_READ = "how-to-read"
"""File of the page that explains boards, next to their folders."""
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def render_markdown(table: BoardTable) -> str:
    """Render a board: values first, then tests, then reasons for missing values."""
    return fill_markdown(
        "board.md.j2",
        table=table,
        how_to_read=HOW_TO_READ,
        data_facts=_data_facts,
    )


def fill_markdown(template: str, **values: Any) -> str:
    """Render a template; parts are one blank line apart.

    `md` escapes a text of an object. Strings, and what functions return, are Markdown already.
    """
    values = {name: _mark(value) for name, value in {"md": escape, **values}.items()}
    text = page_environment().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _mark(value: Any) -> Any:
    """Mark a text, or what a function returns, as escaped already; leave objects as they are."""
    if callable(value):
        return lambda *arguments: _mark(value(*arguments))
    return Markup(value) if isinstance(value, str) else value  # noqa: S704


def escape(text: str) -> str:
    """Make a foreign text harmless in Markdown and in the HTML that Markdown lets through."""
    return _SPECIAL.sub(r"\\\1", html.escape(w.single_line(text), quote=False))


def _data_facts(block: Block) -> str:
    parts = []
    if block.num_cases is not None and block.num_items is not None:
        size = w.format_catalog(block.num_items, block.num_ids)
        parts += [f"{block.num_cases:,} test cases", size]
    if block.fingerprint:
        parts.append(f"data fingerprint `{block.fingerprint[:12]}`")
    if block.license:
        parts.append(f"license: {escape(block.license)}")
    return " · ".join(parts)
