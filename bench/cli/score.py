"""`bench score`: metrics of rankings, or of generated texts, made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

import bench
from bench.cli import options as o


def score(
    file: Path = o.argument(
        None, "ranking: JSONL (also .gz) or parquet; sprec: a JSON list (also .gz)."
    ),
    format_: Literal["ranking", "sprec"] = o.option(
        "--format",
        None,
        "ranking: case, user, history, target, items (best first). "
        "sprec: instruction, input, output, predict (texts to be grounded).",
        "ranking",
    ),
    catalog: Path | None = typer.Option(
        None,
        *("--catalog", "--catalogue"),
        metavar="PATH",
        help="All items: id, title, categories (JSONL, CSV, parquet). sprec: the folder of "
        "id2name, name2genre and genre_dict.json.",
    ),
    encoder: str | None = o.option(
        "--encoder", "CARD", "sprec: sentence encoder; the papers use paraphrase-minilm-l3-v2."
    ),
    k: list[int] | None = o.option(
        "--k", "N", "Length of lists (default: 1 and 5). Repeatable.", min=1
    ),
    category: list[str] | None = o.CATEGORIES,
    by_item: bool = o.flag("--by-item", "ranking: count catalog items of one title separately."),
    data_dir: Path | None = o.DATA_DIR,
    offline: bool = o.OFFLINE,
    as_json: bool = o.AS_JSON,
) -> None:
    """Compute every metric of a file; without a catalog, only those that need none."""
    from tabulate import tabulate

    values = bench.score(
        file,
        format_=format_,
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
