"""Category fairness: how far the category shares of recommendations are from those of histories.

SPRec (Gao et al., WWW 2025, section 5.1.3), counted as its scorer does: an item with c tracked
categories contributes 1/c to each. Functions take the unnormalized masses of the lists and of the
histories, shape (..., G) each, or shapes that broadcast; G from 1. A vector without any mass stays
all zeros, so lists without a tracked category are as far from the histories in each category as the
histories' own share of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.metrics.metric import Metric, Values

Masses = NDArray[np.floating]


def group_unfairness(recommended: Masses, history: Masses) -> Values:
    """Compute GU: `abs(GP_g - GH_g)`, the difference of the two shares of each category."""
    return np.abs(_share_differences(recommended, history))


def mgu(recommended: Masses, history: Masses) -> Values:
    """Compute MGU: the mean of GU over categories; at most DGU where both have mass."""
    return np.asarray(group_unfairness(recommended, history).mean(axis=-1))


def dgu(recommended: Masses, history: Masses) -> Values:
    """Compute DGU: `max_g(GP_g - GH_g) - min_g(GP_g - GH_g)`, in [0, 2]."""
    return np.asarray(np.ptp(_share_differences(recommended, history), axis=-1))


def _share_differences(recommended: Masses, history: Masses) -> Values:
    return _normalize(recommended) - _normalize(history)


def _normalize(mass: Masses) -> Values:
    total = mass.sum(axis=-1, keepdims=True)
    shares: Values = np.divide(
        mass, total, out=np.zeros(mass.shape, dtype=np.float64), where=total > 0
    )
    return shares


MGU = Metric(
    family="MGU",
    title="mean group unfairness",
    description="Mean difference, over categories, between their shares of recommendations and of "
    "histories.",
    higher_is_better=False,
    score_masses=lambda mass: mgu(mass.recommended, mass.history),
)
DGU = Metric(
    family="DGU",
    title="difference of group unfairness",
    description="Difference between the most over-recommended and the most under-recommended "
    "category.",
    higher_is_better=False,
    score_masses=lambda mass: dgu(mass.recommended, mass.history),
    maximum=2.0,
)
GU = Metric(
    family="GU",
    title="group unfairness of one category",
    description="Difference between the category's shares of recommendations and of histories.",
    higher_is_better=False,
    score_masses=lambda mass: group_unfairness(mass.recommended, mass.history)[..., mass.index],
    takes_category=True,
)
