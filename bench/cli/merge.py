"""`bench merge`: results of several machines in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bench
from bench.cli import options as o


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of results.")],
    into: Annotated[
        Path,
        o.option("--into", "DIR", "The merged folder; may already hold results."),
    ],
    as_json: o.AsJson = False,
) -> None:
    """Merge results of several machines; if any conflict, nothing is written."""
    merged = bench.merge(folders, into)
    if as_json:
        o.print_json(
            {
                "trials": merged.trials,
                "copied": merged.copied,
                "twice": merged.twice,
                "boards": list(merged.boards),
                "left_aside": [str(path) for path in merged.aside],
            }
        )
        return
    print(
        f"{merged.trials} trials in {into}: {merged.copied} copied, {merged.twice} duplicates. "
        f"Boards: {', '.join(merged.boards) or 'none'}."
    )
    for path in merged.aside:
        print(f"Not copied, because it belongs to no result: {path}")
