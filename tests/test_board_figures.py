"""The papers' figures on pages: bars, logged curves, measures, sweeps with intervals."""

from __future__ import annotations

from typing import Any

import pytest
from board_results import Line, assemble_from, make, row

from bench.config import plugins
from bench.config.cards import FigureCard
from bench.errors import BenchError
from bench.plan.trials import Board
from bench.report.paper import Paper
from bench.report.render.html import render_html
from bench.report.render.paper_figures import Bars, bar_chart, figure_charts
from bench.results.load import load_results
from bench.results.schema import StageRecord, read_result, write_result


def draw(folder, lines, figure, stages=None, name="demo", **options):
    """Assemble a board with a figure; `stages` gives the stages of a row's seed."""
    board, cells = make(folder, lines, metrics=("HR@5", "NDCG@5"), seeds=2, **options)
    for board_row, trial in cells:
        stored = read_result(folder / f"{trial.id}.json")
        records = [
            StageRecord(key=f"{kind}{at}", kind=kind, seconds=seconds, peak_memory_mib=1,
                        shared=False, metadata=metadata)
            for at, (kind, seconds, metadata) in enumerate(
                stages(board_row.name, trial.seed) if stages else []
            )
        ]  # fmt: skip
        write_result(stored.model_copy(update={"stages": records}), folder)
    card = board.card.model_copy(update={"figures": (FigureCard(**figure),)})
    board = Board(name=name, card=card)
    results = load_results(folder)
    table = assemble_from(board, cells, folder)
    page = render_html(table, results)
    ((title, charts),) = figure_charts(table, results)
    assert title == figure["title"]
    assert 'id="figures"' in page
    assert all(str(chart.svg) in page for chart in charts)
    return table, charts


def test_bars_have_one_color_per_row_and_their_numbers_as_a_table(tmp_path):
    lines = [Line("A", 0.2), Line("B", 0.8)]
    figure = {"title": "Accuracy", "metrics": ["HR@5", "NDCG@5"]}
    table, (chart,) = draw(tmp_path, lines, figure)
    assert str(chart.svg).count("<rect") == 4
    assert str(chart.svg).count('class="whisker"') == 4
    assert str(chart.svg).startswith('<svg role="img"')
    assert chart.heads == ("", "HR@5 ↑", "NDCG@5 ↑")
    assert chart.text == "Mean and deviation over seeds.", "the title of one metric says no other"
    mean = row(table, "B").cell("NDCG@5").mean
    assert chart.rows[1][2].startswith(f"{mean:.4f} ±")
    assert f"B, NDCG@5 ↑: {mean:.4f}" in str(chart.svg)


def test_a_missing_bar_leaves_a_gap_and_negative_bars_hang_from_zero():
    bars = Bars(name="A", style=0, values=[0.5, None, -0.5], deviations=[None] * 3)
    picture = str(bar_chart(["x", "y", "z"], [bars], title="T"))
    assert picture.count("<rect") == 2
    heights = [part.split('"')[0] for part in picture.split(' height="')[1:]]
    assert heights[0] == heights[1]
    assert (
        bar_chart(["x"], [Bars(name="A", style=0, values=[None], deviations=[None])], title="T")
        is None
    )


def test_times_relative_to_a_row_stand_next_to_the_printed_ones(tmp_path):
    seconds = {"Default": 10.0, "Pos": 11.0, "CFT": 20.0, "IGD": 10.5}
    _, (chart,) = draw(
        tmp_path,
        [Line(name) for name in seconds],
        {"title": "Time", "measure": "training_time_relative_to_default"},
        lambda name, seed: [("sft", seconds[name] * (1 + seed), {})],
        name="igd-table3",
    )
    assert chart.rows == (
        ("reproduced", "1.0000 ± 0.0000", "1.1000 ± 0.0000", "2.0000 ± 0.0000", "1.0500 ± 0.0000"),
        ("published", "1.0000", "1.0275", "2.0529", "1.0354"),
    )


def test_a_measure_that_the_paper_does_not_declare_is_refused():
    with pytest.raises(BenchError, match="no measure named 'training_tme'"):
        Paper.of_board("igd-table3").resolve_figure(FigureCard(title="T", measure="training_tme"))


def test_curves_lie_over_each_other_with_their_difference(tmp_path):
    def stages(name: str, seed: int) -> list[Any]:
        return [("decode", 1, {"found": [3.0, 2.0, 1.5], "true": [3.0, 1.0]})]

    figure = {
        "title": "Entropy", "rows": ["B"], "stages": "decode", "over": "decoding step",
        "curves": {"predicted": "found", "true": "true"}, "difference": True,
    }  # fmt: skip
    _, (both, difference) = draw(tmp_path, [Line("A"), Line("B")], figure, stages)
    assert both.heading == "B, predicted and true"
    assert str(both.svg).count("<polyline") == 4  # two curves of two seeds
    assert both.legend == ((0, "predicted"), (1, "true"))
    assert difference.rows[0][-5:] == ("0.0000", "0.0000", "0.0000", "1.0000", "1.0000")
    assert "decoding step" in str(both.svg)


@pytest.mark.parametrize(
    "figure",
    [
        {"title": "T"},
        {"title": "T", "metrics": ["HR@5"], "measure": "seconds"},
        {"title": "T", "curves": {"a": "b"}},
        {"title": "T", "metrics": ["HR@5"], "x": "step", "rows": ["A"]},
    ],
)
def test_a_figure_is_of_one_kind(figure):
    with pytest.raises(ValueError, match=r"figure has one of|belong together"):
        FigureCard(**figure)


@pytest.mark.parametrize(
    ("board", "kinds"),
    [
        ("sprec-fig3", ["metrics"]),
        ("sprec-fig4", ["step"]),
        ("sprec-fig5", ["random share"]),
        ("sprec-fig6", ["negatives"]),
        ("igd-fig1-3", ["curves", "curves"]),
        ("igd-table3", ["measure"]),
        ("dpo4rec-fig4", ["metrics"]),
        ("dpo4rec-fig5", ["round", "curves", "samples", "samples"]),
    ],
)
def test_the_papers_figures_are_declared(board, kinds):
    card = plugins.board_card(board)
    declared = [
        figure.x or next(kind for kind in ("metrics", "curves", "measure") if getattr(figure, kind))
        for figure in card.figures
    ]
    assert declared == kinds
    rows = {board_row.name for board_row in card.rows}
    for figure in card.figures:
        assert {*figure.rows} <= rows
        assert {*figure.metrics} <= {*card.metrics}
