"""`bench score`: metrics of rankings, or of generated texts, made elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import bench
from bench.cli import options as o


class Format(StrEnum):
    """Formats of files that can be scored."""

    ranking = "ranking"
    sprec = "sprec"


def score(
    file: Annotated[
        Path,
        typer.Argument(help="ranking: JSONL (also .gz) or parquet; sprec: a JSON list (also .gz)."),
    ],
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="ranking: case, user, history, target, items (best first). "
            "sprec: instruction, input, output, predict (texts to be grounded).",
        ),
    ] = Format.ranking,
    catalog: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            "--catalogue",
            metavar="PATH",
            help="All items: id, title, categories (JSONL, CSV, parquet). sprec: the folder of "
            "id2name, name2genre and genre_dict.json.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        o.option(
            "--encoder", "CARD", "sprec: sentence encoder; the papers use paraphrase-minilm-l3-v2."
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        o.option("--k", "N", "Length of lists (default: 1 and 5). Repeatable.", min=1),
    ] = None,
    category: o.Categories = None,
    by_item: Annotated[
        bool,
        typer.Option("--by-item", help="ranking: count catalog items of one title separately."),
    ] = False,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Compute every metric of a file; without a catalog, only those that need none."""
    from tabulate import tabulate

    values = bench.score(
        file,
        format_=format_.value,
        catalog=catalog,
        encoder=encoder,
        ks=k or (1, 5),
        categories=category,
        group_titles=not by_item,
        data_dir=data_dir,
        offline=offline,
    )
    if as_json:
        o.print_json(values)
    else:
        print(tabulate(values.items(), headers=("metric", "value"), floatfmt=".6f"))
