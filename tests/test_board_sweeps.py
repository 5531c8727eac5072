"""Sweeps: which rows are steps, what claims make of them, how they and other figures are drawn."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from board_results import Line, assemble_from, make
from hypothesis import given
from hypothesis import strategies as st

from bench.config.cards import BoardRow
from bench.config.request import RunRequest
from bench.plan.board_selection import plan_boards, select_boards
from bench.plan.trials import Board, Trial
from bench.report.claims.runs import read_runs
from bench.report.claims.section import claim_lines
from bench.report.render import pages
from bench.report.render.charts import Line as ChartLine
from bench.report.render.charts import line_chart, sweep_charts
from bench.report.render.figures import fit_scale
from bench.report.significance import add_statistics
from bench.report.sweeps import find_sweeps
from bench.results.load import load_results

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sprec-fig5", {("SPRec", "random share"): [0, 0.25, 0.5, 0.75, 1]}),
        ("sprec-fig6", {("SPRec", "negatives"): [1, 2, 3, 4, 5]}),
        (
            "dpo4rec-fig5",
            {("DPO4Rec", "round"): [0, 1, 2, 3], ("DPO4Rec", "samples"): [5, 10, 15]},
        ),
        ("sprec-table2", {}),
        ("dpo4rec-fig4", {}),
    ],
)
def test_the_figures_of_the_papers_are_sweeps(name, found):
    ((board, cells),) = plan_boards(select_boards(RunRequest(board=name, seeds=1)))
    steps = {
        (one.row, one.x): [value for value, _ in one.steps] for one in find_sweeps(board, cells)
    }
    assert steps == found


def swept(
    folder: Path, skills: dict[float, float | None]
) -> tuple[Board, list[tuple[BoardRow, Trial]]]:
    """SPRec by its share of random negatives on MovieLens-10M; None: a step that was not run."""
    lines = [
        Line(f"r={share:g}", skill or 0.0, method="sprec", unrun=() if skill else range(2))
        for share, skill in skills.items()
    ]
    board, cells = make(folder, lines, datasets=("ml-10m",), seeds=2)
    moved = []
    for (row, trial), share in zip(cells, [one for one in skills for _ in range(2)], strict=True):
        given_to = dataclasses.replace(trial, settings={"random_fraction": share})
        for path in (folder / trial.id).parent.glob(f"seed-{trial.seed}.*"):
            target = (folder / given_to.id).with_name(path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            if path.suffix == ".json":
                content = content.replace(trial.id.encode(), given_to.id.encode())
            target.write_bytes(content)
        moved.append((row, given_to))
    return Board(name="sprec-fig5", card=board.card), moved


def test_a_sweep_reaches_the_claims_and_is_judged(tmp_path):
    skills = {share: 0.9 - 0.8 * share for share in SHARES}
    board, cells = swept(tmp_path, skills)
    steps = read_runs([(board, cells)], load_results(tmp_path)).sweeps[
        "ml-10m", "SPRec", "random share"
    ]
    assert [(value, sample.name) for value, sample in steps] == [
        (share, f"r={share:g}") for share in SHARES
    ]
    table = assemble_from(board, cells, tmp_path, tested=False)
    claims = claim_lines(table, {board.name: (board, cells)}, load_results(tmp_path), {})
    assert {one.id: one.verdict for one in claims}["S-26a"] != "not run"
    accuracy = {metric: verdict for line in claims for _, metric, verdict, _ in line.cells}
    assert accuracy["HR@5"] == "holds", "the more are random, the worse, as the skills were made"


def test_a_sweep_with_a_step_missing_is_drawn_with_a_gap_and_not_judged(tmp_path):
    skills = {0.0: 0.9, 0.25: 0.7, 0.5: None, 0.75: 0.4, 1.0: 0.2}
    board, cells = swept(tmp_path, skills)
    assert not read_runs([(board, cells)], load_results(tmp_path)).sweeps
    table = assemble_from(board, cells, tmp_path, tested=False)
    (chart, *_) = sweep_charts(table.datasets[0], table.sweeps[0], ["HR@5"])
    assert chart.svg.count("<polyline") == 2
    assert chart.svg.count("<circle") == 4
    assert chart.heads == ("random share", "0", "0.25", "0.5", "0.75", "1")
    assert chart.rows[1][0] == "mean"
    assert chart.rows[1][3] == "–"
    html = pages.board_pages(table)["index.html"].decode()
    assert "SPRec by random share on" in html
    assert 'href="#sweeps"' in html


def test_means_over_rounds_have_an_interval_over_seeds(tmp_path):
    """They have no values per test case."""
    (block,) = assemble_from(*swept(tmp_path, dict.fromkeys(SHARES, 0.5)), tmp_path).datasets
    averaged = [
        dataclasses.replace(outcome, rounds=("4", "5")) for outcome in block.rows[0].outcomes
    ]
    first = dataclasses.replace(block.rows[0], outcomes=tuple(averaged))
    block = dataclasses.replace(block, rows=(first, *block.rows[1:]))
    metrics = [cell.metric for cell in first.cells]
    changed = add_statistics(block, metrics, load_results(tmp_path), intervals=[first.name])
    cell = changed.rows[0].cell("HR@5")
    low, high = cell.interval
    assert (low + high) / 2 == pytest.approx(cell.mean)
    assert high - cell.mean == pytest.approx(12.706 * cell.sd / 2**0.5, rel=1e-3)


def test_a_sweep_has_an_interval_at_each_step(tmp_path):
    table = assemble_from(*swept(tmp_path, dict.fromkeys(SHARES, 0.5)), tmp_path)
    for chart in sweep_charts(table.datasets[0], table.sweeps[0], ["HR@5", "DivRatio@1"]):
        assert chart.svg.count('class="whisker"') == len(SHARES)
        assert chart.rows[-1][0] == "95 % interval"
    cell = table.datasets[0].rows[0].cell("HR@5")
    assert cell.interval[0] < cell.mean < cell.interval[1]


def test_rows_that_differ_in_more_than_the_setting_are_no_steps(tmp_path):
    board, cells = swept(tmp_path, dict.fromkeys(SHARES, 0.5))
    changed = [
        (row, dataclasses.replace(trial, settings={**trial.settings, "beta": 1.0}))
        if row.name == "r=0.5"
        else (row, trial)
        for row, trial in cells
    ]
    (found,) = find_sweeps(board, changed)
    assert [value for value, _ in found.steps] == [0.0, 0.25, 0.75, 1.0]
    assert not find_sweeps(board, [cell for cell in cells if cell[0].name in ("r=0", "r=1")])


def test_a_row_of_an_earlier_board_is_no_step_of_a_later_one(tmp_path):
    board, cells = swept(tmp_path, dict.fromkeys(SHARES, 0.5))
    first = Board(name="first", card=board.card.model_copy(update={"rows": board.card.rows[:1]}))
    runs = read_runs([(first, cells[:2]), (board, cells)], load_results(tmp_path))
    assert not runs.sweeps


@given(
    st.lists(
        st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-16, 0.1, 0.1 + 1e-16, 0.1 + 1e-15]),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([4, 5, 14]),
)
def test_any_values_have_a_scale_with_ticks_that_differ(values, wanted):
    found = fit_scale(values, 0, 100, num_ticks=wanted)
    texts = [found.tick_text(tick) for tick in found.ticks]
    assert len(set(texts)) == len(texts)
    assert len(texts) >= (1 if wanted < 14 else 2)
    assert all(-1e-6 <= found(value) <= 100 + 1e-6 for value in values)
    assert found(min(values)) <= found(max(values))


def test_a_board_whose_values_differ_by_the_order_of_a_sum_only_is_drawn(tmp_path):
    lines = [Line("Base", 0.5), Line("Twin", 0.5)]
    board, cells = make(tmp_path, lines, seeds=1, metrics=["NDCG@5", "DivRatio@5"])
    table = assemble_from(board, cells, tmp_path)
    (block,) = table.datasets
    nudged = dataclasses.replace(
        block.rows[1],
        cells=tuple(
            dataclasses.replace(cell, mean=cell.mean + 1e-16) for cell in block.rows[1].cells
        ),
    )
    table = dataclasses.replace(
        table, datasets=(dataclasses.replace(block, rows=(block.rows[0], nudged)),)
    )
    assert pages.board_pages(table)["index.html"].count(b"<svg") == 1
    same = [ChartLine(name="a", style=0, points=[(0.0, 0.1), (1.0, 0.1 + 1e-16)])]
    assert len(re.findall('class="grid"', line_chart(same, title="t", x_label="x"))) > 1
