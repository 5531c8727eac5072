"""KAR's users, sequences and lists against the original program's (section 6 of the data notes)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.config import plugins
from bench.data import kar
from bench.data.raw import RawData
from bench.data.readers import read


def of_raw(raw: RawData, rules: kar.Rules) -> tuple[kar.UserSequences, kar.CandidateLists, int]:
    """Return sequences, lists and the number of lists of training users, which come first."""
    data = kar.build_sequences(raw, rules)
    lists = kar.build_lists(data, rules)
    return data, lists, int(np.isin(lists.users, data.train_users).sum())


def user_span(data: kar.UserSequences, index: int) -> slice:
    """Return where a user's interactions lie."""
    return slice(int(data.ends[index]), int(data.ends[index + 1]))


@pytest.fixture(scope="module")
def ml_1m(shared_data: Path) -> RawData:
    folder = shared_data / "ml-1m"
    paths = {"interactions": folder / "ratings.subset858.dat.gz", "items": folder / "movies.dat"}
    return read("movielens", paths, plugins.dataset_card("ml-1m").fields)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Callable[[str], list[dict[str, Any]]]:
    def read(part: str) -> list[dict[str, Any]]:
        path = shared_data / "golden" / "kar" / f"ml1m_subset858.{part}.jsonl.gz"
        return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]

    return read


ML_1M = kar.Rules(cap=30, positive_above=3, by_day=True)


def test_ml_1m_users_and_sequences_equal_the_originals(
    ml_1m: RawData, golden: Callable[[str], list[dict[str, Any]]]
) -> None:
    data, _, _ = of_raw(ml_1m, ML_1M)
    assert (len(data.users), len(data.items), len(data.sequence)) == (858, 3_313, 118_850)
    assert (len(data.train_users), len(data.test_users)) == (772, 86)
    train = set(data.train_users.tolist())
    users = [
        {
            "user": ml_1m.user_ids[user],
            "split": "train" if index in train else "test",
            "lm_hist": int(data.starts[index]),
            "items": [
                ml_1m.item_ids[item] for item in data.items[data.sequence[user_span(data, index)]]
            ],
            "ratings": data.ratings[user_span(data, index)].astype(int).tolist(),
        }
        for index, user in enumerate(data.users)
    ]
    assert users == golden("users")


def test_ml_1m_lists_equal_the_originals_drawn_items_included(
    ml_1m: RawData, golden: Callable[[str], list[dict[str, Any]]]
) -> None:
    """More than the notes ask for: generator, calls and pool are the original's."""
    data, lists, num_train = of_raw(ml_1m, ML_1M)
    expected = golden("rerank_train") + golden("rerank_test")
    assert (num_train, len(lists.users) - num_train) == (21_824, 2_830)
    built = [
        {
            "user": ml_1m.user_ids[data.users[user]],
            "idx": int(first),
            "candidates": [ml_1m.item_ids[data.items[item]] for item in items],
            "labels": labels.tolist(),
        }
        for user, first, items, labels in zip(
            lists.users, lists.first, lists.items, lists.labels, strict=True
        )
    ]
    assert built == expected
    assert round(float((lists.labels.sum(axis=1) == 0).mean()), 2) == 0.09


def test_gift_cards_have_the_originals_counts(shared_data: Path) -> None:
    folder = shared_data / "amazon-2018"
    raw = read(
        "amazon",
        {
            "interactions": folder / "Gift_Cards_5.json.gz",
            "items": folder / "meta_Gift_Cards.json.gz",
        },
        {"release": "2018"},
    )
    rules = kar.Rules(cap=15, positive_above=4, min_user=5, min_item=5)
    data, lists, num_train = of_raw(raw, rules)
    assert (len(data.users), len(data.items), len(data.sequence)) == (456, 147, 2_960)
    assert (len(data.train_users), len(data.test_users)) == (410, 46)
    assert (num_train, len(lists.users) - num_train) == (450, 51)


@pytest.mark.parametrize(
    ("above", "train", "test"),
    [
        (4, [85, 27, 641, 139, 11], [6, 3, 71, 20, 1]),
        (3, [35, 22, 661, 169, 16], [4, 1, 72, 23, 1]),
    ],
)
def test_beauty_has_the_documented_positives(
    shared_data: Path, tmp_path: Path, above: int, train: list[int], test: list[int]
) -> None:
    """Section 3.5 of the re-ranking notes; the metadata are not to be had, so ids stand in."""
    reviews = shared_data / "amazon-2018" / "All_Beauty_5.json.gz"
    lines = gzip.decompress(reviews.read_bytes()).splitlines()
    metadata = tmp_path / "meta.json"
    asins = sorted({json.loads(line)["asin"] for line in lines})
    metadata.write_text("\n".join(json.dumps({"asin": asin, "title": asin}) for asin in asins))
    raw = read("amazon", {"interactions": reviews, "items": metadata}, {"release": "2018"})
    data, lists, num_train = of_raw(raw, kar.Rules(cap=15, positive_above=above))
    assert (len(data.users), len(data.items), len(data.sequence)) == (991, 85, 5_269)
    assert np.bincount(data.starts).tolist() == [0, 0, 1, 955, 22, 9, 4]
    positives = lists.labels.sum(axis=1)
    assert np.bincount(positives[:num_train]).tolist() == train
    assert np.bincount(positives[num_train:]).tolist() == test
