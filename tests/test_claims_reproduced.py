"""The claims on runs: holds, fails, undecided, shown, not run, each with numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from board_results import Line, make
from numpy.typing import NDArray

from bench.cli.claims import claims
from bench.config.toml import check_card
from bench.errors import BenchError
from bench.plan.trials import BoardSelection
from bench.report.claims.cards import PaperClaims, load_claims
from bench.report.claims.claim_types import Proof
from bench.report.claims.reproduced import ReproducedClaim, judge_reproduced
from bench.report.claims.runs import Runs, read_runs
from bench.results import run_records
from bench.results.load import load_results
from bench.results.run_records import record_boards
from bench.stats.contrasts import difference_of_differences, estimate_relative
from bench.stats.samples import Sample

NUM_CASES, NUM_ITEMS = 300, 60
TRACKED = ("drama", "war")


def row(
    name: str,
    level: float = 0.5,
    *,
    shown: int = 30,
    noise: float = 0.05,
    num_seeds: int = 2,
    seed: int = 0,
    num_cases: int = NUM_CASES,
) -> Sample:
    """A method with NDCG@5 around `level`, whose lists draw on `shown` items."""
    rng = np.random.default_rng([seed, *name.encode()])
    shape = (num_seeds, num_cases)
    items = rng.integers(0, shown, size=(*shape, 5)).astype(np.int32)
    weights = np.zeros((NUM_ITEMS, len(TRACKED)))
    weights[::2, 0] = weights[1::2, 1] = 1.0
    cases = tuple(f"case{case:04d}" for case in range(num_cases))
    return Sample(
        name=name,
        seeds=tuple(range(num_seeds)),
        cases=cases,
        users=cases,
        values={"NDCG@5": level + noise * rng.standard_normal(shape)},
        items=items,
        known=np.ones(num_cases, dtype=np.bool_),
        masses={1: weights[items[..., :1]].mean(axis=2)},
        histories=np.tile([3.0, 1.0], (num_cases, 1)),
        tracked=TRACKED,
        num_items=NUM_ITEMS,
    )


def book(*checks: dict[str, Any]) -> PaperClaims:
    content = {
        "paper": "P",
        "title": "A paper",
        "datasets": {"X": "x-card", "Y": "y-card"},
        "rows": {name: {} for name in ("a", "b", "c", "d")},
        "claims": [
            {
                "id": "S-01",
                "section": "1",
                "sentence": "One.",
                "boards": "a-board",
                "verdict": "run",
                "checks": list(checks),
            }
        ],
    }
    return check_card(content, PaperClaims, "made up")


def judge(runs: Runs, *checks: dict[str, Any]) -> ReproducedClaim:
    paper = book(*({"datasets": "X", "metrics": "NDCG@5"} | check for check in checks))
    return judge_reproduced(paper.claims[0], paper, replace(runs))


def runs(**rows: Sample) -> Runs:
    return Runs(samples={("x-card", name): sample for name, sample in rows.items()})


def sweep(name: str, levels: Sequence[float], x: str = "step", **more: Any) -> Runs:
    samples = {
        ("x-card", f"{name} {step}"): row(name, level, seed=step, **more)
        for step, level in enumerate(levels, 1)
    }
    steps = [(float(step), f"{name} {step}") for step in range(1, len(levels) + 1)]
    return Runs(samples=samples, sweeps={("x-card", name, x): steps[::-1]})


BETTER = {"form": "better", "a": "a", "b": "b"}


@pytest.mark.parametrize(("level", "verdict"), [(0.6, "holds"), (0.4, "fails"), (0.5, "undecided")])
def test_better(level: float, verdict: str) -> None:
    found = judge(runs(a=row("a", level), b=row("b")), BETTER)
    assert found.verdict == verdict
    (finding,) = found.cells
    assert "a against b: " in finding.text
    assert "95 % interval" in finding.text
    assert ", p " in finding.text


def test_flipping_two_rows_flips_the_verdict() -> None:
    good, bad = row("good", 0.6), row("bad", 0.5)
    for check in (
        BETTER,
        {"form": "best", "row": "a", "among": ["a", "b"]},
        {"form": "larger", "a": "a", "b": "b", "c": "b", "d": "a"},
    ):
        assert judge(runs(a=good, b=bad), check).verdict == "holds"
        assert judge(runs(a=bad, b=good), check).verdict == "fails"


def test_set_level_metrics_are_tested_by_swaps() -> None:
    wide, narrow = row("wide", shown=50), row("narrow", shown=10)
    check = BETTER | {"metrics": "DivRatio@1 ORRatio@1"}
    assert judge(runs(a=wide, b=narrow), check).verdict == "holds"
    assert judge(runs(a=narrow, b=wide), check).verdict == "fails"


def test_a_family_is_corrected_by_holm() -> None:
    rng = np.random.default_rng(3)
    base = row("a", 0.5)
    base = moved(base, np.tile(base.values["NDCG@5"].mean(axis=0), (2, 1)))
    shift = {"b": 0.0, "c": 0.0, "d": 0.0}
    # p of a against b lies between .05 / 3 and .05: significant alone, not among three.
    others = {name: row(name, 0.5) for name in shift}
    change = rng.standard_normal(NUM_CASES)
    change = (change - change.mean()) / change.std() + 2.1 / np.sqrt(NUM_CASES)
    values = base.values["NDCG@5"].mean(axis=0) - 0.01 * change
    others["b"] = moved(others["b"], np.tile(values, (2, 1)))
    alone = judge(runs(a=base, **others), BETTER)
    among = judge(runs(a=base, **others), BETTER | {"b": ["b", "c", "d"]})
    assert alone.cells[0].verdict == "holds"
    assert among.cells[0].verdict == "undecided"
    assert "Holm over 3" in among.cells[0].text


def moved(sample: Sample, values: NDArray[np.float64]) -> Sample:
    return replace(sample, values={"NDCG@5": values})


@pytest.mark.parametrize(
    ("level", "tau", "verdict"),
    [
        (0.4, 0.0, "holds"),
        (0.5, 0.0, "holds"),
        (0.6, 0.0, "fails"),
        (0.52, 0.1, "holds"),
        (0.55, 0.1, "undecided"),
        (0.6, 0.1, "fails"),
    ],
)
def test_not_better(level: float, tau: float, verdict: str) -> None:
    check = {"form": "not_better", "a": "a", "b": "b", "tau": tau}
    noise = 0.05 if tau else 0.02
    found = judge(runs(a=row("a", level, noise=noise), b=row("b", noise=noise)), check)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("level", "noise", "verdict"),
    [
        (0.51, 0.05, "holds"),
        (0.40, 0.05, "fails"),
        (0.55, 0.05, "undecided"),
        (0.50, 2.0, "undecided"),
    ],
)
def test_close_is_equivalence_and_never_a_missing_difference(
    level: float, noise: float, verdict: str
) -> None:
    check = {"form": "close", "a": "a", "b": "b"}
    found = judge(runs(a=row("a", level, noise=noise), b=row("b", noise=noise)), check)
    assert found.verdict == verdict


def test_where_nothing_varies_closeness_is_undecided_with_the_reason() -> None:
    same = row("a", num_seeds=1)
    (cell,) = judge(runs(a=same, b=same), {"form": "close", "a": "a", "b": "b"}).cells
    assert cell.verdict == "undecided"
    assert "0 of 300 cases differ" in cell.text


@pytest.mark.parametrize("form", ["better", "not_better", "close"])
def test_one_training_run_decides_nothing_about_methods(form: str) -> None:
    rows = {name: row(name, level, num_seeds=1) for name, level in (("a", 0.9), ("b", 0.5))}
    (cell,) = judge(runs(**rows), {"form": form, "a": "a", "b": "b"}).cells
    assert cell.verdict == "undecided"
    assert "One training run per row" in cell.text


@pytest.mark.parametrize("metric", ["NDCG@5", "ORRatio@1", "DivRatio@1"])
def test_relative_intervals_scale_with_the_metric(metric: str) -> None:
    a, b = row("a", 0.6, shown=40, num_cases=60), row("b", 0.5, shown=20, num_cases=60)
    found = estimate_relative(b, a, metric)
    assert found is not None
    assert found.methods.low < found.value < found.methods.high
    if metric == "NDCG@5":
        ratio = a.values[metric].mean() / b.values[metric].mean()
        assert found.value == pytest.approx(ratio - 1)


def test_relative_intervals_cover() -> None:
    """Means over cases: about 95 of 100 intervals hold the true change of 20 %."""
    inside = 0
    for seed in range(200):
        a = row("a", 0.6, noise=0.5, seed=seed, num_seeds=1)
        b = row("b", 0.5, noise=0.5, seed=seed, num_seeds=1)
        found = estimate_relative(b, a, "NDCG@5")
        assert found is not None
        inside += found.models.low <= 0.2 <= found.models.high
    assert 180 <= inside <= 198


@pytest.mark.parametrize(
    ("form", "levels", "verdict"),
    [
        ("best", {"a": 0.6, "b": 0.5, "c": 0.4}, "holds"),
        ("best", {"a": 0.5, "b": 0.6, "c": 0.4}, "fails"),
        ("worst", {"a": 0.4, "b": 0.5, "c": 0.6}, "holds"),
        ("worst", {"a": 0.5, "b": 0.4, "c": 0.6}, "fails"),
        ("rank2", {"a": 0.5, "b": 0.6, "c": 0.4}, "holds"),
        ("rank2", {"a": 0.4, "b": 0.5, "c": 0.6}, "fails"),
    ],
)
def test_positions(form: str, levels: dict[str, float], verdict: str) -> None:
    check: dict[str, Any] = {"form": form, "row": "a", "among": ["a", "b", "c"]}
    if form == "rank2":
        check |= {"form": "rank", "at_most": 2}
    found = judge(runs(**{name: row(name, level) for name, level in levels.items()}), check)
    assert found.verdict == verdict


def test_best_by_point_value_says_who_is_tied() -> None:
    check = {"form": "best", "row": "a", "among": ["a", "b", "c"]}
    a = row("a")
    slightly = moved(
        row("b"), a.values["NDCG@5"] + 0.001 * np.sign(row("b").values["NDCG@5"] - 0.5)
    )
    low = row("c", 0.3)
    first, second = sorted([a, slightly], key=lambda one: -one.values["NDCG@5"].mean())
    found = judge(runs(a=first, b=second, c=low), check)
    assert found.verdict == "holds"
    assert f"tied with {second.name}" in found.cells[0].text
    assert judge(runs(a=second, b=first, c=low), check).verdict == "undecided"


def test_rows_of_the_same_value_leave_the_place_open() -> None:
    same = row("same")
    for form in ("best", "worst"):
        check = {"form": form, "row": "a", "among": ["a", "b"]}
        assert judge(runs(a=same, b=same), check).verdict == "undecided"


def test_all_categories_become_cells() -> None:
    check = {"form": "best", "row": "a", "among": ["a", "b"], "metrics": ["GU[*]@1"]}
    found = judge(runs(a=row("a"), b=row("b")), check)
    assert [one.cell.metric for one in found.cells] == ["GU[drama]@1", "GU[war]@1"]


@pytest.mark.parametrize(
    ("levels", "direction", "verdict"),
    [
        ([0.3, 0.4, 0.5], "up", "holds"),
        ([0.3, 0.4, 0.5], "down", "fails"),
        ([0.5, 0.4, 0.3], "down", "holds"),
        ([0.5, 0.5, 0.5], "up", "undecided"),
    ],
)
def test_trend(levels: list[float], direction: str, verdict: str) -> None:
    check = {"form": "trend", "row": "a", "x": "step", "direction": direction}
    found = judge(sweep("a", levels), check)
    assert found.verdict == verdict
    assert "ρ over step by seed" in found.cells[0].text


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [([0.3, 0.5, 0.4], "holds"), ([0.3, 0.4, 0.5], "fails"), ([0.3, 0.5, 0.5], "undecided")],
)
def test_peak(levels: list[float], verdict: str) -> None:
    check = {"form": "peak", "row": "a", "x": "step", "at": 2}
    assert judge(sweep("a", levels), check).verdict == verdict


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [([0.5, 0.51, 0.49], "holds"), ([0.5, 0.5, 0.9], "fails"), ([0.5, 0.5, 0.55], "undecided")],
)
def test_level(levels: list[float], verdict: str) -> None:
    check = {"form": "level", "row": "a", "x": "step", "at": 1}
    assert judge(sweep("a", levels), check).verdict == verdict


def test_ranges_values_and_gains_are_shown_and_not_tested() -> None:
    a, b = sweep("a", [0.1, 0.9]), sweep("b", [0.5, 0.5])
    both = Runs(samples={**a.samples, **b.samples}, sweeps={**a.sweeps, **b.sweeps})
    steady = judge(both, {"form": "range", "a": "a", "b": "b", "x": "step"})
    assert steady.verdict == "shown"
    for check in (
        {"form": "value", "row": "a", "value": 0.5},
        {"form": "gain", "a": "a", "b": "b", "value": 4.3},
    ):
        found = judge(runs(a=row("a", 0.6), b=row("b")), check)
        assert found.verdict == "shown"
        assert "not tested" in found.cells[0].text


@pytest.mark.parametrize("metric", ["NDCG@5", "DivRatio@1"])
def test_larger(metric: str) -> None:
    rows = {
        "a": row("a", 0.7, shown=50),
        "b": row("b", 0.3, shown=10),
        "c": row("c", 0.5, shown=22),
        "d": row("d", 0.4, shown=20),
    }
    check = {"form": "larger", "a": "a", "b": "b", "c": "c", "d": "d", "metrics": metric}
    assert judge(runs(**rows), check).verdict == "holds"
    turned = check | {"a": "c", "b": "d", "c": "a", "d": "b"}
    assert judge(runs(**rows), turned).verdict == "fails"
    none = check | {"c": "a", "d": "b"}
    assert judge(runs(**rows), none).verdict == "undecided"
    estimate = difference_of_differences([rows[name] for name in "abcd"], metric)
    assert estimate.methods is not None
    assert estimate.methods.low < estimate.value < estimate.methods.high


def test_larger_across_data_sets() -> None:
    samples = {
        ("x-card", "a"): row("a", 0.7),
        ("x-card", "b"): row("b", 0.4),
        ("y-card", "a"): row("a", 0.5, num_cases=200),
        ("y-card", "b"): row("b", 0.4, num_cases=200),
    }
    check = {"form": "larger", "a": "a", "b": "b", "than_on": "Y"}
    assert judge(Runs(samples=samples), check).verdict == "holds"
    other = check | {"datasets": "Y", "than_on": "X"}
    assert judge(Runs(samples=samples), other).verdict == "fails"


def test_other_setups_than_the_papers_have_numbers_and_no_verdict() -> None:
    both = {("x-card", name): row(name, level) for name, level in (("a", 0.6), ("b", 0.5))}
    other = Runs(samples=both, differences={("x-card", "a"): "backbone nano instead of big"})
    assert judge(Runs(samples=both), BETTER).verdict == "holds"
    judged = judge(other, BETTER)
    assert judged.verdict == "not comparable"
    assert judged.difference == "backbone nano instead of big"
    assert judged.cells[0].text == judge(Runs(samples=both), BETTER).cells[0].text


# --- what is missing ----------------------------------------------------------------------------


def test_missing_rows_are_named_with_the_reason() -> None:
    some = Runs(samples={("x-card", "a"): row("a")}, reasons={("x-card", "b"): "Out of memory."})
    found = judge(some, BETTER)
    assert found.verdict == "not run"
    assert found.reasons == ["b on x-card: Out of memory"]
    assert judge(Runs(), BETTER).reasons == [
        "a on x-card: no result yet",
        "b on x-card: no result yet",
    ]
    trend = {"form": "trend", "row": "a", "x": "step", "direction": "up"}
    assert judge(Runs(), trend).reasons == ["a over step on x-card: no result yet"]


def test_what_is_missing_matters_only_where_it_could_decide() -> None:
    everywhere = BETTER | {"datasets": ["X", "Y"]}
    good, bad = row("good", 0.6), row("bad", 0.4)
    assert judge(runs(a=good, b=bad), everywhere).verdict == "not run"
    assert judge(runs(a=bad, b=good), everywhere).verdict == "fails"
    assert judge(runs(a=good, b=bad), everywhere | {"quantifier": "any"}).verdict == "holds"


def test_what_the_statistics_refuse_costs_no_other_cell() -> None:
    broken = row("b")
    broken.values["NDCG@5"][0, 7] = np.nan
    check = BETTER | {"b": ["b", "c"]}
    found = judge(runs(a=row("a", 0.6), b=broken, c=row("c", 0.4)), check)
    verdicts = {one.cell.rows[1]: one.verdict for one in found.cells}
    assert verdicts == {"b": "not run", "c": "holds"}
    assert found.reasons == ["NDCG@5 of b is not a finite number for 1 of 300 cases: case0007."]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metrics": "HR@5"}, "There is no per-case metric of b named 'HR@5'."),
        ({"metrics": "MGU@5"}, "There is no category mass of b named '@5'."),
    ],
)
def test_a_metric_that_was_not_measured_is_one_sentence(
    change: dict[str, str], reason: str
) -> None:
    found = judge(runs(a=row("a"), b=row("b")), BETTER | change)
    assert (found.verdict, found.reasons) == ("not run", [reason])


def test_other_cases_are_refused() -> None:
    found = judge(runs(a=row("a"), b=row("b", num_cases=10)), BETTER)
    assert found.verdict == "not run"
    assert "lacks 290 of 300 cases" in found.reasons[0]


@pytest.mark.parametrize(
    ("levels", "check", "reason"),
    [
        ([0.5], {"form": "trend", "direction": "up"}, "has 1 steps"),
        ([0.5, 0.6], {"form": "peak", "at": 9}, "has no step 9"),
    ],
)
def test_sweeps_that_cannot_be_judged(
    levels: list[float], check: dict[str, Any], reason: str
) -> None:
    found = judge(sweep("a", levels), {"row": "a", "x": "step"} | check)
    assert found.verdict == "not run"
    assert reason in found.reasons[0]


def test_unknown_rows_are_refused_before_anything_is_judged() -> None:
    with pytest.raises(BenchError, match="There is no row named 'q'"):
        judge(Runs(), BETTER | {"b": "q"})


@pytest.mark.parametrize("paper", ["sprec", "igd", "dpo4rec"])
def test_without_any_run_no_claim_is_decided(paper: str) -> None:
    made = load_claims(paper)
    for claim in made.claims:
        found = judge_reproduced(claim, made, Runs())
        proven = isinstance(claim.checks[0], Proof)
        assert found.verdict == ("holds" if proven else "not run")
        assert proven or found.reasons


def test_a_real_claim_on_made_up_runs() -> None:
    """S-15a, on all four data sets: SPRec above BIGRec in NDCG@5; HR@5 was not measured."""
    made = load_claims("sprec")
    samples = {
        (card, name): row(name, level)
        for card in made.datasets.values()
        for name, level in (("SPRec", 0.6), ("BIGRec", 0.5))
    }
    runs = Runs(samples=samples)
    found = judge_reproduced(
        next(claim for claim in made.claims if claim.id == "S-15a"), made, runs
    )
    assert found.verdict == "not run"
    assert found.count == "4 holds, 4 not run"


# --- from results on disk -----------------------------------------------------------------------


def test_runs_are_read_from_results(tmp_path: Path) -> None:
    lines = [Line("Good", skill=0.9), Line("Bad", skill=0.1), Line("Gone", unrun=(0, 1, 2))]
    found = read_runs([make(tmp_path, lines)], load_results(tmp_path))
    assert {name for _, name in found.samples} == {"Good", "Bad"}
    assert found.samples["synthetic", "Good"].seeds == (0, 1, 2)
    assert found.reasons == {("synthetic", "Gone"): "No result yet."}


def test_rows_on_other_data_are_no_runs(tmp_path: Path) -> None:
    lines = [Line("One"), Line("Two"), Line("Other", fingerprint="e" * 64)]
    found = read_runs([make(tmp_path, lines)], load_results(tmp_path))
    assert ("synthetic", "Other") not in found.samples
    assert "measured on other data" in found.reasons["synthetic", "Other"]


def command(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    app = typer.Typer()
    app.command()(claims)
    app(list(options), standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_prints_both_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = command(capsys, "--paper", "sprec", "--results", str(tmp_path))
    assert "published: partly (6 of 8); reproduced: not run: " in shown
    assert "The papers report neither" in shown
    assert max(len(line) for line in shown.splitlines()) <= 120
    content = json.loads(command(capsys, "--json", "--results", str(tmp_path)))["claims"]
    assert len(content) == 79
    assert content[0].keys() >= {"paper", "id", "sentence", "published", "reproduced"}


def test_the_command_narrows_to_a_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--board", "igd-table2", "--json", "--results", str(tmp_path))
    content = json.loads(command(capsys, *options))["claims"]
    assert [one["id"] for one in content] == ["I-08a", "I-08b", "I-08c", "I-08d", "I-15"]
    with pytest.raises(BenchError, match="no board with claims named 'igd-table22'"):
        command(capsys, "--board", "igd-table22", "--results", str(tmp_path))


@pytest.mark.parametrize("page", ["demo", "demo-smoke"])
def test_the_command_judges_boards_that_were_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    folder = tmp_path / "path" / "leaderboards" / "claims"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        'title = "Mine"\n[datasets]\nx = "synthetic"\n[rows]\nGood = {}\nBad = {}\n'
        '[[claims]]\nid = "S-01"\nsentence = "A."\nboards = "demo"\n'
        'checks = [{ form = "better", a = "Good", b = "Bad", metrics = "HR@5" }]\n'
    )
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "path"))
    made = make(tmp_path, [Line("Good", skill=0.9), Line("Bad", skill=0.1)])
    record_boards(BoardSelection(boards=(replace(made[0], page=page),)), tmp_path)
    monkeypatch.setattr(run_records, "plan_boards", lambda selection, lenient: [made])
    shown = command(capsys, "--paper", "Mine", "--results", str(tmp_path))
    assert "published: not printed; reproduced: holds (1 holds)" in shown
    assert re.search(r"x, HR@5: Good against Bad: \+0\.\d+ .*95 % interval", shown)
    assert "papers report" not in shown
