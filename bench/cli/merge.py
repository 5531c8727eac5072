"""`bench merge`: results of several machines in one folder."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o


def merge(
    folders: list[Path] = o.argument("DIR…", "Folders of results."),
    into: Path = o.option("--into", "DIR", "The merged folder; may already hold results.", ...),
    as_json: bool = o.AS_JSON,
) -> None:
    """Merge results of several machines; if any conflict, nothing is written."""
    merged = bench.merge(folders, into)
    if as_json:
        o.print_json(
            {
                "trials": merged.num_trials,
                "copied": merged.num_copied,
                "twice": merged.num_duplicates,
                "boards": list(merged.boards),
                "left_aside": [str(path) for path in merged.unassigned],
            }
        )
        return
    print(
        f"{merged.num_trials} trials in {into}: {merged.num_copied} copied, "
        f"{merged.num_duplicates} duplicates. Boards: {', '.join(merged.boards) or 'none'}."
    )
    for path in merged.unassigned:
        print(f"Not copied, because it belongs to no result: {path}")
