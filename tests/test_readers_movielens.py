"""MovieLens files: `::` in two encodings, CSV, and one sentence for each way to be broken."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from damaged_files import check_sound, damaged_file, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st

from bench.data import text_files
from bench.data.raw import UNKNOWN_ITEM, RawData
from bench.data.readers import read
from bench.errors import BenchError

# Lines of the real files, as in the data notes.
MOVIES = """1::Toy Story (1995)::Animation|Children's|Comedy
73::Misérables, Les (1995)::Drama|Musical
29::City of Lost Children, The (Cité des enfants perdus, La) (1995)::Adventure|Sci-Fi
"""
RATINGS = b"1::73::5::978300760\n1::1::3.5::978302109\n2::29::4::978298413\n"
CSV_MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation
11,"American President, The (1995)",Comedy|Drama|Romance
12,"Say ""Hi"" (1999)",(no genres listed)
"""
CSV_RATINGS = b"userId,movieId,rating,timestamp\n1,11,2.5,1260759144\n7,12,0.5,851868750\n"
LATIN = {"format": "dat", "encoding": "iso-8859-1"}
UTF8 = {"format": "dat", "encoding": "utf-8"}
CSV = {"format": "csv"}


def read_bytes(folder: Path, items: bytes, interactions: bytes, fields: dict[str, Any]) -> RawData:
    paths = {"items": folder / "movies", "interactions": folder / "ratings"}
    paths["items"].write_bytes(items)
    paths["interactions"].write_bytes(interactions)
    raw = read("movielens", paths, fields)
    check_sound(raw)
    return raw


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fields", [LATIN, UTF8])
def test_reads_dat_files_in_their_encoding(
    tmp_path: Path, fields: dict[str, str], packed: bool
) -> None:
    movies, ratings = MOVIES.encode(fields["encoding"]), RATINGS
    if packed:
        movies, ratings = gzip.compress(movies, mtime=0), gzip.compress(ratings, mtime=0)
    raw = read_bytes(tmp_path, movies, ratings, fields)
    assert raw.titles == (
        "Toy Story (1995)",
        "Misérables, Les (1995)",
        "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
    )
    assert raw.categories[0] == ("Animation", "Children's", "Comedy")
    assert raw.user_ids == ("1", "2")
    assert raw.items.tolist() == [1, 0, 2]
    assert raw.ratings.tolist() == [5, 3.5, 4]
    assert raw.times.tolist() == [978300760, 978302109, 978298413]
    assert raw.lines.tolist() == [1, 2, 3]


def test_reads_csv_with_quotes(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, CSV_MOVIES.encode(), CSV_RATINGS, CSV)
    assert raw.titles[1:] == ("American President, The (1995)", 'Say "Hi" (1999)')
    assert raw.categories[1] == ("Comedy", "Drama", "Romance")
    assert raw.items.tolist() == [1, 2]
    assert raw.ratings.tolist() == [2.5, 0.5]
    assert raw.lines.tolist() == [2, 3]


def test_ratings_of_movies_that_are_not_listed_are_counted(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, MOVIES.encode(), RATINGS + b"3::4::1::5\n", UTF8)
    assert (raw.num_lines, len(raw.users), raw.rejected) == (4, 3, {UNKNOWN_ITEM: 1})


@pytest.mark.parametrize(
    ("movies", "ratings", "fields", "sentence"),
    [
        (MOVIES.encode("latin-1"), RATINGS, UTF8, "Line 2 of movies is not UTF-8: byte 0xe9 at 7"),
        (MOVIES.encode(), RATINGS, LATIN, "Line 2 of movies is not ISO-8859-1: it is UTF-8"),
        (MOVIES.encode(), RATINGS[:-12], UTF8, "Line 3 of ratings has 3 cells, not 4"),
        (MOVIES.encode()[:-20], RATINGS, UTF8, "Line 3 of movies has 2 cells, not 3"),
        (
            MOVIES.encode(),
            gzip.compress(RATINGS, mtime=0)[:-9],
            UTF8,
            "ratings is a gzip file that is truncated",
        ),
        (MOVIES.encode(), b"\n<!DOCTYPE html>", UTF8, "Line 1 of ratings has 1 cells, not 4"),
        (b"<!DOCTYPE html>", RATINGS, UTF8, "movies is a web page"),
        (MOVIES.encode(), b"", UTF8, "ratings is empty"),
        (MOVIES.encode(), b"1::73::good::1\n", UTF8, "Line 1 of ratings: the rating 'good' is no"),
        (MOVIES.encode(), b"1::73::inf::1\n", UTF8, "Line 1 of ratings: the rating 'inf' is no"),
        (MOVIES.encode(), b"1::73::5::\n", UTF8, "Line 1 of ratings: the time '' is no number"),
        (MOVIES.encode(), b"1::73::5::1e30\n", UTF8, "Line 1 of ratings: the time '1e30' is out"),
        (MOVIES.encode(), RATINGS, CSV, "Line 1 of movies is not the header movieId"),
        (CSV_MOVIES.encode(), CSV_RATINGS[4:], CSV, "Line 1 of ratings is not the header userId"),
        (b'movieId,title,genres\n1,"Cut', CSV_RATINGS, CSV, "Line 2 of movies is not CSV"),
    ],
)
def test_broken_files(
    tmp_path: Path, movies: bytes, ratings: bytes, fields: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BenchError) as caught:
        read_bytes(tmp_path, movies, ratings, fields)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


