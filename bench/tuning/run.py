"""Running a search with Ray Tune: every evaluation is an ordinary trial, cached in the store.

Tune samples configurations, runs them in parallel, stops them early and restores its own state
after a crash. What a trial computed is in the store, so that evaluating it again costs nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import SearchAlgorithm, Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.plan.device import Device, detect_device, plan_for
from bench.plan.graph import build_graph
from bench.plan.trials import Trial
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, fetch_raw_files, run
from bench.runner.ray_session import RaySession
from bench.runner.retry_policy import MAX_WORKER_DEATHS
from bench.tuning.report import Configuration, Evaluation, Status, TuneResult
from bench.tuning.search import Search
from bench.tuning.space import round_settings

AMOUNT = "amount"
EXPERIMENT = "tune"


class SearchSession(RaySession):
    """A connection to Ray that searches run on."""

    def run_search(self, search: Search, options: RunOptions, folder: Path) -> TuneResult:
        """Run a search, or continue it where it was killed; return its result, also after Ctrl-C.

        Tune keeps its state in the folder. Results are of validation cases and are kept apart from
        those of boards.
        """
        # Tune reads these when it starts.
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its newer display cannot be silenced
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # failed trials report no metric
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        options = dataclasses.replace(options, quiet=True)
        started = time.time()
        device = detect_device() if self.is_local else self.get_device()
        with plan_for(device):
            present = search.plan_trial({}, search.amounts[-1])
        stages = list(build_graph([present]).stages.values())
        fetch_raw_files(stages, options)
        trainable = tune.with_resources(
            tune.with_parameters(
                ConfigurationTrainable, search=search, options=options, device=device
            ),
            _request_resources(stages),
        )
        tuner = _make_tuner(trainable, search, folder)
        results = _sort_results(search, tuner.fit())  # Tune itself handles SIGINT
        configurations = tuple(
            _read_configuration(search, number, result, started=started)
            for number, result in enumerate(results, start=1)
        )
        return TuneResult(search=search, configurations=configurations)


def _request_resources(stages: list[Any]) -> dict[str, float]:
    cluster = ray.cluster_resources()  # type: ignore[no-untyped-call]
    threads = max(stage.threads for stage in stages)
    request = {"cpu": float(min(threads, max(1, int(cluster.get("CPU", 1)))))}
    if cluster.get("GPU", 0):
        request["gpu"] = min(max(stage.gpus for stage in stages), cluster["GPU"])
    return request


def _make_tuner(trainable: Any, search: Search, folder: Path) -> tune.Tuner:
    experiment = folder / EXPERIMENT
    if tune.Tuner.can_restore(str(experiment)):
        try:
            return tune.Tuner.restore(
                str(experiment), trainable, resume_unfinished=True, restart_errored=True
            )
        except Exception as error:  # half-written state; the store has all that was computed
            print(f"Tune's state cannot be restored ({error}); starting over.", file=sys.stderr)
    setup, space = search.setup, search.space
    mode = "max" if get_metric(setup.metric).higher_is_better else "min"
    scheduler = None
    if search.has_early_stopping:
        scheduler = ASHAScheduler(
            time_attr=AMOUNT,
            max_t=search.amounts[-1],
            grace_period=space.grace_period,
            reduction_factor=space.reduction_factor,
        )
    return tune.Tuner(
        trainable,
        param_space={path: distribution.to_tune() for path, distribution in space.space.items()},
        tune_config=tune.TuneConfig(
            metric=setup.metric,
            mode=mode,
            num_samples=setup.num_trials,
            search_alg=_make_searcher(search),
            scheduler=scheduler,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
            callbacks=[ProgressPrinter(search)],
        ),
    )


def _make_searcher(search: Search) -> SearchAlgorithm | Searcher:
    setup = search.setup
    if setup.algorithm == "random":
        return BasicVariantGenerator(points_to_evaluate=[search.present], random_state=setup.seed)
    try:
        from optuna.samplers import TPESampler
    except ImportError as error:
        raise BenchError(
            "--search optuna needs the package optuna.", "pip install 'llmrec-bench[optuna]'"
        ) from error
    from ray.tune.search.optuna import OptunaSearch

    space, present = search.space.space, search.present
    is_in_space = all(space[path].contains(value) for path, value in present.items())
    return OptunaSearch(
        sampler=TPESampler(seed=setup.seed), points_to_evaluate=[present] if is_in_space else None
    )


class ConfigurationTrainable(tune.Trainable):
    """Evaluates one configuration, one amount of the resource per step."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], search: Search, options: RunOptions, device: Device
    ) -> None:
        """Keep what the evaluations need; `tune.with_parameters` passes it."""
        self.search, self.options, self.device = search, options, device
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another configuration, so that a worker process can serve several."""
        self.configuration, self.num_steps = new_config, 0
        return True

    def step(self) -> dict[str, Any]:
        """Evaluate at the next amount; a failure is returned, so that Tune does not retry it."""
        amount = self.search.amounts[self.num_steps]
        self.num_steps += 1
        with plan_for(self.device):
            trial = self.search.plan_trial(self.configuration, amount)
        summary = run([trial], options=self.options, executor=InlineExecutor)
        report: dict[str, Any] = {AMOUNT: amount, "stages_run": summary.stages_run}
        reason = {**summary.failed, **summary.skipped}.get(trial.id, "")
        value, seconds, num_cases = (None, 0.0, None) if reason else self._read_value(trial)
        if value is None and not reason:
            reason = f"Its evaluation has no {self.search.setup.metric}."
        report |= {"seconds": seconds, "num_cases": num_cases}
        if reason:
            return report | {"reason": reason, "done": True}
        is_last = self.num_steps == len(self.search.amounts)
        return report | {self.search.setup.metric: value, "done": is_last}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        """Save the number of evaluations; what they computed is in the store."""
        del checkpoint_dir
        return {"num_steps": self.num_steps}

    def load_checkpoint(self, checkpoint: dict[str, int] | None) -> None:
        """Continue after the saved number of evaluations."""
        assert checkpoint is not None
        self.num_steps = checkpoint["num_steps"]

    def _read_value(self, trial: Trial) -> tuple[float | None, float, int]:
        result = find_result(self.options.results, trial.id)
        assert result is not None
        assert result.cost is not None
        evaluation = result.evaluations["final"]
        value = evaluation.metrics.get(self.search.setup.metric)
        return value, result.cost.seconds_from_scratch, evaluation.num_cases


class ProgressPrinter(tune.Callback):
    """Prints one line per evaluation to standard error."""

    def __init__(self, search: Search) -> None:
        self.metric, self.resource = search.setup.metric, search.space.resource

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        """Print what a configuration's evaluation gave."""
        del iteration
        number = [other.trial_id for other in trials].index(trial.trial_id) + 1
        amount = f", {self.resource} {result[AMOUNT]}" if result[AMOUNT] else ""
        text = (
            f"failed: {result['reason']}"
            if "reason" in result
            else f"{self.metric} {result[self.metric]:.4f}"
        )
        print(f"Configuration {number}{amount}: {text}", file=sys.stderr, flush=True)


