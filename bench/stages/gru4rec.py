"""Train GRU4Rec; `bench.models.seqrec.checkpoint` loads the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.hashing import Job
from bench.models.seqrec.networks import GRU4Rec
from bench.models.seqrec.training import train_and_save
from bench.plan.item_stages import GRU4RecConfig


def run(job: Job, config: GRU4RecConfig, inputs: Mapping[str, Path]) -> None:
    """Train on the sampled rows and save the network."""
    train_and_save(job, GRU4Rec, config, inputs)
