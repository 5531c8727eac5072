"""Tuning all rows of a board with one budget: equally many configurations on validation each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, RowCounts
from bench.config.fields import flatten
from bench.config.request import SEARCHES, ExecutionOptions
from bench.config.toml import Override
from bench.errors import BenchError
from bench.tuning import tune
from bench.tuning.pages import to_toml
from bench.tuning.report import TuneResult
from bench.tuning.search import SearchSetup
from bench.tuning.space import Space, load_space

TunedRows: TypeAlias = Sequence[tuple[BoardRow, TuneResult | None]]
"""Rows of a board with their searches; None where there is nothing to search."""


def tune_board(
    card: BoardCard,
    setup: SearchSetup,
    options: ExecutionOptions | None = None,
    *,
    searches: Path | str = SEARCHES,
) -> TunedRows:
    """Search the settings of every row that has a space; settings that the row fixes stay.

    Args:
        card: The board.
        setup: What all searches share; method and row settings are the rows' own.
        options: Where to compute, read and write.
        searches: Folder of the results on validation and of Tune's state.

    Raises:
        BenchError: The board has other candidates or lists than searches have.
    """
    if card.candidates != "catalog" or card.exclude_seen or not card.group_titles:
        raise BenchError(
            "Searches rank the whole catalog by title with seen items, and this board does not.",
            "Tune its methods one by one.",
        )
    tuned: list[tuple[BoardRow, TuneResult | None]] = []
    for row in card.rows:
        space = _find_space(row)
        if space is None:
            tuned.append((row, None))
            continue
        fixed = tuple(Override(path=path, text=str(value)) for path, value in _settings(row))
        row_setup = replace(
            setup,
            method=row.method,
            model=row.model or setup.model,
            overrides=(*fixed, *setup.overrides),
            rows=RowCounts(train="all", valid="all") if row.floor else setup.rows,
        )
        result = tune(row_setup, options, space=space, searches=searches)
        tuned.append((row, result))
        if result.stopped_by:
            break
    return tuned


def _settings(row: BoardRow) -> list[tuple[str, object]]:
    return list(flatten(row.settings).items())


def _find_space(row: BoardRow) -> Space | None:
    """Return the method's space without what the row fixes; None if nothing is left."""
    if not getattr(plugins.method_class(row.method), "SPACE", None):
        return None
    space, fixed = load_space(row.method), dict(_settings(row))
    left = {path: values for path, values in space.space.items() if path not in fixed}
    return space.model_copy(update={"space": left}) if left else None


def board_toml(card: BoardCard, setup: SearchSetup, tuned: TunedRows, command: str) -> str:
    """Render the board with a row “(tuned)” after each row for which other settings are best."""
    rows, unsearched, unchanged = [], [], []
    for row, result in tuned:
        default = row.model_dump(exclude_defaults=True) | {"label": row.name}
        rows.append(default | ({"settings": dict(_settings(row))} if row.settings else {}))
        best = None if result is None else result.best
        if result is None:
            unsearched.append(row.name)
        elif best is None or dict(best.settings) == dict(result.search.present):
            unchanged.append(row.name)
        else:
            settings = {**dict(_settings(row)), **best.settings}
            changed = {"label": f"{row.name} (tuned)", "settings": settings, "select": {}}
            rows.append({key: value for key, value in (default | changed).items() if value})
    texts = [
        f"Rows “(tuned)” have the best of {setup.num_trials} configurations by {setup.metric} on "
        "validation; every searched row had as many.",
        f"Best as they are: {', '.join(unchanged)}." if unchanged else "",
        f"Without a search space: {', '.join(unsearched)}." if unsearched else "",
    ]
    board = {
        "title": f"{card.title}, tuned on {setup.dataset}",
        "description": " ".join(filter(None, texts)),
        "datasets": [setup.dataset],
        **({"model": setup.model} if setup.model else {}),
        "budget": setup.budget,
        "seeds": card.seeds,
        "reference": card.reference_row,
        "metrics": list(card.metrics),
    }
    lines = [
        "# The rows of a board next to their best settings on validation.",
        f"# {command}",
        *(f"{name} = {to_toml(value)}" for name, value in board.items()),
        "rows = [",
        *(f"  {to_toml(row)}," for row in rows),
        "]",
    ]
    return "\n".join(lines) + "\n"
