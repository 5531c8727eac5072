"""A made-up result with settings, a checkpoint, two training stages and costs; and its entry."""

from __future__ import annotations

from typing import Any

from bench.results.schema import Cost, Evaluation, Result, StageRecord
from bench.results.trackers.entry import make_entry

TRIAL = "synthetic/sasrec/0123456789ab/seed-1"


def evaluation(**metrics: float) -> Evaluation:
    return Evaluation(metrics=metrics, ks=[5], num_cases=4, num_known=4, num_items=9, tracked=[])


def stage(kind: str, **metadata: Any) -> StageRecord:
    return StageRecord(
        key=f"{kind}-key", kind=kind, seconds=2, peak_memory_mib=7, shared=False, metadata=metadata
    )


def result(loss: float = 0.25, **changed: Any) -> Result:
    fields = {
        "trial": TRIAL,
        "method": "sasrec",
        "dataset": "synthetic",
        "seed": 1,
        "model": None,
        "rows": {"train": 64, "valid": None},
        "settings": {"hidden": 32, "threads": None, "betas": [0.9, 0.99]},
        "status": "ok",
        "evaluations": {
            "final": evaluation(**{"NDCG@5": 0.5, "GU[a & b]@5": 0.125}),
            "half": evaluation(**{"NDCG@5": 0.25}),
        },
        "stages": [
            stage("prepare", sizes=[3, 4]),
            stage("sasrec", loss_by_epoch=[0.5, loss], best=2),
            stage("sasrec", loss_by_epoch=[[0.5, 0.2], [1.5, 0.1]]),
        ],
        "cost": Cost(seconds_from_scratch=6, seconds_own=4),
        "provenance": {"numpy": "2.0"},
    }
    return Result(**(fields | changed))


ENTRY = make_entry(result(), {"budget": "nano", "board": "quick"})
