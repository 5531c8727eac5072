"""`bench probe`: whether a backbone may have read a data set."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

import bench
from bench.cli import options as o
from bench.config.request import NUM_COMPARISONS


@o.expand_groups
def probe(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Backbone, as in bench run --model.")
    ],
    dataset: Annotated[str, o.option("--dataset", "NAME", "Data set (see bench list datasets).")],
    options: o.DataOptions,
    num: Annotated[
        int, o.option("--comparisons", "N", "Comparisons per task.", min=10)
    ] = NUM_COMPARISONS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
) -> None:
    """Probe whether a backbone may have read a data set, and write a page about it."""
    tasks = bench.probe(model, dataset, options, num=num)
    if as_json:
        o.print_json([dataclasses.asdict(each) | {"verdict": each.verdict} for each in tasks])
        return
    from bench.report.render.pages import text_pages, write_pages
    from bench.runner.probe import write_report

    text = write_report(model, dataset, tasks)
    name = f"probe-{model.replace('/', '-')}-{dataset}"
    paths = write_pages(text_pages(name, text), out)
    print(f"{text}\n\nPage: {paths[-1]}")
