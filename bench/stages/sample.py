"""Draw at most so many of some rows without replacement, in the order drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.hashing import Job, derive_seed


def run(job: Job, *, rows: Path, num: int, seed: int) -> None:
    """Write the drawn rows; a smaller number gives the first rows of a larger draw."""
    available = prepared.shared_rows(rows)
    order = np.random.default_rng(derive_seed("sample", seed)).permutation(len(available))
    drawn = available[order[:num]]
    prepared.write_rows(drawn, job.out)
    job.facts["rows"] = len(drawn)
    job.facts["available"] = len(available)
