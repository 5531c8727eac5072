"""Amazon files of both releases: what counts, what is refused, and the real files' counts."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from damaged_files import check_sound, damaged_file, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st

from bench.data.raw import NO_TITLE, REPEATED_ITEM, UNKNOWN_ITEM, RawData
from bench.data.readers import read
from bench.errors import BenchError

REVIEWS = b"""\
{"reviewerID": "A1", "asin": "B01", "helpful": [0, 1], "overall": 5.0, "unixReviewTime": 1158364800}
{"reviewerID": "A2", "asin": "B02", "overall": 3, "verified": true, "unixReviewTime": 991526400}
{"reviewerID": "A1", "asin": "B01", "overall": 5.0, "unixReviewTime": 1158364800}
"""
# Quotes as Python writes them, two category paths, an entity, and no title at all.
META_2014 = b"""\
{'asin': 'B01', 'title': "Don't Drink His Blood", 'categories': [['CDs & Vinyl', 'Rock'], ['Pop']]}
{'asin': 'B02', 'title': 'Rhythm, Blues &amp; Grooves \\u00e9', 'price': 9.49, 'categories': [[]]}
{'asin': 'B03', 'categories': [['CDs & Vinyl', 'Rock', 'Rock']]}
"""
META_2018 = b"""\
{"category": ["Computers &amp; Internet", "Web"], "title": "One", "asin": "B01", "image": []}
{"category": [], "title": "<span class=\\"a-size-medium\\"", "asin": "B02", "imageURL": []}
{"category": [], "title": "", "asin": "B03", "brand": ""}
{"category": ["Other"], "title": "One again", "asin": "B01", "brand": ""}
"""


def read_bytes(
    folder: Path, release: str, items: bytes = META_2018, interactions: bytes = REVIEWS
) -> RawData:
    paths = {"items": folder / "meta.json", "interactions": folder / "reviews.json"}
    paths["items"].write_bytes(items)
    paths["interactions"].write_bytes(interactions)
    raw = read("amazon", paths, {"release": release})
    check_sound(raw)
    return raw


def test_2014_metadata_are_literals_with_several_paths(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, "2014", gzip.compress(META_2014, mtime=0))
    assert raw.item_ids == ("B01", "B02")
    assert raw.titles == ("Don't Drink His Blood", "Rhythm, Blues &amp; Grooves é")
    assert raw.categories == (("CDs & Vinyl", "Rock", "Pop"), ())
    assert raw.users.tolist() == [0, 1, 0]
    assert raw.ratings.tolist() == [5, 3, 5]
    assert raw.times.tolist() == [1158364800, 991526400, 1158364800]
    assert (raw.num_lines, raw.num_duplicates) == (3, 1)


def test_2014_metadata_that_somebody_turned_into_json(tmp_path: Path) -> None:
    turned = b'{"asin": "B01", "title": "One", "categories": [["Rock"]]}\n' + META_2014[100:]
    assert read_bytes(tmp_path, "2014", turned).titles[0] == "One"


def test_2018_the_first_line_of_an_asin_counts_and_titles_stay_raw(tmp_path: Path) -> None:
    raw = read_bytes(tmp_path, "2018")
    assert raw.titles == ("One", '<span class="a-size-medium"')
    assert raw.categories == (("Computers & Internet", "Web"), ())
    assert raw.rejected == {REPEATED_ITEM: 1}


def test_reviews_without_a_usable_product_are_counted(tmp_path: Path) -> None:
    more = REVIEWS.replace(b"B02", b"B03").replace(b"B01", b"B09", 1)
    raw = read_bytes(tmp_path, "2018", interactions=more)
    assert raw.rejected == {NO_TITLE: 1, REPEATED_ITEM: 1, UNKNOWN_ITEM: 1}
    assert (raw.num_lines, len(raw.users)) == (3, 1)


def test_halves_of_characters_are_joined_or_replaced(tmp_path: Path) -> None:
    items = b'{"asin": "B01", "title": "\\ud83c\\udfae and \\ud83c", "category": []}\n'
    raw = read_bytes(tmp_path, "2018", items)
    assert raw.titles == ("\U0001f3ae and \ufffd",)


def test_a_literal_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for code in (f"open({str(target)!r}, 'w')", "__import__('os').getcwd()", "[x for x in (1,)]"):
        with pytest.raises(BenchError, match=r"Line 1 of meta\.json is no Python literal"):
            read_bytes(tmp_path, "2014", f"{{'asin': {code}}}\n".encode())
    assert not target.exists()


@pytest.mark.parametrize(
    ("release", "items", "reviews", "sentence"),
    [
        ("2018", META_2014, REVIEWS, "Line 1 of meta.json is no JSON object"),
        ("2014", META_2014[:-5], REVIEWS, "Line 3 of meta.json is no Python literal or JSON"),
        ("2014", b"'asin'\n", REVIEWS, "Line 1 of meta.json is no Python literal or JSON"),
        ("2014", b"{'asin': " + b"[" * 9000, REVIEWS, "Line 1 of meta.json is no Python literal"),
        ("2014", b"{" * 9000 + b"}" * 9000, REVIEWS, "Line 1 of meta.json is no Python literal"),
        ("2014", b"{'title': 'x'}\n", REVIEWS, "Line 1 of meta.json has no 'asin'"),
        ("2018", META_2018, REVIEWS[:-9], "Line 3 of reviews.json is no JSON object"),
        ("2018", META_2018, REVIEWS + b"\n", "Line 4 of reviews.json is no JSON object: ''"),
        ("2018", META_2018, b"[1]\n", "Line 1 of reviews.json is no JSON object: '[1]'"),
        ("2018", META_2018, META_2018, "Line 1 of reviews.json has no 'reviewerID'"),
        ("2018", META_2018, b"A1,B01,5.0,1158364800\n", "Line 1 of reviews.json is no JSON"),
        ("2018", META_2018, REVIEWS.replace(b"5.0", b"NaN"), "Line 1 of reviews.json: the rating"),
        ("2018", META_2018, REVIEWS.replace(b"5.0", b"true"), "Line 1 of reviews.json: the rating"),
        ("2018", META_2018, REVIEWS.replace(b"1158364800", b"null"), "Line 1 of reviews.json: the"),
        ("2018", META_2018, b"<html><body>Sign in", "reviews.json is a web page"),
        (
            "2018",
            META_2018,
            gzip.compress(REVIEWS, mtime=0)[:-9],
            "reviews.json is a gzip file that is truncated",
        ),
        ("2018", META_2018, REVIEWS.replace(b"A2", b"\xe9"), "Line 2 of reviews.json is not UTF-8"),
    ],
)
def test_broken_files(
    tmp_path: Path, release: str, items: bytes, reviews: bytes, sentence: str
) -> None:
    with pytest.raises(BenchError) as caught:
        read_bytes(tmp_path, release, items, reviews)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


def test_unfit_fields(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="The card's fields: release"):
        read_bytes(tmp_path, "2023")


@given(data=st.data())
@pytest.mark.parametrize("release", ["2014", "2018"])
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, release: str, data: st.DataObject
) -> None:
    good = {"items": META_2014 if release == "2014" else META_2018, "interactions": REVIEWS}
    role = data.draw(st.sampled_from(sorted(good)))
    contents = {**good, role: data.draw(damaged_file(good[role]))}
    read_or_refuse(tmp_path_factory.getbasetemp(), "amazon", contents, {"release": release})


# --- real files ---------------------------------------------------------------------------------


def real(folder: Path, items: str, interactions: str, release: str) -> RawData:
    paths = {"items": folder / items, "interactions": folder / interactions}
    for path in paths.values():
        if not path.is_file():
            pytest.skip(f"no {path.name} in the folder of real data")
    raw = read("amazon", paths, {"release": release})
    check_sound(raw)
    return raw


@pytest.mark.parametrize("meta", ["meta_Gift_Cards.json.gz", "meta_Gift_Cards.2020-08.json.gz"])
def test_gift_cards_with_either_metadata_release(shared_data: Path, meta: str) -> None:
    raw = real(shared_data / "amazon-2018", meta, "Gift_Cards_5.json.gz", "2018")
    assert (raw.num_lines, len(raw.user_ids), len(set(raw.items.tolist()))) == (2972, 458, 148)
    assert (len(raw.item_ids), raw.rejected) == (1547, {})
    assert len({*zip(raw.users.tolist(), raw.items.tolist(), strict=True)}) == 2965


def test_magazines_repeat_products_and_keep_their_broken_titles(shared_data: Path) -> None:
    raw = real(
        shared_data / "amazon-2018",
        "meta_Magazine_Subscriptions.json.gz",
        "Magazine_Subscriptions_5.json.gz",
        "2018",
    )
    assert len(raw.item_ids) + raw.rejected[REPEATED_ITEM] == 3385
    assert (len(raw.item_ids), raw.num_lines) == (2320, 2375)
    assert sum(title.startswith("<span") for title in raw.titles) == 2163


def test_all_beauty_is_the_set_of_dpo4rec(shared_data: Path, tmp_path: Path) -> None:
    """DPO4Rec's table: 991 users, 85 items, 5,269 interactions; metadata made up here."""
    reviews = shared_data / "amazon-2018" / "All_Beauty_5.json.gz"
    if not reviews.is_file():
        pytest.skip("no All_Beauty_5.json.gz in the folder of real data")
    with gzip.open(reviews, "rt", encoding="utf-8") as file:
        asins = {json.loads(line)["asin"] for line in file}
    meta = tmp_path / "meta.json"
    meta.write_text("".join(f'{{"asin": "{asin}", "title": "x"}}\n' for asin in sorted(asins)))
    raw = read("amazon", {"items": meta, "interactions": reviews}, {"release": "2018"})
    assert (len(raw.users), len(raw.user_ids), len(raw.item_ids)) == (5269, 991, 85)
    assert raw.num_duplicates == 5269 - 4161
    assert ((raw.ratings >= 4).sum(), (raw.ratings == 5).sum()) == (4981, 4649)


def test_digital_music_of_2014(shared_data: Path) -> None:
    """Head of the official files: 6,908 reviews, 2,490 users, 382 items, 7,419 products."""
    raw = real(
        shared_data / "amazon-2014",
        "meta_Digital_Music.head.json.gz",
        "reviews_Digital_Music_5.head.json.gz",
        "2014",
    )
    assert raw.num_lines == 6908
    assert len(raw.item_ids) == 7321
    assert sum(num > 1 for num in Counter(raw.titles).values()) == 237
    assert (len(raw.user_ids), len(set(raw.items.tolist()))) == (2490, 382)
    assert "&amp;" in "".join(raw.titles)
    rock = [names for names in raw.categories if "Classic Rock" in names]
    assert (sum("Rock" in names for names in rock), len(rock)) == (606, 626)
