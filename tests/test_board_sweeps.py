"""Sweeps: which rows are steps, what claims make of them, how they and other figures are drawn."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from board_results import Line, assemble_from, make, write_unsealed
from hypothesis import given
from hypothesis import strategies as st

from bench.config import plugins
from bench.config.cards import BoardRow, FigureCard
from bench.config.request import RunRequest
from bench.plan.board_selection import plan_boards, select_boards
from bench.plan.trials import Board, Trial
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Level
from bench.report.claims.judge import claim_lines
from bench.report.claims.runs import Runs, read_runs
from bench.report.claims.sweep_tests import judge_sweep
from bench.report.render import pages
from bench.report.render.charts import Line as ChartLine
from bench.report.render.charts import line_chart, sweep_charts
from bench.report.render.svg import fit_scale
from bench.report.sweeps import find_sweeps
from bench.results.load import load_results
from bench.results.schema import read_result

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
        given_to = dataclasses.replace(
            trial, settings={"random_fraction": share}, rows=plugins.budget_card("paper").rows
        )
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
    assert list(steps) == [(share, f"r={share:g}") for share in SHARES]
    table = assemble_from(board, cells, tmp_path, tested=False)
    claims = claim_lines(table, {board.name: (board, cells)}, load_results(tmp_path), {})
    assert {one.id: one.verdict for one in claims}["S-26a"] != "not run"
    accuracy = {metric: verdict for line in claims for _, metric, verdict, _ in line.cells}
    assert accuracy["HR@5"] == "holds", "the more are random, the worse, as the skills were made"


def test_a_sweep_on_another_budget_is_not_comparable(tmp_path):
    board, cells = swept(tmp_path, {share: 0.9 - 0.8 * share for share in SHARES})
    smoke = dataclasses.replace(board, card=board.card.model_copy(update={"budget": "smoke"}))
    table = assemble_from(smoke, cells, tmp_path, tested=False)
    claims = claim_lines(table, {board.name: (smoke, cells)}, load_results(tmp_path), {})
    assert {line.verdict for line in claims if line.cells} == {"not comparable"}


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
    figure = FigureCard(title="Figure 5", metrics=("HR@5",), x="random share")
    declared = dataclasses.replace(board, card=board.card.model_copy(update={"figures": (figure,)}))
    html = pages.board_pages(assemble_from(declared, cells, tmp_path, tested=False))[
        "index.html"
    ].decode()
    assert html.index('id="figures"') < html.index(str(chart.svg)) < html.index('id="data-1"')
    assert 'id="sweeps"' not in html, "the chart is drawn once, as the figure"


def test_means_over_rounds_are_compared_by_seed(tmp_path):
    board, cells = swept(tmp_path, dict.fromkeys(SHARES, 0.5))
    last_rounds = {
        (0.0, 0): (0.5, 0.6, 0.7),  # mean .6
        (0.0, 1): (0.6, 0.9, 0.6),  # mean .7
        (1.0, 0): (0.1, 0.2, 0.3),  # mean .2, change −.4
        (1.0, 1): (0.2, 0.28, 0.39),  # mean .29, change −.41
    }
    for _, trial in cells:
        stored = read_result(tmp_path / f"{trial.id}.json")
        values = last_rounds.get((trial.settings["random_fraction"], trial.seed), (0.4, 0.4, 0.4))
        final = stored.evaluations["final"]
        rounds = {
            f"{number}-dpo": final.model_copy(update={"metrics": {"HR@5": value}})
            for number, value in enumerate((0.0, *values), start=1)
        }
        changed = {"evaluations": {"final": final, **rounds}}
        write_unsealed(stored.model_copy(update=changed), tmp_path)
    cells = [(row.model_copy(update={"rounds": 3}), trial) for row, trial in cells]
    table = assemble_from(board, cells, tmp_path)
    first = table.datasets[0].rows[0].cell("HR@5")
    # t(.975, 1 degree of freedom) = 12.706; the mean of two seeds has the error |a − b| / 2. The
    # upper end, 1.29, is cut to the metric's maximum.
    assert first.mean == pytest.approx(0.65)
    assert first.interval == pytest.approx((0.65 - 12.706 * 0.05, 1.0), abs=1e-4)
    runs = read_runs([(board, cells)], load_results(tmp_path))
    samples = [sample for key in runs.sweeps for sample in runs.sweep_samples(*key)]
    assert not samples, "values per test case are those of the last round"
    claims = claim_lines(table, {board.name: (board, cells)}, load_results(tmp_path), {})
    ((verdict, text),) = {
        (verdict, text)
        for line in claims
        for _, metric, verdict, text in line.cells
        if (line.id, metric) == ("S-26a", "HR@5")
    }
    assert verdict == "holds"
    low, high = -0.405 - 12.706 * 0.005, -0.405 + 12.706 * 0.005
    assert f"-0.405, 95 % interval [{low:+.4g}, {high:+.4g}] over 2 seeds" in text


@pytest.mark.parametrize(
    ("base", "other", "tau", "verdict"),
    [
        # Relative changes .02 and .04: .03 ± 12.706 × .01.
        ((0.5, 0.5), (0.51, 0.52), 0.16, "holds"),
        ((0.5, 0.5), (0.51, 0.52), 0.15, "undecided"),
        # .6 and .64: .62 ± .254.
        ((0.5, 0.5), (0.8, 0.82), 0.36, "fails"),
        ((0.0, 0.5), (0.8, 0.5), 0.1, "undecided"),
        ((0.0, 0.0), (0.0, 0.0), 0.1, "holds"),
    ],
)
def test_a_level_by_seed_needs_an_interval_inside_the_bounds(base, other, tau, verdict):
    steps = [(x, {"HR@5": dict(enumerate(values))}) for x, values in ((1.0, base), (2.0, other))]
    runs = Runs(sweeps={("ml-10m", "SPRec", "negatives"): steps})
    check = Level(form="level", row="SPRec", x="negatives", at=1, tau=tau, metrics="HR@5")
    cell = Cell(dataset="", metric="HR@5", rows=("SPRec",), row_cards=("ml-10m",))
    assert judge_sweep(check, cell, runs, sign=1)[0] == verdict


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
