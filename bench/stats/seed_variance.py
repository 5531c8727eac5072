"""Values of a metric per training seed, their mean and their standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError
from bench.stats.contrasts import AlignedSamples
from bench.stats.corrections import ALPHA
from bench.stats.inference import SeedValues, Variance
from bench.stats.samples import Sample


def compute_seed_values(sample: Sample, metric: str) -> dict[int, float]:
    """Compute the metric by seed, over all cases or, if set-level, those with known targets."""
    (method,) = AlignedSamples.align([sample], metric).methods
    return dict(zip(sample.seeds, method.values.tolist(), strict=True))


def summarize_seeds(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Return mean, standard deviation (n - 1; None with one seed) and number of a metric's values.

    Raises:
        BenchError: If there is no value.
    """
    if not values:
        raise BenchError("There are no seeds to average over.")
    numbers = np.asarray(values, dtype=np.float64)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return float(numbers.mean()), deviation, len(numbers)


@dataclass(frozen=True, kw_only=True)
class VarianceParts:
    """Variances of the value of one run on one data draw, each at least 0.

    Attributes:
        data: Between data draws, beyond what training and test users explain.
        training: Between training seeds on one draw, beyond the noise of the users.
        users: Over samples of test users.
    """

    data: float
    training: float
    users: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of data, training and users; 0 if nothing varies."""
        total = self.data + self.training + self.users or 1.0
        return self.data / total, self.training / total, self.users / total


def decompose_variance(draws: Sequence[SeedValues], *, same_users: bool) -> VarianceParts:
    """Decompose the variance by a nested analysis of variance (Searle et al. 1992, chapter 3).

    Args:
        draws: The values of one method, one entry per data seed, two or more seeds each.
        same_users: Whether all draws have the same test users, who then make no draws differ.
    """
    num_seeds = 1 / float(np.mean([1 / len(draw.values) for draw in draws]))
    noise = float(np.mean([draw.noise for draw in draws]))
    training = max(0.0, float(np.mean([draw.values.var(ddof=1) for draw in draws])) - noise)
    users = float(np.mean([np.square(d.deviations).sum(axis=1).mean() for d in draws]))
    of_means = float(np.mean([np.square(d.deviations.mean(axis=0)).sum() for d in draws]))
    explained = training / num_seeds + (noise / num_seeds if same_users else of_means)
    between = float(np.var([draw.mean for draw in draws], ddof=1))
    return VarianceParts(data=max(0.0, between - explained), training=training, users=users)


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