def _sort_results(search: Search, grid: tune.ResultGrid) -> list[tune.Result]:
    """Return the results with the present configuration first, then by their start."""

    def rank(result: tune.Result) -> tuple[bool, float, str]:
        history = result.metrics_dataframe
        started = float("inf")
        if history is not None and not history.empty:
            started = float(history["timestamp"].min())
        return result.config != search.present, started, str(result.path)

    return sorted((grid[index] for index in range(len(grid))), key=rank)


def _read_configuration(
    search: Search, number: int, result: tune.Result, *, started: float
) -> Configuration:
    history, metric = result.metrics_dataframe, search.setup.metric
    rows = [] if history is None else history.to_dict("records")
    latest = {int(row[AMOUNT]): row for row in rows}  # of several attempts
    evaluations = tuple(
        Evaluation(amount=amount, value=float(row[metric]), seconds=float(row["seconds"]))
        for amount, row in sorted(latest.items())
        if not pd.isna(row.get(metric))
    )
    last = result.metrics or {}
    reason = str(last.get("reason") or "")
    if result.error is not None:
        reason = "Its worker process died."
    status: Status = "stopped"
    if reason:
        status = "failed"
    elif evaluations and evaluations[-1].amount == search.amounts[-1]:
        status = "completed"
    return Configuration(
        number=number,
        settings=search.present | round_settings(result.config or {}),
        status=status,
        evaluations=evaluations,
        num_cases=last.get("num_cases"),
        stages_run=sum(int(row["stages_run"]) for row in rows if row["timestamp"] >= int(started)),
        reason=reason,
    )
