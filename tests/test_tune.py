"""`bench tune`: the space, what a search reads, its result, and that a killed search resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import psutil
import pytest
import typer
from scripted_runs import list_artifacts, start_cluster
from typer.testing import CliRunner

from bench.cli import tune as command
from bench.config.cards import BoardCard, BoardRow
from bench.config.toml import check_card, parse_override
from bench.errors import BenchError
from bench.plan.graph import build_graph
from bench.plan.trials import Board, board_trials
from bench.runner import ray_process
from bench.runner.executors import ExecutorLostError
from bench.runner.signals import Stopped
from bench.tuning import board
from bench.tuning.pages import to_toml
from bench.tuning.report import Configuration, Evaluation, TuneResult
from bench.tuning.search import Search, SearchSetup, plan_search
from bench.tuning.space import Space, load_space, round_settings

# A method that is best at power 1, cares little about rounds, and follows orders in a folder.
SASREC_WIDTH = "hidden_size"

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

    SPACE: ClassVar = {"power": {"choice": [-1.0, 1.0, -2.0, 0.0, 2.0, 3.0]}}
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


OPTIONS = ["peak", "--dataset", "synthetic", "--budget", "smoke", "--set", "peak.rounds=4"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """The options that join a Ray node with one CPU, which the searches of this file share."""
    node = start_cluster(num_cpus=1)
    yield "--address", node.address
    node.shutdown()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "peak.py").write_text(PEAK)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "plugins"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(*words: str) -> SimpleNamespace:
    app = typer.Typer()
    app.command()(command.tune)
    done = CliRunner().invoke(app, [*OPTIONS, *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)


def report(*words: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tune(*words, "--json").out)
    return content


def make_setup(**fields: Any) -> SearchSetup:
    default = {"method": "peak", "dataset": "synthetic", "model": None, "budget": "smoke"}
    return SearchSetup(**{**default, "metric": "NDCG@5", "num_trials": 6, **fields})


# --- the space ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("[space]\npowr = { choice = [1.0] }", "no setting 'powr'", "power"),
        ("[space]\npower = { choice = ['x'] }", "power = 'x'", ""),
        ("[space]\npower = { choice = [] }", "space.power.choice", ""),
        ("[space]\npower = { uniform = [2.0, 1.0] }", "must be less than the second", ""),
        ("[space]\npower = { uniform = [2.0] }", "uniform takes 2 numbers", ""),
        ("[space]\npower = { quniform = [1.0, 2.0] }", "quniform takes 3 numbers", ""),
        ("[space]\npower = { loguniform = [0.0, 1.0] }", "numbers above 0", ""),
        ("[space]\npower = { uniform = [0, 1], choice = [1.0] }", "exactly one of", ""),
        ("[space]\npower = {}", "exactly one of", ""),
        ("[space]\npower = { choices = [1.0] }", "unknown key 'space.power.choices'", "'choice'"),
        ("[space]\n", "space: Dictionary should have at least 1 item", ""),
        ("resource = 'rouns'\n[space]\npower = { choice = [1.0] }", "no setting 'rouns'", "rounds"),
        ("resource = 'name'\n[space]\npower = { choice = [1.0] }", "name is not an integer", ""),
        ("[space]\nrounds = { randint = [1, 9] }", "rounds is the resource", "Remove one"),
    ],
)
def test_a_space_that_does_not_fit_gets_one_sentence(
    here: Path, text: str, sentence: str, hint: str
) -> None:
    (here / "s.toml").write_text(text)
    with pytest.raises(BenchError) as raised:
        load_space("peak", here / "s.toml")
    assert sentence in raised.value.message
    assert hint in raised.value.hint


def test_a_file_replaces_the_declared_space_and_keeps_the_resource(here: Path) -> None:
    assert list(load_space("peak").space) == ["power"]
    (here / "s.toml").write_text('[space]\nname = { choice = ["a", "b"] }\n')
    space = load_space("peak", here / "s.toml")
    assert (list(space.space), space.resource) == (["name"], "rounds")
    with pytest.raises(BenchError, match="popularity declares no search space"):
        load_space("popularity")
    with pytest.raises(BenchError, match="There is no file"):
        load_space("peak", here / "nothing.toml")


def test_dotted_paths_in_a_file_are_settings(here: Path) -> None:
    (here / "s.toml").write_text("[space]\nsft.learning_rate = { loguniform = [1e-5, 1e-3] }\n")
    space = load_space("bigrec", here / "s.toml")
    assert str(space.space["sft.learning_rate"]) == "loguniform [1e-05, 0.001]"


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        ({"choice": [1, 2]}, 2, 3),
        ({"uniform": [0.0, 1.0]}, 0.5, 2.0),
        ({"loguniform": [1e-4, 1e-1]}, 1e-2, 1.0),
        ({"randint": [1, 4]}, 3, 9),
        ({"quniform": [0.0, 1.0, 0.25]}, 0.75, 2.0),
    ],
)
def test_distributions_are_those_of_tune(distribution, inside, outside) -> None:
    space = check_card({"space": {"a": distribution}}, Space, "the test")
    one = space.space["a"]
    assert one.contains(inside)
    assert not one.contains(outside)
    assert one.contains(one.to_tune().sample())


def test_sampled_floats_can_be_typed() -> None:
    sampled = {"rate": 0.000123456, "width": 12345, "name": "x", "on": True}
    assert round_settings(sampled) == {"rate": 0.000123, "width": 12345, "name": "x", "on": True}


@pytest.mark.parametrize(
    ("rounds", "space", "amounts"),
    [(9, "", (1, 3, 9)), (5, "", (1, 3, 5)), (3, "grace_period = 3", (3,))],
)
def test_amounts_multiply_up_to_the_full_resource(here, rounds, space, amounts) -> None:
    (here / "s.toml").write_text(f"{space}\n[space]\npower = {{ choice = [1.0] }}\n")
    setup = make_setup(overrides=(parse_override(f"rounds={rounds}"),))
    assert plan_search(setup, load_space("peak", here / "s.toml")).amounts == amounts


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
        "peak": "power = { choice = [1.0, 2.0] }",
        "sasrec": f"{SASREC_WIDTH} = {{ choice = [8, 16] }}",
        "sprec": "preference.beta = { choice = [0.1, 0.2] }",
        "d3": "alpha = { choice = [0.5, 1.0] }",
    }[method]
    (here / "s.toml").write_text(f"resource = ''\n[space]\n{own}\n")
    setup = make_setup(method=method, model=model, num_trials=2)
    search = plan_search(setup, load_space(method, here / "s.toml"))
    trials = [search.plan_trial(search.present, 0), search.plan_trial({}, 0)]
    assert [trial.problem for trial in trials] == ["", ""]
    assert trials[0].id == trials[1].id
    split_keys = splits(trials)
    assert set(split_keys) == {"train", "valid"}
    cases = trials[0].evaluations["final"].inputs["cases"]
    assert cases.args["split"] == "valid"
    card = BoardCard(
        title="T", datasets=("synthetic",), rows=(BoardRow(method=method),), metrics=("HR@5",),
        seeds=1, budget="smoke", model=model,
    )  # fmt: skip
    ((_, board),) = board_trials(Board(name="t", card=card), ks=(5,))
    assert splits([board])["train"] == split_keys["train"]
    trained = {"sasrec", "sft", "preference", "pairs", "generate"} - {"generate"}
    theirs = {key for key, stage in build_graph([board]).stages.items() if stage.kind in trained}
    ours = {key for key, stage in build_graph(trials[:1]).stages.items() if stage.kind in trained}
    assert ours == theirs
    assert bool(ours) == (method != "peak")


@pytest.mark.parametrize("method", ["dlcm", "prm", "setrank", "kar", "dpo4rec"])
def test_re_rankers_are_searched_on_the_lists_of_validation_users(method: str) -> None:
    model = "tiny" if method in ("kar", "dpo4rec") else None
    setup = make_setup(method=method, model=model, dataset="synthetic-rated", metric="MAP@5")
    search = plan_search(setup, load_space(method))
    evaluation = search.plan_trial({"reranker.batch_size": 64}, 0).evaluations["final"]
    assert evaluation.args["part"] == "valid"
    assert evaluation.inputs["scores"].args["batch_size"] == 64


def test_fewer_rounds_are_the_beginning_of_more(here: Path) -> None:
    (here / "s.toml").write_text(
        "resource = 'num_rounds'\nreduction_factor = 2\n"
        "[space]\npreference.beta = { choice = [0.1, 0.2] }\n"
    )
    overrides = (parse_override("num_rounds=3"),)
    setup = make_setup(method="sprec", model="tiny", overrides=overrides)
    search = plan_search(setup, load_space("sprec", here / "s.toml"))
    assert search.amounts == (1, 2, 3)
    kinds = {"sft", "preference", "sample", "pairs"}
    keys = [
        {
            key
            for key, stage in build_graph([search.plan_trial({}, amount)]).stages.items()
            if stage.kind in kinds
        }
        for amount in search.amounts
    ]
    assert keys[0] < keys[1] < keys[2]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"num_trials": 0}, "at least one trial"),
        ({"metric": "NDGC@5"}, "no metric named 'NDGC@5'"),
        ({"overrides": (parse_override("power=1.0"),)}, "fixes a setting that is searched"),
        ({"overrides": (parse_override("rounds=0"),)}, "rounds is 0, less than the grace period"),
        ({"overrides": (parse_override("power_=1.0"),)}, "no setting 'power_'"),
        ({"dataset": "synthetik"}, "no data set named"),
        ({"method": "bigrec"}, "cannot be planned: This method needs a language model"),
        ({"method": "bigrec", "model": "tiny", "scheduler": "asha"}, "ASHA needs a resource"),
    ],
)
def test_a_setup_that_does_not_fit_gets_one_sentence(
    here: Path, changed: dict[str, Any], sentence: str
) -> None:
    space = load_space(changed.get("method", "peak"))
    with pytest.raises(BenchError) as raised:
        plan_search(make_setup(**changed), space)
    assert sentence in raised.value.message


def test_rows_of_test_are_refused(here: Path) -> None:
    with pytest.raises(BenchError, match="uses no test rows"):
        tune("--trials", "2", "--rows", "test=8")


def test_a_configuration_that_the_method_refuses_has_a_problem(here: Path) -> None:
    search: Search = plan_search(make_setup(), load_space("peak"))
    assert search.plan_trial({"power": 8.0}, 1).problem == "peak: power is 8."


# --- searches -----------------------------------------------------------------------------------


def test_the_best_is_found_written_and_can_be_run_again(
    here: Path, cluster: tuple[str, str]
) -> None:
    """One search with failures, early stopping, a dead worker, and the same command again."""
    (here / "orders").mkdir()
    (here / "orders" / "die-0-4").touch()
    (here / "orders" / "memory-0-1").touch()
    (here / "s.toml").write_text("[space]\npower = { choice = [7.0, 8.0, 1.0, -1.0, 2.0] }\n")
    words = ["--trials", "9", "--rows", "valid=200", "--space", "s.toml", "--seed", "1"]
    words += ["--set", f"folder={here / 'orders'}", *cluster]
    done = tune(*words)
    assert not list((here / "orders").iterdir()), "the worker died and ran out of memory once"
    (folder,) = (here / ".bench" / "pages" / "tuning").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "index.html", "best.toml", "trials.json",
    }  # fmt: skip
    content = json.loads((folder / "trials.json").read_text())
    configurations = content["configurations"]
    by_power = {one["settings"]["power"]: one for one in configurations}
    assert {7.0, 8.0} & by_power.keys(), "this seed samples a failing configuration"
    for power, reason in ((7.0, "ValueError: told to fail"), (8.0, "peak: power is 8.")):
        if power in by_power:
            assert by_power[power]["status"] == "failed"
            assert reason in by_power[power]["reason"]
    assert done.code == 1
    assert configurations[-1]["status"] == "failed"
    assert by_power[0.0]["number"] == 1
    assert by_power[0.0]["status"] == "completed"
    assert [amount for amount, _ in by_power[0.0]["evaluations"]] == [1, 3, 4]
    assert content["best"]["power"] > 0
    assert "peak on synthetic, compared by NDCG@5 on 200 validation cases" in done.out
    assert "ASHA over rounds = 1, 3, 4" in done.out
    assert content["budget"]["rows"] == {"train": 256, "valid": 200}
    completed = [one for one in configurations if one["status"] == "completed"]
    values = [one["evaluations"][-1][1] for one in completed]
    assert values == sorted(values, reverse=True)
    # The out-of-memory kill was retried with half the micro-batch.
    results = list((here / ".bench" / "tuning").glob("*/results/synthetic/peak/*/seed-0.json"))
    attempts = {
        (attempt["failure"], attempt["micro_batch_divisor"])
        for path in results
        for attempt in json.loads(path.read_text())["attempts"]
    }
    assert ("out of memory", 1) in attempts
    # Every value of the page is in a result of the search.
    recorded = {
        round(result["evaluations"]["final"]["metrics"]["NDCG@5"], 12)
        for path in results
        if (result := json.loads(path.read_text()))["status"] == "ok"
    }
    reported = {round(value, 12) for one in configurations for _, value in one["evaluations"]}
    assert reported == recorded
    card = check_card(tomllib.loads((folder / "best.toml").read_text()), BoardCard, "best.toml")
    planned = board_trials(Board(name="best", card=card), ks=(5,))
    assert [trial.problem for _, trial in planned] == [""] * 6
    assert planned[-1][1].settings["power"] == content["best"]["power"]
    page = (folder / "index.html").read_text()
    assert page.count("<tr>") == 1 + len(configurations)
    assert "http" not in page.split("</head>")[1]
    again = report(*words)
    assert again.pop("stages_run") == 0
    assert [one for one in again["configurations"] if one["status"] != "failed"] == [
        one for one in configurations if one["status"] != "failed"
    ]


def test_the_lowest_wins_where_lower_is_better_and_optuna_samples(
    here: Path, cluster: tuple[str, str]
) -> None:
    pytest.importorskip("optuna")
    (here / "s.toml").write_text("[space]\npower = { choice = [0.0, 1.0, -1.0] }\n")
    words = ["--trials", "4", "--metric", "MGU@5", "--space", "s.toml"]
    content = report(*words, "--search", "optuna", "--scheduler", "none", *cluster)
    completed = [one for one in content["configurations"] if one["status"] == "completed"]
    assert len(completed) == 4
    assert all(len(one["evaluations"]) == 1 for one in completed)
    values = [one["evaluations"][0][1] for one in completed]
    assert values[0] == min(values)
    assert content["best"] == completed[0]["settings"]
    assert content["budget"]["algorithm"] == "optuna"


def test_a_metric_that_evaluations_lack_fails_every_configuration(
    here: Path, cluster: tuple[str, str]
) -> None:
    done = tune("--trials", "1", "--metric", "GU[nothing]@5", *cluster)
    assert done.code == 1
    assert "has no GU[nothing]@5" in done.out
    assert "no best settings" in done.out
    assert not list((here / ".bench" / "pages").rglob("best.toml"))


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
    assert tomllib.loads(f"value = {to_toml(value)}")["value"] == value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_search_says_by_what(
    here: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    class Process:
        """A search that gets a signal, and then returns what there is."""

        calls: ClassVar[list[str]] = []

        def __init__(self, created: str, **options: Any) -> None:
            self.calls.append(created)

        def call(self, method: str, search: Search, *args: Any, seconds: float) -> None:
            self.search = search
            raise Stopped(number)

        def interrupt(self) -> None:
            self.calls.append("interrupt")

        def receive(self, seconds: float) -> TuneResult:
            return TuneResult(search=self.search, configurations=())

        def end(self) -> None:
            self.calls.append("end")

    monkeypatch.setattr(ray_process, "RayProcess", Process)
    Process.calls.clear()
    assert tune("--trials", "1").code == 128 + number
    assert Process.calls == ["bench.tuning.run:SearchSession", "interrupt", "end"]
    assert not (here / ".bench" / "pages").exists()


@pytest.mark.parametrize("fault", ["once", "twice"])
def test_a_ray_lost_in_a_search_is_started_again_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    class Process:
        starts = 0

        def __init__(self, created: str, **options: Any) -> None:
            Process.starts += 1

        def call(self, method: str, search: Search, *args: Any, seconds: float) -> TuneResult:
            if fault == "twice" or Process.starts == 1:
                raise ExecutorLostError("Ray died.")
            return TuneResult(search=search, configurations=())

        def end(self) -> None: ...

    monkeypatch.setattr(ray_process, "RayProcess", Process)
    if fault == "twice":
        with pytest.raises(ExecutorLostError):
            tune("--trials", "1")
    else:
        assert tune("--trials", "1").code == 0
    assert Process.starts == 2


@pytest.mark.slow
def test_a_search_is_stopped_by_a_signal_and_resumes(here: Path, cluster: tuple[str, str]) -> None:
    (here / "orders").mkdir()
    (here / "orders" / "hang-0-4").touch()  # the first configuration, at its last amount
    words = ["--trials", "2", "--set", f"folder={here / 'orders'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", "tune", *OPTIONS, *words, "--cpus", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    while "Configuration 1, rounds 3" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGTERM)
    errors = process.communicate()[1]
    assert process.returncode == 143, seen + errors
    assert "Traceback" not in errors
    assert "***" not in errors  # no C++ stack
    (here / "orders" / "hang-0-4").unlink()
    assert report(*words, *cluster)["stages_run"] < len(list_artifacts(here))


@pytest.mark.slow
def test_a_killed_search_resumes_and_repeats_no_finished_stage(
    here: Path, cluster: tuple[str, str]
) -> None:
    (here / "orders").mkdir()
    (here / "orders" / "hang-0-4").touch()  # the first configuration, at its last amount
    words = ["--trials", "2", "--set", f"folder={here / 'orders'}"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import typer; from bench.cli.tune import tune; typer.run(tune)",
         *OPTIONS, *words, "--cpus", "1"],
        stderr=subprocess.PIPE, text=True, env=os.environ, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    while "Configuration 1, rounds 3" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    children = psutil.Process(process.pid).children(recursive=True)
    # Ray's agents, which run no stages, outlive their session by a minute.
    workers = [child for child in children if "Agent" not in child.name()]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]  # none may finish a stage from here on
    (here / "orders" / "hang-0-4").unlink(missing_ok=True)
    finished = list_artifacts(here)
    assert finished
    stamps = {path: path.stat().st_mtime_ns for path in here.glob(".bench/store/*/*/meta.json")}
    content = report(*words, *cluster)
    assert content["stages_run"] + len(finished) == len(list_artifacts(here))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert [one["status"] for one in content["configurations"]].count("completed") >= 1


def test_a_board_is_tuned_with_one_budget_and_shows_both(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = BoardCard.model_validate(
        {
            "title": "B", "datasets": ["synthetic"], "metrics": ["NDCG@5"], "budget": "smoke",
            "rows": [
                {"method": "peak", "label": "P"},
                {"method": "peak", "label": "Fixed", "settings": {"power": 2.0}},
                {"method": "peak", "label": "Floor", "floor": True, "settings": {"name": "y"}},
                {"method": "popularity", "label": "Pop"},
            ],
        }
    )  # fmt: skip
    setups = []

    def fake(setup: SearchSetup, options: None, *, space: Space, searches: str) -> TuneResult:
        setups.append(setup)
        search = plan_search(setup, space)
        configurations = tuple(
            Configuration(
                number=number,
                settings={"power": power},
                status="completed",
                evaluations=(Evaluation(amount=4, value=value, seconds=1.0),),
            )
            for number, (power, value) in enumerate([(0.0, 0.1), (1.0, 0.2)], start=1)
        )
        return TuneResult(search=search, configurations=configurations)

    monkeypatch.setattr(board, "tune", fake)
    tuned = board.tune_board(card, make_setup(method="", num_trials=2))
    assert [result is None for _, result in tuned] == [False, True, False, True]
    assert {setup.num_trials for setup in setups} == {2}
    assert [setup.rows.train for setup in setups] == [None, "all"], "the floor keeps all rows"
    assert setups[1].fixed_settings == {"name": "y"}
    written = tomllib.loads(board.render_board(card, make_setup(num_trials=2), tuned, "bench"))
    both = BoardCard.model_validate(written)
    assert [row.name for row in both.rows] == [
        "P", "P (tuned)", "Fixed", "Floor", "Floor (tuned)", "Pop",
    ]  # fmt: skip
    assert both.rows[4].settings == {"name": "y", "power": 1.0}
    assert both.rows[4].floor
    assert "Without a search space: Fixed, Pop." in both.description
    trials = board_trials(Board(name="b", card=both), ks=(5,))
    assert len({trial.id for _, trial in trials}) == len(trials)
    with pytest.raises(BenchError, match="whole catalog by title"):
        board.tune_board(card.model_copy(update={"candidates": "trained"}), make_setup())
