"""Damaged raw files for property tests: noise, and whole files with a piece cut out or put in."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bench.data.raw import RawData, one_line
from bench.data.readers import read
from bench.errors import BenchError

NASTY = (
    b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"9" * 5000, b"[" * 3000, b"-" * 3000,
    b"{[]: 1}", b"\\ud83d", b"\\N{DASH}", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"'",
    b'"', b"True", b"print(1)", b"__import__('os')", b"{}", b"''", b"99999999999999", b"::", b",",
)  # fmt: skip


def damaged_file(good: bytes) -> st.SearchStrategy[bytes]:
    """Draw noise, the good file with one piece replaced, or its gzip cut short."""
    position, length = st.integers(0, len(good)), st.integers(0, 40)
    piece = st.binary(max_size=12) | st.sampled_from(NASTY)
    packed = gzip.compress(good, mtime=0)
    return st.one_of(
        st.binary(max_size=200),
        st.builds(lambda at, num, new: good[:at] + new + good[at + num :], position, length, piece),
        st.integers(0, len(packed)).map(lambda end: packed[:end]),
    )


def read_or_refuse(
    folder: Path, reader: str, contents: Mapping[str, bytes], fields: Mapping[str, Any]
) -> None:
    """Read files of these contents: either a sound result or a `BenchError` with a hint."""
    paths = {role: folder / role for role in contents}
    for role, content in contents.items():
        paths[role].write_bytes(content)
    refusal = None
    try:
        raw = read(reader, paths, fields)
    except BenchError as error:
        refusal = error
    if refusal is None:
        check_sound(raw)
    else:
        assert refusal.hint
        assert "\n" not in refusal.message


def check_sound(raw: RawData) -> None:
    """Check what must hold of any data set that was read."""
    for name in (*raw.user_ids, *raw.item_ids, *raw.titles, *chain.from_iterable(raw.categories)):
        name.encode("utf-8")
    assert all(title == one_line(title) != "" for title in raw.titles)
    assert len(set(raw.item_ids)) == len(raw.item_ids) == len(raw.titles) == len(raw.categories)
    length = len(raw.users)
    for column in (raw.items, raw.ratings, raw.times, raw.lines):
        assert len(column) == length
    assert not length or raw.items.max() < len(raw.item_ids)
    assert (np.diff(raw.lines) > 0).all()
    assert length <= raw.num_lines
