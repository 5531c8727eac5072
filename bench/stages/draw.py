"""Draw samples of one split of prepared data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.data import prepared
from bench.data.split import sample_rows
from bench.hashing import Job
from bench.plan.item_stages import DrawConfig


def run(job: Job, config: DrawConfig, inputs: Mapping[str, Path]) -> None:
    """Write the numbers of the drawn samples; see `bench.data.split.sample_rows`."""
    samples = prepared.load(inputs["data"]).sample_range(config.split)
    rows = sample_rows(
        samples, split=config.split, num=config.num, seed=config.seed, strict=config.strict
    )
    prepared.write_rows(rows, job.out)
    job.metadata["rows"] = len(rows)
    job.metadata["available"] = len(samples)
