"""Values of a metric per training seed, their mean and their standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import BenchError
from bench.stats.contrasts import AlignedSamples
from bench.stats.samples import Sample


def compute_seed_values(sample: Sample, metric: str) -> dict[int, float]:
    """Compute the metric by seed, over all cases or, if set-level, those with known targets."""
    (method,) = AlignedSamples.align([sample], metric).methods
    return dict(zip(sample.seeds, method.values.tolist(), strict=True))


def summarize_seeds(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Summarize the values of a metric per seed.

    Returns:
        Mean, standard deviation with n - 1 (None with one seed), and the number of seeds n.

    Raises:
        BenchError: If there is no value.
    """
    if not values:
        raise BenchError("There are no seeds to average over.")
    numbers = np.asarray(values, dtype=np.float64)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return float(numbers.mean()), deviation, len(numbers)
