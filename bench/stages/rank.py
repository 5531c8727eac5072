"""Rank the candidates for every test case by a scorer; ties are broken by item index."""

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
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking, top_items
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan.item_stages import RankConfig
from bench.results.ranking_file import write_ranking

CHUNK_SIZE = 1024


def run(
    job: Job, config: RankConfig, inputs: Mapping[str, Path], *, chunk_size: int = CHUNK_SIZE
) -> None:
    """Write the ranking of the test cases, scored `chunk_size` at once.

    Raises:
        BenchError: The scorer returned another shape, or a score that is not finite, or wrote into
            the histories.
    """
    all_histories, fitted_on, catalog, is_candidate = _load_inputs(inputs)
    score = plugins.function(config.scorer)(fitted_on, catalog, **config.settings)
    num_items, depth = len(is_candidate), min(config.depth, int(is_candidate.sum()))
    items, scores = [], []
    with _limit_threads(config.threads):
        for start in range(0, len(all_histories), chunk_size):
            histories = all_histories[start : start + chunk_size]
            chunk = _check_scores(score, histories, num_items, config.scorer)
            best = top_items(np.where(is_candidate, -chunk, np.inf), depth)
            items.append(best)
            scores.append(np.take_along_axis(chunk, best, axis=1))
    write_ranking(Ranking(items=np.concatenate(items), scores=np.concatenate(scores)), job.out)


def _load_inputs(
    inputs: Mapping[str, Path],
) -> tuple[NDArray[np.int32], Any, Catalog, NDArray[np.bool_]]:
    """Return test histories (no targets), what to fit on, the catalog, and its candidates."""
    source = prepared.load(inputs["data"])
    histories = source.windows(prepared.load_rows(inputs["cases"])).histories
    fitted_on = inputs.get("model") or source.windows(prepared.load_rows(inputs["train"]))
    return histories, fitted_on, source.catalog, source.candidates(inputs)


def _limit_threads(threads: int) -> AbstractContextManager[None]:
    """Limit torch's threads if the scorer imported torch; other scorers do not need torch."""
    if "torch" not in sys.modules:
        return nullcontext()
    from bench.models.lm.devices import compute_threads

    return compute_threads(threads)


def _check_scores(
    score: Callable[[NDArray[np.int32]], Any],
    histories: NDArray[np.int32],
    num_items: int,
    scorer: str,
) -> NDArray[np.float64]:
    scores = np.asarray(score(passed := histories.copy()), dtype=np.float64)
    if not np.array_equal(passed, histories):
        raise BenchError(f"The scorer {scorer} writes into the histories.", "Copy them first.")
    if scores.shape != (len(histories), num_items):
        raise BenchError(
            f"The scorer {scorer} returned shape {scores.shape}.",
            f"It must be (test cases, items) = {(len(histories), num_items)}.",
        )
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if bad.size:
        raise BenchError(
            f"The scorer {scorer} returned a score that is not finite for test case {bad[0]}.",
            "Look for a division by zero or a training run that diverged.",
        )
    return scores
