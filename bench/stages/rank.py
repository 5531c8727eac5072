"""Rank the whole catalog for every case: the best items by a scorer, ties by item position."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import plugins
from bench.data import prepared
from bench.data.ranking import Ranking, top_items
from bench.errors import BenchError
from bench.hashing import Job
from bench.results.ranking_file import write_ranking

CASES_AT_ONCE = 1024


def run(
    job: Job,
    *,
    scorer: str,
    settings: Mapping[str, Any],
    depth: int,
    threads: int,
    data: Path,
    cases: Path,
    train: Path | None = None,
    model: Path | None = None,
) -> None:
    """Write the ranking of the cases.

    Raises:
        BenchError: Where the scorer returns another shape, or a score that is no finite number.
    """
    source = prepared.shared(data)
    windows = source.windows(prepared.shared_rows(cases))
    seen = model if train is None else source.windows(prepared.shared_rows(train))
    score = plugins.function(scorer)(seen, source.catalog, **settings)
    num_items = len(source.catalog)
    items, scores = [], []
    with _bounded(threads):
        for start in range(0, len(windows), CASES_AT_ONCE):
            histories = windows.histories[start : start + CASES_AT_ONCE]
            scored = _checked(score, histories, num_items, scorer)
            best = top_items(-scored, min(depth, num_items))
            items.append(best)
            scores.append(np.take_along_axis(scored, best, axis=1))
    write_ranking(Ranking(items=np.concatenate(items), scores=np.concatenate(scores)), job.out)


def _bounded(threads: int) -> AbstractContextManager[None]:
    """Bound torch's threads where the scorer brought torch in; others need no torch at all."""
    if "torch" not in sys.modules:
        return nullcontext()
    from bench.models.lm.threads import compute_threads

    return compute_threads(threads)


def _checked(
    score: Callable[[NDArray[np.int32]], Any],
    histories: NDArray[np.int32],
    num_items: int,
    scorer: str,
) -> NDArray[np.float64]:
    scored = np.asarray(score(histories), dtype=np.float64)
    if scored.shape != (len(histories), num_items):
        raise BenchError(
            f"The scorer {scorer} returned shape {scored.shape}.",
            f"It must be (cases, items) = {(len(histories), num_items)}.",
        )
    bad = np.flatnonzero(~np.isfinite(scored).all(axis=1))
    if bad.size:
        raise BenchError(
            f"The scorer {scorer} returned a score that is no finite number for case {bad[0]}.",
            "Look for a division by zero or a training run that diverged.",
        )
    return scored
