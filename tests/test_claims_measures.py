"""Claims about logged numbers: every claim can be judged, and a paper's claims are a TOML file."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from board_results import Line, make

from bench.config import plugins
from bench.config.request import RunRequest
from bench.config.toml import check_card
from bench.errors import BenchError
from bench.plan.board_selection import plan_boards, select_boards
from bench.report.claims.cards import PaperClaims, load_claims
from bench.report.claims.claim_types import Proof, SweepCheck
from bench.report.claims.measures import Measure, measure_seeds
from bench.report.claims.reproduced import judge_reproduced
from bench.report.claims.runs import CHECKPOINTS, read_runs
from bench.report.sweeps import find_sweeps
from bench.results.load import load_results
from bench.results.schema import Evaluation, Result, StageRecord, read_result, write_result

PAPERS = ("dpo4rec", "igd", "sprec")
ROOT = Path(__file__).parents[1]


def stage(kind: str, seconds: float = 1.0, **metadata: Any) -> StageRecord:
    return StageRecord(
        key="k", kind=kind, seconds=seconds, peak_memory_mib=1, shared=False, metadata=metadata
    )


def result(*stages: StageRecord, seed: int = 0, host: str = "h") -> Result:
    return Result(
        trial=f"t/seed-{seed}", method="m", dataset="d", seed=seed, model=None, rows={},
        settings={}, status="ok", stages=list(stages), provenance={"host": host},
    )  # fmt: skip


ROUNDS = (
    stage("preference", 2, chosen_by_step=[-10, -12], rejected_by_step=[-10, -20], loss=0.5),
    stage("preference", 3, chosen_by_step=[-13, -14], rejected_by_step=[-21, -25], loss=0.25),
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"over": "sum"}, 5),
        ({"field": "loss", "factor": 100, "over": "last"}, 25),
        ({"field": "chosen_by_step", "over": "change"}, -13.5 + 11),
        ({"field": "chosen_by_step", "take": "change"}, -1.5),
        ({"field": "chosen_by_step", "take": "remainder", "over": "last"}, 14 / 13),
        ({"field": "chosen_by_step", "less": "rejected_by_step", "take": "smallest"}, (0 + 8) / 2),
        (
            {
                "field": "rejected_by_step",
                "less": "chosen_by_step",
                "take": "change",
                "absolute": True,
            },
            ((10 - 2) + (4 - 1)) / 2,
        ),
    ],
)
def test_a_measure_reads_what_stages_logged(fields: dict[str, Any], expected: float) -> None:
    measure = Measure(stages="preference", **fields)
    assert measure.read(result(*ROUNDS, stage("sft", 100))) == pytest.approx(expected)


def test_a_measure_that_no_stage_logged_is_one_sentence() -> None:
    with pytest.raises(BenchError, match="has no entropy of decode stages"):
        Measure(stages="decode", field="entropy").read(result(*ROUNDS))
    with pytest.raises(BenchError, match="a single one only"):
        Measure(stages="preference", over="change").read(result(ROUNDS[0]))


def test_times_are_divided_seed_by_seed_and_on_one_machine() -> None:
    measure = Measure(stages="sft", relative_to="Default")
    slow = [result(stage("sft", 6 + seed), seed=seed) for seed in range(2)]
    base = [result(stage("sft", 3), seed=seed) for seed in range(2)]
    assert measure_seeds(measure, slow, base) == {0: 2.0, 1: pytest.approx(7 / 3)}
    with pytest.raises(BenchError, match="different machines"):
        measure_seeds(measure, slow, [result(stage("sft", 3), host="other")])


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_can_be_judged(paper: str) -> None:
    """Each row of each check is on one of the claim's boards, with its data set and sweep."""
    claims = load_claims(paper)
    boards = {name: plugins.board_card(name) for name in plugins.card_paths("leaderboards")}
    for claim in claims.claims:
        cards = {name: boards[name] for name in claim.boards if name in boards}
        for check in claim.checks:
            if isinstance(check, Proof):
                for test in check.tests:
                    path, _, name = test.partition("::")
                    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
                    assert name in {getattr(node, "name", "") for node in tree.body}, test
                continue
            cells = claims.expand_our_cells(check)
            assert cells, claim.id
            for cell in cells:
                rows = () if isinstance(check, SweepCheck) else cell.rows
                for row, dataset in zip(rows, cell.row_cards or [""] * len(rows), strict=False):
                    assert any(
                        row in [each.name for each in card.rows] and dataset in ("", *card.datasets)
                        for card in cards.values()
                    ), (claim.id, row, dataset)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_sweep_of_a_claim_is_on_its_board(paper: str) -> None:
    claims = load_claims(paper)
    for claim in claims.claims:
        for check in claim.checks:
            if isinstance(check, SweepCheck) and check.x != CHECKPOINTS:
                (planned,) = plan_boards(select_boards(RunRequest(board=claim.boards[0])))
                sweeps = {(sweep.row, sweep.x) for sweep in find_sweeps(*planned)}
                assert {
                    (cell.rows[0], check.x) for cell in claims.expand_our_cells(check)
                } <= sweeps


