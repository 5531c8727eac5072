"""Whatever is shown or exported: an interval excludes 0 exactly if the p next to it is ≤ .05."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_results import Line, assemble_from, make
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stats_compare import sample

from bench.report.block_tests import estimate_gains
from bench.report.claims.row_tests import format_change, format_comparison
from bench.report.compare.pairwise import MetricComparison, PairwiseReport, format_report
from bench.report.format import MINUS
from bench.report.render.csv import render_csv
from bench.report.render.html import render_html
from bench.report.render.latex import render_latex
from bench.report.render.markdown import render_markdown
from bench.report.table import BoardTable, Gain
from bench.stats.compare import compare, correct_family
from bench.stats.corrections import ALPHA

INTERVAL = re.compile(rf"\[([+{MINUS}][\d.,]+), ([+{MINUS}][\d.,]+)\]")


def excludes_zero(ends: tuple[str, str]) -> bool:
    low, high = (float(end.replace(MINUS, "-").replace(",", "")) for end in ends)
    return low > 0 or high < 0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> BoardTable:
    folder: Path = tmp_path_factory.mktemp("results")
    made = make(folder, [Line("a", 0.1), Line("b", 0.2)], metrics=("NDCG@5",), seeds=1)
    return assemble_from(*made, folder, tested=False)


def fill(table: BoardTable, comparison, gain: Gain) -> BoardTable:
    """Put one comparison and one relative change into the only cell of the second row."""
    (block,) = table.datasets
    first, second = block.rows
    cell = replace(second.cells[0], comparison=comparison, gain=gain)
    rows = (first, replace(second, cells=(cell,)))
    return replace(table, datasets=(replace(block, rows=rows),))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_seeds=st.sampled_from([1, 2, 3]),
    near=st.sampled_from([None, -1e-3, -1e-6, -1e-12, 1e-12, 1e-6, 1e-3]),
)
def test_everything_shown_agrees(empty: BoardTable, seed: int, num_seeds: int, near: float) -> None:
    rng = np.random.default_rng(seed)
    base = rng.random((num_seeds, 40)) + rng.normal(0, 0.05, size=(num_seeds, 1))
    other = rng.random((num_seeds, 40)) + rng.normal(0.1, 0.05, size=(num_seeds, 1))
    if near is not None:  # an end of the interval is moved next to 0
        first = compare(sample("a", base), sample("b", other), "NDCG@5")
        other = other - first.low + near
    rows = [sample("a", base), sample("b", other)]
    (test,) = correct_family([compare(*rows, "NDCG@5")])
    change = estimate_gains({"a": rows[0], "b": rows[1]}, "a", "b", ["NDCG@5"])["NDCG@5"]
    low, high = change.ends or (None, None)
    table = fill(empty, test, Gain(change=change.value, low=low, high=high))
    significant = test.p <= ALPHA
    report = PairwiseReport(
        a="b", b="a", dataset="d", num_cases=40, notes=(),
        metrics=(MetricComparison(test=test, a=(1.0, None, 1), b=(1.0, None, 1)),),
    )  # fmt: skip
    texts = [
        render_html(table), render_markdown(table), render_latex(table).replace("$-$", MINUS),
        format_comparison(test), format_change(change), format_report(report),
    ]  # fmt: skip
    allowed = {significant} | ({test.models.p <= ALPHA} if num_seeds > 1 else set())
    for text in texts:
        shown = INTERVAL.findall(text)
        assert shown or change.ends is None
        assert {excludes_zero(ends) for ends in shown} <= allowed
    line = list(csv.DictReader(io.StringIO(render_csv(table))))[-1]
    assert (float(line["p"]) <= ALPHA) == significant
    assert excludes_zero((line["low"], line["high"])) == significant
    if line["gain_low"]:
        assert excludes_zero((line["gain_low"], line["gain_high"])) == significant
