"""Write the result of a trial from the artifacts of its stages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import write_atomic
from bench.plan.code_versions import version_of
from bench.plan.graph import Graph
from bench.plan.trials import Trial
from bench.results.schema import (
    TABLES,
    Attempt,
    Cost,
    DataFacts,
    Evaluation,
    Result,
    StageRecord,
    check_tables,
    find_result,
    move_aside,
    table_path,
    write_result,
)
from bench.runner.estimate import get_gpu
from bench.runner.store import Store


def record_success(
    trial: Trial, graph: Graph, *, store: Store, results: Path, attempts: Sequence[Attempt] = ()
) -> None:
    """Write the result of a trial whose evaluations are in the store, unless it is up to date."""
    if _is_current(trial, graph, results):
        return
    keys = graph.needs[trial.id]
    readings = ((key, store.meta(graph.stages[key].kind, key)) for key in keys)
    metas = {key: meta for key, meta in readings if meta is not None}
    stages = [
        StageRecord(
            key=key,
            kind=graph.stages[key].kind,
            seconds=meta["seconds"],
            peak_memory_mib=meta["peak_memory_mib"],
            shared=len(graph.needed_by[key]) > 1,
            version=version_of(graph.stages[key].kind),
            gpu=get_gpu(meta),
            metadata=meta["metadata"],
        )
        for key, meta in metas.items()
    ]
    folders = {name: store.open(stage.kind, stage.key) for name, stage in trial.evaluations.items()}
    evaluations = {
        name: json.loads((folder / "evaluation.json").read_bytes())
        for name, folder in folders.items()
    }
    final = trial.evaluations["final"]
    tables = {name: (folders["final"] / f"{name}.parquet").read_bytes() for name in TABLES}
    result = Result(
        **describe_trial(trial),
        status="ok",
        attempts=list(attempts),
        data=DataFacts(**evaluations["final"]["data"]),
        evaluations={
            name: Evaluation(**content["evaluation"]) for name, content in evaluations.items()
        },
        stages=stages,
        files={name: hashlib.sha256(content).hexdigest() for name, content in tables.items()},
        cost=Cost(
            seconds_from_scratch=round(sum(stage.seconds for stage in stages), 3),
            seconds_own=round(sum(stage.seconds for stage in stages if not stage.shared), 3),
        ),
        plugins=dict(trial.plugins),
        provenance=metas.get(final.key, {}).get("provenance", {}),
    )
    for name, table in tables.items():
        write_atomic(table_path(results, trial.id, name), table)
    write_result(result, results)  # last: a result implies that its tables are there


def needs_retry(trial: Trial, results: Path) -> bool:
    """Return whether a trial's result is failed, skipped or unreadable."""
    try:
        result = find_result(results, trial.id)
    except BenchError:
        return True
    return result is not None and result.status != "ok"


def describe_trial(trial: Trial) -> dict[str, Any]:
    """Return the fields of a result that every trial has."""
    return {
        "trial": trial.id,
        "method": trial.method,
        "dataset": trial.dataset,
        "seed": trial.seed,
        "model": trial.model,
        "rows": trial.rows.model_dump(),
        "settings": dict(trial.settings),
    }


def _is_current(trial: Trial, graph: Graph, results: Path) -> bool:
    """Return whether a complete result of exactly these stages and code versions exists."""
    try:
        result = find_result(results, trial.id)
        if result is not None and result.status == "ok":
            check_tables(result, results)
    except BenchError as error:
        move_aside(results / f"{trial.id}.json", results, error.message)
        return False
    if result is None or result.status != "ok":
        return False
    expected = [(key, version_of(graph.stages[key].kind)) for key in graph.needs[trial.id]]
    recorded = [(stage.key, stage.version) for stage in result.stages]
    return recorded == expected
