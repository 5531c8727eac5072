"""The contract of every data set's card, and each card against the real files at hand."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.config import plugins
from bench.config.cards import DatasetCard
from bench.data import assets
from bench.data.prepare import find_mismatches, prepare
from bench.data.raw import RawData
from bench.data.readers import READERS, read
from bench.data.released_splits import RELEASED_SPLITS
from bench.errors import BenchError

NAMES = sorted(plugins.card_paths("datasets"))
FETCHED = [name for name in NAMES if plugins.dataset_card(name).files]

# The sets of the papers, with their own nouns in prompts.
PAPERS = {
    "amazon-2014-cds-and-vinyl", "amazon-2014-digital-music", "amazon-2018-all-beauty",
    "amazon-2018-books", "amazon-2018-cds-and-vinyl", "amazon-2018-gift-cards",
    "amazon-2018-magazine-subscriptions", "amazon-2018-toys-and-games", "amazon-2018-video-games",
    "goodreads-poetry", "goodreads-sprec", "ml-1m", "ml-10m", "ml-latest-small", "steam",
    "steam-australian",
}  # fmt: skip

# Where a card's files lie among the real ones: its folder, and names that differ there.
AT_HAND: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "amazon-2014-digital-music": (
        "amazon-2014",
        {
            "interactions": "reviews_Digital_Music_5.head.json.gz",
            "items": "meta_Digital_Music.head.json.gz",
        },
    ),
    "amazon-2018-gift-cards": ("amazon-2018", {}),
    "amazon-2018-magazine-subscriptions": ("amazon-2018", {}),
    "goodreads-sprec": ("goodreads-sprec", {}),
    "ml-100k": ("ml-100k", {}),
    "ml-10m": ("ml-10m", {"interactions": "ratings.head10000.dat"}),
    "ml-1m": ("ml-1m", {"interactions": "ratings.subset858.dat.gz"}),
    "ml-latest-small": ("ml-latest-small", {}),
    "steam-australian": ("steam", {"interactions": "australian_user_reviews.rebuilt.json.gz"}),
}


def test_the_papers_sets_are_there() -> None:
    assert set(NAMES) >= PAPERS


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_it_must(name: str) -> None:
    card = plugins.dataset_card(name)
    assert card.reader in {*READERS, *RELEASED_SPLITS}
    for text in (card.title, card.description, card.license, card.citation):
        assert text.strip() == text != ""
        assert "\n" not in text
    assert card.license.endswith(".")
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
    assert card.nouns.singular != card.nouns.plural


@pytest.mark.parametrize("name", FETCHED)
def test_a_card_with_files_says_where_they_are(name: str) -> None:
    card = plugins.dataset_card(name)
    assert card.homepage
    assert card.homepage.startswith("https://")
    assert card.nouns.singular != "item"
    names = [file.name for file in card.files.values()]
    assert len(set(names)) == len(names)
    for file in card.files.values():
        assert file.sources or "cannot be downloaded automatically" in card.description
        for source in file.sources:
            end = source.path or source.url or ""
            assert end.endswith(f"/{file.name}")
            assert source.url is None or re.fullmatch(r"https://[a-z.]+/[\w./~-]+", source.url)


@pytest.mark.parametrize("name", FETCHED)
def test_the_files_fit_the_reader(name: str, tmp_path: Path) -> None:
    """Roles and fields are right: with empty files, it is the files that are refused."""
    card = plugins.dataset_card(name)
    for file in card.files.values():
        (tmp_path / file.name).touch()
    paths = {role: tmp_path / file.name for role, file in card.files.items()}
    with pytest.raises(BenchError, match="is empty"):
        prepare(card, paths)


@pytest.mark.parametrize("name", FETCHED)
def test_a_missing_file_is_named_with_its_address_and_license(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    card = plugins.dataset_card(name)
    for file in card.files.values():
        with pytest.raises(BenchError) as caught:
            assets.fetch(file, card, name, data_dir=None, offline=True)
        message = caught.value.message
        for part in (file.name, name, "https://", card.license.rstrip(".")):
            assert part in message
        assert "\n" not in message


# --- real files ---------------------------------------------------------------------------------


def at_hand(name: str, shared_data: Path) -> tuple[DatasetCard, dict[str, Path]]:
    """Find a card's files, checksums tested where the names are the official ones."""
    folder, renamed = AT_HAND[name]
    if not (shared_data / folder).is_dir():
        pytest.skip(f"no {folder} in the folder of real data")
    card = plugins.dataset_card(name)
    return card, {
        role: shared_data / folder / renamed[role]
        if role in renamed
        else assets.fetch(file, card, name, data_dir=shared_data / folder, offline=True)
        for role, file in card.files.items()
    }


def real(name: str, shared_data: Path) -> RawData:
    card, paths = at_hand(name, shared_data)
    return read(card.reader, paths, card.fields)


@pytest.mark.parametrize(
    ("name", "lines", "users", "items", "reviewed"),
    [
        # Data notes on the official files: 5-core reviews and products.
        ("amazon-2018-gift-cards", 2972, 458, 1547, 148),
        ("amazon-2018-magazine-subscriptions", 2375, None, 2320, None),
        ("amazon-2014-digital-music", 6908, 2490, 7321, 382),
        # READMEs of GroupLens for the catalogs; ratings are heads or parts.
        ("ml-1m", 118850, 858, 3883, 3313),
        ("ml-10m", 10000, 84, 10681, None),
        ("ml-latest-small", 100004, 671, 9125, None),
        ("ml-100k", 100000, 943, 1682, 1682),
    ],
)
def test_real_files_are_read_through_their_cards(
    shared_data: Path, name: str, lines: int, users: int | None, items: int, reviewed: int | None
) -> None:
    raw = real(name, shared_data)
    assert (raw.num_lines, len(raw.item_ids)) == (lines, items)
    assert users in (None, len(raw.user_ids))
    assert reviewed in (None, len(set(raw.items.tolist())))


@pytest.mark.parametrize(
    "name",
    [
        "amazon-2018-gift-cards",
        "amazon-2018-magazine-subscriptions",
        "goodreads-sprec",
        "ml-100k",
        "steam-australian",
    ],
)
def test_whole_files_give_what_the_card_expects(shared_data: Path, name: str) -> None:
    """The Steam reviews are the official ones nested anew: another file, the same rows."""
    card, paths = at_hand(name, shared_data)
    counts = prepare(card, paths).counts
    assert find_mismatches(card, counts) == []


@pytest.mark.parametrize(
    ("name", "users", "min_history"), [("ml-1m", 6040, 10), ("ml-10m", 69878, 10)]
)
def test_expected_samples_are_what_full_histories_give(
    name: str, users: int, min_history: int
) -> None:
    """SPRec, Table 3: 9,301,274 sequences of ML-10M, one a position that has a whole history."""
    card = plugins.dataset_card(name)
    expected = card.expected
    samples = expected["interactions"] - min_history * users
    assert (expected["users"], expected["samples"]) == (users, samples)
    assert expected["train"] == int(0.8 * samples)
    assert expected["train"] + expected["valid"] == int(0.9 * samples)
    assert expected["test"] == samples - int(0.9 * samples)
    assert card.split.min_history == min_history
    if name == "ml-10m":
        assert samples == 9_301_274
