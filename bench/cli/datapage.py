"""`bench data page` and `bench data counts`: pages about data sets, and the papers' data tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.cli.data import Names, prepared_data
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.board.counts import CountTable
    from bench.cards import RawFile


def page(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    out: o.PagesFolder = o.PAGES,
) -> None:
    """Render one page about data sets: counts, checks, pictures of their distributions."""
    from bench import plugins
    from bench.board.datapage import render_data

    items = [
        (name, plugins.dataset_card(name), prepared_data(name, store, data_dir, offline))
        for name in dict.fromkeys(names)
    ]
    for path in render_data(items, out):
        print(path)


def counts(
    name: Annotated[str, typer.Argument(help="sprec-table3 or igd-table4.")],
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
) -> None:
    """Set our counts of a paper's data sets beside the published ones, and render them."""
    from bench import published
    from bench.board.countpage import counts_text, render_counts
    from bench.board.counts import compare, load

    card = load(name)
    found = {
        dataset: counts_of(dataset, store, data_dir, offline)
        for dataset in dict.fromkeys(row.dataset for row in card.rows)
    }
    table = compare(name, card, published.load(), found)
    written = render_counts(table, out)
    if as_json:
        print(json.dumps(_content(table), indent=2))
        return
    print(counts_text(table))
    for path in written:
        print(path)


def counts_of(
    name: str, store: Path, data_dir: Path | None, offline: bool
) -> Mapping[str, int] | str:
    """Count a data set, or name the files that are not to be had, and where they come from.

    Raises:
        BenchError: Where all files are at hand and cannot be used: that is the user's to mend.
    """
    from bench import plugins
    from bench.data.assets import local_file

    try:
        return prepared_data(name, store, data_dir, offline).counts
    except BenchError:
        files = plugins.dataset_card(name).files.values()
        missing = [file for file in files if local_file(file, data_dir) is None]
        if not missing:
            raise
        return "; ".join(_wanted(file) for file in missing)


def _wanted(file: RawFile) -> str:
    source = next(iter(file.sources), None)
    place = (source.url or source.wheel) if source else "no address is known"
    return f"file {file.name}, {place}"


def _content(table: CountTable) -> dict[str, Any]:
    return {
        "board": table.name,
        "rows": [
            {
                "label": line.label,
                "dataset": line.dataset,
                "missing": line.missing,
                "cells": [
                    {
                        "column": cell.column,
                        "published": None if cell.published is None else cell.published.value,
                        "ours": cell.ours,
                        "count": cell.counted,
                        "verdict": cell.verdict,
                        "explanation": cell.explanation,
                    }
                    for cell in line.cells
                ],
            }
            for line in table.lines
        ],
    }
