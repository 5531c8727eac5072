"""The words of verdicts, and how the cells of a check add up to one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bench.errors import BenchError

Printed = Literal["yes", "partly", "no", "figure", "run"]
"""In the paper's numbers; "figure": only in a picture, "run": the paper has no numbers at all."""

Ours = Literal["holds", "fails", "undecided", "shown", "not run"]
"""In our runs; "shown": numbers without a test, "not run": what is missing could decide."""

_SHARE = re.compile(r"([1-9][0-9]*) of ([1-9][0-9]*)")


def check_quantifier(text: str) -> str:
    """Return the quantifier, if it is one.

    Raises:
        BenchError: If it is none of all, most, any, "n of N".
    """
    share = _SHARE.fullmatch(text)
    if text not in ("all", "most", "any") and not (share and int(share[1]) <= int(share[2])):
        raise BenchError(f"{text!r} is no quantifier.", "Write all, most, any, or 7 of 8.")
    return text


def needed(quantifier: str, num_cells: int) -> int:
    """Say how many cells must hold.

    Args:
        quantifier: "all", "most" (more than half), "any" or "n of N", a share that is scaled where
            the number of cells is not N.
        num_cells: At least 1.

    Example:
        >>> [needed(text, 16) for text in ("all", "most", "any", "7 of 8")]
        [16, 9, 1, 14]
    """
    if share := _SHARE.fullmatch(check_quantifier(quantifier)):
        return math.ceil(num_cells * int(share[1]) / int(share[2]))
    return {"all": num_cells, "most": num_cells // 2 + 1, "any": 1}[quantifier]


def of_cells_printed(holds: int, of: int, quantifier: str, *, whole: bool) -> Printed:
    """Judge a check in print: "partly" where it misses its quantifier in at most half of the cells.

    Args:
        holds: Cells that agree.
        of: All cells that can be read.
        quantifier: How many are asked for.
        whole: Whether a single cell refutes it, so that "partly" would say nothing.
    """
    if holds >= needed(quantifier, of):
        return "yes"
    return "no" if whole or 2 * holds < of else "partly"


def all_printed(verdicts: Sequence[Printed]) -> Printed:
    """Join the verdicts of checks that a claim needs together."""
    first = verdicts[0]
    return first if all(one == first for one in verdicts) else "partly"


def of_cells_ours(verdicts: Sequence[Ours], quantifier: str) -> Ours:
    """Judge a check on runs: it holds or fails as soon as the other cells cannot change that."""
    counts = Counter(verdicts)
    tested = len(verdicts) - counts["shown"]
    if not tested:
        return "shown"
    quorum = needed(quantifier, tested)
    if counts["holds"] >= quorum:
        return "holds"
    if tested - counts["fails"] < quorum:
        return "fails"
    return "not run" if counts["not run"] else "undecided"


def all_ours(verdicts: Sequence[Ours]) -> Ours:
    """Join the verdicts of checks that a claim needs together; what is only shown decides none."""
    for verdict in ("fails", "not run", "undecided", "holds"):
        if verdict in verdicts:
            return verdict
    return "shown"
