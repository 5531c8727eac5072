"""Groups of rows: each is compared with its own reference, and pages show their headings."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats as scipy_stats

from bench.config import plugins
from bench.config.cards import BoardCard
from bench.config.request import RunRequest
from bench.errors import BenchError
from bench.plan.board_selection import select_boards
from bench.report.paper import Paper
from bench.report.render.pages import board_pages
from bench.report.render.terminal import render_table
from bench.report.table import BoardTable
from tests.board_results import Line, assemble_from, make, names, row

GROUPS = {
    "Item-ID models": {"rows": ["SASRec"], "reference": "SASRec"},
    "Host BIGRec": {"rows": ["BIGRec", "BIGRec+IGD"], "reference": "BIGRec", "gain": "BIGRec+IGD"},
    "Host D3": {"rows": ["D3", "D3+Pos", "D3+IGD"], "reference": "D3", "gain": "D3+IGD"},
}
LINES = [
    Line("SASRec", 0.9),
    Line("BIGRec", 0.05),
    Line("BIGRec+IGD", 0.3),
    Line("D3", 0.7),
    Line("D3+Pos", 0.3),
    Line("D3+IGD", 0.72),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    board, cells = make(folder, LINES, metrics=("HR@5", "ORRatio@1"), groups=GROUPS)
    return folder, cells, assemble_from(board, cells, folder)


@pytest.fixture
def table(made) -> BoardTable:
    return made[2]


def case_means(folder, cells, name):
    trials = [trial for board_row, trial in cells if board_row.name == name]
    values = [pq.read_table(folder / f"{trial.id}.cases.parquet")["HR@5"] for trial in trials]
    return np.mean([value.to_numpy() for value in values], axis=0)


def test_the_dagger_of_d3_igd_is_a_test_against_d3_computed_by_hand(made):
    folder, cells, table = made
    pos, igd = (row(table, name).cell("HR@5").comparison for name in ("D3+Pos", "D3+IGD"))
    means = {name: case_means(folder, cells, name) for name in ("D3", "D3+Pos", "D3+IGD", "BIGRec")}
    p = {
        name: scipy_stats.ttest_1samp(means[name] - means["D3"], 0).pvalue
        for name in ("D3+Pos", "D3+IGD")
    }
    assert igd.reference == pos.reference == "D3"
    assert igd.difference == pytest.approx(np.mean(means["D3+IGD"] - means["D3"]))
    assert (pos.models.p, igd.models.p) == pytest.approx((p["D3+Pos"], p["D3+IGD"]))
    # Holm over the two rows of this host: the smaller p twice, the larger one as it is.
    assert (pos.p_adjusted, igd.p_adjusted) == (2 * pos.p, igd.p)
    # Against BIGRec it would be significant.
    assert not row(table, "D3+IGD").cell("HR@5").significant
    assert scipy_stats.ttest_1samp(means["D3+IGD"] - means["BIGRec"], 0).pvalue < 0.001


def test_best_second_and_ties_are_within_a_group(table):
    block = table.datasets[0]
    assert names(block, "HR@5", "best") == ["BIGRec+IGD", "D3+IGD"]
    assert names(block, "HR@5", "second") == ["D3"]  # the worst row of a group has no mark
    assert names(block, "HR@5", "tied") == ["D3"]
    assert {test.family_size for test in row(table, "BIGRec+IGD").comparisons} == {1}


def test_groups_with_the_same_reference_are_compared_as_one(tmp_path):
    groups = {"SFT": {"rows": ["BIGRec"]}, "DPO": {"rows": ["DMPO", "SPRec"]}}
    lines = [Line("BIGRec", 0.2), Line("DMPO", 0.3), Line("SPRec", 0.8)]
    table = assemble_from(*make(tmp_path, lines, metrics=("HR@5",), groups=groups), tmp_path)
    assert names(table.datasets[0], "HR@5", "best") == ["SPRec"]
    assert names(table.datasets[0], "HR@5", "second") == ["DMPO"]
    assert row(table, "SPRec").comparisons[0].family_size == 2
    assert table.reference == "BIGRec"


def test_a_group_apart_costs_the_others_no_power(tmp_path):
    """Rows with the programs' settings are compared with the reference, in their own family."""
    groups = {"Published": {"rows": ["DMPO, as published"], "apart": True}}
    lines = [
        Line("BIGRec", 0.2), Line("DMPO", 0.3), Line("SPRec", 0.8),
        Line("DMPO, as published", 0.9, ranked=False),
    ]  # fmt: skip
    table = assemble_from(*make(tmp_path, lines, metrics=("HR@5",), groups=groups), tmp_path)
    assert row(table, "SPRec").comparisons[0].family_size == 2
    (published,) = row(table, "DMPO, as published").comparisons
    assert (published.reference, published.family_size) == ("BIGRec", 1)
    assert names(table.datasets[0], "HR@5", "best") == ["SPRec"]
    assert "Published" in board_pages(table)["index.html"].decode()


