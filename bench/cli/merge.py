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
    from bench.results.merge import merge_folders

    done = merge_folders(folders, into)
    if as_json:
        content = {
            "trials": done.num_trials,
            "copied": done.num_copied,
            "twice": done.num_duplicates,
            "boards": list(done.boards),
            "left_aside": [str(path) for path in done.unassigned],
        }
        print(json.dumps(content, indent=2))
        return
    print(
        f"{done.num_trials} trials in {into}: {done.num_copied} copied, {done.num_duplicates} "
        f"duplicates. Boards: {', '.join(done.boards) or 'none'}."
    )
    for path in done.unassigned:
        print(f"Not copied, it belongs to no result: {path}")
