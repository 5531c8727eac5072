"""`bench data page` and `bench data counts`: pages about data sets, and the papers' data tables."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o
from bench.cli.data import NAMES


@o.expand_groups
def page(*, names: list[str] = NAMES, options: o.DataOptions, out: Path = o.PAGES) -> None:
    """Render one page about data sets: counts, checks and plots of their distributions."""
    from bench.config import plugins
    from bench.report.data_pages.page import render_data

    prepared = bench.prepare(names, options)
    items = [(name, plugins.dataset_card(name), data) for name, data in prepared.items()]
    for path in render_data(items, out):
        print(path)


def counts(
    name: str = o.argument("TABLE", "Table of a paper: sprec-table3 or igd-table4."),
    store: Path = o.STORE,
    data_dir: Path | None = o.DATA_DIR,
    model: str | None = o.MODEL,
    offline: bool = o.OFFLINE,
    out: Path = o.PAGES,
    as_json: bool = o.AS_JSON,
) -> None:
    """Compare our counts of a paper's data sets with the published ones, and render them.

    Tokens are counted with the tokenizer of --model.
    """
    from bench.report.data_pages.count_page import counts_text, render_tables

    options = o.DataOptions(store=store, data_dir=data_dir, offline=offline)
    (table,), written = render_tables([name], options, out, model)
    if as_json:
        o.print_json(table.to_json())
        return
    print(counts_text(table))
    for path in written:
        print(path)
