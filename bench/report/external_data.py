"""What rows read beyond the data set: models trained on other text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from bench.config import plugins
from bench.config.request import PROBES
from bench.errors import BenchError
from bench.report.table import Row
from bench.results.schema import Result
from bench.stats.descriptions import join_words

TRAINED_ELSEWHERE = ("gguf", "hub", "responses")
"""Kinds of stages that bring in other text; what "build" makes is trained on the data set alone."""


def name_external(result: Result | None) -> str:
    """Name the model trained on other text that a result used; "" for none."""
    if result is None:
        return ""
    kinds = [stage.kind for stage in result.stages if stage.kind in TRAINED_ELSEWHERE]
    if "responses" in kinds:
        return str(result.settings.get("writer") or "an outside model")
    return (result.model or "") if kinds else ""


def describe_external(dataset: str, rows: Iterable[Row]) -> str:
    """Say which rows used models that may have seen a data set; "" without any result.

    Args:
        dataset: Name of its card.
        rows: With outcomes and models.
    """
    users: dict[str, list[str]] = {}
    for row in rows:
        if row.successful:
            users.setdefault(row.external, []).append(row.name)
    alone = bool(users.pop("", None))
    with suppress(BenchError):  # results outlive cards
        if plugins.dataset_card(dataset).reader.startswith("synthetic"):
            return ""
    sentences = [
        f"{join_words(names)} {'uses' if len(names) == 1 else 'use'} {model}, trained on other "
        f"text{_find_cutoff(model)}, which may have seen the data: {read_probe(model, dataset)}."
        for model, names in users.items()
    ]
    if sentences and alone:
        sentences.append("The other rows use no such model.")
    return " ".join(sentences)


def _find_cutoff(model: str) -> str:
    with suppress(BenchError):
        if cutoff := plugins.model_card(model).training_cutoff:
            return f" until {cutoff}"
    return " until an unknown date"


def read_probe(model: str, dataset: str) -> str:
    """Say what `bench probe` found about a backbone and a data set, if it was run here."""
    names = [name.partition(":")[0] for name in (model, dataset)]
    try:
        tasks = json.loads((PROBES / f"{'--'.join(names)}.json").read_bytes())
        known = [f"“{each['task']}”" for each in tasks if "control" in each["verdict"]]
    except (OSError, ValueError, TypeError, KeyError):
        return "bench probe was not run"
    if not known:
        return "bench probe found no knowledge above its control, which excludes nothing"
    return f"bench probe found knowledge above its control ({join_words(known)})"
