"""Early stopping: successive halving with decisions that depend on no clock.

Asynchronous successive halving (ASHA; Li et al., MLSys 2020) in its stopping form: a configuration
is looked at with little of a resource, and goes on to the next look only if it is among the best
1 / factor of those looked at before it. "Before" is meant by number here, never by time: whoever is
looked at waits until all earlier configurations have passed that look or dropped out. So a
search comes to the same end on one machine, on many, and after it was killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

State: TypeAlias = Literal["open", "stopped", "finished", "failed"]


class Look(NamedTuple):
    """One configuration at one rung, both counted from 0."""

    configuration: int
    rung: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a configuration stands.

    Attributes:
        state: "open" as long as looks, or decisions, are outstanding.
        looks: Rungs that it was looked at, without failure.
    """

    state: State
    looks: int


def rungs(most: int, *, least: int, factor: int) -> tuple[int, ...]:
    """Return the amounts of the resource at each look: multiplied by `factor` up to `most`.

    Example:
        >>> rungs(10, least=1, factor=3)
        (1, 3, 9, 10)
    """
    amounts = []
    while least < most:
        amounts.append(least)
        least *= factor
    return (*amounts, most)


def goes_on(earlier: Sequence[float], value: float, factor: int) -> bool:
    """Tell whether a value reaches the upper 1 / factor of those before it; the first does.

    The bound is the interpolated percentile, as in Ray Tune's scheduler.
    """
    return not earlier or value >= float(np.percentile(earlier, (1 - 1 / factor) * 100))


def standings(
    told: Mapping[Look, float | None], *, num: int, num_rungs: int, factor: int
) -> tuple[list[Standing], list[Look]]:
    """Replay a search from what is known.

    Args:
        told: Value of each look, higher being better; None where it failed.
        num: Configurations.
        num_rungs: Looks of a configuration that is never stopped.
        factor: See `goes_on`.

    Returns:
        Where each configuration stands, and the looks that can be made now, the furthest first.
    """
    earlier: list[list[float]] = [[] for _ in range(num_rungs)]
    unsettled = num_rungs  # from this rung on, an earlier configuration may still come by
    found, ready = [], []
    for number in range(num):
        state: State = "open"
        looks = 0
        for rung in range(num_rungs):
            look = Look(number, rung)
            if look not in told:
                ready.append(look)
                unsettled = min(unsettled, rung)
                break
            value = told[look]
            if value is None:
                state = "failed"
                break
            looks += 1
            if rung == num_rungs - 1:
                state = "finished"
            elif rung >= unsettled:
                break
            elif not goes_on(earlier[rung], value, factor):
                earlier[rung].append(value)
                state = "stopped"
                break
            else:
                earlier[rung].append(value)
        found.append(Standing(state=state, looks=looks))
    return found, sorted(ready, key=lambda look: (-look.rung, look.configuration))
