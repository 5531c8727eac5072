"""Train SASRec in row form; `bench.seqrec.checkpoint` loads the artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.plan.items import SASRecConfig
from bench.records import Job
from bench.seqrec.sasrec import SASRec
from bench.seqrec.training import train_and_save


def run(job: Job, *, seed: int, data: Path, train: Path, valid: Path | None, **config: Any) -> None:
    """Train on the sampled rows and save the network; see `train_and_save`."""
    inputs = {"data": data, "train": train, "valid": valid}
    train_and_save(job, SASRec, SASRecConfig(**config), seed=seed, **inputs)