FOURTH_PAPER = """
paper = "Fourth"
title = "A fourth paper"
[datasets]
Toy = "synthetic"
[rows]
Fast = {}
Slow = {}
Speed = { table = "2", method = "Fast", row = "Fast" }
[measures]
minutes = { stages = "sft", factor = 0.016666666666666666 }
relative = { stages = "sft", relative_to = "Slow" }
[[claims]]
id = "F-01"
section = "1"
sentence = "Fast takes half the time."
boards = "demo"
verdict = "run"
checks = [
  { form = "better", a = "Fast", b = "Slow", metrics = "minutes" },
  { form = "value", row = "Speed", at_most = 0.6, metrics = "relative", datasets = "" },
]
[[claims]]
id = "F-02"
section = "1"
sentence = "NDCG@5 rises step by step."
boards = "demo"
verdict = "run"
checks = [{ form = "trend", row = "Fast", x = "step", direction = "up", metrics = "NDCG@5" }]
[[claims]]
id = "F-03"
section = "1"
sentence = "It is cheap."
boards = "demo"
verdict = "run"
checks = [{ form = "show", row = ["Fast", "Slow"], metrics = "minutes" }]
"""


@pytest.fixture
def fourth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PaperClaims, Any]:
    """A paper as a TOML file of a user, and results with times and checkpoints."""
    folder = tmp_path / "path" / "leaderboards" / "claims"
    folder.mkdir(parents=True)
    (folder / "fourth.toml").write_text(FOURTH_PAPER)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "path"))
    board, cells = make(tmp_path, [Line("Fast", 0.5), Line("Slow", 0.5)])
    for row, trial in cells:
        stored = read_result(tmp_path / f"{trial.id}.json")
        final = stored.evaluations["final"]
        rising = {
            f"sft-{step}": Evaluation(**final.model_dump() | {"metrics": {"NDCG@5": step / 10}})
            for step in (1, 2, 3)
        }
        seconds = (6.0 if row.name == "Fast" else 12.0) + 0.01 * trial.seed
        changed = {"stages": [stage("sft", seconds)], "evaluations": {"final": final, **rising}}
        write_result(stored.model_copy(update=changed), tmp_path)
    return load_claims("fourth"), read_runs([(board, cells)], load_results(tmp_path))


def test_a_fourth_papers_claims_are_a_toml_file(fourth: tuple[PaperClaims, Any]) -> None:
    paper, runs = fourth
    judged = {claim.id: judge_reproduced(claim, paper, runs) for claim in paper.claims}
    assert {name: claim.verdict for name, claim in judged.items()} == {
        "F-01": "holds", "F-02": "holds", "F-03": "shown",
    }  # fmt: skip
    assert "95 % interval" in judged["F-01"].cells[0].text
    assert judged["F-01"].cells[1].cell.dataset == "synthetic"
    assert "ρ over step by seed: +1.00, +1.00, +1.00" in judged["F-02"].cells[0].text


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ({"form": "better", "a": "Slow", "b": "Fast", "metrics": "minutes"}, "fails"),
        ({"form": "not_better", "a": "Slow", "b": "Fast", "metrics": "minutes"}, "holds"),
        ({"form": "value", "row": "Fast", "at_least": 1, "metrics": "minutes"}, "fails"),
        ({"form": "value", "row": "Fast", "value": 0.1, "within": 1, "metrics": "minutes"},
         "holds"),
        ({"form": "best", "row": "Fast", "among": "Slow", "metrics": "minutes"}, "not run"),
    ],
)  # fmt: skip
def test_verdicts_on_measures(fourth: Any, check: dict[str, Any], verdict: str) -> None:
    paper, runs = fourth
    content = paper.model_dump(mode="json")
    content["claims"] = [content["claims"][0] | {"checks": [check]}]
    changed = check_card(content, PaperClaims, "made up")
    assert judge_reproduced(changed.claims[0], changed, runs).verdict == verdict


def test_returns_diminish_where_time_buys_less(fourth: Any) -> None:
    from dataclasses import replace

    paper, runs = fourth
    trials = dict.fromkeys(("5", "10", "15"), runs.results["synthetic", "Fast"])
    results = {
        ("synthetic", name): [
            each.model_copy(update={"stages": [stage("sft", 6 * float(name))]}) for each in group
        ]
        for name, group in trials.items()
    }
    values = {"5": 0.1, "10": 0.3, "15": 0.31}
    content = paper.model_dump(mode="json")
    check = {
        "form": "diminishing", "row": "Fast", "x": "N", "at": 10, "per": "minutes",
        "metrics": "score",
    }  # fmt: skip
    content["measures"]["score"] = {"stages": "eval", "field": "score", "higher_is_better": True}
    content["claims"] = [content["claims"][0] | {"checks": [check]}]
    changed = check_card(content, PaperClaims, "made up")
    for (_, name), group in results.items():
        for each in group:
            each.stages.append(stage("eval", score=values[name] + 0.001 * each.seed))
    steps = [(float(name), name) for name in values]
    swept = replace(runs, results=results, sweeps={("synthetic", "Fast", "N"): steps})
    assert judge_reproduced(changed.claims[0], changed, swept).verdict == "holds"
