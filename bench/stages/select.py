"""Choose among rankings by a metric on validation; the artifact is the chosen one's test ranking.

ranking.parquet  the winner's, as it was
choice.json      the metric, the chosen candidate, every candidate's value on validation
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import prepared
from bench.errors import BenchError, unknown
from bench.hashing import Job
from bench.metrics.evaluate import evaluate
from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric, select_plugins
from bench.results.ranking_file import FILE, read_ranking


def run(
    job: Job,
    *,
    names: Sequence[str],
    metric: str,
    data: Path,
    cases: Path,
    plugins: Sequence[str] = (),
    **rankings: Path,
) -> None:
    """Write the ranking of the best candidate.

    Args:
        job: Where to.
        names: The candidates, in the order that decides ties.
        metric: What they are judged by.
        data: The prepared data.
        cases: The validation cases.
        plugins: Reference to the metric if it is a plug-in.
        rankings: `valid_<n>` and `test_<n>` of the n-th candidate, from 0.

    Raises:
        BenchError: A candidate has no such metric, or its value is no finite number.
    """
    asked = get_metric(metric)
    values = {
        name: _value(asked, name, data, cases, rankings[f"valid_{place}"], plugins)
        for place, name in enumerate(names)
    }
    chosen = best(values, higher_is_better=asked.higher_is_better)
    shutil.copyfile(rankings[f"test_{list(names).index(chosen)}"] / FILE, job.out / FILE)
    job.facts.update(metric=metric, chosen=chosen, validation=values)
    content = {"metric": metric, "chosen": chosen, "validation": values}
    (job.out / "choice.json").write_text(json.dumps(content, indent=1, allow_nan=False))


def best(values: Mapping[str, float], *, higher_is_better: bool) -> str:
    """Return the name of the best value; of equal ones, the first."""
    sign = 1 if higher_is_better else -1
    return max(values, key=lambda name: sign * values[name])


def _value(
    metric: Metric, name: str, data: Path, cases: Path, ranking: Path, plugins: Sequence[str]
) -> float:
    source = prepared.shared(data)
    windows = source.windows(prepared.shared_rows(cases))
    found = evaluate(
        read_ranking(ranking),
        targets=windows.targets,
        histories=windows.histories,
        catalog=source.catalog,
        ks=[metric.k or 1],
        plugins=select_plugins(plugins),
    ).metrics
    if metric.name not in found:
        raise unknown("metric of this data set", metric.name, found)
    if not math.isfinite(found[metric.name]):
        raise BenchError(
            f"{metric.name} of candidate {name!r} is {found[metric.name]}.",
            "Choose by another metric.",
        )
    return found[metric.name]
