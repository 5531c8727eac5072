"""A board beside its paper: the published Table 1 of SPRec, fed in as if we had measured it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from board_results import Line, assemble_from, make, names, row

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, Rows
from bench.config.request import RunRequest
from bench.errors import BenchError
from bench.plan.board_selection import plan_boards, select_boards
from bench.plan.trials import Board, Trial
from bench.report import published
from bench.report.captions import scope
from bench.report.cells import best_and_second
from bench.report.claims.cards import load_claims
from bench.report.claims.judge import claim_lines
from bench.report.paper import Paper
from bench.report.render.html import render_html
from bench.report.render.latex import escape, render_latex
from bench.report.render.markdown import render_markdown
from bench.report.render.pages import board_pages
from bench.report.table import BoardTable
from bench.results.load import load_results
from bench.results.schema import DataFacts, Evaluation, Result, read_result, write_result

METRICS = (
    "DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "MGU@1", "MGU@5", "HR@5", "NDCG@5",
)  # fmt: skip
ROWS = ("SASRec", "BIGRec", "RW", "D3", "DMPO", "SDPO", "RosePO", "SPRec")


def table_one(folder: Path) -> tuple[Board, list[tuple[BoardRow, Trial]]]:
    """Write every number of the printed table as the result of one seed."""
    book, numbers = load_claims("sprec"), published.load_published()
    rows = tuple(
        BoardRow(method="popularity", label=name, ranked=name != "SASRec") for name in ROWS
    )
    card = BoardCard(
        title="SPRec, Table 1",
        datasets=tuple(book.datasets.values()),
        rows=rows,
        metrics=METRICS,
        seeds=1,
        model="llama-3.2-1b-instruct",
        reference="BIGRec",
    )
    cells = []
    for line in rows:
        for printed, dataset in book.datasets.items():
            trial = Trial(
                method=line.method,
                dataset=dataset,
                seed=0,
                model=card.model,
                rows=Rows(),
                data_seed=0,
                settings={"row": line.name},
            )
            values = {
                metric: book.find_number(numbers, line.name, printed, metric).value
                for metric in METRICS
            }
            evaluation = Evaluation(
                metrics=values, ks=[1, 5], num_cases=1000, num_known=1000, num_items=4000,
                tracked=[],
            )  # fmt: skip
            result = Result(
                trial=trial.id, method=trial.method, dataset=dataset, seed=0, model=card.model,
                rows={}, settings={}, status="ok", evaluations={"final": evaluation},
                data=DataFacts(fingerprint=dataset, counts={}),
            )  # fmt: skip
            write_result(result, folder)
            cells.append((line, trial))
    return Board(name="sprec-table1", card=card), cells


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> BoardTable:
    folder = tmp_path_factory.mktemp("table1")
    return assemble_from(*table_one(folder), folder)


def test_best_and_second_run_over_the_rows_of_language_models(table):
    movielens, _, cds, steam = table.datasets
    assert names(movielens, "DivRatio@1", "best") == ["SPRec"]
    assert names(movielens, "DivRatio@1", "second") == ["BIGRec"]
    assert names(movielens, "ORRatio@5", "best") == ["SDPO"]
    assert names(movielens, "ORRatio@5", "second") == ["DMPO"]
    # SASRec has the highest values of all on this data set, and no mark.
    assert names(cds, "HR@5", "best") == ["SPRec"]
    assert names(cds, "HR@5", "second") == ["BIGRec"]
    assert names(steam, "MGU@1", "best") == ["RW"]


def test_published_values_stand_beside_ours_with_the_difference(tmp_path, table):
    cell = row(table, "SPRec").cell("NDCG@5")
    assert (cell.published.value, cell.difference_from_published) == (0.0319, 0.0)
    board, cells = table_one(tmp_path)
    result = read_result(tmp_path / f"{cells[0][1].id}.json")
    result.evaluations["final"].metrics["NDCG@5"] = 0.0236
    write_result(result, tmp_path)
    table = assemble_from(board, cells, tmp_path)
    assert row(table, "SASRec").cell("NDCG@5").difference_from_published == pytest.approx(0.01)
    html = render_html(table)
    assert re.search(r'paper 0\.0136 <span class="difference">\+0\.0100</span>', html)
    assert "paper 0.0136 (+0.0100)" in render_markdown(table)
    assert "(0.0136, +0.0100)" in render_latex(table)


def test_a_board_of_our_own_has_no_paper(tmp_path):
    table = assemble_from(*make(tmp_path, [Line("BIGRec", 0.1), Line("SPRec", 0.5)]), tmp_path)
    assert table.source is None
    assert all(cell.published is None for one in table.datasets[0].rows for cell in one.cells)
    assert "Compared with the paper" not in render_html(table)


def test_what_differs_from_the_paper_is_said(table, tmp_path):
    assert table.differences == ()
    board, cells = table_one(tmp_path)
    card = board.card.model_copy(update={"model": "nano", "budget": "nano"})
    kept = [one for one in cells if one[1].dataset == "steam"]
    (tmp_path / f"{kept[0][1].id}.json").unlink()
    told = assemble_from(dataclasses.replace(board, card=card), kept, tmp_path).differences
    assert told == (
        "The backbone here is nano; the paper uses Llama-3.2-1B-Instruct.",
        "Data sets of the paper without results here: MovieLens, Goodreads and CDs_and_Vinyl.",
        "The budget is “nano”, not the paper’s.",
        "Rows of the paper that we have not run: SASRec.",
    )


def test_a_data_set_in_place_of_the_papers_is_named_and_shows_its_values(tmp_path):
    request = {"board": "sprec-table1", "datasets": ("ml-10m=ml-100k", "steam"), "seeds": 1}
    (board,) = select_boards(RunRequest(**request)).boards
    assert board.card.datasets == ("ml-100k", "steam")
    assert "ml-100k in place of ml-10m; datasets ml-100k, steam; seeds 1" in board.card.title
    table = assemble_from(board, plan_boards(select_boards(RunRequest(**request)))[0][1], tmp_path)
    assert row(table, "BIGRec").cell("DivRatio@1").published.value == 0.1939
    told = " ".join(table.differences)
    assert "ml-100k is in place of ml-10m." in told
    assert board.card.full_run in told
    assert told in table.scope
    assert "Not a data set of the paper" not in told
    with pytest.raises(BenchError, match="data set of the board"):
        select_boards(RunRequest(board="sprec-table1", datasets=("ml-1m=ml-100k",)))


@pytest.mark.parametrize("name", ["igd-table1", "dpo4rec-table1", "sprec-table1"])
def test_a_papers_own_budget_is_not_called_another(name):
    card = plugins.board_card(name)
    paper = Paper.of_board(name)
    assert scope(card, [plugins.budget_card(card.budget).rows]) == ""
    assert not [each for each in paper.differences(card, []) if "budget" in each]
    other = card.model_copy(update={"budget": "paper" if name != "sprec-table1" else "igd"})
    (sentence,) = [each for each in paper.differences(other, []) if "budget" in each]
    whose = plugins.budget_card(other.budget).paper
    assert sentence == f"The budget is “{other.budget}”, that of {whose}."
    fewer = plugins.budget_card("nano").rows
    assert scope(card, [fewer]).startswith(f"Small budget “{card.budget}”")


def test_values_without_case_tables_are_no_reason_to_lose_the_box(table):
    found = table.datasets[0].reproduction
    assert len(found.cells) == 64
    assert (found.num_judged, found.table.tau) == (0, None)
    assert "no interval yet" in render_html(table)


def test_the_reproduction_box_has_order_and_intervals(tmp_path):
    board, cells = make(
        tmp_path, [Line("BIGRec", 0.1), Line("D3", 0.3), Line("SPRec", 0.6)], datasets=["steam"],
        metrics=["HR@5", "NDCG@5"],
    )  # fmt: skip
    named = dataclasses.replace(board, name="sprec-table1")
    found = assemble_from(named, cells, tmp_path).datasets[0].reproduction
    assert (found.num_judged, found.table.num_rows) == (6, 3)
    assert found.columns[0].text.startswith("tau-b = ")


def test_claims_have_both_verdicts(tmp_path, table):
    board, cells = table_one(tmp_path)
    lines = claim_lines(table, {board.name: (board, cells)}, load_results(tmp_path), {})
    found = {line.id: line for line in lines}
    assert len(found) > 20
    assert (found["S-01"].published_verdict, found["S-01"].published_count) == ("partly", "6 of 8")
    assert found["S-01"].verdict == "not run"
    assert any("cannot be read" in why for why in found["S-01"].missing)
    html = render_html(dataclasses.replace(table, claims=lines))
    assert "Paper: partly (6 of 8)" in html
    assert (
        claim_lines(dataclasses.replace(table, name="quick"), {}, load_results(tmp_path), {}) == ()
    )


def test_claims_are_judged_again_when_a_result_changes(tmp_path, table):
    board, cells = table_one(tmp_path)
    memory, planned = {}, {board.name: (board, cells)}
    first = claim_lines(table, planned, load_results(tmp_path), memory)
    assert claim_lines(table, planned, load_results(tmp_path), memory) is first
    (tmp_path / f"{cells[0][1].id}.json").unlink()
    assert claim_lines(table, planned, load_results(tmp_path), memory) is not first


def test_marks_by_the_rule():
    values = {"A": 0.2, "B": 0.1, "C": 0.2, "D": 0.0}
    assert best_and_second(values, higher_is_better=True) == (("A", "C"), ("B",))
    assert best_and_second(values, higher_is_better=False) == (("D",), ("B",))
    for equal in ({}, {"A": 0.2}, {"A": 0.0, "B": 0.0}):
        assert best_and_second(equal, higher_is_better=True) == ((), ())
    assert best_and_second({"A": 0.2, "B": 0.2, "C": 0.1}, higher_is_better=True)[1] == ()


def test_latex_is_a_booktabs_table_with_marks(table):
    text = render_latex(table)
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert "\\begin{tabular}{lrrrrrrrr}" in text
    body = text.partition("\\midrule")[2]
    assert all(line.count(" & ") == 8 for line in body.splitlines() if " & " in line)
    assert sum(" & " in line for line in body.splitlines()) == 32
    assert "\\textbf{0.2806}" in body
    assert "\\underline{0.1939}" in body
    assert "\\multicolumn{9}{l}{\\textit{Steam}}" in body


def test_foreign_text_is_harmless_in_latex():
    assert escape("50% of A_1 & B$ {x} \\input~^#") == (
        r"50\% of A\_1 \& B\$ \{x\} \textbackslash{}input\textasciitilde{}\textasciicircum{}\#"
    )
    assert escape("a\nb\x1b שלום 🎬") == "a b שלום 🎬"


def test_reasons_stand_in_latex_and_markdown(tmp_path):
    lines = [Line("Base", 0.1), Line("Bad_one", reasons=dict.fromkeys(range(3), "50% & worse"))]
    table = assemble_from(*make(tmp_path, lines), tmp_path)
    assert r"Bad\_one {\scriptsize (failed: 50\% \& worse)}" in render_latex(table)
    assert "*failed*" in render_markdown(table)


def test_the_page_keeps_cost_out_of_every_other_file(tmp_path, table):
    plain, with_costs = board_pages(table), board_pages(table, load_results(tmp_path))
    assert plain.keys() == with_costs.keys(), "no costs were recorded"
    assert all(plain[name] == with_costs[name] for name in plain if name != "index.html")
