"""Own tables become a data set: columns guessed and shown, dates read, a table in two commands."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from test_explain import call

from bench.config.toml import check_card
from bench.data.import_table import import_table
from bench.errors import BenchError

VIEWS = pd.DataFrame(
    {
        "user_id": [f"u{number % 6}" for number in range(72)],
        "movieId": [f"m{number * 7 % 11}" for number in range(72)],
        "Date": [f"2024-01-{1 + number // 6:02d} 10:00:0{number % 6}" for number in range(72)],
    }
)
MOVIES = pd.DataFrame(
    {
        "movieId": [f"m{number}" for number in range(11)],
        "title": [f"Number {number}, a\tfilm" for number in range(11)],
        "genres": ["Drama|Science Fiction", "War"] * 5 + [""],
    }
)
SHOP = pd.DataFrame(
    {
        "customer": [f"u{number % 6}" for number in range(72)],
        "product": [f"Thing {number * 7 % 11}" for number in range(72)],
        "product_id": [number * 7 % 11 for number in range(72)],
        "time": range(72),
    }
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    VIEWS.to_csv("views.csv", index=False)
    MOVIES.to_parquet("movies.parquet")
    return tmp_path


def read(folder: Path, name: str) -> list[str]:
    return next((folder / "cache").rglob(name)).read_text().splitlines()


def test_tables_become_atomic_files(folder: Path) -> None:
    imported = import_table("mine", "views.csv", "movies.parquet")
    assert imported.columns["time"] == "Date"
    assert read(folder, "mine.inter")[:2] == [
        "user:token\titem:token\ttime:float",
        "u0\tm0\t1704103200",
    ]
    assert read(folder, "mine.item")[1] == "m0\tNumber 0, a film\tDrama Science_Fiction"


@pytest.mark.parametrize(
    ("table", "columns", "item_and_title"),
    [
        (SHOP, {}, "0\tThing 0"),
        (SHOP.rename(columns={"product": "what"}), {"title": "what"}, "0\tThing 0"),
        (SHOP.assign(name=SHOP["customer"]), {}, "0\tThing 0"),
        (SHOP.assign(name=SHOP["customer"]), {"title": "name"}, "0\tu0"),
        (SHOP.assign(product=SHOP["customer"]), {}, "0\t0"),
        (SHOP.drop(columns="product_id"), {}, "Thing 0\tThing 0"),
        (SHOP.rename(columns={"product": "title", "product_id": "product"}), {}, "0\tThing 0"),
    ],
    ids=[
        "guessed",
        "named",
        "not users' names",
        "own choice",
        "varying",
        "only names",
        "noun as id",
    ],
)
def test_one_table_holds_interactions_and_titles(
    folder: Path, table: pd.DataFrame, columns: dict[str, str], item_and_title: str
) -> None:
    table.to_csv("shop.csv", index=False)
    imported = import_table("shop", "shop.csv", None, columns)
    assert read(folder, "shop.item")[1] == item_and_title
    assert imported.columns["user"] == "customer"
    assert {*imported.columns.values(), *imported.unused} - {""} == {*table.columns}
    assert tomllib.loads(imported.card)["nouns"] == {"singular": "product", "plural": "products"}


def test_items_are_joined_by_the_column_of_the_interactions(folder: Path) -> None:
    SHOP.drop(columns="product_id").to_csv("shop.csv", index=False)
    SHOP.drop_duplicates("product").to_csv("items.csv", index=False)
    import_table("shop", "shop.csv", "items.csv")
    assert read(folder, "shop.item")[1] == "Thing 0\tThing 0"


@pytest.mark.parametrize(
    ("times", "seconds"),
    [([1704103200] * 72, "1704103200"), ([1704103200000] * 72, "1704103200")],
)
def test_times_are_seconds_or_milliseconds(folder: Path, times: list[int], seconds: str) -> None:
    VIEWS.assign(Date=times).to_csv("other.tsv", sep="\t", index=False)
    import_table("other", "other.tsv")
    assert read(folder, "other.inter")[1].split("\t")[2] == seconds
    assert read(folder, "other.item")[1] == "m0\tm0"


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        (VIEWS.drop(columns="Date"), {}, "column of the time was not recognized"),
        (VIEWS.assign(uid=1), {}, "column of the user is ambiguous"),
        (VIEWS, {"user": "who"}, "no column 'who'"),
        (VIEWS.assign(Date="soon"), {}, "neither times nor dates"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(
    folder: Path, table: pd.DataFrame, columns: dict[str, str], words: str
) -> None:
    table.to_csv("bad.csv", index=False)
    with pytest.raises(BenchError, match=words):
        import_table("bad", "bad.csv", None, columns)


def test_a_data_set_of_the_hub_is_read_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(name: str, *, split: str) -> SimpleNamespace:
        assert (name, split) == ("org/views", "train")
        return SimpleNamespace(to_pandas=lambda: VIEWS)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert import_table("hub", "hf:org/views").rows == 72


def test_the_walk_from_own_csv_to_a_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BENCH_PATH", raising=False)
    words = ("data", "import", "views.csv", "--items", "movies.parquet", "--name", "mine")
    assert call(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert "guessed; --user changes it" in shown
    assert "rating      none recognized  (--rating names one)" in shown
    assert f"export BENCH_PATH={folder}\n" in shown
    monkeypatch.setenv("BENCH_PATH", str(folder))
    assert call(monkeypatch, *words) == 2
    assert "delete datasets/mine.toml" in capsys.readouterr().err
    assert call(monkeypatch, *words[:-1], "ml-100k") == 2
    assert "delete" not in capsys.readouterr().err, "that card is not the user's"
    assert call(monkeypatch, "data", "verify", "mine") == 0
    assert "ok    titles are not ids: 0 of 11" in capsys.readouterr().out
    assert call(monkeypatch, "data", "import", "views.csv", "--name", "bare") == 0
    assert "none recognized: items are called by their ids" in capsys.readouterr().out
    assert call(monkeypatch, "data", "verify", "bare") == 0
    assert "note  titles are not ids: 11 of 11" in capsys.readouterr().out
    run = ("run", "--method", "popularity", "--dataset", "mine", "--seeds", "1")
    assert call(monkeypatch, *run, "--executor", "inline") == 0
    assert "mine · " in capsys.readouterr().out


def test_the_card_is_valid(folder: Path) -> None:
    from bench.config.cards import DatasetCard

    text = import_table('mine "x"', "views.csv").card
    check_card(tomllib.loads(text), DatasetCard, "made")
