"""`bench score`: the metrics of a ranking made elsewhere."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as o


class Format(StrEnum):
    """Layouts of files that can be scored."""

    ranking = "ranking"


def score(
    file: Annotated[Path, typer.Argument(help="JSONL (also .gz) or parquet, one object a case.")],
    format_: Annotated[
        Format,
        typer.Option("--format", help="ranking: case, user, history, target, items (best first)."),
    ] = Format.ranking,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", help="All items: id, title, categories (JSONL, CSV, parquet)."),
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option("--k", min=1, help="Length of lists. Repeatable; 1 and 5.")
    ] = None,
    tracked: Annotated[
        list[str] | None,
        typer.Option("--category", help="Category that fairness tracks. Repeatable; all."),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Compute every metric of a ranking file; without a catalogue only those that need none."""
    from tabulate import tabulate

    from bench.score import read_catalogue, read_ranking, score_ranking

    del format_  # one layout so far; the option keeps command lines valid when there are more
    items = None if catalogue is None else read_catalogue(catalogue)
    values = score_ranking(read_ranking(file), items, ks=k or [1, 5], tracked=tracked)
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        print(tabulate(values.items(), headers=("metric", "value"), floatfmt=".6f"))
