"""Goodreads files: read or only shelved, times with offsets, genres with commas in their names."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import check_sound, damaged_file, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st

from bench.data.raw import NO_TITLE, REPEATED_ITEM, UNKNOWN_ITEM, RawData
from bench.data.readers import read
from bench.data.readers.goodreads import NOT_READ
from bench.errors import BenchError


def as_lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def shelved(user: str, book: str, added: str, *, rating: int = 0, is_read: bool = True) -> Any:
    return {
        "user_id": user,
        "book_id": book,
        "is_read": is_read,
        "rating": rating,
        "date_added": added,
        "read_at": "",
    }


# Every value of a book is text, numbers included.
BOOKS = as_lines(
    {"book_id": "1", "title": "Dune (Dune, #1)", "title_without_series": "Dune", "isbn": ""},
    {"book_id": "2", "title": 'A Child Called "It"', "title_without_series": "A Child"},
    {"book_id": "3", "title": "", "ratings_count": "12"},
)
SHELVES = as_lines(
    shelved("a" * 32, "1", "Fri Apr 19 08:15:15 -0700 2013", rating=5),
    shelved("b" * 32, "2", "Thu Jan 01 05:30:00 +0530 1970"),
    shelved("b" * 32, "1", "Thu Aug 17 15:15:28 -0700 2017", rating=3, is_read=False),
)
GENRES = as_lines(
    {"book_id": "9", "genres": {"romance": 2}},
    {"book_id": "1", "genres": {"fantasy, paranormal": 31, "fiction": 8}},
)
READ = {"read_only": True}


def read_bytes(folder: Path, fields: dict[str, Any] = READ, **contents: bytes | None) -> RawData:
    files = {"items": BOOKS, "interactions": SHELVES, "genres": GENRES, **contents}
    paths = {role: folder / role for role, content in files.items() if content is not None}
    for role, path in paths.items():
        path.write_bytes(files[role] or b"")
    raw = read("goodreads", paths, fields)
    check_sound(raw)
    return raw


def test_reads_what_was_read(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, interactions=gzip.compress(SHELVES, mtime=0))
    assert raw.item_ids == ("1", "2")
    assert raw.titles == ("Dune (Dune, #1)", 'A Child Called "It"')
    assert raw.categories == (("fantasy, paranormal", "fiction"), ())
    assert raw.times.tolist() == [1366384515, 0]
    assert raw.ratings[0] == 5
    assert np.isnan(raw.ratings[1])
    assert (raw.num_lines, raw.rejected) == (3, {NOT_READ: 1})


def test_all_entries_of_shelves_without_series_and_genres(tmp_path: Path) -> None:
    fields = {"read_only": False, "title": "title_without_series"}
    raw = read_bytes(tmp_path, fields, genres=None)
    assert raw.titles == ("Dune", "A Child")
    assert raw.categories == ((), ())
    assert raw.times[-1] == 1503008128
    assert (len(raw.users), raw.rejected) == (3, {})


def test_books_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    more = SHELVES.replace(b'"book_id": "2"', b'"book_id": "3"')
    more += as_lines(shelved("c", "77", "Fri Apr 19 08:15:15 -0700 2013"))
    raw = read_bytes(tmp_path, interactions=more, items=BOOKS + BOOKS.splitlines()[0])
    assert raw.rejected == {NOT_READ: 1, NO_TITLE: 1, REPEATED_ITEM: 1, UNKNOWN_ITEM: 1}


@pytest.mark.parametrize(
    ("role", "old", "new", "sentence"),
    [
        ("interactions", b'1970", "read_at": ""}', b"", "Line 2 of interactions is no JSON object"),
        ("interactions", b"+0530 1970", b"1970", "Line 2 of interactions: 'Thu Jan 01 05:30:00 1"),
        ("interactions", b"Jan 01", b"Jan 32", "Line 2 of interactions: 'Thu Jan 32"),
        ("interactions", b"+0530", b"+9930", "Line 2 of interactions: 'Thu Jan 01 05:30:00 +9930"),
        (
            "interactions",
            b"Thu Jan 01 05:30:00 +0530 1970",
            b"",
            "Line 2 of interactions has no",
        ),
        ("interactions", b'"is_read": true', b'"is_read": "true"', "Line 1 of interactions does"),
        ("interactions", b'"rating": 5', b'"rating": null', "Line 1 of interactions: the rating"),
        ("interactions", b"aaaa", b"\xff", "Line 1 of interactions is not UTF-8"),
        ("interactions", SHELVES, b"0,948,1,5,0\n", "Line 1 of interactions is no JSON object"),
        (
            "interactions",
            SHELVES,
            gzip.compress(SHELVES, mtime=0)[:-9],
            "interactions is a gzip file that",
        ),
        ("interactions", SHELVES, BOOKS, "Line 1 of interactions has no 'user_id'"),
        ("items", BOOKS, b"<html>Google Drive", "items is a web page"),
        ("items", b'"book_id": "2"', b'"book_id": 2', "Line 2 of items has no 'book_id'"),
        ("genres", b'{"romance": 2}', b'["romance"]', "Line 1 of genres has no table of genres"),
    ],
)
def test_broken_files(tmp_path: Path, role: str, old: bytes, new: bytes, sentence: str) -> None:
    good = {"items": BOOKS, "interactions": SHELVES, "genres": GENRES}[role]
    assert old in good
    with pytest.raises(BenchError) as caught:
        read_bytes(tmp_path, **{role: good.replace(old, new)})  # type: ignore[arg-type]
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


@pytest.mark.parametrize("fields", [{}, {**READ, "title": "isbn"}, {**READ, "time": "read_at"}])
def test_unfit_fields(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match="The card's fields"):
        read_bytes(tmp_path, fields)


@given(data=st.data())
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = {"items": BOOKS, "interactions": SHELVES, "genres": GENRES}
    role = data.draw(st.sampled_from(sorted(good)))
    contents = {**good, role: data.draw(damaged_file(good[role]))}
    read_or_refuse(tmp_path_factory.getbasetemp(), "goodreads", contents, READ)


def test_the_authors_own_samples(shared_data: Path, tmp_path: Path) -> None:
    """One record of each file; their book and their shelf entry are not the same book."""
    folder = shared_data / "goodreads-raw-samples"
    entry = folder / "goodreads_interactions.sample.jsonl"
    if not entry.is_file():
        pytest.skip("no goodreads-raw-samples in the folder of real data")
    paths = {"items": folder / "goodreads_books.sample.jsonl", "interactions": entry}
    raw = read("goodreads", paths, {"read_only": False})
    assert raw.titles == ("Jump, Little Wood Ducks",)
    assert raw.rejected == {UNKNOWN_ITEM: 1}
    assert read("goodreads", paths, READ).rejected == {NOT_READ: 1}
    shelf = entry.read_bytes().replace(b'"6565837"', b'"27036533"')
    raw = read_bytes(
        tmp_path, {"read_only": False}, items=paths["items"].read_bytes(), interactions=shelf
    )
    assert raw.times.tolist() == [1503008128]
    assert np.isnan(raw.ratings).all()