@pytest.mark.parametrize("name", ["sprec-table1", "igd-table1"])
def test_both_readings_of_a_paper_are_on_its_board(name):
    card = plugins.board_card(name)
    published = [each for each in card.rows if each.name.endswith(", as published")]
    assert published
    for each in published:
        assert each.settings["as_published"]
        assert not each.ranked
        assert card.groups[card.group_of(each.name)].apart
        twin = each.name.removesuffix(", as published")
        assert card.reference_of(each.name) == card.reference_of(twin)
        claims = Paper.of_board(name).claims
        assert claims.rows[each.name] == claims.rows[twin]


def test_gains_are_relative_changes_with_an_interval(made):
    folder, cells, table = made
    gain = row(table, "D3+IGD").cell("HR@5").gain
    base, igd = (np.mean(case_means(folder, cells, name)) for name in ("D3", "D3+IGD"))
    assert gain.change == pytest.approx(igd / base - 1)
    assert gain.low < gain.change < gain.high
    assert row(table, "D3").cell("HR@5").gain is None


def test_every_page_shows_headings_and_gains(table):
    pages = {name: text.decode() for name, text in board_pages(table).items()}
    pages["terminal"] = render_table(table)
    for name in ("README.md", "index.html", "table.tex", "terminal"):
        assert all(heading in pages[name] for heading in GROUPS), name
        assert "D3+IGD over D3" in pages[name], name
        assert "the reference of its group" in " ".join(pages[name].split()), name
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(pages["table.csv"]))}
    assert lines["D3+IGD"]["group"] == "Host D3"
    assert lines["D3+IGD"]["reference"] == "D3"
    assert float(lines["D3+IGD"]["gain_low"]) < float(lines["D3+IGD"]["gain_high"])
    rows = json.loads(pages["table.json"])["boards"][0]["rows"]
    assert [each["group"] for each in rows] == [table_row.group for _, table_row in table.rows]


def test_igds_published_gains_stand_next_to_ours(tmp_path):
    card = plugins.board_card("igd-table1")
    lines = [Line(board_row.name, 0.1) for board_row in card.rows]
    groups = {name: group.model_dump() for name, group in card.groups.items()}
    board, cells = make(
        tmp_path, lines, metrics=("NDCG@5",), groups=groups, datasets=["amazon-2018-books"]
    )
    board = type(board)(name="igd-table1", card=board.card)
    table = assemble_from(board, cells, tmp_path)
    assert row(table, "BIGRec+IGD").cell("NDCG@5").gain.published.value == 41.3
    assert "paper +41.3 %" in board_pages(table)["README.md"].decode()


def test_the_papers_blocks():
    references = {
        name: plugins.board_card(name).references for name in plugins.card_paths("leaderboards")
    }
    assert references["igd-table1"] == ("SASRec", "BIGRec", "D3")
    assert references["dpo4rec-table1"] == ("Popularity", "DLCM", "PRM", "SetRank")
    assert references["sprec-table1"] == ("BIGRec",)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (("D3", "D3+IGD"), {"D3+IGD": "D3", "D3": "D3"}),
        (("D3+Pos", "D3+IGD"), {"D3+Pos": "D3+Pos", "D3+IGD": "D3+Pos"}),
    ],
)
def test_selecting_rows_keeps_their_groups(methods, expected):
    selection = select_boards(RunRequest(board="igd-table1", methods=methods))
    card = selection.boards[0].card
    assert {name: card.reference_of(name) for name in expected} == expected
    assert [*card.groups] == ["D3"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"G": {"rows": ["nobody"]}}, "no row"),
        ({"G": {"rows": ["random"], "reference": "nobody"}}, "no row"),
        ({"G": {"rows": ["random"]}, "H": {"rows": ["random"]}}, "two groups"),
        ({"G": {"rows": ["random"], "reference": "popularity"}}, "is compared with"),
        ({"G": {"rows": ["sasrec", "random"], "apart": True}}, "is apart"),
    ],
)  # fmt: skip
def test_groups_that_do_not_fit_are_refused(groups, message):
    rows = [{"method": "sasrec"}, {"method": "random"}, {"method": "popularity"}]
    content = {"title": "T", "datasets": ["synthetic"], "rows": rows, "metrics": ["HR@5"]}
    with pytest.raises((ValueError, BenchError), match=message):
        BoardCard(**content, groups=groups)
