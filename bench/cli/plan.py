"""`bench plan`: the graph before anything runs, and how long it will take on which machine."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.plan.graph import Graph, Unit
    from bench.plan.trials import Trial
    from bench.runner.estimate import Forecast, Timings
    from bench.runner.store import Store

LONGEST_CHAIN = 8


@o.asking
def plan(
    asked: o.Asked,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=0, metavar="N", help="Predict for so many GPUs.")
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option("--cpus", min=1, metavar="M", help="Predict for so many CPUs in all."),
    ] = None,
    timings: Annotated[
        list[Path] | None,
        typer.Option("--timings", metavar="DIR", help="Another store to judge by. Repeatable."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Predict as if nothing were stored yet.")
    ] = False,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Show the stages of a run: which are stored, which are missing, what is shared, how long.

    How long is what the same or similar stages took before, worked off as a run would on the given
    CPUs and GPUs; with --gpus also what fewer or more of them would do.
    """
    from bench.cli.selection import cells, distinct, select

    gc.disable()  # a plan makes many objects and no cycles; to look for some takes a third longer
    selection = select(asked)
    trials = distinct(cells(selection, data_dir=data_dir))
    show_plan(
        trials, store, gpus=gpus, cpus=cpus, timings=timings or (), fresh=fresh, as_json=as_json
    )


def show_plan(
    trials: list[Trial],
    store_folder: Path,
    *,
    gpus: int | None = None,
    cpus: int | None = None,
    timings: Sequence[Path] = (),
    fresh: bool = False,
    as_json: bool,
) -> None:
    """Print the plan of trials: as a table for people, or as JSON."""
    from bench.plan.graph import build, missing, units
    from bench.runner.estimate import CPUS_PER_GPU, Timings, forecast_run
    from bench.runner.resources import ResourceEstimator
    from bench.runner.store import Store

    store = Store(store_folder)
    graph = build(trial for trial in trials if not trial.problem)
    stored = stored_keys(graph, store)
    here = set() if fresh else stored
    todo = missing(graph, lambda stage: stage.key in here)
    work = units(graph, todo)
    known = Timings([*map(_timed, timings), store], graph)
    # As the loop does it: by what was measured on a GPU, else by the cards.
    measured = None
    if not known.is_cpu_only():
        timed = _timed(timings[0]) if timings else store
        measured = ResourceEstimator(timed, graph).estimate
    ahead = forecast_run(work, known, measured)
    own = len(os.sched_getaffinity(0))
    machine = (cpus or max(own, CPUS_PER_GPU * (gpus or 0)), gpus or 0)
    if as_json:
        content = _as_json(trials, graph, stored)
        print(json.dumps({**content, "forecast": _forecast_json(ahead, machine)}, indent=2))
        return
    _print_stages(graph, stored, set(todo))
    asked = sum(len(names) for names in graph.needed_by.values())
    print(f"\n{len(graph.needs)} trials ask for {asked} stages; {len(graph.stages)} are distinct, "
          f"{len(todo)} must run, as {len(work)} units of work.")  # fmt: skip
    if todo:
        _print_forecast(ahead, known, machine)
    _print_notes(trials)


def stored_keys(graph: Graph, store: Store) -> set[str]:
    """Return the keys of a graph that are stored; the folder is listed once, not asked for each."""
    there = {path.name for path in store.root.glob("*/*")}
    return {
        key for key, stage in graph.stages.items() if key in there and store.has(stage.kind, key)
    }


def _timed(folder: Path) -> Store:
    from bench.runner.store import Store

    if not folder.is_dir():
        raise BenchError(
            f"There is no store {folder} to take timings from.", "Name a folder like .bench/store."
        )
    return Store(folder)


def _print_stages(graph: Graph, stored: set[str], todo: set[str]) -> None:
    from tabulate import tabulate

    asked: Counter[str] = Counter()
    columns: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for key, stage in graph.stages.items():
        asked[stage.kind] += len(graph.needed_by[key])
        for column, counts in zip(columns, (True, key in stored, key in todo), strict=True):
            column[stage.kind] += counts
    lines = [(kind, number, *(one[kind] for one in columns)) for kind, number in asked.items()]
    headers = ("stage", "asked for", "distinct", "stored", "to run")
    print(tabulate(lines, headers=headers, tablefmt="simple"))


