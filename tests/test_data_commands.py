"""Description, verification and export of prepared data, by hand-made and generated sets."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.config.cards import DatasetCard, Nouns
from bench.config.plugins import dataset_card
from bench.data.catalog import Catalog
from bench.data.prepare import prepare
from bench.data.prepared import Prepared
from bench.data.verification import verify
from bench.errors import BenchError
from bench.report.data_pages.description import describe
from bench.results.formats.prepared_data import export_data

CARD = DatasetCard(title="T", description="D", license="L", citation="C", reader="synthetic")


@pytest.fixture
def small() -> Prepared:
    """Two users: u sees a b a c, v sees b c; windows from one item on; 2 train, 1 valid, 1 test."""
    return Prepared(
        catalog=Catalog(
            ids=("A", "B", "C", "D"),
            titles=("One", "Two", "Three, of many", "Two"),
            categories=(("x",), ("x", "y y"), ("y y",), ()),
            tracked=("x", "y y"),
        ),
        user_ids=("u", "v"),
        users=np.array([0, 0, 0, 0, 1, 1], dtype=np.int32),
        items=np.array([0, 1, 0, 2, 1, 2], dtype=np.int32),
        ratings=np.array([5, 4, 3, 2, 1, np.nan], dtype=np.float32),
        times=np.array([10, 20, 30, 50, 15, 40], dtype=np.int64),
        start=np.array([0, 0, 4, 0], dtype=np.int64),
        target=np.array([1, 2, 5, 3], dtype=np.int64),
        boundaries=(2, 3),
        history=3,
        counts={"users": 2, "items": 4},
    )


def test_description_of_a_set_counted_by_hand(small: Prepared) -> None:
    result = describe(small)
    assert result.sequences == {
        "users": 2,
        "users with a sample": 2,
        "windows": 4,
        "windows, train": 2,
        "windows, valid": 1,
        "windows, test": 1,
    }
    assert result.density == 6 / (2 * 3)
    assert result.repeats == 0.25  # only u's third item, a, stands in its history
    assert result.sequence_lengths["mean"] == 3.0
    assert result.history_lengths["max"] == 3.0
    assert result.item_popularity["min"] == 0.0
    # Popularity 0, 2, 2, 2 over four items: (−1·2 + 1·2 + 3·2) / (4·6).
    assert result.popularity_gini == pytest.approx(6 / 24)
    assert result.top_tenth == pytest.approx(2 / 6)
    # Training windows cover a, b, a: x gets 1 + .5 + 1, y gets .5.
    assert result.categories == pytest.approx({"x": 2.5 / 3, "y y": 0.5 / 3})
    assert result.title_words["max"] == 3.0
    json.dumps(asdict(result))


def test_a_good_set_passes_and_says_what_to_know(small: Prepared) -> None:
    verdicts = {finding.check: finding.verdict for finding in verify(small, CARD)}
    assert "fails" not in verdicts.values()
    assert verdicts["titles are distinct"] == "note"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"target": np.array([3, 2, 5, 1])}, "no sample of a later split"),
        ({"start": np.array([0, 0, 3, 0])}, "every history is of the target's user"),
        ({"target": np.array([1, 2, 5, 5]), "start": np.array([0, 0, 4, 4])}, "no sample twice"),
        ({"items": np.array([0, 1, 0, 9, 1, 2])}, "every target is an item"),
    ],
)
def test_a_bad_set_fails_its_check(small: Prepared, change: dict, check: str) -> None:
    result = [f for f in verify(replace(small, **change), CARD) if f.check.startswith(check)]
    assert [finding.verdict for finding in result] == ["fails"]


def test_unexpected_counts_fail(small: Prepared) -> None:
    card = CARD.model_copy(update={"expected": {"users": 3}})
    assert verify(small, card)[0].verdict == "fails"
    assert "3" in verify(small, card)[0].text


def test_recbole_files_read_back(small: Prepared, tmp_path: Path) -> None:
    export_data(small, "recbole", tmp_path, name="own", nouns=Nouns())
    card = DatasetCard(
        title="T",
        description="D",
        license="L",
        citation="C",
        reader="recbole",
        fields={
            "user": "user_id",
            "item": "item_id",
            "time": "timestamp",
            "title": "{title}",
            "categories": "categories",
        },
        split={"history": 3, "min_history": 1, "ratios": (2, 1, 1)},
    )
    files = {"interactions": tmp_path / "own.inter", "items": tmp_path / "own.item"}
    again = prepare(card, files)
    assert again.catalog.titles == small.catalog.titles
    assert again.items.tolist() == small.items.tolist()
    assert (again.start.tolist(), again.target.tolist()) == (
        small.start.tolist(),
        small.target.tolist(),
    )


def test_d3_files_have_its_columns(small: Prepared, tmp_path: Path) -> None:
    paths = export_data(small, "d3", tmp_path, name="own", nouns=Nouns())
    assert len(paths) == 4
    (row,) = csv.DictReader(io.StringIO((tmp_path / "own.test.csv").read_text()))
    assert row["user_id"] == "u"
    assert row["item_asins"] == "['A', 'B', 'A']"
    assert (row["item_id"], row["item_title"]) == ("2", "Three, of many")
    assert row["history_rating"] == "[5.0, 4.0, 3.0]"
    assert (tmp_path / "own.info.txt").read_text().splitlines()[2] == "Three, of many\t2"


def test_sprec_files_have_its_maps(small: Prepared, tmp_path: Path) -> None:
    export_data(small, "sprec", tmp_path, name="own", nouns=Nouns(singular="book", plural="books"))
    (row,) = json.loads((tmp_path / "test.json").read_text())
    assert row["output"] == '"Three, of many"\n'
    assert '"One", "Two", "One"' in row["input"]
    assert json.loads((tmp_path / "id2name.json").read_text()) == {
        "0": "One",
        "1": "Two",
        "2": "Three, of many",
    }
    assert json.loads((tmp_path / "name2genre.json").read_text())["Two"] == ["x", "y y"]
    assert list(json.loads((tmp_path / "genre_dict.json").read_text())) == ["x", "y y"]


def test_an_unknown_form_is_refused(small: Prepared, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no export format named 'recbol'"):
        export_data(small, "recbol", tmp_path, name="own", nouns=Nouns())


def test_the_generated_set_passes() -> None:
    card = dataset_card("synthetic")
    assert "fails" not in {finding.verdict for finding in verify(prepare(card, {}), card)}


# --- files of the user's own ---------------------------------------------------------------------


@pytest.fixture
def movielens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twelve ratings of three users under names that no card has; the options that name them."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    movies = tmp_path / "some.dat"
    movies.write_text("".join(f"{n}::Movie {n} (1990)::Drama\n" for n in range(1, 13)))
    ratings = tmp_path / "part.dat"
    ratings.write_text("".join(f"1::{n}::5::{n}\n" for n in range(1, 13)))
    files = (f"--file=interactions={ratings}", f"--file=items={movies}")
    return [*files, "--store", str(tmp_path / "store"), "--offline"]


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_named_files_are_prepared_and_the_difference_is_told(movielens: list[str]) -> None:
    code, said = run("data", "prepare", "ml-1m", *movielens, "--json")
    assert code == 0, said
    result = json.loads(said)["ml-1m"]
    assert (result["counts"]["lines"], result["counts"]["samples"]) == (12, 2)
    assert any("movies.dat is another version than the card's" in note for note in result["notes"])
    assert any("12 lines, the card expects 1,000,209" in note for note in result["notes"])
    assert "Note: movies.dat is another version" in run("data", "prepare", "ml-1m", *movielens)[1]


def test_another_named_file_is_another_preparation(movielens: list[str], tmp_path: Path) -> None:
    first = json.loads(run("data", "prepare", "ml-1m", *movielens, "--json")[1])["ml-1m"]
    with (tmp_path / "part.dat").open("a") as file:
        file.write("1::1::5::13\n")
    second = json.loads(run("data", "prepare", "ml-1m", *movielens, "--json")[1])["ml-1m"]
    assert (first["counts"]["lines"], second["counts"]["lines"]) == (12, 13)
    assert len(list((tmp_path / "store").glob("**/data.json"))) == 2


def test_stats_verify_and_export_take_named_files(movielens: list[str], tmp_path: Path) -> None:
    code, said = run("data", "stats", "ml-1m", *movielens, "--json")
    assert code == 0, said
    assert json.loads(said)["ml-1m"]["sequences"]["windows"] == 2
    code, said = run("data", "verify", "ml-1m", *movielens)
    assert code == 1
    assert "fails counts are those the card expects" in said
    folder = tmp_path / "out"
    code, said = run("export", "d3", "ml-1m", "--into", str(folder), *movielens)
    assert code == 0, said
    assert (folder / "ml-1m.info.txt").is_file()
