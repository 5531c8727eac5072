"""Intervals and p-values of a combination of methods' values, for two questions.

(a) Do these trained models differ? Other users could have been tested.
(b) Do these methods differ? Other users could have been tested, and other seeds trained.

A combination sum_m c_m v_m of the mean values v_m over S_m seeds has the variance

    (a) V_users
    (b) V_users + sum_m c_m^2 max(0, s_m^2 - (1 - 1 / S_m) n_m) / S_m

with s_m^2 the variance between the values of a method's seeds and n_m the part of it that is noise
of the users, which V_users contains already. Few seeds can differ by less than the noise by chance;
subtracting all of n_m rejects up to 8 % of true hypotheses at two seeds. Both are statistics of the
same values, so p and the interval come from one function and cannot contradict each other. Seeds
have few degrees of freedom and users many; their margins are added in squares (Howe, JASA 69,
1974), each with its own quantile of Student's t. The seeds' degrees of freedom are Satterthwaite's
over the methods. A single Satterthwaite t for users and seeds together rejects up to 13 % of true
hypotheses at two seeds if one of the methods does not depend on the seed.

Legend: M methods, S seeds, N independent parts of the users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from bench.stats.corrections import ALPHA

# Metrics are of order 1: anything smaller than this comes from summing in another order.
ROUNDING = 1e-12
MIN_P = 1e-16


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A 95 % interval and the p-value of the test that it inverts.

    Attributes:
        high: Upper end; the interval excludes 0 exactly if p <= .05.
        p: Two-sided, of the hypothesis that the true value is 0; in (0, 1].
    """

    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedValues:
    """One method's value per seed, and what the users contribute to its uncertainty.

    Attributes:
        values: The metric per seed, shape (S,).
        deviations: Shape (S, N); `deviations @ deviations.T` is the covariance of the values over
            samples of users.
    """

    values: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(self.values.mean())

    @cached_property
    def noise(self) -> float:
        """The part of the variance between seeds that other users would change; 0 with one seed."""
        if len(self.values) == 1:
            return 0.0
        centered = self.deviations - self.deviations.mean(axis=0)
        return float(np.square(centered).sum() / (len(self.values) - 1))

    @cached_property
    def between(self) -> float:
        """Variance between the S seeds without 1 - 1/S of `noise`, at least 0; 0 with one seed."""
        num_seeds = len(self.values)
        if num_seeds == 1:
            return 0.0
        return max(0.0, float(self.values.var(ddof=1)) - (1 - 1 / num_seeds) * self.noise)


@dataclass(frozen=True, kw_only=True)
class Variance:
    """What the variance of a combination of M methods consists of.

    Attributes:
        users: Of the combination of the means over seeds, over samples of users.
        num_parts: N; users have N - 1 degrees of freedom.
        between: Per method, c^2 times the variance between its seeds without the users' noise.
        noise: Per method, c^2 times the users' noise in the value of one seed.
        num_seeds: Per method.
    """

    users: float
    num_parts: float
    between: tuple[float, ...]
    noise: tuple[float, ...]
    num_seeds: tuple[int, ...]

    @classmethod
    def combine(cls, coefficients: Sequence[float], methods: Sequence[SeedValues]) -> Variance:
        """Compute the variance of a combination; the users are the same for all methods."""
        terms = list(zip(coefficients, methods, strict=True))
        deviations = sum(c * method.deviations.mean(axis=0) for c, method in terms)
        return cls(
            users=float(np.square(deviations).sum()),
            num_parts=methods[0].deviations.shape[1],
            between=tuple(c**2 * method.between for c, method in terms),
            noise=tuple(c**2 * method.noise for c, method in terms),
            num_seeds=tuple(len(method.values) for method in methods),
        )

    def extrapolate(self, user_factor: float, num_seeds: int | None) -> Variance:
        """Return the variance expected with `user_factor` times the users and with other seeds.

        `num_seeds` is that of each method; the present ones if None.
        """
        seeds = self.num_seeds if num_seeds is None else (num_seeds,) * len(self.num_seeds)
        gain = sum(
            noise * (1 / new - 1 / old)
            for noise, old, new in zip(self.noise, self.num_seeds, seeds, strict=True)
        )
        return replace(
            self,
            users=max(0.0, self.users + gain) / user_factor,
            num_parts=self.num_parts * user_factor,
            noise=tuple(noise / user_factor for noise in self.noise),
            num_seeds=seeds,
        )

    @property
    def has_seeds(self) -> bool:
        """Whether every method has the two seeds that question (b) needs."""
        return min(self.num_seeds) > 1

    def margin(self, alpha: float, *, seeds: bool) -> float:
        """Compute half the width of the interval of level 1 - alpha, of (b) if `seeds`."""
        squared = self.users * special.stdtrit(self.num_parts - 1, alpha / 2) ** 2
        between = np.divide(self.between, self.num_seeds)
        total = float(between.sum())
        if seeds and total > ROUNDING**2:
            shares = between / total
            degrees = 1 / (shares**2 / (np.array(self.num_seeds) - 1)).sum()
            squared += total * special.stdtrit(degrees, alpha / 2) ** 2
        return float(np.sqrt(squared))

    def infer(self, value: float, *, seeds: bool) -> Inference | None:
        """Compute interval and p of a value; None if nothing varies."""
        margin = self.margin(ALPHA, seeds=seeds)
        if margin <= ROUNDING:
            return None
        if abs(value) <= ROUNDING:
            return Inference(low=-margin, high=margin, p=1.0)
        p = self._find_level(abs(value), seeds=seeds)
        # The root is exact to its last digits only; the interval decides on which side p is.
        p = min(p, ALPHA) if abs(value) > margin else max(p, float(np.nextafter(ALPHA, 1)))
        return Inference(low=value - margin, high=value + margin, p=min(p, 1.0))

    def test_equivalence(self, value: float, bound: float, *, seeds: bool) -> float | None:
        """Compute p of two one-sided tests (Schuirmann 1987): is the true value within the bound?

        It is p of the hypothesis that the true value is at least `bound` from 0, at most .05
        exactly if the interval of level 90 % lies within [-bound, bound]; None if nothing varies.
        """
        if self.margin(ALPHA, seeds=seeds) <= ROUNDING:
            return None
        distance = bound - abs(value)
        tail = self._find_level(max(ROUNDING, abs(distance)), seeds=seeds) / 2
        return tail if distance > 0 else 1 - tail

    def _find_level(self, distance: float, *, seeds: bool) -> float:
        """Find the alpha whose margin is a distance above 0."""

        def excess(log_alpha: float) -> float:
            return self.margin(float(np.exp(log_alpha)), seeds=seeds) - distance

        smallest = float(np.log(MIN_P))
        if excess(smallest) < 0:
            return MIN_P
        return float(np.exp(optimize.brentq(excess, smallest, 0)))
