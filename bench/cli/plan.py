"""`bench plan`: the stages of a run, which are stored, and how long the others will take."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cli import options as o

if TYPE_CHECKING:
    from bench.plan.graph import Unit
    from bench.plan.trials import Trial
    from bench.runner.run_plan import RunPlan

MAX_PATH_UNITS = 8
COST_MODEL = (
    "Cost model: parameters × tokens over the measured throughput, from 64 tokens per row at 60 % "
    "of it to a full context at 10 %."
)


@o.expand_groups
def plan(
    request: o.RunRequest,
    gpus: int | None = o.option("--gpus", "N", "GPUs of the machine to estimate for.", min=0),
    cpus: int | None = o.option("--cpus", "N", "CPUs of the machine to estimate for.", min=1),
    timings: list[Path] | None = o.option(
        "--timings", "DIR", "Use timings of this store. Repeatable."
    ),
    fresh: bool = o.flag("--fresh", "Estimate as if nothing were stored."),
    store: Path = o.STORE,
    data_dir: Path | None = o.DATA_DIR,
    as_json: bool = o.AS_JSON,
) -> None:
    """Show the stages of a run: which are stored, shared or missing, and the estimated time.

    The estimate is based on recorded timings of the same or similar stages, scheduled on the given
    CPUs and GPUs; with --gpus, also on fewer and more of them.
    """
    gc.disable()  # a plan creates many objects and no cycles; searching for them costs a third
    run_plan = bench.plan_run(
        request,
        store=store,
        data_dir=data_dir,
        gpus=gpus,
        cpus=cpus,
        timings=timings or (),
        fresh=fresh,
    )
    print_plan(run_plan, as_json=as_json)


def print_plan(run_plan: RunPlan, *, as_json: bool) -> None:
    """Print a plan as text or as JSON."""
    if as_json:
        o.print_json(run_plan.to_json())
        return
    graph = run_plan.graph
    _print_stages(run_plan)
    requested = sum(len(trials) for trials in graph.needed_by.values())
    print(
        f"\n{len(graph.needs)} trials request {requested} stages; {len(graph.stages)} are "
        f"distinct, {len(run_plan.missing)} must run, as {run_plan.num_units} units of work."
    )
    if run_plan.missing:
        _print_forecast(run_plan)
    _print_notes(run_plan.trials)


def _print_stages(run_plan: RunPlan) -> None:
    from tabulate import tabulate

    graph = run_plan.graph
    requested: Counter[str] = Counter()
    columns: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for key, stage in graph.stages.items():
        requested[stage.kind] += len(graph.needed_by[key])
        flags = (True, key in run_plan.stored, key in run_plan.missing)
        for column, flag in zip(columns, flags, strict=True):
            column[stage.kind] += flag
    lines = [
        (kind, number, *(column[kind] for column in columns)) for kind, number in requested.items()
    ]
    headers = ("stage", "requested", "distinct", "stored", "to run")
    print(tabulate(lines, headers=headers, tablefmt="simple"))


def _print_forecast(run_plan: RunPlan) -> None:
    from tabulate import tabulate

    from bench.report.format import format_seconds

    forecast, timings = run_plan.forecast, run_plan.timings
    predicted = run_plan.predict_range()
    missing = ", ".join(f"{kind} ({number})" for kind, number in forecast.never_timed.items())
    if predicted is None or not predicted[1]:
        print(
            f"Estimate: none. Never timed: {missing}. For language models, `bench doctor --measure`"
            " measures what this machine can do; --timings DIR reads another store."
        )
        return
    low, high = map(format_seconds, predicted)
    path = forecast.find_critical_path()
    print(
        f"Estimate: {low if low == high else f'{low} to {high}'} on {_describe_machine(run_plan)}, "
        f"for up to {format_seconds(forecast.work_seconds)} of work."
    )
    shares = [
        f"{basis} {100 * part / forecast.work_seconds:.0f} % "
        f"({forecast.stages_by_basis[basis]} stages)"
        for basis, part in forecast.seconds_by_basis.items()
        if basis != "never"
    ]
    hosts = ", ".join(timings.list_hosts())
    print(f"Based on {len(timings)} timings from {hosts}: {', '.join(shares)}.")
    if missing:
        print(f"Never timed, and not included: {missing}.")
    if "cost model" in forecast.stages_by_basis:
        print(COST_MODEL)
    print("Critical path, its longest units first:")
    for unit, seconds in sorted(path, key=lambda item: -item[1])[:MAX_PATH_UNITS]:
        print(f"  {format_seconds(seconds)}: {_describe_unit(unit)}")
    if run_plan.gpus:
        if len(timings) and timings.is_cpu_only():
            print("All timings are from CPUs: proportions hold, seconds do not.")
        lines = [
            (
                gpus,
                cpus,
                format_seconds(seconds),
                f"{100 * forecast.compute_gpu_utilization(seconds, gpus):.0f} %",
            )
            for gpus, cpus, seconds in run_plan.predict_scaling()
        ]
        headers = ("GPUs", "CPUs", "time", "GPUs busy")
        print("\n" + tabulate(lines, headers=headers, disable_numparse=True))


def _describe_machine(run_plan: RunPlan) -> str:
    cpus, gpus = run_plan.cpus, run_plan.gpus
    cards = f"{gpus:,} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
    return f"{cpus:,} CPU{'s' if cpus > 1 else ''} and {cards}"


def _describe_unit(unit: Unit) -> str:
    """Name a unit by its kinds and by its trial, or the number of trials that share it."""
    counts = Counter(stage.kind for stage in unit.stages)
    kinds = ", ".join(f"{number} {kind}" if number > 1 else kind for kind, number in counts.items())
    owner = min(unit.trials) if len(unit.trials) == 1 else f"{len(unit.trials)} trials"
    return f"{kinds}, for {owner}"


def _print_notes(trials: tuple[Trial, ...]) -> None:
    """Print each note and each problem once, however many trials it holds for."""
    for note in dict.fromkeys(note for trial in trials for note in trial.notes):
        print(f"Note: {note}")
    problems: dict[str, list[str]] = {}
    for trial in trials:
        if trial.problem:
            problems.setdefault(trial.problem, []).append(trial.id)
    for problem, names in problems.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"Cannot run {names[0]}{more}: {problem}")
