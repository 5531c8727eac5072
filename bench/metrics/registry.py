"""The registry of metrics: the built-in ones, and those of plug-in modules on $BENCH_PATH."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from bench.errors import BenchError, unknown
from bench.metrics.accuracy import HALLUCINATION, HR, NDCG
from bench.metrics.diversity import COVERAGE, DIV_RATIO, GINI, OR_RATIO
from bench.metrics.fairness import DGU, GU, MGU
from bench.metrics.metric import Metric, invalid_k
from bench.metrics.plugins import find_plugin, load_plugins
from bench.metrics.rerank import CLICK, LIST_CAP, MAP, MAP_STD

BUILT_IN = (
    HR, NDCG, HALLUCINATION, DIV_RATIO, OR_RATIO, COVERAGE, GINI, MGU, DGU, GU,
    MAP, MAP_STD, CLICK, LIST_CAP,
)  # fmt: skip
DEFAULT_METRICS = (
    "DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "MGU@1", "MGU@5", "HR@5", "NDCG@5",
)  # fmt: skip
"""The columns where no board names others: those of SPRec's main table."""

_NAME = re.compile(
    r"(?P<family>[^\[\]@]+)(\[(?P<category>.*)\])?(@(?P<k>[^\[\]@]*))?", flags=re.DOTALL
)
_POSITIVE_INTEGER = re.compile(r"[1-9][0-9]*")


def list_metrics() -> tuple[Metric, ...]:
    """Return all metric families: the built-in ones, then plug-ins by name."""
    return (*BUILT_IN, *plugin_metrics().values())


def plugin_metrics() -> Mapping[str, Metric]:
    """Load all plug-in metrics, by the name of their module; standard error names broken ones."""
    metrics, broken = _load()
    for error in broken.values():
        _print_once(f"Left out: {error.message} {error.hint}")
    return metrics


def broken_plugins() -> Mapping[str, BenchError]:
    """Return why plug-in modules have no metric, by the name of the module."""
    return _load()[1]


def _load() -> tuple[Mapping[str, Metric], Mapping[str, BenchError]]:
    return load_plugins(built_in=[metric.family for metric in BUILT_IN])


@cache
def _print_once(text: str) -> None:
    print(text, file=sys.stderr)


def select_plugins(references: Sequence[str]) -> list[Metric]:
    """Return the plug-in metrics of references such as "metrics/first_word:METRIC".

    Raises:
        BenchError: If one is not on $BENCH_PATH.
    """
    metrics = plugin_metrics() if references else {}
    return [metrics[find_plugin(reference.partition(":")[0]).stem] for reference in references]


def get_metric(name: str) -> Metric:
    """Return the metric of a name such as `HR@5`, `GU[drama]@1` or `Hallucination`.

    `get_metric(metric.name) == metric` for every metric.

    Raises:
        BenchError: If there is no such metric; the hint suggests the nearest name. If a plug-in is
            broken, it may be the one that was meant, and its error is raised instead.
    """
    match = _NAME.fullmatch(name)
    family = match["family"] if match else ""
    families = {metric.family: metric for metric in BUILT_IN}
    if family not in families:
        families = {metric.family: metric for metric in list_metrics()}
    if match is None or family not in families:
        for error in broken_plugins().values():
            raise error
        raise _unknown_metric(name, families.values())
    k = match["k"]
    if k is not None and not _POSITIVE_INTEGER.fullmatch(k):
        raise invalid_k(name)
    return families[family].at(None if k is None else int(k), match["category"])


def parse_bounds(texts: Sequence[str]) -> dict[str, float]:
    """Parse `METRIC=BOUND`, the differences up to which methods count as equivalent.

    Raises:
        BenchError: If there is no such metric, or the bound is not a number above 0.
    """
    bounds = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            bounds[get_metric(name).name] = float(number)
        except ValueError:
            bounds[name] = 0.0
        if not 0 < bounds[name] < float("inf"):
            message = f"{text!r} is not a metric with a bound above 0."
            raise BenchError(message, "Example: NDCG@5=0.005")
    return bounds


def _unknown_metric(name: str, families: Iterable[Metric]) -> BenchError:
    """Return the error for an unknown name; its suggestions keep the k of that name."""
    k = name.rpartition("@")[2]
    suffix = f"@{k}" if _POSITIVE_INTEGER.fullmatch(k) else "@k"
    names = [metric.pattern.replace("@k", suffix) for metric in families]
    # `unknown` compares letter by letter, where `ndcg@5` would be far from `NDCG@5`.
    same = [choice for choice in names if choice.casefold() == name.casefold()]
    return unknown("metric", name, same or names)
