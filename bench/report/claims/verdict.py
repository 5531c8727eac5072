"""Verdicts of claims, and how the cells of a check are combined into one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator

PublishedVerdict = Literal["yes", "partly", "no", "figure", "run"]
"""In the paper's numbers; "figure": only plotted, "run": the paper has no numbers for it."""

ReproducedVerdict = Literal["holds", "fails", "undecided", "shown", "not comparable", "not run"]
"""In our results; "shown": numbers without a test; "not comparable": numbers of another backbone,
budget or data than the paper's; "not run": the missing results could decide."""

Judgment = tuple[ReproducedVerdict, str]
"""A verdict on one cell of our results, and the numbers behind it."""

# Printed decimals are not exact in binary: .11 - .10 must still be within 10 % of .10.
ROUNDING = 1e-9

_FRACTION = re.compile(r"([1-9][0-9]*) of ([1-9][0-9]*)")


def check_quantifier(text: str) -> str:
    """Return the quantifier: all, most, any, or "n of N" with n at most N."""
    fraction = _FRACTION.fullmatch(text)
    if text in ("all", "most", "any") or (fraction and int(fraction[1]) <= int(fraction[2])):
        return text
    raise ValueError(f"{text!r} is not a quantifier")


Quantifier = Annotated[str, AfterValidator(check_quantifier)]


def count_required(quantifier: str, num_cells: int) -> int:
    """Return how many cells must hold.

    Args:
        quantifier: "all", "most" (more than half), "any" or "n of N", a fraction that is scaled if
            the number of cells is not N.
        num_cells: At least 1.

    Example:
        >>> [count_required(text, 16) for text in ("all", "most", "any", "7 of 8")]
        [16, 9, 1, 14]
    """
    if fraction := _FRACTION.fullmatch(quantifier):
        return math.ceil(num_cells * int(fraction[1]) / int(fraction[2]))
    return {"all": num_cells, "most": num_cells // 2 + 1, "any": 1}[quantifier]


def judge_published_cells(
    num_holding: int, num_cells: int, quantifier: str, *, all_or_nothing: bool
) -> PublishedVerdict:
    """Judge a check by published numbers: "partly" if at least half of the cells hold, but too few.

    With `all_or_nothing` a single cell refutes the check, so that it is never "partly".
    """
    if num_holding >= count_required(quantifier, num_cells):
        return "yes"
    return "no" if all_or_nothing or 2 * num_holding < num_cells else "partly"


def combine_published(verdicts: Sequence[PublishedVerdict]) -> PublishedVerdict:
    """Combine the verdicts of checks that must all hold."""
    return verdicts[0] if len(set(verdicts)) == 1 else "partly"


def judge_reproduced_cells(
    verdicts: Sequence[ReproducedVerdict], quantifier: str
) -> ReproducedVerdict:
    """Judge a check by our results; decided once the other cells cannot change the verdict."""
    counts = Counter(verdicts)
    num_tested = len(verdicts) - counts["shown"]
    if not num_tested:
        return "shown"
    num_required = count_required(quantifier, num_tested)
    if counts["holds"] >= num_required:
        return "holds"
    if num_tested - counts["fails"] < num_required:
        return "fails"
    open_verdicts: tuple[ReproducedVerdict, ...] = ("not comparable", "not run")
    return next((verdict for verdict in open_verdicts if counts[verdict]), "undecided")


def judge_interval(ends: tuple[float, float] | None, low: float, high: float) -> ReproducedVerdict:
    """Judge bounds by an interval: inside them, outside, or undecided across one of them."""
    if ends is None:
        return "undecided"
    if low - ROUNDING <= ends[0] and ends[1] <= high + ROUNDING:
        return "holds"
    outside = ends[1] < low - ROUNDING or ends[0] > high + ROUNDING
    return "fails" if outside else "undecided"


def judge_side(ends: tuple[float, float] | None, sign: int = 1) -> ReproducedVerdict:
    """Judge whether an interval is on the side of the sign, on the other, or covers 0."""
    if ends is None or ends[0] <= 0 <= ends[1]:
        return "undecided"
    return "holds" if (ends[0] > 0) == (sign > 0) else "fails"


def relative_change(a: float, b: float) -> float:
    """Compute the relative change from b to a; 0 for equal numbers, infinite if only b is 0."""
    if a == b:
        return 0.0
    return (a - b) / abs(b) if b else math.copysign(math.inf, a - b)


def combine_reproduced(verdicts: Sequence[ReproducedVerdict]) -> ReproducedVerdict:
    """Combine the verdicts of checks that must all hold; "shown" decides only if all are shown."""
    for verdict in ("fails", "not comparable", "not run", "undecided", "holds"):
        if verdict in verdicts:
            return verdict
    return "shown"
