"""Strata of test cases, boards without some of them, and the floor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from board_results import Line, assemble_from, make, row
from conftest import Bench

from bench.config.cards import FLOOR, Rows
from bench.data.case_strata import label_cases, tied_share
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.plan.trials import Trial
from bench.report.checks import find_lead, stratify
from bench.report.render.html import render_html
from bench.results.load import load_results
from bench.results.outcomes import trial_outcome
from bench.results.subset import ResultSubset
from bench.stats.samples import Sample

TRIAL_FIELDS = {"method", "dataset", "seed", "model", "settings"}


@pytest.fixture
def prepared() -> Prepared:
    """Two users over items 0 to 4; training knows 0 0 0 1 1 2, item 3 is new, item 4 not listed."""
    return Prepared(
        catalog=Catalog(ids=tuple("abcd"), titles=tuple("abcd"), categories=((),) * 4),
        user_ids=("u", "v"),
        users=np.array([0] * 8 + [1] * 4, dtype=np.int32),
        items=np.array([0, 1, 0, 1, 0, 2, 3, -1, 2, 0, 1, 2], dtype=np.int32),
        ratings=np.zeros(12, dtype=np.float32),
        times=np.array([1, 2, 3, 4, 5, 5, 6, 9, 1, 7, 7, 8], dtype=np.int64),
        # Training covers the first six of u: 0 1 0 1 0 2. Tests: u's 6 and 7, v's 10 and 11.
        start=np.array([0, 1, 0, 2, 8, 8], dtype=np.int64),
        target=np.array([4, 5, 6, 7, 10, 11], dtype=np.int64),
        boundaries=(2, 2),
        history=6,
    )


def test_strata_of_cases_counted_by_hand(prepared: Prepared) -> None:
    labels = label_cases(prepared, np.array([2, 3, 4, 5]))
    assert labels["ties"] == ["later", "later", "tied", "later"]
    assert tied_share(prepared) == 0.25
    # Training counts 3, 2, 1: item 0 makes up the first half of six, 1 begins in the second third.
    assert labels["popularity"] == ["cold", "cold", "middle", "tail"]
    assert labels["transition"] == ["unseen", "unseen", "seen", "unseen"]
    assert labels["history"] == ["5-9 items", "5-9 items", "1-4 items", "1-4 items"]
    assert labels["activity"] == ["middle", "high", "low", "low"]


# --- made-up samples ------------------------------------------------------------------------------


def make_sample(name: str, hits: list[float], strata: list[str]) -> Sample:
    num = len(hits)
    return Sample(
        name=name,
        seeds=(0,),
        cases=tuple(map(str, range(num))),
        users=tuple(f"u{case}" for case in range(num)),
        values={"HR@5": np.array([hits])},
        known=np.ones(num, dtype=bool),
        items=np.zeros((1, num, 1), dtype=np.int32),
        masses={},
        tracked=(),
        num_items=9,
        strata={"transition": np.array(strata)},
        histories=np.zeros((num, 0)),
    )


def test_a_reversal_between_strata_is_named(tmp_path: Path) -> None:
    made = make(tmp_path, [Line("A", 0.9), Line("B", 0.1)], metrics=("HR@5",))
    (block,) = assemble_from(*made, tmp_path, tested=False).datasets
    strata = ["seen"] * 60 + ["unseen"] * 40
    samples = {
        "A": make_sample("A", [1.0] * 55 + [0.0] * 45, strata),
        "B": make_sample("B", [0.0] * 60 + [1.0] * 30 + [0.0] * 10, strata),
    }
    (table,) = stratify(block, "HR@5", samples)
    assert table.counts == {"seen": 60, "unseen": 40}
    assert [value.value for value in dict(table.rows)["B"]] == pytest.approx([0.0, 0.75])
    (sentence,) = table.reversals
    assert "B is better on the unseen" in sentence


@pytest.mark.parametrize(
    ("first", "hits", "side", "words"),
    [
        (
            0,
            0.6,
            "above",
            "A, the best ranked row (HR@5 0.6000), is significantly above the floor, F",
        ),
        (
            0,
            0.1,
            "below",
            "A, the best ranked row (HR@5 0.1000), is significantly below the floor, F",
        ),
        (20, 0.3, "undecided", "all training rows (0.3000), but not significantly: "),
        (
            0,
            0.28,
            "not tested",
            "is below the floor, F on all training rows (0.3000), which could not be tested: ",
        ),
        (0, 0.0, "below", "No ranked row has a hit (HR@5 0.0000); the floor is F"),
    ],
)
def test_the_best_row_is_compared_with_the_floor(
    tmp_path: Path, first: int, hits: float, side: str, words: str
) -> None:
    made = make(tmp_path, [Line("A", hits), Line("F", 0.1)], metrics=("HR@5",))
    (block,) = assemble_from(*made, tmp_path, tested=False).datasets
    assert find_lead(block, "HR@5", {}).floor == "no floor"
    rows = tuple(
        dataclasses.replace(
            row,
            floor=row.name == "F",
            ranked=row.name != "F",
            cells=(dataclasses.replace(row.cells[0], mean=hits if row.name == "A" else 0.3),),
        )
        for row in block.rows
    )
    block = dataclasses.replace(block, rows=rows)
    assert find_lead(block, "HR@5", {}).floor == "no result"
    samples = {
        name: make_sample(name, [float(0 <= case < 200 * share) for case in cases], [""] * 200)
        for name, share, cases in (
            ("A", hits, range(-first, 200 - first)),
            ("F", 0.3, range(200)),
        )
    }
    lead = find_lead(block, "HR@5", samples)
    assert (lead.floor, lead.row, lead.floor_row) == (side, "A", "F")
    assert words in lead.floor_text
    assert lead.without_hit == (hits == 0)


def test_the_fewest_users_who_decide_the_best_row_are_counted(tmp_path: Path) -> None:
    """A leads B by 7 - 5 users: without 3 of those whom only A hits, B is the best."""
    made = make(tmp_path, [Line("A", 0.9), Line("B", 0.1), Line("C", 0)], metrics=("HR@5",))
    (block,) = assemble_from(*made, tmp_path, tested=False).datasets
    samples = {
        "A": make_sample("A", [1.0] * 7 + [0.0] * 43, [""] * 50),
        "B": make_sample("B", [0.0] * 7 + [1.0] * 5 + [0.0] * 38, [""] * 50),
        "C": make_sample("C", [0.0] * 50, [""] * 50),
    }
    lead = find_lead(block, "HR@5", samples)
    assert lead.robustness == "A has the best HR@5; without 3 cases of 50 (6.0 %), B would have it."
    assert (lead.num_others, lead.num_beaten) == (2, 0)
    del samples["B"]
    assert "whichever users" in find_lead(block, "HR@5", samples).robustness


# --- a board that was run -------------------------------------------------------------------------


def test_a_board_without_a_floor_gets_a_warning(bench: Bench) -> None:
    board = (
        'title = "T"\ndatasets = ["synthetic"]\nmetrics = ["HR@5", "MGU@5"]\nseeds = 1\n'
        'budget = "smoke"\nrows = [{ method = "popularity" }, '
        '{ method = "markov", floor = true }]\n'
    )
    Path("mine.toml").write_text(board)
    Path("bare.toml").write_text(board.replace(", floor = true", ""))
    assert "warn" not in bench("check", "mine.toml").out
    assert "no row is a floor" in bench("check", "bare.toml").out
    # No item-ID model re-ranks lists.
    Path("lists.toml").write_text(
        'title = "L"\ndatasets = ["synthetic-rated"]\nmetrics = ["NDCG@5"]\nseeds = 1\n'
        'budget = "smoke"\nrows = [{ method = "listorder" }]\n'
    )
    checked = bench("check", "lists.toml")
    assert (checked.code, "warn" in checked.out) == (0, False), checked.out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('method = "markov"', 'method = "markow"', "Did you mean 'markov'?"),
        (
            'method = "markov"',
            'method = "markov", settings = { deccay = 1 }',
            "no setting 'deccay'",
        ),
        ('"synthetic"', '"synthetik"', "Did you mean 'synthetic'?"),
        ('"smoke"', '"smokee"', "Did you mean 'smoke'?"),
        ('"popularity"', '"bigrec"', "bigrec on synthetic: "),
        ("HR@5", "HR@101", "k = 101 needs longer rankings than the 100 items"),
    ],
)
def test_a_board_whose_rows_cannot_be_planned_fails_its_check(
    bench: Bench, old: str, new: str, sentence: str
) -> None:
    board = (
        'title = "T"\ndatasets = ["synthetic"]\nmetrics = ["HR@5", "MGU@5"]\nseeds = 1\n'
        'budget = "smoke"\nrows = [{ method = "popularity" }, '
        '{ method = "markov", floor = true }]\n'
    )
    Path("mine.toml").write_text(board.replace(old, new))
    checked = bench("check", "mine.toml")
    assert checked.code == 1
    assert sentence in checked.out


def test_metrics_without_tied_targets_are_those_of_the_other_cases(bench: Bench) -> None:
    done = bench(
        "run", "--method", "popularity", "--method", "markov", "--dataset", "synthetic",
        "--seeds", "1", "--executor", "inline",
    )  # fmt: skip
    assert done.code == 0, done.err
    results = load_results("results")
    subset = ResultSubset(results, "seen")
    for trial, result in results.results.items():
        cases = results.cases(trial)
        stays = cases.strata["transition"] != "seen"
        final = subset.results[trial].evaluations["final"]
        assert final.num_cases == stays.sum() < result.evaluations["final"].num_cases
        assert final.metrics["HR@5"] == pytest.approx(cases.values["HR@5"][stays].mean())
        listed = {item for items in cases.items[stays & cases.known] for item in items[:5]}
        slots = 5 * (stays & cases.known).sum()
        assert final.metrics["DivRatio@5"] == pytest.approx(len(listed) / slots)
    assert "unseen" in bench("report", "--by", "transition").out
    without = bench("report", "--exclude", "seen")
    assert without.code == 0, without.err
    assert "without transitions that are in training" in without.out
    assert len([*Path(".bench/pages").glob("*-without-seen/index.html")]) == 1
    assert Path(".bench/pages/how-to-read.html").is_file()
    with pytest.raises(BenchError, match="stratum"):
        ResultSubset(results, "nothing")


def test_a_floor_of_lists_is_compared_if_its_test_lists_are_those_of_the_table(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps all training users, which the fingerprint of lists covers, too."""
    Path("lists.toml").write_text(
        'title = "T"\ndatasets = ["synthetic-rated"]\nmetrics = ["MAP@5"]\nseeds = 1\n'
        'budget = "smoke"\nrows = [{ method = "listorder", label = "A", settings.by = "given" }, '
        '{ method = "listorder", label = "B", settings.by = "oracle" }, '
        '{ method = "listorder", label = "Floor", floor = true }]\n'
    )
    monkeypatch.setenv("BENCH_PATH", ".")
    done = bench("run", "--board", "lists", "--rows", "train=40", "--executor", "inline")
    assert done.code == 0, done.err
    results = load_results("results")
    (given, oracle), (floor,) = (
        [result for result in results if (result.rows["train"] is None) == is_floor]
        for is_floor in (False, True)
    )
    assert given.data is not None
    assert oracle.data is not None
    assert floor.data is not None
    assert given.data.fingerprint == oracle.data.fingerprint != floor.data.fingerprint
    (page,) = Path(".bench/pages").glob("lists*/README.md")
    assert "on all training rows" in page.read_text()
    assert "other data" not in page.read_text()

    trial = Trial(**floor.model_dump(include=TRIAL_FIELDS), rows=Rows(**floor.rows), data_seed=0)
    trial.__dict__["id"] = floor.trial
    cases, others = results.cases(floor.trial), results.cases(given.trial)
    for table, status in (
        (cases, "ok"),
        (dataclasses.replace(cases, items=cases.items[:, :9]), "skipped"),
        (dataclasses.replace(cases, users=("x", *cases.users[1:])), "skipped"),
        (dataclasses.replace(cases, values={"CLICK@10": cases.values["CLICK@10"] + 1}), "skipped"),
    ):
        tables = {floor.trial: table, given.trial: others}
        monkeypatch.setattr(results, "cases", tables.__getitem__)
        assert trial_outcome(trial, results, given.data.fingerprint).status == status


def test_floor_rows_are_a_group_of_their_own(tmp_path: Path) -> None:
    lines = [Line("Base", 0.1), Line("Good", 0.7), Line("Simple", 0.4)]
    board, cells = make(tmp_path, lines, metrics=["HR@5"])
    rows = {
        line.name: line.model_copy(update={"floor": line.name == "Simple"})
        for line in board.card.rows
    }
    card = board.card.model_copy(update={"rows": tuple(rows.values())})
    cells = [(rows[line.name], trial) for line, trial in cells]
    table = assemble_from(dataclasses.replace(board, card=card), cells, tmp_path)
    assert [(heading, len(group)) for heading, group in table.datasets[0].groups] == [
        ("", 2), (FLOOR, 1),
    ]  # fmt: skip
    simple, good = (row(table, name) for name in ("Simple", "Good"))
    assert (simple.apart, simple.ranked, good.apart, good.ranked) == (True, False, False, True)
    families = {line.name: line.cells[0].comparison.family_size for line in (simple, good)}
    assert families == {"Simple": 1, "Good": 1}
    assert FLOOR in render_html(table)
