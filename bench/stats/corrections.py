"""Holm's correction for testing a family of hypotheses.

Adjusting each p-value alone (p times the number of larger ones) without the running maximum is a
known mistake of other harnesses: adjusted values may change their order. statsmodels'
`multipletests` gives the same numbers, but collects garbage at every call, about 40 ms per family.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALPHA = 0.05


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down procedure, in their order.

    It bounds the probability of any false rejection (Holm, Scandinavian Journal of Statistics 6,
    1979).
    """
    values = np.asarray(ps, dtype=np.float64)
    assert ((values >= 0) & (values <= 1)).all(), "p-values lie in [0, 1]"
    order = np.argsort(values)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(ps), 0, -1))
    return [float(p) for p in np.minimum(adjusted, 1.0)]
