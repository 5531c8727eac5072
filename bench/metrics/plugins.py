"""Plug-in metrics: modules on $BENCH_PATH that define `METRIC = Metric(...)`.

A plug-in is a Python file in the `metrics/` folder of a folder of $BENCH_PATH, or a file directly
in a folder of $BENCH_PATH. All plug-in metrics are computed in every evaluation, and their code is
part of the evaluation's key.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bench.config.search_path import find_files, read_start, user_folders
from bench.errors import BenchError, unknown
from bench.foreign_code import foreign_code
from bench.metrics.metric import Metric

FOLDER = "metrics"
ATTRIBUTE = "METRIC"


def plugin_paths() -> dict[str, Path]:
    """Map the module names of all plug-in metrics to their files; the first folder wins."""
    paths = [path for folder in user_folders() for path in (folder / FOLDER, folder)]
    return find_files(
        paths, "*.py", lambda path: not path.stem.startswith("_") and is_metric_file(path)
    )


def find_plugin(module: str) -> Path:
    """Return the file of a module in a reference such as "metrics/first_word".

    Raises:
        BenchError: If it is not on $BENCH_PATH.
    """
    paths = plugin_paths()
    name = module.removeprefix(f"{FOLDER}/")
    if name not in paths:
        raise unknown("metric module on $BENCH_PATH", name, paths)
    return paths[name]


def is_metric_file(path: Path) -> bool:
    """Return whether a Python file defines `METRIC` at its top level."""
    return re.search(rf"^{ATTRIBUTE}\b.*=", read_start(path), flags=re.MULTILINE) is not None


def load_plugins(
    built_in: Iterable[str],
) -> tuple[Mapping[str, Metric], Mapping[str, BenchError]]:
    """Load all plug-in metrics whose family is not built in, by the name of their module.

    Returns:
        The metrics, and why a module has none: it cannot be loaded, or another metric has its name.
    """
    metrics: dict[str, Metric] = {}
    broken: dict[str, BenchError] = {}
    owners = dict.fromkeys(built_in, "a built-in metric")
    for module, path in sorted(plugin_paths().items()):
        state = path.stat()
        try:
            metric = _load(path, state.st_mtime_ns, state.st_size)
        except BenchError as error:
            broken[module] = error
            continue
        if metric.family in owners:
            broken[module] = BenchError(
                f"{path}: the metric name {metric.family!r} is taken by {owners[metric.family]}.",
                "Choose another family name.",
            )
            continue
        owners[metric.family] = str(path)
        metrics[module] = metric
    return metrics, broken


def plugin_references(metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Return the references "metrics/module:METRIC" of plug-in metrics, whose code is keyed."""
    return tuple(f"{FOLDER}/{module}:{ATTRIBUTE}" for module in metrics)


@cache
def _load(path: Path, *_file_state: int) -> Metric:
    spec = importlib.util.spec_from_file_location(f"bench_metric_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    with foreign_code(
        f"Importing the metric module {path}",
        f"The metric module {path} cannot be imported",
        "Fix the module, or remove it from $BENCH_PATH.",
    ):
        spec.loader.exec_module(module)
    metric = getattr(module, ATTRIBUTE, None)
    if not isinstance(metric, Metric):
        message = f"{path}: {ATTRIBUTE} is not a Metric."
        raise BenchError(message, "See `bench new metric NAME` for an example.")
    return metric
