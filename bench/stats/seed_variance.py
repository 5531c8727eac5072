"""Values of a metric per training seed, their mean and their standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError
from bench.stats.contrasts import AlignedSamples
from bench.stats.corrections import ALPHA
from bench.stats.inference import Variance
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


@dataclass(frozen=True, kw_only=True)
class SeedMean:
    """A mean over seeds with its 95 % interval; no interval with a single seed."""

    value: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def estimate_over_seeds(values: Sequence[float]) -> SeedMean:
    """Estimate a mean over seeds with its t interval; no interval with a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return SeedMean(value=mean, low=None, high=None)
    error = float(np.var(values, ddof=1)) / len(values)
    spread = Variance(users=error, num_parts=len(values), between=(), noise=(), num_seeds=())
    margin = spread.margin(ALPHA, seeds=False)
    return SeedMean(value=mean, low=mean - margin, high=mean + margin)
