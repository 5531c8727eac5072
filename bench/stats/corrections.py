"""Corrections for testing a family of hypotheses; both step through the ordered p-values.

Adjusting each p-value on its own (p × m for Holm, p × m / rank for BH) without the running maximum
or minimum is a known mistake of other harnesses: it lets adjusted values change their order.
"""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust by Holm's step-down procedure, which bounds the chance of any false rejection.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).

    Args:
        ps: The family's raw p-values, each in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in [0, 1], in the order of `ps`.
    """
    return _adjusted(ps, "holm")


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Adjust by the step-up procedure that bounds the expected share of false rejections.

    Source: Benjamini & Hochberg, Journal of the Royal Statistical Society B 57 (1995).

    Args:
        ps: The family's raw p-values, each in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in [0, 1], in the order of `ps`.
    """
    return _adjusted(ps, "fdr_bh")


def _adjusted(ps: Sequence[float], method: str) -> list[float]:
    assert all(0 <= p <= 1 for p in ps), "p-values lie in [0, 1]"
    if not ps:
        return []
    return [float(p) for p in multipletests(ps, method=method)[1]]
