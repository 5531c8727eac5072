"""A plan of 10,000 cells: how long it takes and what memory it needs, before anything runs.

The board is generated: 20 rows (methods, most of them on `nano`, and settings of one of them) × 5
data sets × 100 seeds. Timed are all steps of `bench plan`: settings and plans, keys, the graph,
what is missing, units of work, and a prediction for a thousand GPUs with invented seconds for the
kinds of stages. The ratio is that of stages asked for to distinct ones: what sharing saves.

    python benchmarks/plan.py [SEEDS]
"""

from __future__ import annotations

import gc
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.config.cards import BoardCard, BoardRow
from bench.plan.graph import Graph, build_graph, divide_into_units, find_missing
from bench.plan.stage import Stage
from bench.plan.trials import Board, board_trials, collect_ks
from bench.runner.estimate import Timings, forecast_run
from bench.runner.run_plan import stored_keys
from bench.runner.stage_history import StageHistory
from bench.runner.store import Store

DATASETS = ("ml-100k", "ml-1m", "amazon-2018-gift-cards", "steam", "goodreads-poetry")
METHODS = ("random", "popularity", "sasrec", "gru4rec", "zeroshot", "bigrec", "rw", "d3", "pos",
           "cft", "igd", "dmpo", "sdpo", "rosepo", "sprec")  # fmt: skip
GPUS = 1000
TIMED_PER_KIND = 20
BETAS = (0.05, 0.2, 0.3, 0.5, 1.0)


def board(num_seeds: int) -> Board:
    rows = [BoardRow(method=name) for name in METHODS]
    rows += [
        BoardRow(method="sprec", label=f"SPRec, beta {beta}", settings={"beta": beta})
        for beta in BETAS
    ]
    card = BoardCard(
        title="Plan",
        datasets=DATASETS,
        rows=tuple(rows),
        metrics=("HR@5",),
        seeds=num_seeds,
        model="nano",
        budget="nano",
    )
    return Board(name="plan", card=card)


class Invented(Store):
    """Artifacts that nobody made: some stages of each kind, with seconds by the kind's place."""

    def __init__(self, graph: Graph) -> None:
        self._chosen: dict[str, list[Stage]] = {}
        for stage in graph.stages.values():
            if len(self._chosen.setdefault(stage.kind, [])) < TIMED_PER_KIND:
                self._chosen[stage.kind].append(stage)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield their records."""
        for place, stages in enumerate(self._chosen.values()):
            for stage in stages:
                yield {
                    "kind": stage.kind,
                    "key": stage.key,
                    "args": stage.args,
                    "inputs": {role: given.key for role, given in stage.inputs.items()},
                    "seconds": 1.0 + place,
                    "peak_memory_mib": 100.0,
                    "provenance": {},
                }


def main(num_seeds: int) -> None:
    gc.disable()  # as `bench plan` does
    grid = board(num_seeds)
    started, cpu = time.perf_counter(), time.process_time()
    marks = [("", started)]

    def mark(name: str) -> None:
        marks.append((name, time.perf_counter()))

    trials = [trial for _, trial in board_trials(grid, ks=collect_ks([grid]))]
    assert not any(trial.problem for trial in trials)
    mark("plans and keys")
    graph = build_graph(trials)
    mark("graph")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        stored = stored_keys(graph, store)
        todo = find_missing(graph, lambda stage: stage.key in stored)
        mark("missing")
        work = divide_into_units(graph, todo)
        mark("units")
        ahead = forecast_run(work, Timings(StageHistory([Invented(graph)], graph)))
        mark("timings")
    lines = ahead.predict_scaling(gpus=GPUS, cpus_per_gpu=8)
    mark(f"{len(lines)} predictions")
    cpu = time.process_time() - cpu
    asked = sum(len(names) for names in graph.needed_by.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    parts = ", ".join(
        f"{name} {now - before:.1f}" for (_, before), (name, now) in itertools.pairwise(marks)
    )
    print(
        f"{asked / len(graph.stages):.1f} times fewer stages: {len(trials)} cells ask for {asked}, "
        f"{len(graph.stages)} are distinct, in {len(work)} units; {marks[-1][1] - started:.1f} s, "
        f"{cpu:.1f} of CPU ({parts}), peak memory {peak:.0f} MiB."
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
