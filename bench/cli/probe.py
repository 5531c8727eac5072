"""`bench probe`: whether a backbone may have read a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bench
from bench.cli import options as o
from bench.config.request import NUM_COMPARISONS


@o.expand_groups
def probe(
    *,
    model: str = o.argument("MODEL", "Backbone, as in bench run --model."),
    dataset: str = o.option("--dataset", "NAME", "Data set (see bench list datasets).", ...),
    options: o.DataOptions,
    num: int = o.option("--comparisons", "N", "Comparisons per task.", NUM_COMPARISONS, min=10),
    out: Path = o.PAGES,
    as_json: bool = o.AS_JSON,
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
