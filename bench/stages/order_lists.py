"""Score the candidate lists of validation and test users without training.

scores.parquet   one row per list: its index and the scores of its positions
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data import prepared_lists
from bench.data.prepared_lists import PreparedLists
from bench.hashing import Job
from bench.plan.rerank_stages import ListOrderConfig


def run(job: Job, config: ListOrderConfig, inputs: Mapping[str, Path]) -> None:
    """Write the scores of the validation and test lists."""
    lists = prepared_lists.load(inputs["lists"])
    rows = lists.rows("valid", "test")
    prepared_lists.write_scores(rows, score_by_order(config.by, lists, rows), job.out)
    job.metadata["lists"] = len(rows)


def score_by_order(
    by: Literal["given", "popularity", "oracle"], lists: PreparedLists, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Score some lists by a `ListOrderConfig.by`, shape (N, L)."""
    if by == "given":
        return np.zeros(lists.items[rows].shape)
    if by == "popularity":
        return lists.popularity[lists.items[rows]].astype(np.float64)
    return lists.labels[rows].astype(np.float64)
