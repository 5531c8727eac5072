"""`bench publish`: a board's pages and results, to be committed."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o
from bench.config.request import PUBLISHED


def publish(
    board: str = o.argument("BOARD", "Name of the board, or of its pages."),
    results: Path = o.RESULTS,
    out: Path = o.folder_option("--out", "Folder of the rendered pages.", PUBLISHED),
    store: Path = o.STORE,
) -> None:
    """Write a board's pages and results to leaderboards/, and the index of that folder."""
    for path in bench.publish(board, results=results, store=store, pages=out):
        print(path)
