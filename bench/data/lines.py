"""Raw text files line by line, plain or gzip, with the usual accidents told in one sentence."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from bench.errors import BenchError

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FETCH_AGAIN = "Delete the file and fetch it again, or point --data-dir at a whole copy."


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines without their ends; the file is never held whole.

    Whether a file is packed is told by its first bytes, not by its name. Only a line feed ends a
    line: other characters that Unicode calls line ends stay inside.

    Raises:
        BenchError: The file cannot be read, is empty, is a web page, is a broken gzip or is not
            UTF-8.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                    _refuse_web_page(raw, path)
                yield number, raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise BenchError(
            f"Line {number} of {path.name} is not UTF-8: byte 0x{byte:02x} at {error.start}.",
            "Convert the file to UTF-8, or check that it is the file the card asks for.",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BenchError(
            f"{path.name} is a gzip file that breaks off or is damaged after line {number}.",
            FETCH_AGAIN,
        ) from error
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path and its rights."
        ) from error
    if number == 0:
        raise BenchError(f"{path.name} is empty.", FETCH_AGAIN)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def _refuse_web_page(first_line: bytes, path: Path) -> None:
    """Downloads that need a login answer with a page, and a page is no table with odd columns."""
    if first_line.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise BenchError(
            f"{path.name} is a web page, not data.",
            "The address asks for a login or has moved: fetch the file by hand, use --data-dir.",
        )
