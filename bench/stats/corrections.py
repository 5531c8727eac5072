"""Corrections for testing a family of hypotheses; both step through the ordered p-values.

Adjusting each p-value on its own (p × m for Holm, p × m / rank for BH) without the running maximum
or minimum is a known mistake of other harnesses: it lets adjusted values change their order.
statsmodels' `multipletests` gives the same numbers, but collects garbage at every call, which takes
some 40 ms a family; the tests hold both against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust by Holm's step-down procedure, which bounds the chance of any false rejection.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).

    Args:
        ps: The family's raw p-values, each in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in [0, 1], in the order of `ps`.
    """
    order, rising = _rising(ps)
    return _restored(order, np.maximum.accumulate(rising * np.arange(len(ps), 0, -1)))


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Adjust by the step-up procedure that bounds the expected share of false rejections.

    Source: Benjamini & Hochberg, Journal of the Royal Statistical Society B 57 (1995).

    Args:
        ps: The family's raw p-values, each in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in [0, 1], in the order of `ps`.
    """
    order, rising = _rising(ps)
    shares = rising / (np.arange(1, len(ps) + 1) / max(1, len(ps)))
    return _restored(order, np.minimum.accumulate(shares[::-1])[::-1])


def _rising(ps: Sequence[float]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    values = np.asarray(ps, dtype=np.float64)
    assert ((values >= 0) & (values <= 1)).all(), "p-values lie in [0, 1]"
    order = np.argsort(values)
    return order, values[order]


def _restored(order: NDArray[np.intp], adjusted: NDArray[np.float64]) -> list[float]:
    values = np.empty(len(order))
    values[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in values]
