"""Category fairness: how far the mix of recommended categories is from the mix of the histories.

SPRec (Gao et al., WWW 2025, section 5.1.3), in the counting of its scorer: an item with c tracked
categories gives 1/c of its mass to each. Masses come in raw, shape (..., G), and are normalized
here. A vector without any mass stays all zeros, so a set of lists that shows no tracked category
is as far from the histories in each category as their own share of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Masses = NDArray[np.floating]


def group_unfairness(recommended: Masses, history: Masses) -> NDArray[np.float64]:
    """Distance of the two shares of each category, GU.

    Args:
        recommended: Raw category mass of the lists, shape (..., G).
        history: Raw category mass of the histories, shape (..., G) or one that broadcasts to it.

    Returns:
        `abs(GP_g - GH_g)` in [0, 1], shape (..., G).
    """
    return np.abs(_differences(recommended, history))


def mgu(recommended: Masses, history: Masses) -> NDArray[np.float64]:
    """Mean of the distances over the categories, MGU; never above DGU where both have mass.

    Args:
        recommended: Raw category mass of the lists, shape (..., G), G from 1.
        history: Raw category mass of the histories, shape (..., G) or one that broadcasts to it.

    Returns:
        Values in [0, 1], shape (...).
    """
    return np.asarray(group_unfairness(recommended, history).mean(axis=-1))


def dgu(recommended: Masses, history: Masses) -> NDArray[np.float64]:
    """Spread of the signed differences, DGU: the most favored minus the most neglected category.

    Args:
        recommended: Raw category mass of the lists, shape (..., G), G from 1.
        history: Raw category mass of the histories, shape (..., G) or one that broadcasts to it.

    Returns:
        `max_g(GP_g - GH_g) - min_g(GP_g - GH_g)` in [0, 2], shape (...).
    """
    return np.asarray(np.ptp(_differences(recommended, history), axis=-1))


def _differences(recommended: Masses, history: Masses) -> NDArray[np.float64]:
    return _normalized(recommended) - _normalized(history)


def _normalized(mass: Masses) -> NDArray[np.float64]:
    total = mass.sum(axis=-1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(
        mass, total, out=np.zeros(mass.shape, dtype=np.float64), where=total > 0
    )
    return shares
