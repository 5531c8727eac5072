"""Compute the metrics of re-ranked lists; the artifact is what a result is made of.

evaluation.json   metric values, sizes, the data's fingerprint
cases.parquet     a line a test list: user, rank of the first positive (-1: none), metrics
ranking.parquet   a line a test list: item ids, best first
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data import prepared_lists as data
from bench.hashing import Job
from bench.metrics.evaluate import evaluate_lists
from bench.metrics.registry import select_plugins
from bench.metrics.rerank import sort_labels


def run(
    job: Job, *, ks: Sequence[int], lists: Path, scores: Path, plugins: Sequence[str] = ()
) -> None:
    """Evaluate the scores of the test lists; those without positives count as 0.

    A case is a list, known by its user and the place of its first item in what the user did.
    """
    source = data.shared(lists)
    rows, scored = data.read_scores(scores)
    labels, users = source.labels[rows], source.users[rows]
    found = evaluate_lists(scored, labels, ks=ks, plugins=select_plugins(plugins))
    content = {
        "evaluation": {
            "metrics": found.metrics,
            "ks": list(ks),
            "num_cases": len(rows),
            "num_known": len(rows),
            "num_items": len(source.item_ids),
            "tracked": [],
            "history_mass": [],
        },
        "data": {"fingerprint": source.fingerprint, "counts": dict(source.counts)},
    }
    (job.out / "evaluation.json").write_text(json.dumps(content, indent=1, allow_nan=False))
    names = [source.user_ids[user] for user in users]
    cases = [f"{name}:{first}" for name, first in zip(names, source.first[rows], strict=True)]
    positive = sort_labels(scored, labels) > 0
    columns: dict[str, object] = {
        "case": cases,
        "user": names,
        "known": np.ones(len(rows), dtype=bool),
        "rank": np.where(positive.any(axis=1), positive.argmax(axis=1), -1),
        **found.lists,
    }
    pq.write_table(pa.table(columns), job.out / "cases.parquet")
    order = np.argsort(-scored, axis=1, kind="stable")
    items = np.take_along_axis(source.items[rows], order, axis=1)
    ids = np.array(source.item_ids, dtype=object)
    ranking = {"case": cases, "items": pa.array(ids[items].tolist(), pa.list_(pa.string()))}
    pq.write_table(pa.table(ranking), job.out / "ranking.parquet")
