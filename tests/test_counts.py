"""Count boards: each verdict, missing data, pages that are harmless and the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import data
from bench.config.plugins import dataset_card, suite_card
from bench.config.request import DataOptions, ExecutionOptions, RunRequest
from bench.errors import BenchError
from bench.report.boards import report_boards
from bench.report.data_pages.count_page import (
    counts_html,
    counts_markdown,
    counts_text,
    format_published_count,
    render_counts,
    summarize_verdicts,
)
from bench.report.data_pages.counts import CountCard, compare, compare_count, load, paths
from bench.report.published import Number, Place, Published, load_published
from bench.report.run_boards import run
from bench.runner.prepared_data import count_dataset


def meaning(count: str, rule: str, explanation: str = "Because.") -> dict[str, str]:
    return {"count": count, "rule": rule, "explanation": explanation}


CARD = CountCard.model_validate(
    {
        "title": "A <b>table</b>",
        "description": "Sizes | of sets",
        "paper": "P",
        "table": "9",
        "citation": "P & Q.",
        "columns": {
            "n_items": {"title": "#Items", "meaning": meaning("items", "equal", "<i>All</i>.")},
            "n_rows": {"title": "#Rows", "meaning": meaning("train", "equal less one", "Header.")},
            "share": {"title": "%", "not_run": "needs a backbone's tokenizer"},
        },
        "rows": [
            {"label": "One", "dataset": "one"},
            {
                "label": "Two",
                "dataset": "two",
                "scope": "Another set.",
                "cells": {"n_items": meaning("titles", "reported only", "Titles.")},
            },
            {"label": "Three", "dataset": "three"},
        ],
    }
)
PUBLISHED = Published(
    numbers={
        Place(paper="P", table="9", dataset=dataset, metric=metric): Number.read(text)
        for dataset, metric, text in (
            ("One", "n_items", "1000"),
            ("One", "n_rows", "81"),
            ("One", "share", "72.97"),
            ("Two", "n_items", "5"),
            ("Two", "n_rows", "9"),
            ("Three", "n_items", "7"),
        )
    }
)
COUNTS = {
    "one": {"items": 1000, "train": 80},
    "two": {"items": 4, "titles": 6, "train": 7},
    "three": "file x.gz, https://example.org/x.gz",
}


@pytest.fixture
def table():
    return compare("own", CARD, PUBLISHED, COUNTS)


@pytest.mark.parametrize(
    ("published", "ours", "rule", "verdict"),
    [
        ("10", 10, "equal", "equal"),
        ("10", 9, "equal", "differs: unexplained"),
        ("10", 10, "equal less one", "equal"),
        ("10", 9, "equal less one", "one less, as explained"),
        ("10", 11, "equal less one", "differs: unexplained"),
        ("10", 8, "equal less one", "differs: unexplained"),
        ("10", 10, "reported only", "equal"),
        ("10", 9, "reported only", "differs: explained"),
        ("10", None, "equal", "not available: file x"),
        (None, 10, "equal", "not published"),
    ],
)
def test_each_verdict(published, ours, rule, verdict):
    number = None if published is None else Number.read(published)
    assert compare_count(number, ours, rule, "file x") == verdict


def test_a_table_holds_the_verdicts_of_its_cells(table):
    verdicts = {line.label: [cell.verdict for cell in line.cells] for line in table.lines}
    tokenizer = "not run: needs a backbone's tokenizer"
    assert verdicts == {
        "One": ["equal", "one less, as explained", tokenizer],
        "Two": ["differs: explained", "differs: unexplained", tokenizer],
        "Three": [*["not available: file x.gz, https://example.org/x.gz"] * 2, tokenizer],
    }
    assert [cell.counted for cell in table.lines[1].cells] == ["titles", "train", ""]
    assert summarize_verdicts(table) == (
        "6 published numbers: 1 × equal; 1 × one less, as explained; 1 × not run; "
        "1 × differs: explained; 1 × differs: unexplained; 1 × not available."
    )


def test_a_count_that_does_not_exist_is_a_mistake_of_the_card():
    with pytest.raises(BenchError, match="no count named 'titles'"):
        compare("own", CARD, PUBLISHED, COUNTS | {"two": {"items": 4, "train": 7}})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"columns": {"n_items": {"title": "x"}}}, "give a meaning or say not_run"),
        ({"rows": [{"label": "L", "dataset": "d", "cells": {"n_x": meaning("a", "equal")}}]},
         "there is no column 'n_x'"),
        ({"columns": {"a": {"title": "A", "not_run": "why", "meaning": meaning("a", "equal")}}},
         "not both"),
    ],
)  # fmt: skip
def test_every_cell_has_exactly_one_meaning(change, wrong):
    with pytest.raises(ValueError, match=wrong):
        CountCard.model_validate(CARD.model_dump() | change)


def test_published_numbers_keep_their_digits():
    assert [format_published_count(Number.read(text)) for text in ("72.97", "9301274", "70")] == [
        "72.97", "9,301,274", "70",
    ]  # fmt: skip
    assert format_published_count(None) == "–"


def test_missing_data_are_named_once_with_file_and_address(table):
    for text in (counts_text(table), counts_markdown(table)):
        assert text.count("not run: file x.gz, https://example.org/x.gz.") == 1
        assert text.count("not run: needs a backbone's tokenizer.") == 1


def test_foreign_text_is_escaped(table):
    markdown = counts_markdown(table)
    assert "<b>table</b>" not in markdown
    assert "<i>All</i>" not in markdown
    assert "&lt;b&gt;table" in markdown
    assert r"Sizes \| of sets" in markdown


def test_two_renders_are_byte_equal(table, tmp_path):
    contents = []
    for folder in ("one", "two"):
        written = render_counts(table, tmp_path / folder)
        assert [path.name for path in written] == ["README.md", "index.html", "table.json"]
        assert {path.parent for path in written} == {tmp_path / folder / "own"}
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]


def test_the_page_says_the_same_and_escapes(table):
    page = counts_html(table)
    assert "<b>table</b>" not in page
    assert "<i>All</i>" not in page
    assert page.count("not run: file x.gz, https://example.org/x.gz.") == 1
    assert summarize_verdicts(table) in page


def test_the_papers_data_tables_are_rendered_without_a_run(tmp_path):
    assert suite_card("paper-tables").data_tables == ("sprec-table3", "igd-table4")
    options = ExecutionOptions(
        store=tmp_path / "store", results=tmp_path / "results", pages=tmp_path / "pages",
        data_dir=tmp_path, offline=True,
    )  # fmt: skip
    report = run(RunRequest(board="sprec-table3"), options)
    assert report.summary.exit_code == 0
    assert not (tmp_path / "results").exists()
    page = (tmp_path / "pages" / "sprec-table3" / "index.html").read_text()
    assert "10,682" in page
    assert "not run: file ratings.dat" in page
    assert report_boards(
        RunRequest(board="igd-table4"), results=tmp_path, store=tmp_path, pages=tmp_path / "pages"
    ) == []  # fmt: skip
    index = (tmp_path / "pages" / "README.md").read_text()
    assert "SPRec, Table 3" in index
    assert "IGD, Table 4" in index


@pytest.mark.parametrize("name", ["sprec-table3", "igd-table4"])
def test_our_boards_cover_the_published_table(name):
    assert name in paths()
    card, published = load(name), load_published()
    printed_cells = {
        (place.dataset, place.metric)
        for place in published.numbers
        if (place.paper, place.table) == (card.paper, card.table)
    }
    assert printed_cells == {(row.label, metric) for row in card.rows for metric in card.columns}
    for row in card.rows:
        assert dataset_card(row.dataset).title


def test_the_expected_counts_of_movielens_match_the_paper():
    card = load("sprec-table3")
    expected = dict(dataset_card("ml-10m").expected)
    counts = {row.dataset: "absent" for row in card.rows} | {"ml-10m": expected}
    movielens = compare("sprec-table3", card, load_published(), counts).lines[0]
    assert [cell.verdict for cell in movielens.cells] == [
        "one less, as explained", "equal", "equal",
    ]  # fmt: skip


def test_igd_prints_one_more_than_its_splits():
    card = load("igd-table4")
    # What 8:1:1 makes of the numbers of samples, int(0.8 n) and int(0.9 n).
    sizes = {
        "amazon-2018-books": (41722, 682997, 85375, 85375),
        "amazon-2018-video-games": (11037, 201612, 25201, 25202),
        "amazon-2018-toys-and-games": (11252, 112754, 14094, 14095),
        "amazon-2018-cds-and-vinyl": (14239, 148684, 18585, 18586),
    }
    names = ("items", "train", "valid", "test")
    counts = {name: dict(zip(names, nums, strict=True)) for name, nums in sizes.items()}
    for line in compare("igd-table4", card, load_published(), counts).lines:
        assert [cell.verdict for cell in line.cells[:4]] == [
            "equal", *["one less, as explained"] * 3,
        ]  # fmt: skip


def test_the_command_tells_what_is_not_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    options = {
        "store": tmp_path / "store",
        "data_dir": None,
        "offline": True,
        "out": tmp_path / "pages",
        "model": None,
    }
    data.counts("igd-table4", **options, as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["board"] == "igd-table4"
    books = content["rows"][0]
    assert books["missing"].startswith("file Books_5.json.gz, https://")
    assert books["cells"][0]["published"] == 41722
    assert books["cells"][0]["ours"] is None
    data.counts("igd-table4", **options, as_json=False)
    assert "Books: not run: file Books_5.json.gz, https://" in capsys.readouterr().out
    assert (tmp_path / "pages" / "igd-table4" / "README.md").is_file()


def test_files_at_hand_that_are_no_good_stay_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in dataset_card("amazon-2018-books").files.values():
        Path(raw / file.name).write_bytes(b"no gzip")
    options = DataOptions(store=tmp_path / "store", data_dir=raw, offline=True)
    with pytest.raises(BenchError):
        count_dataset("amazon-2018-books", options)


def test_a_set_that_needs_no_file_is_counted(tmp_path):
    found = count_dataset("synthetic", DataOptions(store=tmp_path, offline=True))
    assert not isinstance(found, str)
    assert found["samples"] == 2400


def test_tokens_are_counted_where_a_model_is_named(tmp_path):
    found = count_dataset("synthetic", DataOptions(store=tmp_path, offline=True), "tiny")
    assert not isinstance(found, str)
    share = 100 * found["zero-gain tokens"] / found["target tokens"]
    assert found["zero-gain tokens, %"] == pytest.approx(share, abs=0.005)
    assert found["samples"] == 2400


def test_a_column_that_needs_more_than_the_data_says_so():
    card = CARD.model_dump()
    card["columns"]["share"] = {
        "title": "%",
        "meaning": meaning("tokens", "reported only"),
        "needs": "needs --model",
    }
    without = compare("own", CountCard.model_validate(card), PUBLISHED, COUNTS)
    assert [line.cells[2].verdict for line in without.lines[:2]] == ["not run: needs --model"] * 2
    assert "%: not run: needs --model." in counts_text(without)
    counted = COUNTS | {name: COUNTS[name] | {"tokens": 72.97} for name in ("one", "two")}
    table = compare("own", CountCard.model_validate(card), PUBLISHED, counted)
    assert [line.cells[2].verdict for line in table.lines[:2]] == ["equal", "not published"]
    assert "needs --model" not in counts_text(table)
