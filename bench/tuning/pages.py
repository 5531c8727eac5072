"""A search's pages, and its best settings as a board."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.files import write_atomic
from bench.report.render.markdown import escape, markdown_table
from bench.report.render.pages import write_pages
from bench.tuning.report import Findings, Line, as_json, how
from bench.tuning.search import fixed

BOARD_METRICS = ("HR@5", "NDCG@5", "DivRatio@5", "ORRatio@5", "MGU@5")
BOARD_SEEDS = 3


def write_findings(found: Findings, folder: Path, command: str) -> list[Path]:
    """Write README.md, index.html and trials.json of a search to `<folder>/<search>/`."""
    pages = {
        "README.md": render_markdown(found, command),
        "index.html": render_html(found, command),
        "trials.json": json.dumps(as_json(found), indent=1) + "\n",
    }
    content = {name: text.encode() for name, text in pages.items()}
    return write_pages(content, folder / found.search.id)


def write_best(found: Findings, path: Path, command: str) -> None:
    """Write the best settings as a board."""
    write_atomic(path, best_toml(found, command).encode())


def best_toml(found: Findings, command: str) -> str:
    """Render the best settings as a board of two rows: tuned, and as the method stands."""
    assert found.best is not None, "only a search with an end has a board"
    setup = found.search.setup
    own = fixed(setup)
    metrics = list(dict.fromkeys([*BOARD_METRICS, setup.metric]))
    top = {
        "title": f"{setup.method}, tuned on {setup.dataset}",
        "description": f"Settings of the row “tuned” are the best of {how(found)}",
        "datasets": [setup.dataset],
        **({"model": setup.model} if setup.model else {}),
        "budget": setup.budget,
        "seeds": BOARD_SEEDS,
        "reference": setup.method,
        "metrics": metrics,
    }
    rows = [
        {"method": setup.method, "label": setup.method, "settings": own},
        {
            "method": setup.method,
            "label": f"{setup.method} (tuned)",
            "settings": {**own, **found.best.settings},
        },
    ]
    lines = [
        "# Best settings of a search on validation, as a board. A row of it fits any other board.",
        f"# {command}",
        *(f"# {note}" for note in _rows_note(found)),
        *(f"{name} = {toml_value(value)}" for name, value in top.items()),
        "rows = [",
        *(f"  {toml_value(row)}," for row in rows),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _rows_note(found: Findings) -> list[str]:
    asked = found.search.setup.rows.model_dump(exclude_none=True)
    if not asked:
        return []
    rows = ",".join(f"{name}={num}" for name, num in asked.items())
    return [f"It was searched with --rows {rows}; give that to bench run, too."]


def toml_value(value: Any) -> str:
    """Write a plain value as TOML, on one line.

    Example:
        >>> toml_value({"beta": 0.1, "on": True, "names": ["a"]})
        '{ beta = 0.1, on = true, names = ["a"] }'
    """
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml_value, value))}]"
    assert value is not None, "TOML has no word for nothing"
    # JSON's strings, numbers and truth values are TOML's, but for this one character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def table(found: Findings) -> tuple[list[str], list[list[str]]]:
    """Return the heads and cells of the table of configurations."""
    search = found.search
    settings = list(search.space.space)
    heads = ["", *settings, *_look_names(found), "state"]
    lines = []
    for line in found.lines:
        values = [
            f"{line.values[amount]:.4f}" if amount in line.values else "–"
            for amount in search.rungs
        ]
        shown = [_shown(line.settings[name]) for name in settings]
        lines.append([str(line.number), *shown, *values, _state(line)])
    return heads, lines


def _look_names(found: Findings) -> list[str]:
    search = found.search
    if not search.space.resource:
        return [search.setup.metric]
    return [f"{search.setup.metric}, {search.space.resource} {amount}" for amount in search.rungs]


def _state(line: Line) -> str:
    if line.best:
        return "best"
    words = {"finished": "to the end", "open": "not yet", "stopped": "stopped early"}
    return words.get(line.state) or f"failed: {line.reason}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else toml_value(value)


def render_markdown(found: Findings, command: str) -> str:
    """Render the page of a search as Markdown."""
    heads, lines = table(found)
    parts = [
        f"# {escape(_title(found))}",
        escape(how(found)),
        f"    {command}",
        markdown_table(
            [escape(head) for head in heads], [[escape(cell) for cell in line] for line in lines]
        ),
        escape(_cost(found)),
    ]
    if found.best is not None:
        toml = best_toml(found, command).replace("\n", "\n    ").rstrip()
        parts += ["## The best, as a board", f"    {toml}"]
    return "\n\n".join(parts) + "\n"


def render_html(found: Findings, command: str) -> str:
    """Render the page of a search as one self-contained file."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("bench.tuning"), PackageLoader("bench.report.render")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("board.css").render()
    heads, lines = table(found)
    return environment.get_template("tuning.html.j2").render(
        style=Markup(style),  # noqa: S704 (our own file, without a single variable)
        script="",
        style_sha256=_checksum(style),
        script_sha256=_checksum(""),
        title=_title(found),
        search=found.search,
        how=how(found),
        cost=_cost(found),
        command=command,
        heads=heads,
        lines=[(line.best, cells) for line, cells in zip(found.lines, lines, strict=True)],
        best=best_toml(found, command) if found.best is not None else "",
    )


def _title(found: Findings) -> str:
    setup = found.search.setup
    return f"Search: {setup.method} on {setup.dataset}"


def _cost(found: Findings) -> str:
    resource = found.search.space.resource
    spent = f"{found.spent} {resource}" if resource else f"{found.spent} full evaluations"
    return (
        f"Spent: {spent} over all looks, {found.seconds:.0f} s of stages, each counted once. "
        "“–”: it was not looked at that far."
    )


def _checksum(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
