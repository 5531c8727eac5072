"""`bench plan`: the graph before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options as o

if TYPE_CHECKING:
    from bench.graph import Graph
    from bench.trials import Trial


@o.asking
def plan(
    asked: o.Asked,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Show the stages of a run: which are stored, which are missing, what is shared, how long."""
    from bench.cli.selection import cells, distinct, select

    selection = select(asked)
    show_plan(distinct(cells(selection, data_dir=data_dir)), store, as_json=as_json)


def show_plan(trials: list[Trial], store_folder: Path, *, as_json: bool) -> None:
    """Print the plan of trials: as a table for people, or as JSON."""
    from tabulate import tabulate

    from bench.graph import build, missing, units
    from bench.runner.estimate import estimate, median_seconds
    from bench.store import Store

    store = Store(store_folder)
    planned = [trial for trial in trials if not trial.problem]
    graph = build(planned)
    stored = {key for key, stage in graph.stages.items() if store.has(stage.kind, stage.key)}
    if as_json:
        print(json.dumps(_as_json(trials, graph, stored), indent=2))
        return
    todo = missing(graph, lambda stage: stage.key in stored)
    lines = []
    for kind, total in Counter(stage.kind for stage in graph.stages.values()).items():
        keys = [key for key in graph.stages if graph.stages[key].kind == kind]
        asked = sum(len(graph.needed_by[key]) for key in keys)
        run = sum(key in todo for key in keys)
        lines.append((kind, asked, total, sum(key in stored for key in keys), run))
    headers = ("stage", "asked for", "distinct", "stored", "to run")
    print(tabulate(lines, headers=headers, tablefmt="simple"))
    seconds, untimed = estimate((graph.stages[key] for key in todo), median_seconds(store))
    asked = sum(len(names) for names in graph.needed_by.values())
    print(f"\n{len(planned)} trials ask for {asked} stages; {len(graph.stages)} are distinct, "
          f"{len(todo)} must run, as {len(units(graph, todo))} units of work.")  # fmt: skip
    if todo:
        guess = (
            f"about {seconds:.0f} s on one worker" if seconds else "no earlier timing to judge by"
        )
        never = f" (never timed: {', '.join(untimed)})" if untimed and seconds else ""
        print(f"Estimate: {guess}{never}.")
    for note in dict.fromkeys(note for trial in planned for note in trial.notes):
        print(f"Note: {note}")
    for trial in trials:
        if trial.problem:
            print(f"Cannot run {trial.id}: {trial.problem}")


def _as_json(trials: list[Trial], graph: Graph, stored: set[str]) -> dict[str, object]:
    return {
        "trials": [
            {
                "id": trial.id,
                "method": trial.method,
                "dataset": trial.dataset,
                "seed": trial.seed,
                "stages": list(graph.needs.get(trial.id, ())),
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
