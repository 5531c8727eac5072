"""Cards with D3's preparation against what D3's own program wrote (section 6 of the data notes)."""

from __future__ import annotations

import ast
import csv
import gzip
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import plugins
from bench.config.cards import Filters, Split, Titles
from bench.data.prepare import prepare
from bench.data.prepared import SPLITS, Prepared

# The card and its raw files; of the 2014 set only the heads are at hand.
GOLDEN = {
    "Gift_Cards": (
        "amazon-2018-gift-cards",
        "amazon-2018/meta_Gift_Cards",
        "amazon-2018/Gift_Cards_5",
    ),
    "Digital_Music": (
        "amazon-2014-digital-music",
        "amazon-2014/meta_Digital_Music.head",
        "amazon-2014/reviews_Digital_Music_5.head",
    ),
}
IGD = ("books", "cds-and-vinyl", "toys-and-games", "video-games")


def golden(shared_data: Path, name: str, part: str) -> list[str]:
    path = shared_data / "golden" / "d3" / f"{name}_5_1996-10-2018-11.{part}.gz"
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def rows(data: Prepared, split: str) -> list[dict[str, Any]]:
    """Return a split in D3's columns."""
    catalog, actual = data.catalog, []

    def texts(names: tuple[str, ...], items: NDArray[np.int32]) -> list[str]:
        return [names[item] for item in items]

    for sample in data.sample_range(split):
        start, target = data.start[sample], data.target[sample]
        history, item = data.items[start:target], int(data.items[target])
        actual.append(
            {
                "user_id": data.user_ids[data.users[target]],
                "item_asins": texts(catalog.ids, history),
                "item_asin": catalog.ids[item],
                "history_item_id": history.tolist(),
                "item_id": item,
                "history_item_title": texts(catalog.titles, history),
                "item_title": catalog.titles[item],
                "history_rating": data.ratings[start:target].tolist(),
                "rating": float(data.ratings[target]),
                "history_timestamp": data.times[start:target].tolist(),
                "timestamp": int(data.times[target]),
            }
        )
    return actual


@pytest.mark.parametrize("name", GOLDEN)
def test_prepared_data_equal_those_of_d3s_own_program(shared_data: Path, name: str) -> None:
    card, metadata, reviews = GOLDEN[name]
    paths = {
        "items": shared_data / f"{metadata}.json.gz",
        "interactions": shared_data / f"{reviews}.json.gz",
    }
    data = prepare(plugins.dataset_card(card), paths)
    assert [f"{title}\t{item}" for item, title in enumerate(data.catalog.titles)] == golden(
        shared_data, name, "info.txt"
    )
    for split in SPLITS:
        expected = list(csv.DictReader(golden(shared_data, name, f"{split}.csv")))
        actual = rows(data, split)
        assert len(actual) == len(expected) > 0
        assert list(actual[0]) == list(expected[0])
        for row, expected_row in zip(actual, expected, strict=True):
            assert row == {
                column: text if isinstance(row[column], str) else ast.literal_eval(text)
                for column, text in expected_row.items()
            }


def test_broken_titles_pass_as_they_do_in_d3(shared_data: Path) -> None:
    folder = shared_data / "amazon-2018"
    paths = {
        "items": folder / "meta_Magazine_Subscriptions.json.gz",
        "interactions": folder / "Magazine_Subscriptions_5.json.gz",
    }
    data = prepare(plugins.dataset_card("amazon-2018-magazine-subscriptions"), paths)
    names = ("users", "items", "interactions", "samples", "train", "valid", "test")
    assert [data.counts[name] for name in names] == [302, 129, 2069, 1767, 1413, 177, 177]
    assert sum(title.startswith("<span class") for title in data.catalog.titles) == 127
    assert data.counts["titles"] == 3


@pytest.mark.parametrize("name", [*IGD, "gift-cards", "magazine-subscriptions"])
def test_the_cards_of_igds_data_sets_ask_for_d3s_preparation(name: str) -> None:
    card = plugins.dataset_card(f"amazon-2018-{name}")
    assert (card.titles, card.filters, card.split) == (
        Titles(profile="d3"),
        Filters(
            min_user_interactions=5,
            min_item_interactions=5,
            start=date(2017, 10, 1),
            end=date(2018, 11, 1),
            min_items=10_000,
            catalog="shuffled",
        ),
        Split(history=10, min_history=1),
    )
