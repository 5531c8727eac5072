"""Re-ranking data: what raw interactions become, how it is kept, documented reference rows."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data import kar, prepared_lists
from bench.data.candidate_lists import make_lists, number_attributes, select_category
from bench.data.prepared_lists import PreparedLists
from bench.data.raw import Collector, RawData
from bench.data.readers import read
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.stages.order_lists import score_by_order

RULES = kar.Rules(cap=4, positive_above=3)


def raw_data(num_users: int = 40, num_items: int = 20, length: int = 13) -> RawData:
    collector, rng = Collector(), np.random.default_rng(0)
    for item in range(num_items):
        collector.add_item(f"i{item}", f"Title {item}", [f"genre {item % 3}"] if item else [])
    line = 0
    for user in range(num_users):
        for item in rng.choice(num_items, size=length, replace=False):
            line += 1
            collector.add_interaction(
                f"u{user}", f"i{item}", float(rng.integers(1, 6)), line * 7, line
            )
    return collector.finish()


def make_prepared(raw: RawData | None = None, share: float = 0.25, seed: int = 0) -> PreparedLists:
    raw = raw or raw_data()
    genres = select_category(raw.categories, 0)
    return make_lists(raw, RULES, fields=[genres], valid_share=share, seed=seed)


@pytest.fixture(scope="module")
def prepared() -> PreparedLists:
    return make_prepared()


# --- what lists hold ------------------------------------------------------------------------------


def test_parts_are_disjoint_and_cover_all_lists(prepared: PreparedLists) -> None:
    by_part = {part: prepared.rows(part) for part in prepared_lists.PARTS}
    assert sorted(np.concatenate(list(by_part.values()))) == list(range(len(prepared.users)))
    users = [set(prepared.users[rows].tolist()) for rows in by_part.values()]
    assert [len(part) for part in users] == [27, 9, 4]
    assert len(set.union(*users)) == 40
    both = prepared.rows("train", "valid")
    assert both.tolist() == sorted([*by_part["train"], *by_part["valid"]])


def test_validation_users_depend_on_the_seed_and_lists_do_not(prepared: PreparedLists) -> None:
    other = make_prepared(seed=1)
    assert (other.parts != prepared.parts).any()
    assert (other.parts == 2).tolist() == (prepared.parts == 2).tolist()
    assert np.array_equal(other.items, prepared.items)
    assert other.fingerprint != prepared.fingerprint
    assert make_prepared().fingerprint == prepared.fingerprint


def test_without_a_share_there_is_no_validation() -> None:
    whole = make_prepared(share=0.0)
    assert not len(whole.rows("valid"))
    assert len(whole.rows("train")) == 36 * 3


def test_histories_end_before_the_lists(prepared: PreparedLists) -> None:
    for user in range(len(prepared.user_ids)):
        seen, ratings = prepared.history(user)
        assert len(seen) == len(ratings) == 4
        real_items = prepared.items[prepared.users == user][prepared.real[prepared.users == user]]
        assert not set(seen.tolist()) & set(real_items.tolist())


def test_a_history_may_be_shorter_than_its_start(prepared: PreparedLists) -> None:
    """Where items went after the start was counted."""
    short = dataclasses.replace(prepared, starts=np.full_like(prepared.starts, 50))
    assert len(short.history(0)[0]) == 13
    assert len(short.history(39)[0]) == 13


def test_popularity_never_counts_test_users(prepared: PreparedLists) -> None:
    assert prepared.popularity.sum() == 36 * 13
    expected = np.zeros(20, dtype=int)
    for user in np.flatnonzero(prepared.parts != 2):
        np.add.at(expected, prepared.sequence[prepared.ends[user] : prepared.ends[user + 1]], 1)
    assert prepared.popularity.tolist() == expected.tolist()


def test_counts(prepared: PreparedLists) -> None:
    counts = prepared.counts
    assert (counts["users"], counts["items"], counts["lists"]) == (40, 20, 120)
    assert [counts[f"{part} users"] for part in prepared_lists.PARTS] == [27, 9, 4]
    assert [counts[f"{part} lists"] for part in prepared_lists.PARTS] == [81, 27, 12]
    repeated = sum(len(set(row)) < 10 for row in prepared.items.tolist())
    assert counts["lists with a repeated item"] == repeated > 0
    assert counts["lists without positives"] == (prepared.labels.sum(axis=1) == 0).sum()


def test_attributes_are_numbered_in_the_order_of_the_item_file(prepared: PreparedLists) -> None:
    """Item i0 has no genre; i1 brings genre 1, i2 genre 2, i3 genre 0."""
    assert prepared.attribute_names == ("unknown", "genre 1", "genre 2", "genre 0")
    for item_id, numbers in zip(prepared.item_ids, prepared.attributes.tolist(), strict=True):
        item = int(item_id[1:])
        name = f"genre {item % 3}" if item else "unknown"
        assert prepared.attribute_names[numbers[0] - 1] == name


def test_fields_share_one_numbering() -> None:
    table, names = number_attributes([["Nike", "Puma", "Nike"], ["Shoes", "Shoes", "Puma"]])
    assert names == ("Nike", "Shoes", "Puma")
    assert table.tolist() == [[1, 2], [3, 2], [1, 3]]


def test_select_category() -> None:
    paths = [["Books", " Crime ", "Noir"], ["Books"], []]
    assert select_category(paths, 0) == ["Books", "Books", ""]
    assert select_category(paths, 1) == ["Crime", "", ""]


@pytest.mark.parametrize(
    ("raw", "share", "message"),
    [
        (raw_data(num_users=1), 0.0, "No list is left for train"),
        (raw_data(length=1), 0.0, "No list is left for train and test"),
        (raw_data(num_items=9, length=9), 0.0, "cannot fill lists of 10"),
        (raw_data(), 1.0, "fraction of training users for validation is 1.0"),
    ],
)
def test_data_without_lists_are_refused(raw: RawData, share: float, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        make_prepared(raw, share)


# --- in a folder ----------------------------------------------------------------------------------


def test_what_was_written_is_read_back(prepared: PreparedLists, tmp_path: Path) -> None:
    prepared_lists.write(prepared, tmp_path)
    again = prepared_lists.read(tmp_path)
    assert again.fingerprint == prepared.fingerprint
    for part in dataclasses.fields(PreparedLists):
        one, other = getattr(prepared, part.name), getattr(again, part.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
        else:
            assert one == other


def test_changed_or_foreign_folders_are_refused(prepared: PreparedLists, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not contain re-ranking lists"):
        prepared_lists.read(tmp_path)
    prepared_lists.write(prepared, tmp_path)
    table = pq.read_table(tmp_path / "lists.parquet").to_pydict()
    table["labels"][0][0] ^= 1
    pq.write_table(pa.table(table), tmp_path / "lists.parquet")
    with pytest.raises(BenchError, match="were changed"):
        prepared_lists.read(tmp_path)
    (tmp_path / "lists.json").write_text('{"format": "prepared data 1"}')
    with pytest.raises(BenchError, match="does not contain re-ranking lists 3"):
        prepared_lists.read(tmp_path)


# --- rows to print beside the methods -------------------------------------------------------------


def test_orders(prepared: PreparedLists) -> None:
    rows = prepared.rows("test")
    labels = prepared.labels[rows]
    given = score_by_order("given", prepared, rows)
    assert np.argsort(-given, axis=1, kind="stable").tolist() == [list(range(10))] * len(rows)
    popular = score_by_order("popularity", prepared, rows)
    assert popular.tolist() == prepared.popularity[prepared.items[rows]].tolist()
    best = evaluate_lists(score_by_order("oracle", prepared, rows), labels, ks=[5])
    assert best.metrics["MAP@5"] == best.metrics["ListCap"]


def test_beautys_reference_rows(shared_data: Path, tmp_path: Path) -> None:
    """Section 4 of the re-ranking notes: lists drawn from the items in order of their numbers."""
    reviews = shared_data / "amazon-2018" / "All_Beauty_5.json.gz"
    lines = gzip.decompress(reviews.read_bytes()).splitlines()
    metadata = tmp_path / "meta.json"
    # With items in the order of KAR's numbers, the order of the file is that of the numbers.
    asins = in_kars_order([json.loads(line) for line in lines])
    metadata.write_text("\n".join(json.dumps({"asin": asin, "title": asin}) for asin in asins))
    raw = read("amazon", {"interactions": reviews, "items": metadata}, {"release": "2018"})
    rules = kar.Rules(cap=15, positive_above=4)
    beauty = make_lists(raw, rules, fields=[[""] * 85], valid_share=0.1, seed=0)
    rows = beauty.rows("test")
    expected = {
        "given": (0.4026, 0.3616),
        "popularity": (0.8786, 0.8736),
        "oracle": (0.9406, 0.9406),
    }
    for name, values in expected.items():
        found = evaluate_lists(score_by_order(name, beauty, rows), beauty.labels[rows], ks=[5])
        prepared = (found.metrics["MAP@5"], found.metrics["NDCG@5"])
        assert prepared == pytest.approx(values, abs=5e-5), name
    assert (beauty.counts["train users"], beauty.counts["valid users"]) == (802, 89)
    train = beauty.rows("train", "valid")
    repeated = [len(set(row)) < 10 for row in beauty.items[train].tolist()]
    assert np.mean(repeated) == pytest.approx(0.55, abs=0.005)


def in_kars_order(reviews: list[dict[str, str]]) -> list[str]:
    """Return the items by first appearance in the order of KAR's users."""
    import random

    by_user: dict[str, list[tuple[int, str]]] = {}
    for review in reviews:
        times = by_user.setdefault(review["reviewerID"], [])
        times.append((int(review["unixReviewTime"]), review["asin"]))
    users = list(by_user)
    random.Random(1234).shuffle(users)
    ordered = [
        item for user in users for _, item in sorted(by_user[user], key=lambda entry: entry[0])
    ]
    return list(dict.fromkeys(ordered))
