"""`bench tune`: what is drawn, what is stopped, what is read, and that a killed search goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from typer.testing import CliRunner

from bench.cli import tune as command
from bench.config.cards import BoardCard, BoardRow
from bench.config.toml import check_card, parse_override
from bench.errors import BenchError
from bench.plan.graph import build_graph
from bench.plan.trials import Board, board_trials
from bench.tuning.asha import Look, Standing, rungs, standings
from bench.tuning.pages import toml_value
from bench.tuning.search import Setup, plan_search
from bench.tuning.space import Space, configurations, space_of

# A method that is best at power 1, cares little about rounds, and does what a file tells it.
PEAK = '''
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.api import BenchError, Plan, rank


def fit(train, catalog, *, power, rounds, folder):
    if power == 7:
        raise ValueError("told to fail")
    for order in Path(folder).glob(f"*-{power:g}-{rounds}") if folder else ():
        if order.name.startswith("hang"):
            time.sleep(120)
        order.unlink()
        if order.name.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError("told to run out")
    counts = np.bincount(train.targets[train.targets >= 0], minlength=len(catalog))
    noise = np.random.default_rng(rounds).random(len(catalog)) / rounds
    return lambda histories: np.tile(np.sign(power) * counts + noise, (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Peak: popularity, or its opposite."""

    SPACE: ClassVar = {"power": {"choices": [-1.0, 1.0, -2.0, 0.0, 2.0, 3.0]}}
    RESOURCE: ClassVar = "rounds"

    power: float = 0.0
    rounds: int = 4
    name: str = "x"
    folder: str = ""

    def __post_init__(self):
        if self.power == 8:
            raise BenchError("peak: power is 8.")

    def plan(self, data, model, seed):
        own = {"power": self.power, "rounds": self.rounds, "folder": self.folder}
        return Plan(ranking=rank(data.test, scorer="peak:fit", train=data.train, settings=own))
