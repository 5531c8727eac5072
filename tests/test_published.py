"""The papers' printed numbers: all there, found by place, missing cells refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.report import published
from bench.report.published import Number, Place

HEAD = "paper,table,dataset,method,variant,metric,value\n"


@pytest.fixture(scope="module")
def numbers() -> published.Published:
    return published.load_published()


def test_every_number_that_could_be_read_is_there(numbers: published.Published) -> None:
    sizes: dict[tuple[str, str], int] = {}
    for place in numbers.numbers:
        sizes[place.paper, place.table] = sizes.get((place.paper, place.table), 0) + 1
    assert sizes == {
        ("SPRec", "1"): 256,
        ("SPRec", "2"): 128,
        ("SPRec", "3"): 12,
        ("IGD", "1"): 168,
        ("IGD", "2"): 64,
        ("IGD", "3"): 4,
        ("IGD", "4"): 28,
        ("DPO4Rec", "1"): 108,
    }
    assert sum(sizes.values()) == 768


def test_a_number_is_found_by_its_place(numbers: published.Published) -> None:
    place = Place(paper="SPRec", table="1", dataset="Steam", method="BIGRec", metric="ORRatio@1")
    found = numbers.numbers[place]
    assert found.value == 0.391
    assert found.half_unit == pytest.approx(0.00005)


def test_the_digits_say_how_far_a_number_was_rounded() -> None:
    assert Number.read("0.0060").half_unit == pytest.approx(0.00005)
    assert Number.read("7183839") == Number(value=7183839, half_unit=0.5)


def test_the_papers_two_tables_share_a_row(numbers: published.Published) -> None:
    for place, number in numbers.numbers.items():
        if (place.paper, place.table, place.variant) == ("SPRec", "2", "full"):
            twin = Place(
                paper="SPRec",
                table="1",
                dataset=place.dataset,
                method="SPRec",
                metric=place.metric,
            )
            assert numbers.numbers[twin] == number


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"method": "D33"}, "no row in SPRec table 1 named 'D33'", "Did you mean 'D3'?"),
        ({"table": "9"}, "no published table named 'SPRec table 9'", "Did you mean 'SPRec table"),
    ],
)
def test_rows_and_tables_that_do_not_exist_are_refused(
    numbers: published.Published, change: dict[str, str], message: str, hint: str
) -> None:
    names = {
        "paper": "SPRec",
        "table": "1",
        "dataset": "Steam",
        "method": "D3",
        "metric": "HR@5",
    }
    assert numbers.find(Place(**(names | {"metric": "HR@50"}))) is None
    with pytest.raises(BenchError) as caught:
        numbers.find(Place(**(names | change)))
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("P,1,D,M,,HR@5,nan\n", "the value is not a finite number"),
        ("P,1,D,M,,HR@5,much\n", "the value is not a finite number"),
        ("P,1,D,M,,HR@5,.1\nP,1,D,M,,HR@5,.2\n", "occurs twice"),
        ("P,1,D,M,,HR@5\n", "the key 'value' is missing"),
        ("P,1,D,M,,HR@5,.1,.2\n", "unknown key"),
    ],
)
def test_bad_lines_are_one_sentence(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(HEAD + lines)
    with pytest.raises(BenchError, match=message) as caught:
        published.read_published([file])
    assert "table.csv, line" in caught.value.message


def test_a_users_folder_adds_files_and_hides_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "leaderboards" / "published"
    folder.mkdir(parents=True)
    (folder / "mine.csv").write_text(HEAD + "Mine,1,D,M,,HR@5,.25\n")
    (folder / "sprec_table1.csv").write_text(HEAD + "SPRec,1,Steam,BIGRec,,ORRatio@1,.99\n")
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    found = published.load_published()
    mine = Place(paper="Mine", table="1", dataset="D", method="M", metric="HR@5")
    theirs = Place(paper="SPRec", table="1", dataset="Steam", method="BIGRec", metric="ORRatio@1")
    assert found.numbers[mine].value == 0.25
    assert found.numbers[theirs].value == 0.391
