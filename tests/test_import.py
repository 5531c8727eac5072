"""Own tables become a data set: columns guessed and shown, dates read, a table in two commands."""

from __future__ import annotations

import sys
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
    words = ("data", "import", "views.csv", "--items", "movies.parquet", "--name", "mine")
    assert call(monkeypatch, *words) == 0
    assert "guessed; --user changes it" in capsys.readouterr().out
    monkeypatch.setenv("BENCH_PATH", str(folder / "datasets"))
    assert call(monkeypatch, *words) == 2
    assert "already" in capsys.readouterr().err
    run = ("run", "--method", "popularity", "--dataset", "mine", "--seeds", "1")
    assert call(monkeypatch, *run, "--executor", "inline") == 0
    assert "mine · " in capsys.readouterr().out


def test_the_card_is_valid(folder: Path) -> None:
    import tomllib

    from bench.config.cards import DatasetCard

    text = import_table('mine "x"', "views.csv").card
    check_card(tomllib.loads(text), DatasetCard, "made")
