"""Whether a result's printed metrics are those of its own cases.

A result holds each metric twice: as a number, and as the values or lists it comes from. Tests and
intervals are computed from the latter, tables print the former; a number edited by hand would stand
beside statistics of another one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import BenchError
from bench.stats.samples import Sample
from bench.stats.seed_variance import by_seed

# Sums of a million values in another order stay well below; any digit a person edits is above.
TOLERANCE = 1e-9


def require_recorded(
    sample: Sample, metric: str, recorded: Mapping[int, float], places: Mapping[int, str]
) -> None:
    """Refuse a sample whose recorded metric is not that of its cases.

    Args:
        sample: The per-case values and lists.
        metric: E.g. "NDCG@5"; a set-level one is computed anew from the lists.
        recorded: What the result says, by seed; seeds without the metric are left out.
        places: Where each seed's number stands, for the message.

    Raises:
        BenchError: If a recorded value differs by more than 1e-9, or is not a finite number.
    """
    for seed, value in by_seed(sample, metric).items():
        if seed in recorded and not abs(recorded[seed] - value) <= TOLERANCE:
            raise BenchError(
                f"{places[seed]} says {metric} = {recorded[seed]:.6g}, but its cases give "
                f"{value:.6g}.",
                "One of the two files was edited or belongs to another run: run this trial again.",
            )
