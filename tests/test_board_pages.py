"""A board's pages: complete, harmless, self-contained and the same every time."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from board_results import METRICS, Line, assemble_from, full_board, make, row

from bench.report.assemble import assemble, values_json
from bench.report.cells import clip_interval
from bench.report.format import format_p, format_percent, single_line
from bench.report.render import pages
from bench.report.render.csv import EQUIVALENCE, render_csv
from bench.report.render.figures import Point, _scatter_plot, pareto_front
from bench.report.render.html import group_columns, render_html
from bench.report.render.index import IndexEntry, index_html, index_markdown
from bench.report.render.markdown import render_markdown
from bench.report.render.svg import fit_scale
from bench.report.render.terminal import render_table
from bench.report.table import BoardTable, Cell, combined_status
from bench.results.load import load_results

COLUMNS = (
    "board", "dataset", "group", "row", "method", "metric", "mean", "sd", "n_seeds",
    "expected_seeds", "reference", "difference", "low", "high", "relative", "p", "p_adjusted",
    "question", "published", "from_published", "gain", "gain_low", "gain_high", "published_gain",
    "status", "reason", "stale",
)  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> BoardTable:
    return full_board(tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "failed"], "partial"),
        (["failed", "not run"], "failed"),
        (["skipped", "not run"], "skipped"),
        (["not run"], "not run"),
    ],
)
def test_the_status_of_a_row(statuses, together):
    assert combined_status(statuses) == together


def test_json_holds_values_only_and_leaves_out_what_has_none(tmp_path):
    lines = [Line("Base", 0.1), Line("Part", 0.5, unrun=[2]), Line("Gone", unrun=range(3))]
    board, cells = make(tmp_path, lines)
    for file in tmp_path.rglob("*.parquet"):
        file.unlink()  # the values must not need the case tables
    table = assemble_from(board, cells, tmp_path, tested=False)
    content = json.loads(json.dumps(values_json(table.name, table.datasets)))
    assert list(content) == ["name", "rows"]
    base, part, gone = content["rows"]
    assert list(base) == ["method", "dataset", "metrics"]
    assert (base["method"], base["dataset"]) == ("Base", "synthetic")
    assert list(base["metrics"]) == list(METRICS)
    assert set(base["metrics"]["NDCG@5"]) == {"mean", "sd", "n_seeds"}
    assert part["metrics"]["NDCG@5"]["n_seeds"] == 2
    assert gone["metrics"] == {}
    single = make(tmp_path / "one", lines[:1], seeds=1)
    table = assemble_from(*single, tmp_path / "one", tested=False)
    assert values_json("", table.datasets)["rows"][0]["metrics"]["HR@5"]["sd"] is None


def test_the_same_results_give_the_same_bytes(tmp_path):
    lines = [Line("Base", 0.1), Line("Good", 0.5), Line("Bad", reasons={0: "no", 1: "no", 2: "no"})]
    contents = []
    for folder in ("one", "two"):
        table = assemble_from(*make(tmp_path / folder, lines), tmp_path / folder)
        written = pages.render(table, tmp_path / folder / "pages")
        written += pages.render_index(tmp_path / folder / "pages")
        assert [path.name for path in written] == [
            "README.md", "index.html", "table.csv", "table.tex", "table.json",
            "README.md", "index.html", "how-to-read.md", "how-to-read.html", "methods.md",
            "methods.html",
        ]  # fmt: skip
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    assert b"1 failed" not in contents[0][5]
    assert b"6 of 9 trials (3 failed)" in contents[0][5]


def test_foreign_text_is_escaped(board):
    html, markdown = render_html(board), render_markdown(board)
    assert html.count("<script>") == 1, "our own"
    assert "&lt;script&gt;" in html
    assert "A &lt;script&gt; &amp; board" in html
    assert "<script>" not in markdown
    assert r"\| \*x\*" in markdown
    assert "\x1b" not in single_line("\x1b[31mred")


def test_the_page_loads_nothing(board):
    html = render_html(board)
    assert "default-src 'none'" in html
    assert not re.search(r"\ssrc\s*=|@import|url\(|<link|<iframe|<object", html)
    links = re.findall(r'href="([^"]*)"', html)
    outside = {link for link in links if "://" in link}
    assert outside == {"https://grouplens.org/datasets/movielens/100k/"}
    assert "xmlns" not in html


def test_the_security_policy_allows_exactly_our_style_and_script(board):
    import base64
    import hashlib

    html = render_html(board)
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)[1]
        checksum = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{checksum}'" in html
    assert 'style="' not in html


def test_marks_are_spoken_and_arrows_too(board):
    html = render_html(board)
    assert "(best, significantly better than Base)" in html
    assert "higher is better" in html
    assert "lower is better" in html
    assert '<th scope="row">' in html


def test_figures_are_there_for_accuracy_and_diversity(board):
    html = render_html(board)
    assert html.count("<svg") == 4, "two figures a data set"
    assert "Differences in NDCG@5 from Base" in html
    assert "NDCG@5</strong>" not in html
    assert "NDCG@5 against DivRatio@5" in html


def test_a_board_without_diversity_has_no_scatter(tmp_path):
    lines = [Line("Base", 0.1), Line("Good", 0.6)]
    table = assemble_from(*make(tmp_path, lines, metrics=["HR@5"]), tmp_path)
    assert render_html(table).count("<svg") == 1


def test_csv_parses_back(board):
    lines = list(csv.DictReader(io.StringIO(render_csv(board))))
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == 2 * 6 * len(METRICS)
    of = {(line["dataset"], line["row"], line["metric"]): line for line in lines}
    good = row(board, "Good").cell("NDCG@5")
    line = of["synthetic", "Good", "NDCG@5"]
    assert float(line["mean"]) == good.mean
    assert float(line["p_adjusted"]) == good.comparison.p_adjusted
    assert int(line["n_seeds"]) == 3
    broken = of["ml-100k", "Broken", "HR@5"]
    assert (broken["mean"], broken["status"], broken["reason"]) == (
        "", "failed", "CUDA out of memory",
    )  # fmt: skip


def test_csv_has_the_tests_of_equivalence_of_a_board_with_bounds(tmp_path):
    board, cells = make(
        tmp_path, [Line("Base", 0.4), Line("Other", 0.4)], metrics=["HR@5", "MGU@5"]
    )
    card = board.card.model_copy(update={"equivalence": {"HR@5": 0.5}})
    table = assemble_from(dataclasses.replace(board, card=card), cells, tmp_path)
    lines = list(csv.DictReader(io.StringIO(render_csv(table))))
    assert tuple(lines[0]) == (*COLUMNS, *EQUIVALENCE)
    bounded, others = (
        [[line[name] for name in EQUIVALENCE] for line in lines if is_bounded(line)]
        for is_bounded in (
            lambda line: (line["row"], line["metric"]) == ("Other", "HR@5"),
            lambda line: line["metric"] != "HR@5" and line["row"] == "Base",
        )
    )
    test = row(table, "Other").cell("HR@5").comparison
    assert bounded == [["0.5", str(test.p_equivalent), str(test.p_equivalent_adjusted), "True"]]
    assert others == [[""] * 4]


def test_the_sentences_say_what_was_done(board):
    assert "these methods: over users and training seeds" in board.statistics
    assert "leaving out users with their lists and histories (DivRatio" in board.statistics
    assert "mark methods with an adjusted p" in board.statistics
    assert "families of 3" in board.statistics
    assert "60 test cases over 40 items (MovieLens-100K)" in board.protocol
    assert "k = 1 and 5" in board.protocol
    assert board.scope == ""


def test_ranks_over_data_sets_are_shown_with_why_they_are_not_tested(board):
    assert len(board.mean_ranks) == len(board.metrics)
    for page in (render_markdown(board), render_html(board)):
        assert "over 2 data sets:" in page
        assert "not tested" in page


def test_one_data_set_with_results_has_no_ranks_over_data_sets(tmp_path):
    made = make(tmp_path, [Line("Base", 0.1), Line("Good", 0.6)], datasets=("synthetic", "ml-100k"))
    assert assemble_from(*made, tmp_path).mean_ranks
    shutil.rmtree(tmp_path / "ml-100k")
    assert assemble_from(*made, tmp_path).mean_ranks == ()


def test_a_small_budget_is_said_aloud(tmp_path):
    table = assemble_from(*make(tmp_path, [Line("Base", 0.1)], budget="nano"), tmp_path)
    assert table.scope.startswith("Small budget “nano”")
    for text in (render_table(table), render_markdown(table), render_html(table)):
        assert "do not reproduce published results" in " ".join(text.split())


def test_the_header_groups_neighboring_columns():
    assert group_columns(["HR@5", "HR@10", "GU[a@b]@1", "Hallucination"]) == [
        ("HR", [("HR@5", "@5"), ("HR@10", "@10")]),
        ("GU[a@b]", [("GU[a@b]@1", "@1")]),
        ("Hallucination", [("Hallucination", "")]),
    ]


def test_numbers_in_words():
    assert [format_p(p) for p in (0.0001, 0.0123, 0.9999, None)] == ["<.001", ".012", "1", "–"]
    assert format_percent(0.1234) == "+12.3 %"
    assert format_percent(-25.0) == "−2,500 %"


def test_the_front_keeps_what_nothing_beats_in_both():
    assert pareto_front([(1, 1), (2, 3), (3, 2), (2, 2), (3, 2)]) == [(2, 3), (3, 2)]


@pytest.mark.parametrize("values", [[0.0], [0.5, 0.5], [-1e-9, 1e-9], [0, 123456.0], [3, -2]])
def test_a_scale_covers_its_values_with_a_few_ticks(values: Iterable[float]):
    x = fit_scale(list(values), 10, 110)
    assert all(10 <= x(value) <= 110 for value in values)
    assert 2 <= len(x.ticks) <= 8
    assert len({x.tick_text(tick) for tick in x.ticks}) == len(x.ticks)


def test_a_cell_without_a_comparison_is_not_significant():
    assert not Cell(metric="HR@5", status="ok", expected_seeds=1).significant


def test_an_unranked_row_far_away_does_not_squeeze_the_others() -> None:
    row = SimpleNamespace(name="A row", ranked=True, reference=False)
    far = SimpleNamespace(name="Oracle", ranked=False, reference=False)
    points = [
        Point(row=row, x=x, y=0.1 * number, text="") for number, x in enumerate((0.01, 0.02, 0.03))
    ]
    alone = _scatter_plot(points, x_label="", y_label="", title="")
    both = _scatter_plot(
        [*points, Point(row=far, x=0.9, y=0.1, text="")], x_label="", y_label="", title=""
    )
    places = re.findall(r'class="solid" cx="([\d.]+)"', alone)
    assert re.findall(r'class="solid" cx="([\d.]+)"', both) == places
    assert 'class="hollow" cx="544.0"' in both, "at the edge"
    assert "Oracle (off scale)" in both


def test_long_names_are_whole_in_the_figure_of_differences(tmp_path):
    name = "SPRec with random negatives, as published"
    lines = [Line("Base", 0.1), Line(name, 0.5)]
    page = render_html(assemble_from(*make(tmp_path, lines), tmp_path))
    labels = re.findall(r'text-anchor="end">([^<]*)</text>', page)
    assert " ".join(label for label in labels if label in name) == name
    assert "No row matches the search" in page


@pytest.mark.parametrize(("name", "ends"), [("HR@5", (0, 1)), ("DivRatio@5", (0, 1))])
def test_intervals_of_values_end_where_the_metric_does(name: str, ends: tuple[int, int]) -> None:
    assert clip_interval(name, -0.2, 1.3) == ends
    assert clip_interval(name, 0.2, 0.3) == (0.2, 0.3)


def test_the_head_says_what_was_computed_when_by_which_code_and_on_what(tmp_path):
    lines = [Line("Base", 0.1), Line("Good", 0.5)]
    board, cells = make(tmp_path, lines)
    results = load_results(tmp_path)
    provenance = {"date": "2026-11-28", "llmrec-bench": "0.1.0", "commit": "abc", "cpu": "A CPU"}
    for result in results.results.values():
        result.provenance.update(provenance)
    table = assemble(board, cells, results)
    entry = IndexEntry.of_table(table, results)
    assert "2026-11-28, llmrec-bench 0.1.0, commit abc, A CPU" in render_html(table, results)
    assert entry.ran.endswith("2026-11-28")
    index = index_html([entry], {"Code": "../README.md"})
    assert entry.ran in index
    assert '<a href="../README.md">Code</a>' in index


def index_entry(folder: Path, hits: float) -> IndexEntry:
    lines = [Line("Floor", 0.5), Line("Base", 0.0), Line("Good", hits)]
    board, cells = make(folder, lines, datasets=("synthetic", "ml-100k"))
    rows = tuple(row.model_copy(update={"floor": row.name == "Floor"}) for row in board.card.rows)
    card = board.card.model_copy(
        update={"rows": rows, "title": "A board, changed: model tiny", "reference": "Base"}
    )
    cells = [(next(row for row in rows if row.name == old.name), trial) for old, trial in cells]
    shutil.rmtree(folder / "ml-100k")
    return IndexEntry.of_table(assemble_from(replace(board, card=card), cells, folder))


def test_the_index_says_who_leads_how_certainly_and_where_the_floor_is(tmp_path):
    entry = index_entry(tmp_path, 0.9)
    assert (entry.title, entry.changes) == ("A board", "model tiny")
    assert IndexEntry.model_validate_json(entry.model_dump_json()) == entry
    line, missing = entry.lines
    assert (line.best[0], line.certainty[0]) == ("Good", "better than 1 of 1 other")
    assert line.best[1].startswith("NDCG@5 0.")
    assert line.floor[0] == "above the floor"
    assert line.floor[1].startswith("Floor 0.")
    assert missing == ("MovieLens-100K", ("no result", ""), ("", ""), ("", ""))
    for page in (index_html([entry]), index_markdown([entry])):
        assert "In 1 of these the best row is significantly better" in page
        assert "trained on all rows: 1 × above the floor" in page


def test_a_row_without_a_hit_does_not_lead(tmp_path):
    entry = index_entry(tmp_path, 0.9)
    ((title, lead),) = entry.leads.items()
    entry = entry.model_copy(update={"leads": {title: replace(lead, mean=0.0)}})
    assert entry.lines[0].best == ("no ranked row has a hit", "NDCG@5 0.0000")
    assert entry.lines[0].certainty == ("", "")
    assert "0 have a ranked row with a hit" in index_markdown([entry])


def test_the_index_counts_the_claims_of_each_paper_and_links_them():
    claims = {"X-1": ("yes", "not comparable"), "X-2": ("no", "not run")}
    common = {"board": "b", "title": "T", "datasets": ("D",), "num_rows": 1, "status": "s"}
    ours = IndexEntry(name="ours", **common)
    theirs = IndexEntry(name="theirs", **common, paper="P", url="https://p.org", claims=claims)
    for page in (index_html([theirs, ours]), index_markdown([theirs, ours])):
        assert page.index("Boards of this project") < page.rindex("2 claims. By the published")
        assert "numbers: 1 × hold, 1 × do not hold. By our runs: 1 × not comparable, 1 ×" in page
        assert "theirs/index.html#claims" in page
        assert "ours/index.html#claims" not in page
