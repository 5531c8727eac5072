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
from bench.tuning.pages import board_toml
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

    `setup` is what all searches share; method and row settings are the rows' own.

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
        fixed = tuple(
            Override(path=path, text=str(value)) for path, value in flatten(row.settings).items()
        )
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


def _find_space(row: BoardRow) -> Space | None:
    """Return the method's space without what the row fixes; None if nothing is left."""
    if not getattr(plugins.method_class(row.method), "SPACE", None):
        return None
    space, fixed = load_space(row.method), flatten(row.settings)
    unfixed = {path: values for path, values in space.space.items() if path not in fixed}
    return space.model_copy(update={"space": unfixed}) if unfixed else None


def render_board(card: BoardCard, setup: SearchSetup, tuned: TunedRows, command: str) -> str:
    """Render the board with a row “(tuned)” after each row for which other settings are best."""
    rows, unsearched, unchanged = [], [], []
    for row, result in tuned:
        default = row.model_dump(exclude_defaults=True) | {"label": row.name}
        fixed = flatten(row.settings)
        rows.append(default | ({"settings": fixed} if fixed else {}))
        best = None if result is None else result.best
        if result is None:
            unsearched.append(row.name)
        elif best is None or dict(best.settings) == dict(result.search.present):
            unchanged.append(row.name)
        else:
            settings = {**fixed, **best.settings}
            changed = {"label": f"{row.name} (tuned)", "settings": settings, "select": {}}
            rows.append({key: value for key, value in (default | changed).items() if value})
    texts = [
        f"Rows “(tuned)” have the best of {setup.num_trials} configurations by {setup.metric} on "
        "validation; every searched row had as many.",
        f"Best as they are: {', '.join(unchanged)}." if unchanged else "",
        f"Without a search space: {', '.join(unsearched)}." if unsearched else "",
    ]
    return board_toml(
        setup,
        ["The rows of a board next to their best settings on validation.", command],
        rows,
        title=f"{card.title}, tuned on {setup.dataset}",
        description=" ".join(filter(None, texts)),
        seeds=card.seeds,
        reference=card.reference_row,
        metrics=list(card.metrics),
    )
