"""`bench score`: the metrics of a ranking, or of texts to be grounded, made elsewhere."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError


class Format(StrEnum):
    """Layouts of files that can be scored."""

    ranking = "ranking"
    sprec = "sprec"


File = Annotated[
    Path,
    typer.Argument(help="ranking: JSONL (also .gz) or parquet; sprec: a JSON list (also .gz)."),
]
FileFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        help="ranking: case, user, history, target, items (best first). "
        "sprec: instruction, input, output, predict (texts, grounded here).",
    ),
]
Items = Annotated[
    Path | None,
    typer.Option(
        "--catalog",
        "--catalogue",
        help="All items: id, title, categories (JSONL, CSV, parquet). sprec: the folder of "
        "id2name, name2genre and genre_dict.json.",
    ),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder", metavar="CARD", help="sprec: paraphrase-minilm-l3-v2 is the papers'."
    ),
]
Lengths = Annotated[
    list[int] | None, typer.Option("--k", min=1, help="Length of lists. Repeatable; 1 and 5.")
]
Tracked = Annotated[
    list[str] | None,
    typer.Option("--category", help="Category that fairness tracks. Repeatable; all."),
]


def score(
    file: File,
    format_: FileFormat = Format.ranking,
    catalog: Items = None,
    encoder: EncoderName = None,
    k: Lengths = None,
    tracked: Tracked = None,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Compute every metric of a file; without a catalog only those that need none."""
    from tabulate import tabulate

    ks = k or [1, 5]
    if format_ is Format.sprec:
        if tracked is not None:
            raise BenchError(
                "--category does not go with --format sprec.",
                "The keys of the folder's genre_dict.json are the categories that it tracks.",
            )
        values = _sprec(file, catalog, encoder, ks, data_dir=data_dir, offline=offline)
    else:
        if encoder is not None or data_dir is not None:
            raise BenchError(
                "--encoder and --data-dir do not go with --format ranking.",
                "Its items are ids, so there is nothing to ground.",
            )
        values = _ranking(file, catalog, ks, tracked)
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        print(tabulate(values.items(), headers=("metric", "value"), floatfmt=".6f"))


def _ranking(
    file: Path, catalog: Path | None, ks: list[int], tracked: list[str] | None
) -> dict[str, float]:
    from bench.results.score_file import read_catalog, read_ranking, score_ranking

    items = None if catalog is None else read_catalog(catalog)
    return score_ranking(read_ranking(file), items, ks=ks, tracked=tracked)


def _sprec(
    file: Path,
    folder: Path | None,
    encoder: str | None,
    ks: list[int],
    *,
    data_dir: Path | None,
    offline: bool,
) -> dict[str, float]:
    from bench.config.plugins import card_paths
    from bench.results.formats.sprec import read_sprec, read_sprec_folder, score_sprec

    if folder is None:
        raise BenchError(
            "--format sprec needs the items.", "Name the folder of id2name.json with --catalog."
        )
    if encoder is None:
        raise BenchError(
            "--format sprec needs a sentence encoder.",
            f"Name one with --encoder: {', '.join(sorted(card_paths('encoders')))}.",
        )
    rows, items = read_sprec(file), read_sprec_folder(folder)
    from bench.models.lm.encode.sentence_encoder import (
        load_encoder,  # torch, seconds that a wrong file should not cost
    )

    loaded = load_encoder(encoder, offline=offline, data_dir=data_dir)
    return score_sprec(rows, items, loaded, ks)
