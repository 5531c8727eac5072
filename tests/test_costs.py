"""What stands behind a board's values: cost, attempts, training, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from board_results import Line, assemble_from, make, row

from bench.report.costs import row_costs
from bench.report.render import pages
from bench.report.render.cell_details import describe_attempt
from bench.report.render.charts import checkpoint_charts, checkpoint_means, training_charts
from bench.report.render.html import render_html
from bench.results.curves import MAX_POINTS, read_curves, read_series, split_name
from bench.results.load import load_results


def change(folder: Path, trial: str, **content: Any) -> None:
    path = folder / f"{trial}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


def stage(kind: str, key: str, seconds: float, memory: float = 100.0, **metadata: Any) -> dict:
    return {
        "key": key, "kind": kind, "seconds": seconds, "peak_memory_mib": memory, "shared": False,
        "metadata": metadata,
    }  # fmt: skip


@pytest.fixture
def board(tmp_path: Path) -> tuple[Any, Any, Path]:
    """Two rows of two seeds: 10 s of data for all, 20 s of training for both rows of a seed."""
    planned, cells = make(tmp_path, [Line("Base", 0.1), Line("Tuned", 0.6)], seeds=2)
    for line, trial in cells:
        stages = [stage("prepare", "data", 10.0), stage("sft", f"sft-{trial.seed}", 20.0)]
        if line.name == "Tuned":
            rising = [float(step) for step in range(200)]
            metadata = {"chosen_by_step": rising, "rejected_by_step": rising[::-1], "pairs": 7}
            stages += [
                stage("preference", f"p{n}-{trial.seed}", 5.0, 900.0, **metadata) for n in "12"
            ]
        change(tmp_path, trial.id, stages=stages)
    return planned, cells, tmp_path


def test_shared_stages_are_paid_in_equal_parts_and_add_up_to_the_work_done_once(board):
    planned, cells, folder = board
    table = assemble_from(planned, cells, folder)
    base, tuned = row_costs(table, load_results(folder))
    assert (base.num_trials, base.standalone, tuned.standalone) == (2, 60.0, 80.0)
    assert base.amortized == pytest.approx(2 * (10 / 4 + 20 / 2))
    assert tuned.amortized == pytest.approx(base.amortized + 20)
    assert base.amortized + tuned.amortized == pytest.approx(10 + 2 * 20 + 4 * 5)
    assert (base.exclusive, tuned.exclusive) == (0.0, 20.0)
    assert (base.peak_memory_mib, tuned.peak_memory_mib) == (100.0, 900.0)


def test_another_bill_changes_no_file_with_metrics(board):
    planned, cells, folder = board
    found = []
    for factor in (1, 3):
        for _, trial in cells:
            content = json.loads((folder / f"{trial.id}.json").read_text())["stages"]
            slower = [one | {"seconds": factor * one["seconds"]} for one in content]
            change(folder, trial.id, stages=slower)
        table = assemble_from(planned, cells, folder)
        found.append(pages.board_pages(table, load_results(folder)))
    differ = {name for name in found[0] if found[0][name] != found[1][name]}
    assert differ == {"index.html", "costs.csv"}


def test_charts_share_an_axis_by_measure_and_have_their_numbers(board):
    planned, cells, folder = board
    table = assemble_from(planned, cells, folder)
    (chart,) = training_charts(row(table, "Tuned"), load_results(folder))
    assert chart.heading == "preference: log-probability, chosen and rejected"
    assert chart.legend == ((0, "chosen"), (1, "rejected"))
    assert chart.text == "2 runs one after another. By step; 2 seeds."
    assert chart.heads == ("seed", "part", "values", "first", "25 %", "50 %", "75 %", "last")
    assert len(chart.rows) == 4
    assert chart.rows[0][:3] == ("0", "chosen", "400")
    assert chart.svg.count("<polyline") == 4 * 2, "a line is parted where a run ended"
    assert training_charts(row(table, "Base"), load_results(folder)) == []
    assert chart.heading in render_html(table, load_results(folder))


@pytest.mark.parametrize(
    ("value", "points"),
    [
        ([0.5, 0.25], [(1.0, 0.5), (2.0, 0.25)]),
        ([[10, 0.5], [20, 1]], [(10.0, 0.5), (20.0, 1.0)]),
        ({"20": 1, "10": 0.5}, [(10.0, 0.5), (20.0, 1.0)]),
        ([0.5, None], []),
        ([0.5, "nan"], []),
        (["a", "b"], []),
        ("12", []),
        (7, []),
        ([[1, 2, 3]], []),
        ([True, False], []),
        ({"rows": 3}, []),
    ],
)
def test_what_is_a_series(value, points):
    assert read_series(value) == points


def test_names_of_facts_in_split_name():
    assert split_name("chosen_logp_by_step") == ("log-probability", "chosen", "step")
    assert split_name("rejected_by_step") == ("log-probability", "rejected", "step")
    assert split_name("valid_loss_by_epoch") == ("loss", "valid", "epoch")
    assert split_name("margin_by_step") == ("margin", "", "step")


def test_long_curves_are_thinned_within_each_run():
    runs = [
        SimpleNamespace(kind="sft", metadata={"loss_by_step": [float(n)] * 999}) for n in (1, 2)
    ]
    (curve,) = read_curves(runs)
    assert len(curve.points) <= MAX_POINTS
    assert (curve.num_values, curve.ends) == (1998, (999.0,))
    assert (curve.points[0][0], curve.points[-1][0]) == (1.0, 1998.0)
    assert {value for at, value in curve.points if at <= 999} == {1.0}
    assert {value for at, value in curve.points if at > 999} == {2.0}


def test_lists_about_data_are_no_training():
    assert read_curves([SimpleNamespace(kind="prepare", metadata={"sizes": [1, 2, 3]})]) == ()


def test_metrics_at_checkpoints(tmp_path):
    planned, cells = make(tmp_path, [Line("Base", 0.1), Line("SPRec", 0.6)], seeds=2)
    for _, trial in cells[2:]:
        content = json.loads((tmp_path / f"{trial.id}.json").read_text())["evaluations"]
        final = content["final"]
        earlier = final | {"metrics": final["metrics"] | {"HR@5": 0.1 + 0.2 * trial.seed}}
        change(tmp_path, trial.id, evaluations={"final": final, "1-sft": earlier, "1-dpo": final})
    table = assemble_from(planned, cells, tmp_path)
    steps = checkpoint_means(row(table, "SPRec"))
    assert list(steps) == ["1-sft", "1-dpo"], "the final ranking is the last checkpoint's"
    assert steps["1-sft"]["HR@5"] == pytest.approx(0.2)
    assert steps["1-dpo"]["HR@5"] == pytest.approx(row(table, "SPRec").cell("HR@5").mean)
    charts = checkpoint_charts(table.datasets[0], table.metrics)
    assert [chart.heads for chart in charts] == [("row", "1-sft", "1-dpo")] * len(table.metrics)
    assert checkpoint_means(row(table, "Base")) == {}
    html = render_html(table)
    assert "Metrics over training" in html
    assert ">1-sft</text>" in html


def test_attempts_and_memory_are_told(tmp_path):
    oom = {"failure": "out of memory", "message": "CUDA out of memory", "stage": "sft",
           "micro_batch_divisor": 4}  # fmt: skip
    planned, cells = make(
        tmp_path, [Line("Base", 0.1), Line("Big", reasons={0: "no room"})], seeds=1
    )
    change(tmp_path, cells[1][1].id, attempts=[oom])
    table = assemble_from(planned, cells, tmp_path)
    assert row(table, "Big").out_of_memory
    (attempt,) = load_results(tmp_path).results[cells[1][1].id].attempts
    assert describe_attempt(attempt) == (
        "out of memory in sft, with micro-batches divided by 4: CUDA out of memory"
    )
    html = render_html(table, load_results(tmp_path))
    assert "<b>out of memory</b>: no room" in html
    assert 'class="gap out-of-memory"' in html


def test_a_torn_result_has_no_entry_and_the_rest_has(board):
    planned, cells, folder = board
    (folder / f"{cells[0][1].id}.json").write_text("{")
    table = assemble_from(planned, cells, folder)
    assert len(load_results(folder)) == 3
    assert render_html(table, load_results(folder))


def test_costs_of_two_cards_never_mix(board):
    planned, cells, folder = board
    for line, trial in cells:
        path = folder / f"{trial.id}.json"
        content = json.loads(path.read_text())
        card = "H100" if line.name == "Tuned" or trial.seed == 0 else "A100"
        stages = [{**each, "gpu": card} for each in content["stages"] if each["kind"] != "prepare"]
        path.write_text(json.dumps(content | {"stages": stages}))
    base, tuned = row_costs(assemble_from(planned, cells, folder), load_results(folder))
    assert (base.gpu, base.num_trials, base.standalone) == ("H100", 1, 20.0)
    assert (tuned.gpu, tuned.num_trials) == ("H100", 2)
