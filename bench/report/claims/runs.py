"""What was run, as verdicts take it: samples by data set and row, and sweeps along a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.report.claims.cards import Cell
from bench.report.claims.verdict import Ours
from bench.stats.compare import NUM_RESAMPLES, Comparison, compare
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
        reasons: Why a row of a data set has no sample, where that is known.
    """

    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    sweeps: Mapping[tuple[str, str, str], Steps] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def lack(self, dataset: str, row: str) -> str:
        """Say why a row has no sample; "" where it has one."""
        if (dataset, row) in self.samples:
            return ""
        reason = self.reasons.get((dataset, row), NO_RESULT).rstrip(".")
        return f"{row} on {dataset}: {reason}" if dataset else f"{row}: {reason}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the runs say of one cell.

    Attributes:
        cell: The comparison; its metric names one category where the check asks for all.
        verdict: See `Ours`.
        text: The numbers.
        missing: Why there are none, where it is "not run".
    """

    cell: Cell
    verdict: Ours
    text: str = ""
    missing: tuple[str, ...] = ()


class Comparisons:
    """Paired tests between rows; claims share many of them, so each is made once."""

    def __init__(self, runs: Runs, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> None:
        """Take what was run, and how tests draw."""
        self.runs = runs
        self.num_resamples = num_resamples
        self.seed = seed
        self._made: dict[tuple[str, str, str, str], Comparison] = {}

    def sample(self, dataset: str, row: str) -> Sample:
        """Return the sample of a row that is there."""
        return self.runs.samples[dataset, row]

    def compare(self, dataset: str, reference: str, other: str, metric: str) -> Comparison:
        """Compare two rows, uncorrected."""
        key = (dataset, reference, other, metric)
        if key not in self._made:
            self._made[key] = compare(
                self.sample(dataset, reference),
                self.sample(dataset, other),
                metric,
                num_resamples=self.num_resamples,
                seed=self.seed,
            )
        return self._made[key]


def numbers(one: Comparison) -> str:
    """Write a comparison in a line: difference, relative difference, interval, corrected p."""
    relative = "" if one.relative is None else f" ({100 * one.relative:+.1f} %)"
    limits = ""
    if one.low is not None and one.high is not None:
        limits = f", 95 % interval [{one.low:+.4f}, {one.high:+.4f}]"
    p = one.p if one.p_adjusted is None else one.p_adjusted
    family = f" (Holm over {one.family_size})" if one.family_size > 1 else ""
    return (
        f"{one.other} against {one.reference}: {one.difference:+.4f}{relative}{limits}, "
        f"p = {p:.2g}{family}"
    )
