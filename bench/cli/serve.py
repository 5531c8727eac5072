"""`bench serve`: the boards' pages on this machine, rendered again while results come in."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from bench.cli import options as o
from bench.errors import BenchError

HOST = "127.0.0.1"
PORT = 8765
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
}


@o.asking
def serve(
    asked: o.Asked,
    results: o.ResultsFolder = o.RESULTS,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any that is free.")
    ] = PORT,
    every: Annotated[
        float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")
    ] = 2.0,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Show boards in the browser, on this machine only; pages follow results as they come."""
    pages = Pages(asked, results, store)
    pages.refresh()
    server = make_server(pages, port)
    print(f"Boards on http://{HOST}:{server.server_address[1]}/ (Ctrl-C ends this)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while True:
            time.sleep(every)
            pages.refresh()
    except KeyboardInterrupt:
        server.shutdown()


class Pages:
    """Rendered pages by path, kept in memory and rendered again when results have changed."""

    def __init__(self, asked: o.Asked, results: Path, store: Path = o.STORE) -> None:
        from bench.report.stats_cache import StoredStatistics

        self.asked = asked
        self.results = results
        self.store = store
        self.content: Mapping[str, bytes] = {}
        self._state: object = None
        self._cache = StoredStatistics(store)

    def refresh(self) -> bool:
        """Render if a result came, changed or went; returns whether it did.

        Raises:
            BenchError: Where there is nothing to show, and never was.
        """
        state = _state(self.results)
        if state == self._state:
            return False
        try:
            self.content = self._render()
        except BenchError as error:
            if not self.content:
                raise
            print(f"Shown as they were: {error.message}", file=sys.stderr)
        self._state = state
        return True

    def _render(self) -> dict[str, bytes]:
        from bench.cli.report import assemble_boards, planned_boards
        from bench.report.examples import board_examples
        from bench.report.render import pages
        from bench.results.load import load_results
        from bench.runner.store import Store

        stored = load_results(self.results)
        tables = assemble_boards(planned_boards(self.asked, self.results), stored, self._cache)
        entries = [pages.IndexEntry.of_table(table) for table in tables]
        content = {"index.html": pages.index_html(entries).encode()}
        for table in tables:
            examples = board_examples(table, stored, Store(self.store))
            for name, page in pages.board_pages(table, stored, examples).items():
                content[f"{table.name}/{name}"] = page
        return {
            path: watching(page) if path.endswith(".html") else page
            for path, page in content.items()
        }


def _state(results: Path) -> object:
    """Tell one state of a results folder from another by names, times and sizes."""
    found = []
    for path in sorted(results.rglob("*.json")):
        try:
            stat = path.stat()
        except FileNotFoundError:  # replaced between listing and looking
            continue
        found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return found


def watching(page: bytes) -> bytes:
    """Add to a page the script that loads it again, and allow just that in its policy."""
    from bench.report.render.html import policy_hash, read_source

    script = read_source("watch.js")
    allowed = policy_hash(script)
    text = page.decode()
    text = text.replace("script-src ", f"connect-src 'self'; script-src 'sha256-{allowed}' ", 1)
    before, end, after = text.rpartition("</body>")
    return f"{before}<script>{script}</script>\n{end}{after}".encode()


def make_server(pages: Pages, port: int) -> ThreadingHTTPServer:
    """Listen on the loopback address.

    Raises:
        BenchError: If the port is taken.
    """

    class Handler(_Handler):
        shown = pages

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise BenchError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}.", "Choose another by --port."
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with pages from memory; the file system is never looked at."""

    shown: Pages

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        # Another site's page may point its own name at the loopback address.
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN, "Only this machine's own address is answered")
            return
        path = unquote(urlsplit(self.path).path).lstrip("/")
        name = f"{path}index.html" if not path or path.endswith("/") else path
        body = self.shown.content.get(name)
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is no such page")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[Path(name).suffix])
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the terminal quiet; errors of the pages themselves are printed elsewhere."""
