"""Train SASRec; `bench.models.seqrec.checkpoint` loads the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.hashing import Job
from bench.models.seqrec.networks import SASRec
from bench.models.seqrec.training import train_and_save
from bench.plan.item_stages import SASRecConfig


def run(job: Job, config: SASRecConfig, inputs: Mapping[str, Path]) -> None:
    """Train on the sampled rows and save the network."""
    train_and_save(job, SASRec, config, inputs)
