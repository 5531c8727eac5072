"""Serves the boards' pages on this machine, and renders them again when results change."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.config.request import RunRequest
from bench.errors import BenchError
from bench.report.boards import assemble_boards
from bench.report.examples import board_examples
from bench.report.render import pages
from bench.report.render.html import policy_hash, read_source
from bench.report.render.index import IndexEntry, index_html
from bench.report.stats_cache import StoredStatistics
from bench.results.load import load_results
from bench.results.run_records import plan_requested
from bench.runner.store import Store

HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
}


class LivePages:
    """Rendered pages by path, kept in memory and rendered again when results change."""

    def __init__(self, request: RunRequest, results: Path, store: Path) -> None:
        self.request = request
        self.results = results
        self.store = store
        self.content: Mapping[str, bytes] = {}
        self._state: object = None
        self._cache = StoredStatistics(store)

    def refresh(self) -> bool:
        """Render if a result was added, changed or removed; return whether one was.

        Raises:
            BenchError: If there is nothing to show, and never was.
        """
        state = _describe_state(self.results)
        if state == self._state:
            return False
        try:
            self.content = self._render()
        except BenchError as error:
            if not self.content:
                raise
            print(f"Pages not updated: {error.message}", file=sys.stderr)
        self._state = state
        return True

    def _render(self) -> dict[str, bytes]:
        stored = load_results(self.results)
        tables = assemble_boards(plan_requested(self.request, self.results), stored, self._cache)
        entries = [IndexEntry.of_table(table) for table in tables]
        content = {"index.html": index_html(entries).encode(), **pages.reading_pages()}
        for table in tables:
            examples = board_examples(table, stored, Store(self.store))
            for name, page in pages.board_pages(table, stored, examples).items():
                content[f"{table.page}/{name}"] = page
        return {
            path: add_reload_script(page) if path.endswith(".html") else page
            for path, page in content.items()
        }


def _describe_state(results: Path) -> object:
    """Return names, times and sizes of the results, which differ when results do."""
    files = []
    for path in sorted(results.rglob("*.json")):
        try:
            stat = path.stat()
        except FileNotFoundError:  # replaced between listing and reading
            continue
        files.append((str(path), stat.st_mtime_ns, stat.st_size))
    return files


def add_reload_script(page: bytes) -> bytes:
    """Add the script that reloads a page when it changes, and allow it in the page's policy."""
    script = read_source("watch.js")
    allowed = policy_hash(script)
    text = page.decode()
    text = text.replace("script-src ", f"connect-src 'self'; script-src 'sha256-{allowed}' ", 1)
    before, end, after = text.rpartition("</body>")
    return f"{before}<script>{script}</script>\n{end}{after}".encode()


def make_server(live_pages: LivePages, port: int) -> ThreadingHTTPServer:
    """Listen on the loopback address.

    Raises:
        BenchError: If the port is taken.
    """

    class Handler(_Handler):
        pages = live_pages

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise BenchError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}.",
            "Choose another with --port.",
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with pages from memory; never reads the file system."""

    pages: LivePages

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        # Another site's page may point its own name at the loopback address.
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN, "Only this machine's own address is served")
            return
        path = unquote(urlsplit(self.path).path).lstrip("/")
        name = f"{path}index.html" if not path or path.endswith("/") else path
        body = self.pages.content.get(name)
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
