"""`bench publish`: a board's pages and results, to be committed."""

from __future__ import annotations

from typing import Annotated

import typer

import bench
from bench.cli import options as o
from bench.config.request import PUBLISHED


def publish(
    board: Annotated[
        str, typer.Argument(metavar="BOARD", help="Name of the board, or of its pages.")
    ],
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = PUBLISHED,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Write a board's pages and results to leaderboards/, and the index of that folder."""
    for path in bench.publish(board, results=results, store=store, pages=out):
        print(path)
