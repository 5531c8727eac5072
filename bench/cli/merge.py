"""`bench merge`: results of several machines in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as o


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of results.")],
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Where they become one; may hold some.")
    ],
    as_json: o.AsJson = False,
) -> None:
    """Merge results: equal ones are one, what does not fit is refused and nothing is written."""
    from bench.results.merge import merge as merge_folders

    done = merge_folders(folders, into)
    if as_json:
        content = {
            "trials": done.trials,
            "copied": done.copied,
            "twice": done.twice,
            "boards": list(done.boards),
            "left_aside": [str(path) for path in done.aside],
        }
        print(json.dumps(content, indent=2))
        return
    print(
        f"{done.trials} trials in {into}: {done.copied} copied, {done.twice} there twice. "
        f"Boards: {', '.join(done.boards) or 'none'}."
    )
    for path in done.aside:
        print(f"Left where it is, it belongs to no result: {path}")
