"""Compute the metrics of a ranking; the artifact is what a result is made of.

evaluation.json   metric values, sizes, tracked categories, the data's fingerprint
cases.parquet     one row per test case: user, rank, strata, per-case metrics, category masses
                  of its history and lists
ranking.parquet   one row per test case: item ids, as many as the largest k
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.case_strata import label_cases
from bench.data.prepared import Prepared
from bench.data.prepared_lists import PreparedLists
from bench.data.ranking import LIST_ENDS, remove_items
from bench.errors import BenchError
from bench.hashing import Job
from bench.metrics.evaluate import Scores, evaluate
from bench.metrics.registry import select_plugins
from bench.metrics.titles import Cases, merge_titles
from bench.plan.item_stages import EvaluateConfig
from bench.results.ranking_file import read_ranking


def run(job: Job, config: EvaluateConfig, inputs: Mapping[str, Path]) -> None:
    """Evaluate a ranking at every k that its lists, and the catalog, are long enough for."""
    source = prepared.load(inputs["data"])
    samples = prepared.load_rows(inputs["cases"])
    windows = source.windows(samples)
    cases = Cases(
        read_ranking(inputs["ranking"]), windows.targets, windows.histories, source.catalog
    )
    if config.group_titles:
        cases = merge_titles(cases)
    if config.exclude_seen:
        cases = cases._replace(ranking=remove_items(cases.ranking, cases.histories))
    lists, catalog = cases.ranking, cases.catalog
    shortest = int((lists.items != LIST_ENDS).sum(axis=1).min())
    fitting = [k for k in config.ks if k <= min(len(catalog), shortest)]
    if not fitting:
        raise BenchError(
            f"The shortest list has {shortest} items, fewer than every requested k.",
            "Rank more items per test case, or request a smaller k.",
        )
    scores = evaluate(**cases._asdict(), ks=fitting, plugins=select_plugins(config.plugins))
    evaluation = {
        "metrics": scores.metrics,
        "ks": fitting,
        "num_cases": len(windows),
        "num_known": int(scores.known.sum()),
        "num_items": len(catalog),
        "num_ids": len(source.catalog),
        "tracked": list(source.catalog.tracked),
    }
    users = [source.user_ids[user] for user in windows.users]
    columns = _case_columns(samples, users, label_cases(source, samples), scores)
    ids = np.array([*catalog.ids, None], dtype=object)  # position -1 picks the None
    items = [ids[np.maximum(row, -1)].tolist() for row in lists.items[:, : max(fitting)]]
    write_evaluation(job.out, source, evaluation, columns, items)


def write_evaluation(
    folder: Path,
    source: Prepared | PreparedLists,
    evaluation: Mapping[str, object],
    columns: Mapping[str, object],
    items: Sequence[Sequence[str | None]],
) -> None:
    """Write the three files of an evaluation; `items` are item ids of the cases in `columns`."""
    data = {"fingerprint": source.fingerprint, "counts": dict(source.counts)}
    content = {"evaluation": evaluation, "data": data}
    (folder / "evaluation.json").write_text(json.dumps(content, indent=1, allow_nan=False))
    _write_table(folder / "cases.parquet", columns)
    ranking = {"case": columns["case"], "items": pa.array(items, pa.list_(pa.string()))}
    _write_table(folder / "ranking.parquet", ranking)


def _write_table(path: Path, columns: Mapping[str, object]) -> None:
    """Write a table without Parquet's extras, which take more space than so few values."""
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        write_statistics=False,
        store_schema=False,
    )


def _case_columns(
    samples: NDArray[np.int64], users: list[str], strata: dict[str, list[str]], scores: Scores
) -> dict[str, object]:
    columns: dict[str, object] = {
        "case": [str(sample) for sample in samples],
        "user": users,
        "known": scores.known,
        "rank": scores.ranks,
        **{f"stratum:{name}": labels for name, labels in strata.items()},
        **scores.cases,
    }
    if scores.history_masses.shape[1]:
        columns["history"] = pa.array(scores.history_masses.tolist(), pa.list_(pa.float64()))
    for k, mass in scores.masses.items():
        columns[f"mass@{k}"] = pa.array(mass.tolist(), pa.list_(pa.float64()))
    return columns
