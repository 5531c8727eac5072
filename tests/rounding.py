"""Tolerances for float32 results that are computed in two ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rounding_tolerance(values: NDArray[np.floating], num_terms: int) -> float:
    """Bound the difference between two float32 sums of the same terms, added in another order.

    Args:
        values: The sums, or the terms if they are larger.
        num_terms: Number of terms, over all layers of a network.
    """
    return float(num_terms * np.finfo(np.float32).eps * np.abs(values).max(initial=1.0))