@pytest.mark.parametrize(
    "fields", [{}, {"format": "dat"}, {"format": "tsv"}, {**CSV, "encoding": "utf-8"}]
)
def test_unfit_fields(tmp_path: Path, fields: dict[str, str]) -> None:
    with pytest.raises(BenchError, match="The card's fields"):
        read_bytes(tmp_path, MOVIES.encode(), RATINGS, fields)


def test_a_file_that_nobody_would_read_is_refused(tmp_path: Path) -> None:
    paths = dict.fromkeys(("items", "interactions", "users"), tmp_path)
    with pytest.raises(BenchError, match="takes no file in the role 'users'"):
        read("movielens", paths, UTF8)
    with pytest.raises(BenchError, match="needs a file in the role 'items'"):
        read("movielens", {"interactions": tmp_path}, UTF8)


def test_a_file_without_line_ends_is_never_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE_BYTES", 1000)
    read_bytes(tmp_path, MOVIES.encode(), RATINGS, UTF8)
    with pytest.raises(BenchError, match="Line 1 of movies is longer than 1,000 bytes"):
        read_bytes(tmp_path, b"0" * 1001, RATINGS, UTF8)


@given(data=st.data())
@pytest.mark.parametrize("fields", [LATIN, UTF8, CSV], ids=["latin", "utf8", "csv"])
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, str], data: st.DataObject
) -> None:
    good = {"items": MOVIES.encode(fields.get("encoding", "utf-8")), "interactions": RATINGS}
    if fields == CSV:
        good = {"items": CSV_MOVIES.encode(), "interactions": CSV_RATINGS}
    role = data.draw(st.sampled_from(sorted(good)))
    contents = {**good, role: data.draw(damaged_file(good[role]))}
    read_or_refuse(tmp_path_factory.getbasetemp(), "movielens", contents, fields)


# --- real files ---------------------------------------------------------------------------------


def real(folder: Path, items: str, interactions: str, fields: dict[str, str]) -> RawData:
    paths = {"items": folder / items, "interactions": folder / interactions}
    for path in paths.values():
        if not path.is_file():
            pytest.skip(f"no {path.name} in the folder of real data")
    raw = read("movielens", paths, fields)
    check_sound(raw)
    return raw


def test_the_catalog_of_1m(shared_data: Path) -> None:
    """README of ML-1M: 3,883 movies in 18 genres; no title occurs twice."""
    raw = real(shared_data / "ml-1m", "movies.dat", "ratings.subset858.dat.gz", LATIN)
    assert len(raw.item_ids) == len(set(raw.titles)) == 3883
    assert len({name for names in raw.categories for name in names}) == 18
    assert "Misérables, Les (1995)" in raw.titles
    assert (len(raw.user_ids), raw.num_lines, len(set(raw.items.tolist()))) == (858, 118850, 3313)
    assert (raw.rejected, raw.titles_cleaned) == ({}, 0)


def test_the_catalog_of_10m(shared_data: Path) -> None:
    """README of ML-10M: 10,681 movies; one title twice, 386 beyond ASCII, half stars."""
    raw = real(shared_data / "ml-10m", "movies.dat", "ratings.head10000.dat", UTF8)
    assert (len(raw.item_ids), len(set(raw.titles))) == (10681, 10680)
    assert raw.titles.count("War of the Worlds (2005)") == 2
    assert sum(not title.isascii() for title in raw.titles) == 386
    assert sum("(no genres listed)" in names for names in raw.categories) == 1
    assert (len(raw.user_ids), raw.num_lines, raw.rejected) == (84, 10000, {})
    assert 3.5 in raw.ratings


@pytest.mark.parametrize(("folder", "wrong"), [("ml-1m", UTF8), ("ml-10m", LATIN)])
def test_the_other_encoding_is_refused(
    shared_data: Path, folder: str, wrong: dict[str, str]
) -> None:
    with pytest.raises(BenchError, match=r"of movies\.dat is not"):
        real(shared_data / folder, "movies.dat", "ratings.head10000.dat", wrong)


def test_latest_small(shared_data: Path) -> None:
    """Its README (older release): 100,004 ratings of 9,125 movies by 671 users."""
    raw = real(shared_data / "ml-latest-small", "movies.csv.gz", "ratings.csv.gz", CSV)
    assert (len(raw.users), len(raw.item_ids), len(raw.user_ids)) == (100004, 9125, 671)
    assert (raw.rejected, raw.num_duplicates) == ({}, 0)
    assert "American President, The (1995)" in raw.titles
