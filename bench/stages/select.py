"""Choose among rankings by a metric on validation; the artifact is the chosen one's test ranking.

ranking.parquet  the winner's, as it was; scores.parquet for candidate lists
choice.json      the metric, the chosen candidate, every candidate's value on validation
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.data import prepared, prepared_lists
from bench.data.prepared_lists import SCORES
from bench.errors import BenchError, unknown
from bench.hashing import Job, Plain
from bench.metrics.evaluate import evaluate, evaluate_lists
from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric, select_plugins
from bench.metrics.titles import Cases, merge_titles
from bench.plan.selection import SelectConfig
from bench.results.ranking_file import FILE, read_ranking


def run(job: Job, config: SelectConfig, inputs: Mapping[str, Path]) -> None:
    """Write the test ranking of the best candidate.

    The rankings of the n-th candidate, from 0, are the inputs `valid_<n>` and `test_<n>`; where
    there are "lists", `test_<n>` holds the scores of both.

    Raises:
        BenchError: A candidate has no such metric, or its value is not finite.
    """
    metric = get_metric(config.metric)
    compute = _evaluate_lists if "lists" in inputs else _evaluate_ranking
    values = {}
    for index, name in enumerate(config.names):
        values[name] = _check_value(name, metric, compute(config, metric, inputs, index))
    selected = best(values, higher_is_better=metric.higher_is_better)
    file = SCORES if "lists" in inputs else FILE
    shutil.copyfile(inputs[f"test_{config.names.index(selected)}"] / file, job.out / file)
    content: dict[str, Plain] = {"metric": config.metric, "chosen": selected, "validation": values}
    job.metadata.update(content)
    (job.out / "choice.json").write_text(json.dumps(content, indent=1, allow_nan=False))


def best(values: Mapping[str, float], *, higher_is_better: bool) -> str:
    """Return the name of the best value; of equal ones, the first."""
    sign = 1 if higher_is_better else -1
    return max(values, key=lambda name: sign * values[name])


def _evaluate_ranking(
    config: SelectConfig, metric: Metric, inputs: Mapping[str, Path], index: int
) -> Mapping[str, float]:
    source = prepared.load(inputs["data"])
    windows = source.windows(prepared.load_rows(inputs["cases"]))
    ranking = read_ranking(inputs[f"valid_{index}"])
    cases = Cases(ranking, windows.targets, windows.histories, source.catalog)
    if config.group_titles:
        cases = merge_titles(cases)
    plugins = select_plugins(config.plugins)
    return evaluate(**cases._asdict(), ks=[metric.k or 1], plugins=plugins).metrics


def _evaluate_lists(
    config: SelectConfig, metric: Metric, inputs: Mapping[str, Path], index: int
) -> Mapping[str, float]:
    source = prepared_lists.load(inputs["lists"])
    rows, scores = source.read_scores(inputs[f"test_{index}"], "valid")
    plugins = select_plugins(config.plugins)
    return evaluate_lists(scores, source.labels[rows], ks=[metric.k or 1], plugins=plugins).metrics


def _check_value(candidate: str, metric: Metric, values: Mapping[str, float]) -> float:
    if metric.name not in values:
        raise unknown("metric of this data set", metric.name, values)
    if not math.isfinite(values[metric.name]):
        raise BenchError(
            f"{metric.name} of candidate {candidate!r} is {values[metric.name]}.",
            "Select by another metric.",
        )
    return values[metric.name]
