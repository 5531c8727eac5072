"""Train SASRec in row form; `bench.seqrec.checkpoint` loads the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.plan.items import SASRecConfig
from bench.records import Job
from bench.seqrec.sasrec import SASRec
from bench.seqrec.training import train_and_save


def run(job: Job, config: SASRecConfig, inputs: Mapping[str, Path]) -> None:
    """Train on the sampled rows and save the network."""
    train_and_save(job, SASRec, config, inputs)
