"""Rows whose values are means over the last rounds of a method (SPRec, Figures 5 and 6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from board_results import Line, make

from bench.report.assemble import assemble
from bench.report.render.charts import checkpoint_charts, checkpoint_means
from bench.report.render.html import render_html
from bench.report.render.markdown import render_markdown
from bench.results.load import load_results
from bench.results.schema import read_result, write_result


def test_values_are_means_over_the_last_rounds_and_not_tested(tmp_path: Path) -> None:
    board, cells = make(tmp_path, [Line("a", 0.2), Line("b", 0.4)], metrics=("HR@5",), seeds=2)
    for row, trial in cells:
        if row.name != "b":
            continue
        result = read_result(tmp_path / f"{trial.id}.json")
        final = result.evaluations["final"]
        rounds = {
            name: final.model_copy(update={"metrics": {"HR@5": value}})
            for name, value in (
                *(("0", 0.0), ("1-sft", 0.9), ("1-dpo", 0.1), ("2-sft", 0.9), ("2-dpo", 0.2)),
                *(("3-sft", 0.9), ("3-dpo", 0.6), ("4-sft", 0.9), ("4-dpo", 0.4)),
            )
        }
        evaluations = {"final": final, **rounds}
        write_result(result.model_copy(update={"evaluations": evaluations}), tmp_path)
    averaged = [(row.model_copy(update={"rounds": 3}), trial) for row, trial in cells]
    results = load_results(tmp_path)
    (block,) = assemble(board, averaged, results, tested=True).datasets
    a, b = (row.cell("HR@5") for row in block.rows)
    # (0.2 + 0.6 + 0.4) / 3; a method without rounds shows its final ranking.
    assert b.mean == pytest.approx(0.4)
    assert list(checkpoint_means(block.rows[1])) == list(rounds)
    plain = assemble(board, cells, results, tested=True)
    assert a.mean == plain.datasets[0].rows[0].cell("HR@5").mean
    assert (b.comparison, b.refusal[:10]) == (None, "Means over")
    assert plain.datasets[0].rows[1].cell("HR@5").comparison is not None
    assert plain.datasets[0].rows[1].cell("HR@5").mean != b.mean


def test_checkpoints_are_in_the_order_of_training(tmp_path: Path) -> None:
    """Figure 4 of SPRec: its ablations lack the SFT or the DPO steps, and come first."""
    board, cells = make(tmp_path, [Line("noSFT"), Line("noDPO"), Line("SPRec")], seeds=1)
    steps = {"noSFT": "0 1-dpo", "noDPO": "0 1-sft", "SPRec": "0 1-sft 1-dpo"}
    for row, trial in cells:
        result = read_result(tmp_path / f"{trial.id}.json")
        final = result.evaluations["final"]
        evaluations = {"final": final, **dict.fromkeys(steps[row.name].split(), final)}
        write_result(result.model_copy(update={"evaluations": evaluations}), tmp_path)
    (block,) = assemble(board, cells, load_results(tmp_path), tested=False).datasets
    (chart,) = checkpoint_charts(block, ["HR@5"])
    assert chart.heads == ("row", "0", "1-sft", "1-dpo")
    assert chart.rows[0][2] == "–"


def test_a_page_says_that_data_are_not_the_papers(tmp_path: Path) -> None:
    board, cells = make(tmp_path, [Line("a"), Line("b")], datasets=("steam",), seeds=1)
    table = assemble(board, cells, load_results(tmp_path))
    for text in (render_markdown(table), render_html(table).replace("&#39;", "'")):
        assert "Not the paper's data" in text
