"""Train GRU4Rec in row form; `bench.seqrec.checkpoint` loads the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.plan.items import GRU4RecConfig
from bench.records import Job
from bench.seqrec.gru4rec import GRU4Rec
from bench.seqrec.training import train_and_save


def run(job: Job, config: GRU4RecConfig, inputs: Mapping[str, Path]) -> None:
    """Train on the sampled rows and save the network."""
    train_and_save(job, GRU4Rec, config, inputs)
