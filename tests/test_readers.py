"""Raw files: what is read, and one sentence for each way in which they can be broken."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from bench.data.raw import NO_TITLE, REPEATED_ITEM, UNKNOWN_ITEM, RawData, one_line
from bench.data.readers import read
from bench.errors import BenchError

INTERACTIONS = b"""user_id:token\titem_id:token\trating:float\ttimestamp:float
u1\ta\t4\t100
u1\tb\t3.5\t101.9
u2\ta\t1\t50
"""
ITEMS = b"""item_id:token\tname:token_seq\tyear:token\tclass:token_seq
a\tHeat\t1995\tAction Crime
b\tIce Storm, The\t1997\tDrama
"""
FIELDS = {
    "user": "user_id",
    "item": "item_id",
    "rating": "rating",
    "time": "timestamp",
    "title": "{name} ({year})",
    "categories": "class",
}
SIZES = {"users": 20, "items": 12, "interactions_per_user": 15, "categories": 3, "seed": 0}


def read_bytes(
    folder: Path,
    *,
    interactions: bytes = INTERACTIONS,
    items: bytes = ITEMS,
    fields: dict[str, str] = FIELDS,
) -> RawData:
    paths = {"interactions": folder / "x.inter", "items": folder / "x.item"}
    paths["interactions"].write_bytes(interactions)
    paths["items"].write_bytes(items)
    return read("recbole", paths, fields)


def refusal(folder: Path, **broken: object) -> str:
    with pytest.raises(BenchError) as caught:
        read_bytes(folder, **broken)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value.message


def test_reads_columns_in_file_order(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path)
    assert raw.user_ids == ("u1", "u2")
    assert raw.item_ids == ("a", "b")
    assert raw.titles == ("Heat (1995)", "Ice Storm, The (1997)")
    assert raw.categories == (("Action", "Crime"), ("Drama",))
    assert raw.users.tolist() == [0, 0, 1]
    assert raw.items.tolist() == [0, 1, 0]
    assert raw.ratings.tolist() == [4, 3.5, 1]
    assert raw.times.tolist() == [100, 101, 50]
    assert raw.lines.tolist() == [2, 3, 4]
    assert (raw.num_lines, raw.num_duplicates, raw.rejected) == (3, 0, {})


def test_the_order_of_columns_and_packing_make_no_difference(tmp_path: Path) -> None:
    lines = [line.split(b"\t") for line in INTERACTIONS.splitlines()]
    turned = b"\r\n".join(b"\t".join(reversed(line)) for line in lines)
    plain = read_bytes(tmp_path)
    other = read_bytes(
        tmp_path,
        interactions=gzip.compress(b"\xef\xbb\xbf" + turned, mtime=0),
        items=gzip.compress(ITEMS, mtime=0),
    )
    assert plain.user_ids == other.user_ids
    assert plain.titles == other.titles
    for column in ("users", "items", "ratings", "times", "lines"):
        np.testing.assert_array_equal(getattr(plain, column), getattr(other, column))


def test_without_ratings_and_categories(tmp_path: Path) -> None:
    fields = {k: v for k, v in FIELDS.items() if k not in ("rating", "categories")}
    raw = read_bytes(tmp_path, fields=fields)
    assert np.isnan(raw.ratings).all()
    assert raw.categories == ((), ())


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path) -> None:
    raw = read_bytes(
        tmp_path,
        interactions=INTERACTIONS + b"u3\tc\t5\t60\nu3\td\t5\t61\nu1\ta\t2\t100\n",
        items=ITEMS + b"d\t \t\tDrama\na\tHeat again\t1996\tDrama\n",
    )
    assert raw.rejected == {NO_TITLE: 1, REPEATED_ITEM: 1, UNKNOWN_ITEM: 1}
    assert (raw.num_lines, len(raw.users), raw.num_duplicates) == (6, 4, 1)
    assert raw.item_ids == ("a", "b")
    assert raw.titles[0] == "Heat (1995)"
    assert raw.user_ids == ("u1", "u2")


def test_titles_stay_as_they_are_but_on_one_line(tmp_path: Path) -> None:
    items = ITEMS + 'c\tSay "Hi"\x0b\x85 &amp; go\t\tDrama Drama\n'.encode()
    raw = read_bytes(tmp_path, items=items)
    assert raw.titles[2] == 'Say "Hi" &amp; go'
    assert raw.categories[2] == ("Drama",)
    assert raw.titles_cleaned == 1


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Two  spaces", "Two  spaces"),
        ("a\r\n\r\n b", "a b"),
        ("a\u2028b\x00c", "a b c"),
        ("\n\t ", ""),
        ("Misérables, Les (1995)", "Misérables, Les (1995)"),
    ],
)
def test_one_line(title: str, expected: str) -> None:
    assert one_line(title) == expected


@pytest.mark.parametrize(
    ("interactions", "sentence"),
    [
        (b"", "x.inter is empty"),
        (gzip.compress(b"", mtime=0), "x.inter is empty"),
        (gzip.compress(INTERACTIONS, mtime=0)[:-10], "x.inter is a gzip file that is truncated"),
        (INTERACTIONS + b"u1\tMis\xe9rables\t1\t1\n", "Line 5 of x.inter is not UTF-8: byte 0xe9"),
        (b"<!DOCTYPE html>\n<html>", "x.inter is a web page"),
        (b"\n", "Line 1 of x.inter is not a RecBole header"),
        (b"user_id\titem_id\n", "Line 1 of x.inter is not a RecBole header: 'user_id'"),
        (b"user_id:token\tuser_id:token\n", "Line 1 of x.inter is not a RecBole header"),
        (
            INTERACTIONS.replace(b"timestamp", b"when"),
            "x.inter must have exactly one column 'timestamp'",
        ),
        (INTERACTIONS + b"u1\ta\n", "Line 5 of x.inter has 2 cells, not 4"),
        (INTERACTIONS + b"u1\ta\t4\tnoon\n", "Line 5 of x.inter: the time 'noon' is no number"),
        (INTERACTIONS + b"u1\ta\tnan\t9\n", "Line 5 of x.inter: the rating 'nan' is no number"),
        (INTERACTIONS + b"u1\ta\t4\t1e300\n", "Line 5 of x.inter: the time '1e300' is out of"),
    ],
)
def test_broken_interactions(tmp_path: Path, interactions: bytes, sentence: str) -> None:
    assert refusal(tmp_path, interactions=interactions).startswith(sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"titel": "{name}"}, "The card's fields: unknown key 'titel'"),
        ({"title": "{nam}"}, "x.item must have exactly one column 'nam'"),
        ({"title": "Movie"}, "The title template 'Movie' names no column"),
        ({"title": "{name"}, "The title template '{name' is malformed"),
        ({"title": "{name!r}"}, "The title template '{name!r}' formats 'name'"),
        ({"title": "{name.__class__}"}, "x.item must have exactly one column 'name.__class__'"),
        ({"time": "time"}, "x.inter must have exactly one column 'time'"),
    ],
)
def test_unfit_fields(tmp_path: Path, fields: dict[str, str], sentence: str) -> None:
    assert refusal(tmp_path, fields={**FIELDS, **fields}).startswith(sentence)


def test_categories_must_be_tokens(tmp_path: Path) -> None:
    items = ITEMS.replace(b"class:token_seq", b"class:float_seq")
    assert "float_seq" in refusal(tmp_path, items=items)


def test_a_missing_file_role_and_an_unknown_reader() -> None:
    with pytest.raises(BenchError, match="role 'interactions'"):
        read("recbole", {}, FIELDS)
    with pytest.raises(BenchError) as caught:
        read("recbol", {}, FIELDS)
    assert caught.value.hint == "Did you mean 'recbole'?"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    paths = {"interactions": tmp_path / "no.inter", "items": tmp_path / "no.item"}
    with pytest.raises(BenchError, match=r"no\.item cannot be read"):
        read("recbole", paths, FIELDS)


# --- synthetic ----------------------------------------------------------------------------------


def test_synthetic_is_seeded() -> None:
    one, two = read("synthetic", {}, SIZES), read("synthetic", {}, SIZES)
    other = read("synthetic", {}, {**SIZES, "seed": 1})
    np.testing.assert_array_equal(one.items, two.items)
    np.testing.assert_array_equal(one.times, two.times)
    assert not np.array_equal(one.items, other.items)


def test_synthetic_has_the_sizes_asked_for_and_rising_times() -> None:
    raw = read("synthetic", {}, {**SIZES, "items": 300, "categories": 7})
    assert (len(raw.user_ids), len(raw.item_ids), len(raw.users)) == (20, 300, 300)
    assert len(set(raw.titles)) == 300
    assert {name for names in raw.categories for name in names} == {
        f"group-{group}" for group in range(1, 8)
    }
    for user in range(20):
        assert (np.diff(raw.times[raw.users == user]) > 0).all()


def test_synthetic_rewards_learning() -> None:
    """The follower of an item beats the most popular item, and that beats chance."""
    raw = read("synthetic", {}, {**SIZES, "users": 200, "items": 60, "interactions_per_user": 30})
    sequences = raw.items.reshape(200, 30)
    seen, held_out = sequences[:150], sequences[150:]
    followers: dict[int, Counter[int]] = defaultdict(Counter)
    for last, following in zip(seen[:, :-1].ravel(), seen[:, 1:].ravel(), strict=True):
        followers[int(last)][int(following)] += 1
    best = Counter(seen.ravel().tolist()).most_common(1)[0][0]
    last, target = held_out[:, :-1].ravel(), held_out[:, 1:].ravel()
    guess = np.array([followers[int(item)].most_common(1)[0][0] for item in last])
    by_sequence, by_popularity = (guess == target).mean(), (best == target).mean()
    assert by_sequence > 0.3
    assert by_sequence > 2 * by_popularity
    assert by_popularity > 1 / 60


@pytest.mark.parametrize("change", [{"users": 0}, {"items": 5}, {"seeds": 1}])
def test_synthetic_refuses_unfit_fields(change: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="The card's fields"):
        read("synthetic", {}, {**SIZES, **change})


def test_synthetic_takes_no_files(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="takes no file"):
        read("synthetic", {"items": tmp_path}, SIZES)