'''


ASKED = ["peak", "--dataset", "synthetic", "--budget", "smoke", "--set", "peak.rounds=4"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "peak.py").write_text(PEAK)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "plugins"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(*words: str, executor: str = "inline") -> SimpleNamespace:
    app = typer.Typer()
    app.command()(command.tune)
    done = CliRunner().invoke(app, [*ASKED, "--executor", executor, *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)


def report(*words: str, executor: str = "inline") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tune(*words, "--json", executor=executor).out)
    return content


def setup(**given: Any) -> Setup:
    asked = {"method": "peak", "dataset": "synthetic", "model": None, "budget": "smoke"}
    return Setup(**{**asked, "metric": "NDCG@5", "num": 6, **given})


# --- the space ----------------------------------------------------------------------------------


def space(**domains: Any) -> Space:
    return check_card({"space": domains}, Space, "the test")


def test_a_larger_search_begins_with_a_smaller_one() -> None:
    wide = space(rate={"log_uniform": [1e-5, 1e-1]}, width={"integers": [8, 64]})
    now = {"rate": 1e-3, "width": 32}
    few, many = (configurations(wide, num, seed=3, given=now) for num in (4, 9))
    assert many[:4] == few
    assert few[0] == {}
    assert few != configurations(wide, 4, seed=4, given=now)


def test_a_small_space_is_tried_whole_and_nothing_twice() -> None:
    small = space(a={"choices": [1, 2]}, b={"integers": [0, 2]})
    found = configurations(small, 50, seed=0, given={"a": 2, "b": 1, "c": 9})
    assert len(found) == 6  # the settings as they are, and the five others
    pairs = {(changed.get("a", 2), changed.get("b", 1)) for changed in found}
    assert pairs == {(a, b) for a in (1, 2) for b in (0, 1, 2)}


@settings(max_examples=50)
@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), st.integers(0, 2**31))
def test_drawn_numbers_lie_within_and_can_be_typed(low: float, wider: float, seed: int) -> None:
    high = low * wider
    one = space(u={"uniform": [low, high]}, l={"log_uniform": [low, high]})
    for name, domain in one.space.items():
        value = domain.draw(np.random.default_rng(seed))
        assert low <= value <= high, name
        assert value in (low, high) or value == float(f"{value:.3g}")


def test_log_uniform_gives_each_decade_its_share() -> None:
    domain = space(rate={"log_uniform": [1e-4, 1e-1]}).space["rate"]
    source = np.random.default_rng(0)
    drawn = np.array([domain.draw(source) for _ in range(3000)])
    shares = np.histogram(np.log10(drawn), bins=[-4, -3, -2, -1])[0] / len(drawn)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("[space]\npowr = { choices = [1.0] }", "no setting 'powr'", "power"),
        ("[space]\npower = { choices = ['x'] }", "power = 'x' is not valid", ""),
        ("[space]\npower = { choices = [] }", "space.power.choices", ""),
        ("[space]\npower = { uniform = [2.0, 1.0] }", "must be less than the second", ""),
        ("[space]\npower = { log_uniform = [0.0, 1.0] }", "numbers above 0", ""),
        ("[space]\npower = { uniform = [0, 1], choices = [1.0] }", "exactly one of", ""),
        ("[space]\npower = {}", "exactly one of", ""),
        ("[space]\npower = { choice = [1.0] }", "unknown key 'space.power.choice'", "'choices'"),
        ("[space]\n", "space: Dictionary should have at least 1 item", ""),
        ("resource = 'rouns'\n[space]\npower = { choices = [1.0] }", "no setting 'rouns'",
         "rounds"),
        ("resource = 'name'\n[space]\npower = { choices = [1.0] }", "name is no whole number", ""),
        ("[space]\nrounds = { integers = [1, 9] }", "rounds is the resource", "Leave one out"),
    ],
)  # fmt: skip
def test_a_space_that_does_not_fit_gets_one_sentence(
    here: Path, text: str, sentence: str, hint: str
) -> None:
    (here / "s.toml").write_text(text)
    with pytest.raises(BenchError) as told:
        space_of("peak", here / "s.toml")
    assert sentence in told.value.message
    assert hint in told.value.hint


def test_a_file_replaces_the_declared_space_and_keeps_the_resource(here: Path) -> None:
    assert list(space_of("peak").space) == ["power"]
    (here / "s.toml").write_text('[space]\nname = { choices = ["a", "b"] }\n')
    own = space_of("peak", here / "s.toml")
    assert (list(own.space), own.resource) == (["name"], "rounds")
    with pytest.raises(BenchError, match="popularity declares no space"):
        space_of("popularity")
    with pytest.raises(BenchError, match="There is no file"):
        space_of("peak", here / "nothing.toml")


# --- early stopping -----------------------------------------------------------------------------


def test_rungs_multiply_up_to_the_most() -> None:
    assert rungs(9, least=1, factor=3) == (1, 3, 9)
    assert rungs(5, least=1, factor=3) == (1, 3, 5)
    assert rungs(3, least=3, factor=3) == (3,)


def replay(values: np.ndarray, factor: int) -> list[Standing]:
    """Search serially: one look at a time, the furthest first."""
    told: dict[Look, float | None] = {}
    while True:
        found, ready = standings(told, num=len(values), num_rungs=values.shape[1], factor=factor)
        if not ready:
            return found
        told[ready[0]] = float(values[ready[0]])


VALUES = st.integers(1, 9).flatmap(
    lambda num: st.lists(
        st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=num, max_size=num
    )
)


@settings(max_examples=200)
@given(VALUES, st.integers(2, 4))
def test_serial_decisions_are_those_of_tunes_asha(rows: list[list[int]], factor: int) -> None:
    values = np.array(rows, dtype=float)
    amounts = rungs(factor**2, least=1, factor=factor)
    peer = AsyncHyperBandScheduler(
        time_attr="t", metric="v", mode="max", max_t=amounts[-1], reduction_factor=factor
    )
    expected = []
    for number, row in enumerate(values):
        trial = SimpleNamespace(trial_id=str(number))
        peer.on_trial_add(None, trial)
        for looks, (amount, value) in enumerate(zip(amounts, row, strict=True), start=1):
            said = peer.on_trial_result(None, trial, {"t": amount, "v": value})
            if said == TrialScheduler.STOP:
                expected.append(looks)
                break
    assert [standing.looks for standing in replay(values, factor)] == expected


@settings(max_examples=200)
@given(VALUES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_end_does_not_depend_on_the_order_in_which_looks_end(
    rows: list[list[int]], workers: int, chance: Any
) -> None:
    values = np.array(rows, dtype=float)
    broken = {Look(len(values) // 2, 1)}
    told: dict[Look, float | None] = {}
    running: list[Look] = []
    made = set()
    while True:
        found, ready = standings(told, num=len(values), num_rungs=3, factor=2)
        free = [look for look in ready if look not in running]
        running += free[: workers - len(running)]
        if not running:
            break
        ended = running.pop(chance.randrange(len(running)))
        assert ended not in made
        made.add(ended)
        told[ended] = None if ended in broken else float(values[ended])
    serial: dict[Look, float | None] = {}
    while True:
        expected, ready = standings(serial, num=len(values), num_rungs=3, factor=2)
        if not ready:
            break
        serial[ready[0]] = None if ready[0] in broken else float(values[ready[0]])
    assert found == expected
    assert told == serial
    assert all(standing.state != "open" for standing in found)


# --- what a search reads ------------------------------------------------------------------------


def splits(trials: Sequence[Any]) -> dict[str, set[str]]:
    """Keys of the draws of each split, over all stages that trials need."""
    found: dict[str, set[str]] = {}
    for stage in build_graph(trials).stages.values():
        if stage.kind == "draw":
            found.setdefault(str(stage.args["split"]), set()).add(stage.key)
    return found


@pytest.mark.parametrize(
    ("method", "model"), [("peak", None), ("sasrec", None), ("sprec", "tiny"), ("d3", "tiny")]
)
def test_no_stage_draws_a_test_row_and_training_is_shared_with_boards(
    here: Path, method: str, model: str | None
) -> None:
    own = {
        "peak": "power = { choices = [1.0, 2.0] }",
        "sasrec": "hidden = { choices = [8, 16] }",
        "sprec": "'preference.beta' = { choices = [0.1, 0.2] }",
        "d3": "alpha = { choices = [0.5, 1.0] }",
    }[method]
    (here / "s.toml").write_text(f"resource = ''\n[space]\n{own}\n")
    asked = setup(method=method, model=model, num=2)
    search = plan_search(asked, space_of(method, here / "s.toml"))
    trials = list(search.trials.values())
    assert [trial.problem for trial in trials] == ["", ""] or method == "sasrec"
    found = splits(trials)
    assert set(found) == {"train", "valid"}
    for trial in trials:
        assert trial.evaluations["final"].inputs["cases"].args["split"] == "valid"
    card = BoardCard(
        title="T", datasets=("synthetic",), rows=(BoardRow(method=method),), metrics=("HR@5",),
        seeds=1, budget="smoke", model=model,
    )  # fmt: skip
    ((_, board),) = board_trials(Board(name="t", card=card), ks=(5,))
    assert splits([board])["train"] == found["train"]
    trained = {"sasrec", "sft", "preference", "pairs", "generate"} - {"generate"}
    theirs = {key for key, stage in build_graph([board]).stages.items() if stage.kind in trained}
    ours = {key for key, stage in build_graph(trials[:1]).stages.items() if stage.kind in trained}
    assert ours == theirs
    assert bool(ours) == (method != "peak")


def test_a_rung_of_rounds_is_the_beginning_of_the_next(here: Path) -> None:
    (here / "s.toml").write_text(
        "resource = 'num_rounds'\nfactor = 2\n[space]\n"
        "'preference.beta' = { choices = [0.1, 0.2] }\n"
    )
    asked = setup(
        method="sprec", model="tiny", num=2, overrides=[parse_override("num_rounds=3")]
    )  # fmt: skip
    search = plan_search(asked, space_of("sprec", here / "s.toml"))
    assert search.rungs == (1, 2, 3)
    kept = {"sft", "preference", "sample", "pairs"}
    keys = [
        {
            key
            for key, stage in build_graph([search.trials[Look(1, rung)]]).stages.items()
            if stage.kind in kept
        }
        for rung in range(3)
    ]
    assert keys[0] < keys[1] < keys[2]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"num": 0}, "A search of no trials"),
        ({"metric": "NDGC@5"}, "no metric named 'NDGC@5'"),
        ({"overrides": [parse_override("power=1.0")]}, "fixes a setting that is searched"),
        ({"overrides": [parse_override("rounds=0")]}, "rounds is 0, less than the 1"),
        ({"overrides": [parse_override("power_=1.0")]}, "no setting 'power_'"),
        ({"dataset": "synthetik"}, "no data set named"),
        ({"method": "bigrec"}, "Nothing can be tried: This method needs a language model"),
    ],
)
def test_a_setup_that_does_not_fit_gets_one_sentence(
    here: Path, changed: dict[str, Any], sentence: str
) -> None:
    (here / "s.toml").write_text('resource = ""\n[space]\n"sft.batch_size" = { choices = [8] }\n')
    own = space_of("bigrec", here / "s.toml") if changed.get("method") else space_of("peak")
    with pytest.raises(BenchError) as told:
        plan_search(setup(**changed), own)
    assert sentence in told.value.message


def test_rows_of_test_are_refused(here: Path) -> None:
    with pytest.raises(BenchError, match="has no test rows"):
        tune("--trials", "2", "--rows", "test=8")


# --- searches -----------------------------------------------------------------------------------


def test_the_best_is_found_written_and_can_be_run(here: Path) -> None:
    done = tune("--trials", "6", "--rows", "valid=200")
    assert done.code == 0, done.err
    assert "peak on synthetic, judged by NDCG@5 on 200 validation cases" in done.out
    assert "rounds = 1, 3, 4" in done.out
    assert "stopped early" in done.out
    (folder,) = (here / "leaderboards" / "tuning").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "index.html", "best.toml", "trials.json",
    }  # fmt: skip
    content = json.loads((folder / "trials.json").read_text())
    assert content["best"]["power"] > 0
    assert content["budget"]["rows"] == {"train": 256, "valid": 200}
    card = check_card(tomllib.loads((folder / "best.toml").read_text()), BoardCard, "best.toml")
    tuned = next(row for row in card.rows if row.name == "peak (tuned)")
    assert tuned.settings == {"rounds": 4, **content["best"]}
    planned = board_trials(Board(name="best", card=card), ks=(5,))
    assert [trial.problem for _, trial in planned] == [""] * 6
    page = (folder / "index.html").read_text()
    assert page.count("<tr>") == 1 + 6
    assert "http" not in page.split("</head>")[1]
    # Every value of the page is a mean over the search's own per-case values.
    results = list((here / ".bench" / "tuning").glob("*/results/synthetic/peak/*/seed-0.json"))
    looks = [look for line in content["configurations"] for look in line["looks"]]
    assert len(results) == len(looks)
    values = {
        round(json.loads(path.read_text())["evaluations"]["final"]["metrics"]["NDCG@5"], 12)
        for path in results
    }
    assert values == {round(value, 12) for _, value in looks}


def test_again_runs_nothing_and_more_trials_reuse_the_first_ones(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = report("--trials", "3")
    with monkeypatch.context() as patch:
        patch.setattr("ray.init", lambda **_: pytest.fail("Ray was started for nothing"))
        again = report("--trials", "3", executor="ray")
    assert again["stages_run"] == 0
    assert first.pop("stages_run") > 0
    again.pop("stages_run")
    assert again == first
    more = report("--trials", "6")
    numbers = {line["number"]: line for line in more["configurations"]}
    for line in first["configurations"]:
        assert numbers[line["number"]] == line


def test_a_failing_configuration_is_recorded_and_the_search_goes_on(here: Path) -> None:
    (here / "s.toml").write_text("[space]\npower = { choices = [7.0, 8.0, 1.0, -1.0] }\n")
    done = tune("--trials", "5", "--space", "s.toml", "--json")
    assert done.code == 1
    lines = json.loads(done.out)["configurations"]
    states = {line["settings"]["power"]: line["state"] for line in lines}
    assert len(lines) == 5
    assert states.pop(7.0) == states.pop(8.0) == "failed"
    assert "failed" not in states.values()
    reasons = {line["settings"]["power"]: line.get("reason", "") for line in lines}
    assert "ValueError: told to fail" in reasons[7.0]
    assert reasons[8.0] == "peak: power is 8."
    assert json.loads(done.out)["best"] == {"power": 1.0}
    recorded = list((here / ".bench" / "tuning").glob("*/results/synthetic/peak/*/seed-0.json"))
    assert "failed" in {json.loads(path.read_text())["status"] for path in recorded}


def test_a_metric_that_evaluations_lack_fails_every_configuration(here: Path) -> None:
    done = tune("--trials", "2", "--metric", "GU[nothing]@5")
    assert done.code == 1
    assert "has no GU[nothing]@5" in done.out
    assert "there is no best" in done.out
    assert not list((here / "leaderboards").rglob("best.toml"))


def test_where_lower_is_better_the_lowest_wins(here: Path) -> None:
    by = {metric: report("--trials", "6", "--metric", metric) for metric in ("HR@5", "MGU@5")}
    for metric, sign in (("HR@5", 1), ("MGU@5", -1)):
        ended = [line for line in by[metric]["configurations"] if line["state"] == "finished"]
        values = [sign * line["looks"][-1][1] for line in ended]
        assert values[0] == max(values) > min(values)
        assert by[metric]["best"] == ended[0]["settings"]


def test_without_a_resource_all_are_evaluated_in_full(here: Path) -> None:
    (here / "s.toml").write_text("resource = ''\n[space]\npower = { choices = [1.0, -1.0] }\n")
    done = tune("--trials", "3", "--space", "s.toml")
    assert "No resource is declared, so each was evaluated in full." in done.out
    assert "stopped early" not in done.out


def test_ray_tune_comes_to_the_same_end_even_if_a_worker_dies(here: Path) -> None:
    orders = here / "orders"
    orders.mkdir()
    words = ["--trials", "4", "--set", f"folder={orders}"]
    serial = report(*words, "--store", "one", "--searches", "one-searches")
    (orders / f"die-{serial['best']['power']:g}-4").touch()
    parallel = report(*words, "--cpus", "2", executor="ray")
    assert not list(orders.iterdir())
    for content in (serial, parallel):
        del content["seconds"]
    assert parallel == serial


def test_out_of_memory_is_tried_again_with_half_the_micro_batch(here: Path) -> None:
    (here / "orders").mkdir()
    (here / "orders" / "memory-0-1").touch()
    content = report("--trials", "1", "--set", f"folder={here / 'orders'}")
    assert content["configurations"][0]["state"] == "finished"
    tried = {
        (attempt["failure"], attempt["micro_batch_divisor"])
        for path in (here / ".bench" / "tuning").glob("*/results/synthetic/peak/*/seed-0.json")
        for attempt in json.loads(path.read_text())["attempts"]
    }
    assert tried == {("out of memory", 1)}


def test_toml_is_read_as_it_was_meant() -> None:
    value = {
        "name": 'a "quoted" \\ line\nand \x7f more – ü',
        "rate": 1e-07,
        "whole": 3,
        "on": True,
        "list": [1, 2.5, "x"],
        "none": [],
        "inside": {"a": {"b": 0.1}},
    }
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


def artifacts(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob(".bench/store/[a-z]*/*/meta.json")}


def test_a_killed_search_goes_on_and_ends_alike(here: Path) -> None:
    words = ["--trials", "5", "--set", f"folder={here / 'orders'}"]
    whole = report(*words, "--store", str(here / "whole"), "--searches", "elsewhere")
    # The third configuration hangs at its first look, and is killed there.
    third = next(line for line in whole["configurations"] if line["number"] == 3)
    (here / "orders").mkdir()
    mark = here / "orders" / f"hang-{third['settings']['power']:g}-1"
    mark.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", "import typer; from bench.cli.tune import tune; typer.run(tune)",
         *ASKED, "--executor", "inline", *words],
        stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    until = time.monotonic() + 60
    while "Configuration 2 of 5" not in seen and time.monotonic() < until:
        seen += process.stderr.readline()
    time.sleep(0.5)
    assert process.poll() is None, seen
    process.send_signal(signal.SIGKILL)
    process.wait()
    mark.unlink()
    made = artifacts(here)
    assert made
    after = report(*words)
    assert after.pop("stages_run") + len(made) == whole.pop("stages_run")
    for content in (after, whole):
        del content["seconds"]
    assert after == whole
