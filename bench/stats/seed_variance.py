"""Training variance: what another seed would have changed, shown apart from the users' variance.

With n seeds no exact paired test gives less than 2^(1-n), so with five or fewer there is no verdict
at .05 whatever the numbers are (compare Agarwal et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError
from bench.metrics.names import parse
from bench.stats.paired import sign_flip
from bench.stats.samples import Sample, known_only, per_case
from bench.stats.set_metrics import tallies

MIN_SEEDS = 6


@dataclass(frozen=True, kw_only=True)
class SeedTest:
    """A paired test between seeds.

    Attributes:
        p: Two-sided sign-flip p; None with fewer than 6 common seeds.
        num_seeds: Number of common seeds n.
        text: The verdict in words, or why there is none.
    """

    p: float | None
    num_seeds: int
    text: str


def by_seed(sample: Sample, metric: str) -> dict[int, float]:
    """Compute the metric of each seed, over all cases or, set-level, those with known targets."""
    parsed = parse(metric)
    if parsed.per_case:
        values = per_case(sample, metric).mean(axis=1)
    else:
        known = known_only(sample)
        units = known.units()
        (tally,) = tallies([known], parsed, units)
        values = tally.per_seed(units.each_once())[:, 0]
    return {seed: float(value) for seed, value in zip(sample.seeds, values, strict=True)}


def seed_test(reference: Mapping[int, float], other: Mapping[int, float]) -> SeedTest:
    """Test between seeds, where there are enough of them for any verdict at .05.

    Args:
        reference: Metric value by seed, as `by_seed` gives it.
        other: The same of the other method; only common seeds count.

    Raises:
        BenchError: If the value of a common seed is not a finite number.
    """
    seeds = sorted(reference.keys() & other.keys())
    differences = np.array([other[seed] - reference[seed] for seed in seeds], dtype=np.float64)
    if not np.isfinite(differences).all():
        broken = [
            seed for seed, one in zip(seeds, differences, strict=True) if not np.isfinite(one)
        ]
        raise BenchError(f"The metric is not a finite number for the seeds {broken}.")
    if not seeds:
        return SeedTest(p=None, num_seeds=0, text="not testable: no common seed")
    if len(seeds) < MIN_SEEDS:
        smallest = f"{2.0 ** (1 - len(seeds)):g}".removeprefix("0")
        text = f"not testable: smallest possible p = {smallest}"
        return SeedTest(p=None, num_seeds=len(seeds), text=text)
    p = sign_flip(differences)
    text = f"sign-flip over {len(seeds)} seeds: p = {f'{p:.2g}'.removeprefix('0')}"
    return SeedTest(p=p, num_seeds=len(seeds), text=text)


def mean_sd(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Summarize the values of a metric per seed.

    Returns:
        Mean, standard deviation with n - 1 (None with one seed), and the number of seeds n.

    Raises:
        BenchError: If there is no value.
    """
    if not values:
        raise BenchError("There is no seed to average over.")
    numbers = np.asarray(values, dtype=np.float64)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return float(numbers.mean()), deviation, len(numbers)
