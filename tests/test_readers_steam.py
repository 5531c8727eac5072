"""Steam files: literal lines, dates in words, and a catalog of names."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damaged_files import check_sound, damaged_file, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st

from bench.data.raw import REPEATED_ITEM, UNKNOWN_ITEM, RawData
from bench.data.readers import read
from bench.data.readers.steam import NO_NAME, NO_USER, NO_YEAR
from bench.errors import BenchError

GAMES = rb"""
{u'genres': [u'Action'], u'app_name': u'Lost Kitty \u2122', u'id': u'10', u'tags': [u'FPS']}
{u'app_name': u"Say \"Hi\"", u'price': 4.99, u'early_access': False, u'id': u'20'}
{u'url': u'http://store.steampowered.com/'}
{u'genres': [u'Animation &amp; Modeling'], u'app_name': u"Say \"Hi\"", u'id': u'21'}
{"app_name": "As JSON", "tags": null, "id": "30", "price": NaN}
{u'app_name': u'No id'}
""".lstrip()
USER_REVIEWS = rb"""{'user_id': 'u1', 'reviews': [{'posted': 'Posted November 5, 2011.', 'item_id': '20', 'recommend': True}, {'posted': 'Posted July 3.', 'item_id': '10', 'recommend': True}]}
{'user_id': 'u2', 'reviews': []}
{'user_id': 'u1', 'reviews': [{'posted': 'Posted February 29, 2012.', 'item_id': '21', 'recommend': False}, {'posted': 'Posted May 1, 2013.', 'item_id': '99', 'recommend': True}]}
"""  # noqa: E501  a user is a line
STEAM_REVIEWS = rb"""
{u'username': u'J\xe9r', u'product_id': u'10', u'date': u'2017-12-17', u'page': 1}
{u'product_id': u'20', u'date': u'2018-01-01', u'text': u'no user'}
{u'username': u'a', u'user_id': u'7', u'product_id': u'21', u'date': u'2016-02-29'}
""".lstrip()
USERS = {"reviews": "user_reviews"}
FLAT = {"reviews": "steam_reviews", "categories": "genres"}


def read_bytes(
    folder: Path, fields: dict[str, str], interactions: bytes, items: bytes = GAMES
) -> RawData:
    paths = {"items": folder / "games.json", "interactions": folder / "reviews.json"}
    paths["items"].write_bytes(items)
    paths["interactions"].write_bytes(interactions)
    raw = read("steam", paths, fields)
    check_sound(raw)
    return raw


@pytest.mark.parametrize("packed", [False, True])
def test_reviews_by_user(tmp_path: Path, packed: bool) -> None:
    raw = read_bytes(
        tmp_path, USERS, gzip.compress(USER_REVIEWS, mtime=0) if packed else USER_REVIEWS
    )
    assert raw.titles == ("Lost Kitty ™", 'Say "Hi"', "As JSON", "No id")
    assert raw.item_ids == raw.titles
    assert raw.categories == (("FPS",), (), (), ())
    assert raw.user_ids == ("u1",)
    assert raw.items.tolist() == [1, 1]
    assert raw.ratings.tolist() == [1, 0]
    assert raw.times.tolist() == [1320451200, 1330473600]
    assert raw.lines.tolist() == [1, 3]
    assert raw.num_lines == 4
    assert raw.rejected == {NO_NAME: 1, NO_YEAR: 1, REPEATED_ITEM: 1, UNKNOWN_ITEM: 1}


def test_reviews_one_by_one(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, FLAT, STEAM_REVIEWS)
    assert raw.user_ids == ("Jér", "a")
    assert raw.categories[0] == ("Action",)
    assert raw.items.tolist() == [0, 1]
    assert np.isnan(raw.ratings).all()
    assert raw.times.tolist() == [1513468800, 1456704000]
    assert raw.lines.tolist() == [1, 3]
    assert raw.rejected[NO_USER] == 1


def test_genres_have_their_entities_resolved(tmp_path: Path) -> None:
    games = GAMES.splitlines(keepends=True)[3]
    raw = read_bytes(tmp_path, FLAT, STEAM_REVIEWS, games)
    assert raw.categories == (("Animation & Modeling",),)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"Posted July 3.", b"", "Line 1 of reviews.json: '' is no date"),
        (b"July 3.", b"Juli 3, 2011.", "Line 1 of reviews.json: 'Posted Juli 3, 2011.' is no date"),
        (b"2012", b"2013", "Line 3 of reviews.json: 'Posted February 29, 2013.' is no date"),
        (b"'item_id': '21'", b"'item_id': 21", "Line 3 of reviews.json has no 'item_id'"),
        (b"'user_id': 'u2'", b"'user': 'u2'", "Line 2 of reviews.json has no 'user_id'"),
        (b"'reviews': []", b"'reviews': [1]", "Line 2 of reviews.json has no list of reviews"),
        (b"'99', 'recommend': True}]}\n", b"", "Line 3 of reviews.json is no Python literal"),
        (b"'u2'", b"print(1)", "Line 2 of reviews.json is no Python literal or JSON object"),
        (b"'u2'", b"'\xe9'", "Line 2 of reviews.json is not UTF-8: byte 0xe9"),
        (USER_REVIEWS, b"user_id,item_id\n1,2\n", "Line 1 of reviews.json is no Python literal"),
        (USER_REVIEWS, b"<!DOCTYPE html>", "reviews.json is a web page"),
        (
            USER_REVIEWS,
            gzip.compress(USER_REVIEWS, mtime=0)[:-9],
            "reviews.json is a gzip file that is truncated",
        ),
    ],
)
def test_broken_files(tmp_path: Path, old: bytes, new: bytes, sentence: str) -> None:
    assert old in USER_REVIEWS
    with pytest.raises(BenchError) as caught:
        read_bytes(tmp_path, USERS, USER_REVIEWS.replace(old, new))
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("date", "sentence"),
    [
        (b"17.12.2017", "Line 1 of reviews.json: '17.12.2017' is no date"),
        (b"2017-02-30", "Line 1 of reviews.json: '2017-02-30' is no date"),
        (b"0000-01-01", "Line 1 of reviews.json: '0000-01-01' is no date"),
        (b"", "Line 1 of reviews.json has no 'date'"),
    ],
)
def test_broken_dates(tmp_path: Path, date: bytes, sentence: str) -> None:
    with pytest.raises(BenchError) as caught:
        read_bytes(tmp_path, FLAT, STEAM_REVIEWS.replace(b"2017-12-17", date))
    assert caught.value.message.startswith(sentence)


def test_the_other_review_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no 'user_id'"):
        read_bytes(tmp_path, USERS, STEAM_REVIEWS)
    with pytest.raises(BenchError, match="has no 'product_id'"):
        read_bytes(tmp_path, FLAT, USER_REVIEWS)


@pytest.mark.parametrize("fields", [{}, {"reviews": "items"}, {**USERS, "categories": "specs"}])
def test_unfit_fields(tmp_path: Path, fields: dict[str, str]) -> None:
    with pytest.raises(BenchError, match="The card's fields"):
        read_bytes(tmp_path, fields, USER_REVIEWS)


@given(data=st.data())
@pytest.mark.parametrize("fields", [USERS, FLAT], ids=["users", "flat"])
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, str], data: st.DataObject
) -> None:
    good = {"items": GAMES, "interactions": USER_REVIEWS if fields == USERS else STEAM_REVIEWS}
    role = data.draw(st.sampled_from(sorted(good)))
    contents = {**good, role: data.draw(damaged_file(good[role]))}
    read_or_refuse(tmp_path_factory.getbasetemp(), "steam", contents, fields)


# --- real files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def australian(shared_data: Path) -> RawData:
    folder = shared_data / "steam"
    paths = {
        "items": folder / "steam_games.json.gz",
        "interactions": folder / "australian_user_reviews.rebuilt.json.gz",
    }
    for path in paths.values():
        if not path.is_file():
            pytest.skip(f"no {path.name} in the folder of real data")
    return read("steam", paths, USERS)


def test_the_catalog_is_the_one_of_sprec(australian: RawData) -> None:
    """SPRec, Table 3: 32,094 items, the distinct names of 32,135 lines, two of them nameless."""
    check_sound(australian)
    assert len(set(australian.titles)) == len(australian.item_ids) == 32094
    assert (australian.rejected[NO_NAME], australian.rejected[REPEATED_ITEM]) == (2, 39)


def test_reviews_without_a_year_are_counted(australian: RawData) -> None:
    """59,305 reviews of the official file, 10,119 of them without a year."""
    assert (australian.num_lines, australian.rejected[NO_YEAR]) == (59305, 10119)
    assert max(Counter(australian.users.tolist()).values()) <= 20


def test_dates_agree_with_a_table_made_by_others(shared_data: Path, australian: RawData) -> None:
    table = shared_data / "steam" / "australian_user_reviews.flat.csv.gz"
    if not table.is_file():
        pytest.skip(f"no {table.name} in the folder of real data")
    with gzip.open(table, "rt") as file:
        days = Counter(row["posted"] for row in csv.DictReader(file))
    ours = Counter(np.datetime_as_string(australian.times.astype("datetime64[s]"), unit="D"))
    assert all(days[day] >= num for day, num in ours.items())
    whole = sum(num for day, num in days.items() if not day.startswith("--"))
    assert whole == len(australian.users) + australian.rejected[UNKNOWN_ITEM]
