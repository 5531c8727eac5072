"""The page of a search, and its best settings as a board."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.render.html import fill_template
from bench.report.render.markdown import fill_markdown
from bench.report.render.pages import write_pages
from bench.tuning.report import TuneResult, describe_search
from bench.tuning.search import SearchSetup

BOARD_METRICS = ("HR@5", "NDCG@5", "DivRatio@5", "ORRatio@5", "MGU@5")
BOARD_SEEDS = 3
STATUS_LABELS = {"completed": "completed", "open": "unfinished", "stopped": "stopped early"}


def write_result(result: TuneResult, folder: Path, command: str) -> list[Path]:
    """Write README.md, index.html and trials.json of a search to `<folder>/<search>/`."""
    setup = result.search.setup
    headers, lines = make_table(result)
    best = best_toml(result, command) if result.best is not None else ""
    texts = {
        "title": f"Search: {setup.method} on {setup.dataset}",
        "description": describe_search(result),
        "cost": f"Computing every configuration from scratch takes {result.seconds:.0f} s in all; "
        "shared stages are computed once. “–”: not evaluated at this amount.",
    }
    values: dict[str, Any] = {
        "page": texts,
        "search": result.search,
        "command": command,
        "headers": headers,
        "lines": lines,
        "best": best,
    }
    pages = {
        "README.md": fill_markdown("tuning.md.j2", **values),
        "index.html": fill_template("tuning.html.j2", **values),
        "trials.json": json.dumps(result.to_json(), indent=1) + "\n",
    }
    content = {name: text.encode() for name, text in pages.items()}
    return write_pages(content, folder / result.search.id)


def best_toml(result: TuneResult, command: str) -> str:
    """Render the best settings as a board of two rows: the present settings, and the best."""
    assert result.best is not None, "there is a board only if a configuration completed"
    setup = result.search.setup
    fixed = setup.fixed_settings
    rows = [
        {"method": setup.method, "label": setup.method, "settings": fixed},
        {
            "method": setup.method,
            "label": f"{setup.method} (tuned)",
            "settings": {**fixed, **result.best.settings},
        },
    ]
    row_counts = setup.rows.model_dump(exclude_none=True)
    option = ",".join(f"{name}={num}" for name, num in row_counts.items())
    comments = [
        "The best settings of a search on validation, as a board. Its rows fit any other board.",
        command,
        *([f"The search used --rows {option}; pass the same to bench run."] if option else []),
    ]
    return board_toml(
        setup,
        comments,
        rows,
        title=f"{setup.method}, tuned on {setup.dataset}",
        description=f"The row “tuned” has the best settings of {describe_search(result)}",
        seeds=BOARD_SEEDS,
        reference=setup.method,
        metrics=list(dict.fromkeys([*BOARD_METRICS, setup.metric])),
    )


def board_toml(
    setup: SearchSetup,
    comments: Sequence[str],
    rows: Sequence[Any],
    *,
    title: str,
    description: str,
    **fields: Any,
) -> str:
    """Render a board on the data, backbone and budget of searches."""
    board = {
        "title": title,
        "description": description,
        "datasets": [setup.dataset],
        **({"model": setup.model} if setup.model else {}),
        "budget": setup.budget,
        **fields,
    }
    lines = [
        *(f"# {comment}" for comment in comments),
        *(f"{name} = {to_toml(value)}" for name, value in board.items()),
        "rows = [",
        *(f"  {to_toml(row)}," for row in rows),
        "]",
    ]
    return "\n".join(lines) + "\n"


def to_toml(value: Any) -> str:
    """Write a plain value as TOML, on one line.

    Example:
        >>> to_toml({"sft.beta": 0.1, "on": True, "names": ["a"]})
        '{ sft.beta = 0.1, on = true, names = ["a"] }'
    """
    if isinstance(value, Mapping):
        entries = ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items())
        return f"{{ {entries} }}" if entries else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(to_toml, value))}]"
    assert value is not None, "TOML has no null"
    # JSON's strings, numbers and booleans are TOML's, except for this character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def make_table(result: TuneResult) -> tuple[list[str], list[list[str]]]:
    """Return the headers and cells of the table of configurations, the best first."""
    search, best = result.search, result.best
    metric, resource = search.setup.metric, search.space.resource
    columns = [
        f"{metric}, {resource} {amount}" if search.has_early_stopping else metric
        for amount in search.amounts
    ]
    headers = ["", *search.space.space, *columns, "status"]
    lines = []
    for configuration in result.ranked:
        values = {each.amount: f"{each.value:.4f}" for each in configuration.evaluations}
        lines.append(
            [
                str(configuration.number),
                *(_format(configuration.settings[path]) for path in search.space.space),
                *(values.get(amount, "–") for amount in search.amounts),
                "best"
                if configuration is best
                else STATUS_LABELS.get(configuration.status) or f"failed: {configuration.reason}",
            ]
        )
    return headers, lines


def _format(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else to_toml(value)
