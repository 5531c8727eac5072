"""Compute the metrics of re-ranked lists; the artifact becomes a result.

evaluation.json   metric values, sizes, the data's fingerprint
cases.parquet     one row per test list: user, rank of the first positive (-1: none), metrics
ranking.parquet   one row per test list: item ids, best first
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as list_files
from bench.hashing import Job
from bench.metrics.evaluate import evaluate_lists
from bench.metrics.registry import select_plugins
from bench.metrics.rerank import sort_labels
from bench.plan.rerank_stages import EvaluateListsConfig
from bench.stages.evaluate import write_evaluation


def run(job: Job, config: EvaluateListsConfig, inputs: Mapping[str, Path]) -> None:
    """Evaluate the scores of the test lists; lists without positives count as 0.

    A test case is a list, identified by its user and its first item's position in the history.
    """
    source = list_files.load(inputs["lists"])
    rows, scores = source.read_scores(inputs["scores"], config.part)
    labels, users = source.labels[rows], source.users[rows]
    plugins = select_plugins(config.plugins)
    evaluation = evaluate_lists(scores, labels, ks=config.ks, plugins=plugins)
    names = [source.user_ids[user] for user in users]
    cases = [f"{name}:{first}" for name, first in zip(names, source.first[rows], strict=True)]
    is_positive = sort_labels(scores, labels) > 0
    columns: dict[str, object] = {
        "case": cases,
        "user": names,
        "known": np.ones(len(rows), dtype=bool),
        "rank": np.where(is_positive.any(axis=1), is_positive.argmax(axis=1), -1),
        **evaluation.lists,
    }
    order = np.argsort(-scores, axis=1, kind="stable")
    items = np.take_along_axis(source.items[rows], order, axis=1)
    ids = np.array(source.item_ids, dtype=object)
    sizes = {
        "metrics": evaluation.metrics,
        "ks": list(config.ks),
        "num_cases": len(rows),
        "num_known": len(rows),
        "num_items": len(source.item_ids),
        "tracked": [],
    }
    write_evaluation(job.out, source, sizes, columns, ids[items].tolist())
