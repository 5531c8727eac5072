"""Score the candidate lists of the test users without training.

scores.parquet   one row per test list: its index and the scores of its positions
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as list_files
from bench.hashing import Job
from bench.plan.rerank_stages import ListOrderConfig


def run(job: Job, config: ListOrderConfig, inputs: Mapping[str, Path]) -> None:
    """Write the scores of the test lists."""
    lists = list_files.shared(inputs["lists"])
    rows = lists.rows("test")
    if config.by == "given":
        scores = np.zeros(lists.items[rows].shape)
    elif config.by == "popularity":
        scores = lists.popularity[lists.items[rows]].astype(np.float64)
    else:
        scores = lists.labels[rows].astype(np.float64)
    list_files.write_scores(rows, scores, job.out)
    job.facts["test_lists"] = len(rows)
