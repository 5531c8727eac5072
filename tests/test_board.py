"""Boards: values, marks and reasons, from synthetic results on disk."""

from __future__ import annotations

import dataclasses

import pytest
from board_results import CATALOG, NUM_ITEMS, Line, assemble_from, full_board, make, names, row

from bench.data.catalog import Catalog
from bench.report.format import list_problems
from bench.report.render.html import render_html
from bench.report.render.markdown import render_markdown
from bench.report.render.terminal import render_table
from bench.report.table import BoardTable


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> BoardTable:
    return full_board(tmp_path_factory.mktemp("results"))


def test_best_and_second_follow_the_direction_and_leave_out_rows_without_rank_or_value(board):
    block = board.datasets[0]
    assert names(block, "NDCG@5", "best") == ["Better"]
    assert names(block, "NDCG@5", "second") == ["Good"]
    assert row(board, "Oracle").cell("NDCG@5").mean > row(board, "Better").cell("NDCG@5").mean
    ranked = {one.name: one.cell("ORRatio@1").mean for one in block.rows if one.ranked}
    lowest = min((value, name) for name, value in ranked.items() if value is not None)[1]
    assert names(block, "ORRatio@1", "best") == [lowest]
    assert not any(row(board, name).cell("ORRatio@1").best for name in ("Oracle", "Broken"))


def test_rows_with_the_same_mean_share_the_mark(tmp_path):
    lines = [Line("Base", 0.1), Line("Twin A", 0.7), Line("Twin B", 0.7), Line("Lone", 0.5)]
    table = assemble_from(*make(tmp_path, lines, metrics=["HR@5"]), tmp_path)
    assert names(table.datasets[0], "HR@5", "best") == ["Twin A", "Twin B"]
    assert names(table.datasets[0], "HR@5", "second") == ["Lone"]


def test_a_single_ranked_row_wins_no_contest(tmp_path):
    table = assemble_from(*make(tmp_path, [Line("Only", 0.3)]), tmp_path)
    assert not any(cell.best for cell in row(table, "Only").cells)
    assert "No row could be compared" in table.statistics


def test_the_dagger_stands_only_where_holm_leaves_significance(board):
    cell = row(board, "Good").cell("NDCG@5")
    assert cell.significant
    assert cell.comparison.p_adjusted <= 0.05
    assert cell.comparison.family_size == 3  # Oracle, Good, Better; failed rows are no hypotheses
    assert not any(cell.significant for cell in row(board, "Base").cells)
    assert row(board, "Base").comparisons == ()


def test_equal_rows_are_not_significant_and_tied_with_the_best(tmp_path):
    lines = [Line("Base", 0.4), Line("Like", 0.4), Line("Far", 0.95)]
    table = assemble_from(*make(tmp_path, lines, metrics=["HR@5"]), tmp_path)
    assert row(table, "Like").cell("HR@5").comparison.difference == 0
    assert not row(table, "Like").cell("HR@5").significant
    close = [Line("Base", 0.41), Line("Near", 0.4)]
    table = assemble_from(*make(tmp_path / "near", close, metrics=["HR@5"]), tmp_path / "near")
    worse = next(one for one in table.datasets[0].rows if not one.cell("HR@5").best)
    assert worse.cell("HR@5").tied
    assert "≈" in render_table(table)


def test_incomplete_seeds_are_counted_and_explained(board):
    better = row(board, "Better")
    assert better.status == "partial"
    cell = better.cell("HR@5")
    assert (cell.num_seeds, cell.expected_seeds, cell.status) == (2, 3, "partial")
    assert [seed for seed, _ in cell.values] == [0, 2]
    for text in (render_table(board), render_markdown(board), render_html(board)):
        assert "2/3 seeds" in text
        assert "failed, seed 1" in text


