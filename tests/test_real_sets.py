"""`bench data prepare` on every real set at hand, and the counts that specifications print for it.

Sources of the numbers: the data notes' facts checked on these files, the papers' tables, the
READMEs of GroupLens. Parts of sets are named with --file, as a user would.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.config import plugins
from bench.data.prepare import prepare
from bench.data.prepared import Prepared
from bench.data.released_splits.item_titles import read_titles


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prepared(
    name: str, folder: Path, tmp_path: Path, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run the command and return what it prints as JSON."""
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in the folder of real data")
    named = [f"--file={role}={folder / file}" for role, file in (files or {}).items()]
    place = ["--data-dir", str(folder), "--store", str(tmp_path / "store"), "--offline", "--json"]
    done = CliRunner().invoke(app, ["data", "prepare", name, *place, *named])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)[name]
    return result


def splits(train: int, valid: int, test: int) -> dict[str, int]:
    return {"samples": train + valid + test, "train": train, "valid": valid, "test": test}


# Folder, files in roles of the card under other names, counts.
SETS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, int]]] = {
    # Every user has at least 20 ratings: windows with a whole history of 10.
    "ml-100k": (
        "ml-100k",
        {},
        {"users": 943, "items": 1682, "interactions": 100_000, **splits(72_456, 9_057, 9_057)},
    ),
    "ml-latest-small": (
        "ml-latest-small",
        {},
        {"lines": 100_004, "users": 671, "items": 9_125, "interactions": 100_004},
    ),
    # SPRec's rule on parts: every user has at least 20 ratings, so 118,850 - 10 x 858.
    "ml-1m": (
        "ml-1m",
        {"interactions": "ratings.subset858.dat.gz"},
        {
            "users": 858,
            "items": 3_883,
            "titles": 3_883,
            "items with interactions": 3_313,
            "interactions": 118_850,
            "samples": 110_270,
        },
    ),
    "ml-10m": (
        "ml-10m",
        {"interactions": "ratings.head10000.dat"},
        {"lines": 10_000, "users": 84, "items": 10_681, "titles": 10_680},
    ),
    # D3's own program, on the same files.
    "amazon-2018-gift-cards": (
        "amazon-2018",
        {},
        {"users": 456, "items": 147, "interactions": 2_960, **splits(2_003, 250, 251)},
    ),
    "amazon-2018-magazine-subscriptions": (
        "amazon-2018",
        {},
        {"users": 302, "items": 129, "interactions": 2_069, **splits(1_413, 177, 177)},
    ),
    "amazon-2014-digital-music": (
        "amazon-2014",
        {
            "interactions": "reviews_Digital_Music_5.head.json.gz",
            "items": "meta_Digital_Music.head.json.gz",
        },
        {"users": 268, "items": 206, "interactions": 2_480, **splits(1_769, 221, 222)},
    ),
    # Table 3 of SPRec: the catalog; the notes: reviews and those without a year.
    "steam-australian": (
        "steam",
        {"interactions": "australian_user_reviews.rebuilt.json.gz"},
        {"lines": 59_305, "items": 32_094, "rejected: review without a year": 10_119},
    ),
    "goodreads-sprec": ("goodreads-sprec", {}, {"lines": 6_256, "items": 4_058, "titles": 4_058}),
    "lastfm-sdpo": ("lastfm-sdpo", {}, {"items": 4_606, **splits(0, 2_767, 2_495)}),
    # 35,060 rows and 4,383; one of 6,344 books has no title, and 32 rows show it.
    "amazon-2018-books-msl": (
        "amazon-books-bigrec",
        {"test": "test.csv.gz"},
        {"lines": 35_060 + 4_383, "items": 6_344 - 1, **splits(35_060 - 32, 0, 4_383)},
    ),
    "amazon-2018-cds-and-vinyl-flower": (
        "amazon-2018-d3",
        {},
        {"lines": 61_564, "samples": 61_564, "users": 7_685, "items": 5_841, "titles": 5_377},
    ),
    "amazon-2018-video-games-flower": (
        "amazon-2018-d3",
        {},
        {"lines": 61_417, "samples": 61_417, "users": 9_066, "items": 3_858, "titles": 3_806},
    ),
    "amazon-2018-movies-and-tv-flower": (
        "amazon-2018-d3",
        {},
        {"lines": 27_422, "samples": 27_422, "users": 3_663, "items": 2_653, "titles": 2_599},
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_is_prepared(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder, files, expected = SETS[name]
    result = prepared(name, shared_data / folder, tmp_path, files)
    assert {count: result["counts"][count] for count in expected} == expected
    wrong = [note for note in result["notes"] if "the card expects" in note]
    # A part of a set is not what the card expects, and is told so; a whole one is.
    assert bool(wrong) == (name in {"ml-1m", "ml-10m", "amazon-2014-digital-music"})


def test_another_release_is_told_and_gives_the_same_gift_cards(
    shared_data: Path, tmp_path: Path
) -> None:
    """The metadata of 2020 and of 2021 hold the same titles; only the note tells them apart."""
    folder = shared_data / "amazon-2018"
    newer = prepared("amazon-2018-gift-cards", folder, tmp_path)
    older = prepared(
        "amazon-2018-gift-cards", folder, tmp_path, {"items": "meta_Gift_Cards.2020-08.json.gz"}
    )
    assert older["fingerprint"] == newer["fingerprint"]
    (note,) = set(older["notes"]) - set(newer["notes"])
    assert "meta_Gift_Cards.json.gz is another version" in note


def test_every_rating_after_the_tenth_is_a_sample(shared_data: Path, tmp_path: Path) -> None:
    folder, file = shared_data / "ml-10m", "ratings.head10000.dat"
    counts = prepared("ml-10m", folder, tmp_path, {"interactions": file})["counts"]
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    lengths = np.unique([line.split("::")[0] for line in lines], return_counts=True)[1]
    assert len(lengths) == 84
    assert counts["samples"] == np.maximum(lengths - 10, 0).sum()


def test_the_catalogs_of_bigrec_and_igd(shared_data: Path) -> None:
    """BIGRec's games, 16,940 distinct as written; IGD's Table 4: 11,252 toys."""
    games, toys = (
        shared_data / "bigrec" / "video_games.id2name.txt.gz",
        shared_data / "amazon-2018-d3" / "Toys_and_Games_5_2016-10-2018-11.info.txt.gz",
    )
    if not games.is_file() or not toys.is_file():
        pytest.skip("no bigrec or amazon-2018-d3 in the folder of real data")
    titles = read_titles(games)
    assert len(titles.by_id) == 17_408
    assert len(set(titles.by_id.values())) == 16_940
    assert len(read_titles(toys).by_id) == 11_252


def test_flowers_windows_are_the_rows_of_its_d3_tables(shared_data: Path) -> None:
    """The table of all splits was decoded from caches; two of its splits are published as CSV."""
    start = "Video_Games_5_2015-10-2018-11"
    folder = shared_data / "amazon-2018-d3"
    if not folder.is_dir():
        pytest.skip("no amazon-2018-d3 in the folder of real data")
    paths = {role: folder / f"{start}.{end}.gz" for role, end in
             {"windows": "windows.csv", "items": "info.txt"}.items()}  # fmt: skip
    data = prepare(plugins.dataset_card("amazon-2018-video-games-flower"), paths)
    for split in ("valid", "test"):
        content = gzip.decompress((folder / f"{start}.{split}.csv.gz").read_bytes()).decode()
        rows = list(csv.DictReader(io.StringIO(content)))
        expected = [
            ([*map(str, json.loads(row["history_item_id"]))], row["item_id"]) for row in rows
        ]
        assert shown_ids(data, split) == expected


def shown_ids(data: Prepared, split: str) -> list[tuple[list[str], str]]:
    windows = data.windows(np.array(data.sample_range(split)))
    ids = data.catalog.ids
    return [
        ([ids[item] for item in history if item >= 0], ids[target])
        for history, target in zip(windows.histories, windows.targets, strict=True)
    ]


def test_what_is_not_at_hand_is_named(shared_data: Path, tmp_path: Path) -> None:
    """All_Beauty's metadata are not here: one sentence with name, address and license."""
    folder = shared_data / "amazon-2018"
    if not folder.is_dir():
        pytest.skip("no amazon-2018 in the folder of real data")
    place = ["--data-dir", str(folder), "--store", str(tmp_path / "store"), "--offline"]
    done = CliRunner().invoke(app, ["data", "prepare", "amazon-2018-all-beauty", *place])
    assert done.exit_code != 0
    said = f"{done.output}{done.exception}"
    for part in ("meta_All_Beauty.json.gz", "https://", "license"):
        assert part in said
