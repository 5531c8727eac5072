"""Numbers in raw files, checked: a reader takes no infinity, no NaN and no time out of range."""

from __future__ import annotations

import math
from typing import Any

from bench.errors import BenchError

# Beyond this a float no longer tells one second from the next.
LARGEST_TIME = 2.0**53


def finite(value: Any, what: str, where: str) -> float:
    """Read a number, written out or already one.

    Args:
        value: Text, or what a JSON or literal parser made of it; a truth value is no number.
        what: What it is, for the message.
        where: "Line 3 of x.dat", for the message.

    Raises:
        BenchError: It is no number, or not a finite one.
    """
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise BenchError(
            f"{where}: the {what} {str(value)[:40]!r} is no number.",
            "Mend the line, or check that the card names the right files and fields.",
        )
    return number


def whole_seconds(value: Any, where: str) -> int:
    """Read a time in seconds since 1970, UTC, cut to whole ones.

    Raises:
        BenchError: It is no number, or too large to tell seconds apart.
    """
    seconds = finite(value, "time", where)
    if abs(seconds) > LARGEST_TIME:
        raise BenchError(
            f"{where}: the time {str(value)[:40]!r} is out of range.",
            "Times are seconds since 1970, UTC.",
        )
    return math.floor(seconds)
