"""`bench data page` and `bench data counts`: pages about data sets, and the papers' data tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.cli.data import Names, prepared_data
from bench.cli.materialize import Place, prepare_stage, tokenizer_of
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.config.cards import RawFile
    from bench.report.data_pages.counts import CountTable


def page(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    out: o.PagesFolder = o.PAGES,
) -> None:
    """Render one page about data sets: counts, checks, pictures of their distributions."""
    from bench.config import plugins
    from bench.report.data_pages.page import render_data

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
    model: o.Model = None,
    offline: o.Offline = False,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
) -> None:
    """Set our counts of a paper's data sets beside the published ones, and render them.

    Tokens are counted with the tokenizer of --model.
    """
    from bench.report import published
    from bench.report.data_pages.count_page import counts_text, render_counts
    from bench.report.data_pages.counts import compare, load

    card = load(name)
    found = {
        dataset: counts_of(dataset, store, data_dir, offline, model)
        for dataset in dict.fromkeys(row.dataset for row in card.rows)
    }
    table = compare(name, card, published.load_published(), found)
    written = render_counts(table, out)
    if as_json:
        print(json.dumps(_content(table), indent=2))
        return
    print(counts_text(table))
    for path in written:
        print(path)


def counts_of(
    name: str, store: Path, data_dir: Path | None, offline: bool, model: str | None = None
) -> Mapping[str, float] | str:
    """Count a data set, or name the files that are not to be had, and where they come from.

    Args:
        name: Its card.
        store: Folder of the artifacts.
        data_dir: The user's own folder.
        offline: Whether the network must not be touched.
        model: Card of the backbone whose tokens are counted, too.

    Raises:
        BenchError: Where all files are at hand and cannot be used: that is the user's to mend.
    """
    from bench.config import plugins
    from bench.data.assets import local_file

    place = Place(store=store, data_dir=data_dir, offline=offline)
    try:
        stage, data = prepare_stage(name, place)
    except BenchError:
        files = plugins.dataset_card(name).files.values()
        missing = [file for file in files if local_file(file, data_dir) is None]
        if not missing:
            raise
        return "; ".join(_wanted(file) for file in missing)
    if model is None:
        return data.counts
    from bench.models.lm.decode.title_tokens import count_tokens

    tokens = count_tokens(data, tokenizer_of(model, name, stage, place))
    return {
        **data.counts,
        "target tokens": tokens["target_tokens"],
        "zero-gain tokens": tokens["zero_gain_tokens"],
        "zero-gain tokens, %": round(100 * tokens["zero_gain_share"], 2),
    }


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
