"""Paired tests of a metric that is a mean over cases: sign-flip randomization and paired t.

Both hold their level on recommender data, where Wilcoxon and sign tests do not (Urbano, Lima &
Hanjalic, SIGIR 2019; Ihemelandu & Ekstrand, SIGIR 2023). The sign-flip test decides significance;
the t-test gives the interval and agrees with the sign-flip test except on tiny samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.stats.corrections import ALPHA
from bench.stats.randomization import ROUNDING, randomization_p

MAX_BATCH_ELEMENTS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value or a difference with its 95 % interval over units.

    Attributes:
        value: In the metric's unit, mean over seeds.
        low: Lower end of the interval; None with a single unit.
        high: Upper end of it; None with a single unit.
        d_z: Standardized effect of a mean over cases, t / sqrt(U); with cases as units the mean
            over the standard deviation (Cohen 1988). None for set-level metrics, with a single
            unit, or where the differences do not vary although they are not 0.
        p: Of the paired t-test, two-sided, in [0, 1]; None where d_z is None.
    """

    value: float
    low: float | None
    high: float | None
    d_z: float | None = None
    p: float | None = None


def sign_flip(sums: NDArray[np.float64], *, num_resamples: int = 9999, seed: int = 0) -> float:
    """Test whether paired differences are symmetric about 0 by flipping their signs.

    Units without a difference change no sum, so only the others count as units: exact enumeration
    is possible more often than U alone would allow, with the same p.

    Args:
        sums: The differences summed within each unit, shape (U,).
        num_resamples: Random patterns if there are more possible ones.
        seed: Of the random patterns.

    Returns:
        Two-sided p in (0, 1]; 1 where no unit differs.
    """
    nonzero = sums[np.abs(sums) > ROUNDING]
    if not len(nonzero):
        return 1.0
    total = nonzero.sum()

    def flip_signs(flips: NDArray[np.bool_]) -> NDArray[np.float64]:
        flipped: NDArray[np.float64] = total - 2 * (flips.astype(np.float64) @ nonzero)
        return flipped

    return randomization_p(
        flip_signs,
        num_units=len(nonzero),
        num_resamples=num_resamples,
        seed=seed,
        batch_size=max(1, MAX_BATCH_ELEMENTS // len(nonzero)),
        tolerance=ROUNDING * float(np.abs(nonzero).sum()),
    )


def paired_t(sums: NDArray[np.float64], sizes: NDArray[np.intp]) -> Estimate:
    """Estimate the mean difference over cases, with the standard error between units.

    With cases nested in users the mean over cases is a ratio of user sums to user sizes; its
    linearized standard error (Cochran 1977, chapter 6) allows users of different size and is the
    ordinary paired one if every unit has one case.

    Args:
        sums: The differences summed within each unit, shape (U,).
        sizes: The number of cases of each unit, shape (U,), at least 1 each.
    """
    sums = np.where(np.abs(sums) > ROUNDING, sums, 0.0)
    num_units, num_cases = len(sums), int(sizes.sum())
    mean = float(sums.sum() / num_cases)
    if num_units < 2:
        return Estimate(value=mean, low=None, high=None)
    residuals = sums - mean * sizes
    error = float(np.sqrt(num_units / (num_units - 1) * np.square(residuals).sum()) / num_cases)
    if error <= ROUNDING * abs(mean):
        d_z, p = (None, None) if mean else (0.0, 1.0)
        return Estimate(value=mean, low=mean, high=mean, d_z=d_z, p=p)
    t = mean / error
    margin = float(stats.t.ppf(1 - ALPHA / 2, num_units - 1)) * error
    return Estimate(
        value=mean,
        low=mean - margin,
        high=mean + margin,
        d_z=t / float(np.sqrt(num_units)),
        p=float(2 * stats.t.sf(abs(t), num_units - 1)),
    )
