"""`bench serve`: the boards' pages in a browser on this machine."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from bench.cli import options as o

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
