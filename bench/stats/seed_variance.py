"""Variance between seeds, reported separately from the variance between users.

With n seeds no exact paired test gives less than 2^(1-n), so with five or fewer no difference can
be significant at .05 (compare Agarwal et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.stats.paired import sign_flip
from bench.stats.samples import Sample, get_case_values, select_known
from bench.stats.set_metrics import sum_units

MIN_SEEDS = 6


@dataclass(frozen=True, kw_only=True)
class SeedTest:
    """A paired test between seeds.

    Attributes:
        p: Two-sided sign-flip p; None with fewer than 6 common seeds.
        num_seeds: Number of common seeds n.
        text: The result in words, or why there is none.
    """

    p: float | None
    num_seeds: int
    text: str


def compute_seed_values(sample: Sample, metric: str) -> dict[int, float]:
    """Compute the metric by seed, over all cases or, if set-level, those with known targets."""
    family = get_metric(metric)
    if family.per_case:
        values = get_case_values(sample, metric).mean(axis=1)
    else:
        sample = select_known(sample)
        (sums,) = sum_units([sample], family, sample.units)
        values = sums.score_seeds(sample.units.equal_weights)[:, 0]
    return {seed: float(value) for seed, value in zip(sample.seeds, values, strict=True)}


def compare_seeds(reference: Mapping[int, float], other: Mapping[int, float]) -> SeedTest:
    """Test between seeds, if there are enough of them for significance at .05.

    Args:
        reference: Metric value by seed, see `compute_seed_values`.
        other: The same of the other method; only common seeds count.

    Raises:
        BenchError: If the value of a common seed is not a finite number.
    """
    seeds = sorted(reference.keys() & other.keys())
    differences = np.array([other[seed] - reference[seed] for seed in seeds], dtype=np.float64)
    if not np.isfinite(differences).all():
        invalid = [seeds[index] for index in np.flatnonzero(~np.isfinite(differences))]
        raise BenchError(f"The metric is not a finite number for the seeds {invalid}.")
    if not seeds:
        return SeedTest(p=None, num_seeds=0, text="not testable: no common seed")
    if len(seeds) < MIN_SEEDS:
        smallest = f"{2.0 ** (1 - len(seeds)):g}".removeprefix("0")
        text = f"not testable: smallest possible p = {smallest}"
        return SeedTest(p=None, num_seeds=len(seeds), text=text)
    p = sign_flip(differences)
    text = f"sign-flip over {len(seeds)} seeds: p = {f'{p:.2g}'.removeprefix('0')}"
    return SeedTest(p=p, num_seeds=len(seeds), text=text)


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