def _print_forecast(ahead: Forecast, known: Timings, machine: tuple[int, int]) -> None:
    from tabulate import tabulate

    from bench.report.format import format_seconds

    cpus, gpus = machine
    if not ahead.work_seconds:
        print("Estimate: none, as no stage of these kinds was timed; --timings DIR reads another "
              "store.")  # fmt: skip
        return
    total = ahead.predict_seconds(cpus=cpus, gpus=gpus)
    chain = ahead.find_critical_path()
    work = format_seconds(ahead.work_seconds)
    longest = format_seconds(sum(one for _, one in chain))
    print(f"Estimate: about {format_seconds(total)} on {_machine(cpus, gpus)}, for {work} of work; "
          f"never under {longest}.")  # fmt: skip
    shares = [
        f"{name} {100 * part / ahead.work_seconds:.0f} % ({ahead.stages_by_basis[name]} stages)"
        for name, part in ahead.seconds_by_basis.items()
        if name != "never"
    ]
    print(f"It stands on {len(known)} timings from {', '.join(known.list_hosts())}: "
          f"{', '.join(shares)}.")  # fmt: skip
    if ahead.never_timed:
        counted = ", ".join(f"{kind} ({number})" for kind, number in ahead.never_timed.items())
        print(f"Never timed, and counted as nothing: {counted}.")
    longest = sorted(chain, key=lambda one: -one[1])[:LONGEST_CHAIN]
    print("The longest chain, its longest units first:")
    for unit, one in longest:
        print(f"  {format_seconds(one)}: {_described(unit)}")
    if gpus:
        if known.is_cpu_only():
            print("All timings were taken without a GPU: shapes hold, seconds do not.")
        lines = [
            (
                number,
                with_cpus,
                format_seconds(one),
                f"{100 * ahead.compute_gpu_utilization(one, number):.0f} %",
            )
            for number, with_cpus, one in ahead.predict_scaling(gpus=gpus, cpus_per_gpu=cpus / gpus)
        ]
        headers = ("GPUs", "CPUs", "time", "GPUs busy")
        print("\n" + tabulate(lines, headers=headers, disable_numparse=True))


def _machine(cpus: int, gpus: int) -> str:
    cards = f"{gpus:,} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
    return f"{cpus:,} CPU{'s' if cpus > 1 else ''} and {cards}"


def _described(unit: Unit) -> str:
    """Name a unit by its kinds and by the trial it belongs to, or how many share it."""
    counts = Counter(stage.kind for stage in unit.stages)
    kinds = ", ".join(f"{number} {kind}" if number > 1 else kind for kind, number in counts.items())
    owner = min(unit.trials) if len(unit.trials) == 1 else f"{len(unit.trials)} trials"
    return f"{kinds}, for {owner}"


def _print_notes(trials: list[Trial]) -> None:
    """Print a line a note and a line a reason, however many trials it holds for."""
    for note in dict.fromkeys(note for trial in trials for note in trial.notes):
        print(f"Note: {note}")
    problems: dict[str, list[str]] = {}
    for trial in trials:
        if trial.problem:
            problems.setdefault(trial.problem, []).append(trial.id)
    for problem, names in problems.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"Cannot run {names[0]}{more}: {problem}")


def _forecast_json(ahead: Forecast, machine: tuple[int, int]) -> dict[str, Any]:
    cpus, gpus = machine
    scaling = ahead.predict_scaling(gpus=gpus, cpus_per_gpu=cpus / gpus) if gpus else []
    return {
        "cpus": cpus,
        "gpus": gpus,
        "seconds": ahead.predict_seconds(cpus=cpus, gpus=gpus),
        "work_seconds": ahead.work_seconds,
        "seconds_by_basis": dict(ahead.seconds_by_basis),
        "stages_by_basis": dict(ahead.stages_by_basis),
        "never_timed": dict(ahead.never_timed),
        "critical_path": [
            {"unit": unit.id, "stages": [stage.kind for stage in unit.stages],
             "trials": sorted(unit.trials), "seconds": seconds}
            for unit, seconds in ahead.find_critical_path()
        ],
        "scaling": [
            {"gpus": number, "cpus": with_cpus, "seconds": seconds}
            for number, with_cpus, seconds in scaling
        ],
    }  # fmt: skip


def _as_json(trials: list[Trial], graph: Graph, stored: set[str]) -> dict[str, object]:
    return {
        "trials": [
            {
                "id": trial.id,
                "method": trial.method,
                "dataset": trial.dataset,
                "seed": trial.seed,
                "stages": list(graph.needs.get(trial.id, ())),
                **({"notes": list(trial.notes)} if trial.notes else {}),
                **({"problem": trial.problem} if trial.problem else {}),
            }
            for trial in trials
        ],
        "stages": [
            {
                "key": key,
                "kind": stage.kind,
                "args": stage.args,
                "inputs": graph.inputs(key),
                "state": "hit" if key in stored else "miss",
            }
            for key, stage in graph.stages.items()
        ],
    }
