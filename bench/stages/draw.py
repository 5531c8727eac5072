"""Draw samples of one split of prepared data."""

from __future__ import annotations

from pathlib import Path

from bench.data import prepared
from bench.data.split import sample_rows
from bench.hashing import Job


def run(job: Job, *, data: Path, split: str, num: int | None, seed: int, strict: bool) -> None:
    """Write the numbers of the drawn samples, at most `num`; see `sample_rows`."""
    samples = prepared.shared(data).sample_range(split)
    rows = sample_rows(samples, split=split, num=num, seed=seed, strict=strict)
    prepared.write_rows(rows, job.out)
    job.facts["rows"] = len(rows)
    job.facts["available"] = len(samples)
