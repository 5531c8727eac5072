"""Comparison of results that are computed twice: tolerances for float32, equality of weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def rounding_tolerance(values: NDArray[np.floating], num_terms: int) -> float:
    """Bound the difference between two float32 sums of the same terms, added in another order.

    Args:
        values: The sums, or the terms if they are larger.
        num_terms: Number of terms, over all layers of a network.
    """
    return float(num_terms * np.finfo(np.float32).eps * np.abs(values).max(initial=1.0))


def have_equal_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Return whether two networks of one architecture have equal weights."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)
