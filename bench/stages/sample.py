"""Draw at most a number of rows without replacement, in the order drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.hashing import Job, derive_seed
from bench.plan.item_stages import SampleConfig


def run(job: Job, config: SampleConfig, inputs: Mapping[str, Path]) -> None:
    """Write the drawn rows; a smaller number gives the first rows of a larger sample."""
    available = prepared.load_rows(inputs["rows"])
    order = np.random.default_rng(derive_seed("sample", config.seed)).permutation(len(available))
    rows = available[order[: config.num]]
    prepared.write_rows(rows, job.out)
    job.metadata["rows"] = len(rows)
    job.metadata["available"] = len(available)
