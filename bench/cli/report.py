"""`bench report`, `bench publish` and `bench serve`: boards from stored results."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import bench
from bench.cli import options as o
from bench.config.request import PUBLISHED
from bench.errors import BenchError


@o.expand_groups
def report(
    request: o.RunRequest,
    results: Path = o.RESULTS,
    out: Path = o.PAGES,
    as_json: bool = o.AS_JSON,
    examples: bool = o.flag(
        "--examples", "Show a few test cases with titles; not to be published."
    ),
    exclude: str = o.option("--exclude", "ties|cold|seen", "Leave out these test cases.", ""),
    by: str | None = o.option(
        "--by",
        "|".join(("ties", "popularity", "transition", "history", "activity")),
        "Show every mean over cases per stratum of the test cases instead.",
    ),
    store: Path = o.STORE,
) -> None:
    """Print and render boards from stored results; all that were run if none is named."""
    if as_json:
        if by:
            raise BenchError("--by and --json cannot be given together.", "Leave one out.")
        from bench.report.assemble import values_json

        tables = bench.report_boards(
            request, results=results, exclude=exclude, with_statistics=False
        )
        o.print_json({"boards": [values_json(each.name, each.datasets) for each in tables]})
        return
    from bench.report.render.terminal import render_strata, render_table

    for table in bench.report_boards(
        request, results=results, store=store, pages=out, examples=examples, exclude=exclude
    ):
        print(render_strata(table, by) if by else render_table(table))


def publish(
    board: str = o.argument("BOARD", "Name of the board, or of its pages."),
    results: Path = o.RESULTS,
    out: Path = o.folder_option("--out", "Folder of the rendered pages.", PUBLISHED),
    store: Path = o.STORE,
) -> None:
    """Write a board's pages and results to leaderboards/, and the index of that folder."""
    for path in bench.publish(board, results=results, store=store, pages=out):
        print(path)


PORT = 8765


@o.expand_groups
def serve(
    request: o.RunRequest,
    results: Path = o.RESULTS,
    port: int = o.option("--port", "N", "Port; 0 for any free one.", PORT, min=0, max=65535),
    every: float = o.option(
        "--every", "SECONDS", "Interval between checks for new results.", 2.0, min=0.2
    ),
    store: Path = o.STORE,
) -> None:
    """Serve boards to browsers on this machine only; pages are updated as results arrive."""
    from bench.report.page_server import HOST, LivePages, make_server

    pages = LivePages(request, results, store)
    pages.refresh()
    server = make_server(pages, port)
    print(f"Serving http://{HOST}:{server.server_address[1]}/ (Ctrl-C to stop)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while True:
            time.sleep(every)
            pages.refresh()
    except KeyboardInterrupt:
        server.shutdown()