def test_missing_rows_say_why(board):
    cell = row(board, "Broken").cell("HR@5")
    assert (cell.status, cell.mean, cell.reason) == ("failed", None, "CUDA out of memory")
    assert row(board, "Later").cell("HR@5").status == "not run"
    for text in (render_table(board), render_markdown(board), render_html(board)):
        assert "CUDA out of memory" in text
        assert "not run" in text
    done = board.completeness
    assert (done.ok, done.failed, done.not_run, done.total) == (22, 8, 6, 36)


def test_a_trial_that_cannot_be_planned_and_a_torn_result_have_failed(tmp_path):
    board, cells = make(tmp_path, [Line("Base", 0.2), Line("Torn", 0.5)], seeds=1)
    (tmp_path / f"{cells[1][1].id}.json").write_text("{")
    table = assemble_from(board, cells, tmp_path)
    assert "is not a result" in row(table, "Torn").cell("HR@5").reason
    (tmp_path / f"{cells[1][1].id}.json").unlink()
    unplanned = dataclasses.replace(cells[1][1], problem="There is no data set named 'x'.")
    table = assemble_from(board, [cells[0], (cells[1][0], unplanned)], tmp_path)
    assert row(table, "Torn").cell("HR@5").reason == "There is no data set named 'x'."


def test_results_on_other_data_are_refused_with_a_sentence(tmp_path):
    lines = [Line("Base", 0.1), Line("Same", 0.5), Line("Stale", 0.9, fingerprint="0" * 64)]
    table = assemble_from(*make(tmp_path, lines), tmp_path)
    cell = row(table, "Stale").cell("NDCG@5")
    assert (cell.status, cell.mean, cell.comparison) == ("skipped", None, None)
    assert "other data (fingerprint 000000000000, this table ffffffffffff)" in cell.reason
    assert names(table.datasets[0], "NDCG@5", "best") == ["Same"]
    assert "other data" in render_html(table)


def test_other_test_cases_cost_one_row_its_comparison_and_nothing_else(tmp_path):
    lines = [Line("Base", 0.05), Line("Same", 0.6), Line("Short", 0.9, num_cases=50)]
    table = assemble_from(*make(tmp_path, lines), tmp_path)
    cell = row(table, "Short").cell("NDCG@5")
    assert cell.mean is not None
    assert cell.comparison is None
    assert "lacks 10 of 60 cases" in cell.refusal
    assert row(table, "Same").cell("NDCG@5").significant
    found = [problem for problem in list_problems(table.datasets[0]) if problem[0] == "Short"]
    assert len(found) == 1, "one sentence for all metrics"
    assert "lacks 10 of 60 cases" in render_html(table)


def test_lost_case_tables_leave_the_values(tmp_path):
    board, cells = make(tmp_path, [Line("Base", 0.1), Line("Good", 0.7)])
    (tmp_path / f"{cells[4][1].id}.cases.parquet").unlink()
    cell = row(assemble_from(board, cells, tmp_path), "Good").cell("HR@5")
    assert cell.num_seeds == 3
    assert "cannot be read" in cell.refusal


def test_a_metric_that_was_not_measured_is_skipped_and_says_so(tmp_path):
    untracked = Catalog(ids=CATALOG.ids, titles=CATALOG.titles, categories=((),) * NUM_ITEMS)
    lines = [Line("Base", 0.1, catalog=untracked), Line("Good", 0.6, catalog=untracked)]
    table = assemble_from(*make(tmp_path, lines), tmp_path)
    cell = row(table, "Good").cell("MGU@5")
    assert (cell.status, cell.mean) == ("skipped", None)
    assert "does not track its categories" in cell.reason
    assert row(table, "Good").cell("DivRatio@5").comparison is not None
    assert "does not track its categories" in render_html(table)


def test_tables_in_the_terminal_fit_its_width(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    metrics = ("DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "HR@5", "HR@10", "NDCG@5")
    lines = [Line("Base", 0.1), Line("A method with a rather long name, as published", 0.5)]
    text = render_table(assemble_from(*make(tmp_path, lines, metrics=metrics), tmp_path))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("A method with a rather") >= 2, "the first column is repeated"
    assert all(name in text for name in ("DivRatio", "NDCG"))
