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

# Far above any record of the sets we read; without a limit, a file that has no line feed would be
# held whole.
LONGEST_LINE = 1 << 26


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines without their ends; the file is never held whole.

    Whether a file is packed is told by its first bytes, not by its name. Only a line feed ends a
    line: other characters that Unicode calls line ends stay inside.

    Args:
        path: The file.
        encoding: Name of its encoding; every byte is ISO-8859-1, so under that name a line that
            is UTF-8 beyond ASCII is refused: it would become mojibake without a sound.

    Raises:
        BenchError: The file cannot be read, is empty, is a web page, is a broken gzip, is not in
            its encoding or has a line without end.
    """
    number = 0
    try:
        with _open(path) as file:
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                    _refuse_web_page(raw, path)
                if len(raw) > LONGEST_LINE:
                    raise BenchError(
                        f"Line {number} of {path.name} has no end within {LONGEST_LINE:,} bytes.",
                        "It is no text file of lines: " + FETCH_AGAIN,
                    )
                yield number, _decoded(raw, encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _other_encoding(error, f"Line {number} of {path.name}") from error
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


def _decoded(raw: bytes, encoding: str) -> str:
    if encoding == "utf-8" or raw.isascii():
        return raw.decode(encoding)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(encoding)
    raise UnicodeDecodeError(encoding, raw, 0, len(raw), "it is UTF-8")


def _other_encoding(error: UnicodeDecodeError, where: str) -> BenchError:
    utf8 = error.encoding == "utf-8"
    reason = f"byte 0x{error.object[error.start]:02x} at {error.start}" if utf8 else error.reason
    return BenchError(
        f"{where} is not {error.encoding.upper()}: {reason}.",
        "Convert the file, or check that it is the one that the card asks for.",
    )


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
