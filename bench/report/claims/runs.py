"""Our results as claims need them: samples by data set and row, and sweeps over a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.report.claims.cards import Cell
from bench.report.claims.verdict import ReproducedVerdict
from bench.stats.compare import Comparison, compare
from bench.stats.randomization import NUM_RESAMPLES
from bench.stats.samples import Sample

NO_RESULT = "no result yet"

Steps = Sequence[tuple[float, Sample]]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Results of boards.

    Attributes:
        samples: By the data set's card and the row's name on its board.
        sweeps: By data set, row and the name of the swept setting: its values with their samples,
            in any order.
        reasons: Why a row has no sample on a data set, where that is known.
    """

    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    sweeps: Mapping[tuple[str, str, str], Steps] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def explain_missing(self, dataset: str, row: str) -> str:
        """Return why a row has no sample; "" if it has one."""
        if (dataset, row) in self.samples:
            return ""
        reason = self.reasons.get((dataset, row), NO_RESULT).rstrip(".")
        return f"{row} on {dataset}: {reason}" if dataset else f"{row}: {reason}"


@dataclass(frozen=True, kw_only=True)
class ReproducedCell:
    """What our results say about one cell.

    Attributes:
        cell: The comparison; its metric names one category if the check covers all.
        verdict: See `ReproducedVerdict`.
        text: The numbers.
        missing: Why there are none, if it is "not run".
    """

    cell: Cell
    verdict: ReproducedVerdict
    text: str = ""
    missing: tuple[str, ...] = ()


class Comparisons:
    """Paired tests between rows, cached, since claims share many of them.

    Args:
        runs: The results.
        num_resamples: Of each test.
        seed: Of each test.
    """

    def __init__(self, runs: Runs, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> None:
        self.runs = runs
        self.num_resamples = num_resamples
        self.seed = seed
        self._cache: dict[tuple[str, str, str, str], Comparison] = {}

    def get_sample(self, dataset: str, row: str) -> Sample:
        """Return the sample of a row that has results."""
        return self.runs.samples[dataset, row]

    def compare(self, dataset: str, reference: str, other: str, metric: str) -> Comparison:
        """Compare two rows, uncorrected."""
        key = (dataset, reference, other, metric)
        if key not in self._cache:
            self._cache[key] = compare(
                self.get_sample(dataset, reference),
                self.get_sample(dataset, other),
                metric,
                num_resamples=self.num_resamples,
                seed=self.seed,
            )
        return self._cache[key]


def format_comparison(test: Comparison) -> str:
    """Format difference, relative difference, interval and corrected p in one line."""
    relative = "" if test.relative is None else f" ({100 * test.relative:+.1f} %)"
    interval = ""
    if test.low is not None and test.high is not None:
        interval = f", 95 % interval [{test.low:+.4f}, {test.high:+.4f}]"
    p = test.p if test.p_adjusted is None else test.p_adjusted
    family = f" (Holm over {test.family_size})" if test.family_size > 1 else ""
    return (
        f"{test.other} against {test.reference}: {test.difference:+.4f}{relative}{interval}, "
        f"p = {p:.2g}{family}"
    )
