"""Verdicts of claims by the papers' own numbers: point values, since tables print no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.report.claims import claim_types as forms
from bench.report.claims.cards import Cell, Claim, PaperClaims, group_rivals
from bench.report.claims.claim_types import Check
from bench.report.claims.verdict import (
    ROUNDING,
    PublishedVerdict,
    combine_published,
    count_required,
    judge_published_cells,
    relative_change,
)
from bench.report.published import Number, Published


@dataclass(frozen=True, kw_only=True)
class PublishedCheck:
    """What the published numbers say about one check.

    Attributes:
        verdict: None if no cell is printed.
        num_holding: Cells that hold; num_cells: cells that are printed.
        num_ties: Cells where the two values are equal, before rivals are grouped.
        num_unreadable: Cells that lack a number, likewise.
    """

    check: Check
    verdict: PublishedVerdict | None
    num_holding: int
    num_cells: int
    num_ties: int
    num_unreadable: int

    @property
    def count(self) -> str:
        """E.g. "6 of 8"; empty if no cell is printed."""
        return _count([self])


@dataclass(frozen=True, kw_only=True)
class PublishedClaim:
    """What the published numbers say about a claim."""

    claim: Claim
    verdict: PublishedVerdict
    checks: tuple[PublishedCheck, ...]
    also: tuple[PublishedCheck, ...]

    @property
    def count(self) -> str:
        """The cells of all deciding checks together; empty if none is printed."""
        return _count(self.checks)


def _count(checks: Sequence[PublishedCheck]) -> str:
    num_cells = sum(check.num_cells for check in checks)
    return f"{sum(check.num_holding for check in checks)} of {num_cells}" if num_cells else ""


def judge_published(claim: Claim, paper: PaperClaims, published: Published) -> PublishedClaim:
    """Judge a claim by the numbers that its paper prints.

    Raises:
        BenchError: If a row is in no table although the card says so, or the expected verdict is
            "figure" or "run" although all its numbers are printed.
    """
    checks = tuple(judge_published_check(check, paper, published) for check in claim.checks)
    verdicts = [check.verdict for check in checks if check.verdict is not None]
    all_printed = len(verdicts) == len(checks)
    if all_printed == (claim.verdict in ("figure", "run")):
        if all_printed:
            raise BenchError(
                f"{claim.id}: all its numbers are printed, but its verdict is {claim.verdict!r}.",
                "Make it yes, partly or no, with counts.",
            )
        raise BenchError(f"{claim.id}: a check has no printed number.", "Make it figure or run.")
    return PublishedClaim(
        claim=claim,
        verdict=combine_published(verdicts) if all_printed else claim.verdict,
        checks=checks,
        also=tuple(judge_published_check(check, paper, published) for check in claim.also),
    )


def judge_published_check(check: Check, paper: PaperClaims, published: Published) -> PublishedCheck:
    """Judge one check; cells that are not printed are counted separately, never as failures."""
    cells = paper.expand_cells(check)
    printed: list[tuple[Cell, bool]] = []
    num_ties = 0
    for cell in cells:
        numbers = [
            number
            for row, dataset in zip(cell.rows, cell.row_datasets, strict=True)
            if (number := paper.find_number(published, row, dataset, cell.metric)) is not None
        ]
        holds = None
        if numbers and len(numbers) == len(cell.rows):
            holds = _holds(check, numbers, paper.is_higher_better(cell.metric))
        if holds is not None:
            printed.append((cell, holds))
            num_ties += isinstance(check, forms.Pair) and numbers[0].value == numbers[1].value
    holding = [
        sum(group) >= count_required(check.rivals or "all", len(group))
        for group in group_rivals(check, printed)
    ]
    verdict = None
    if holding:
        verdict = judge_published_cells(
            sum(holding), len(holding), check.quantifier, all_or_nothing=check.all_or_nothing
        )
    return PublishedCheck(
        check=check,
        verdict=verdict,
        num_holding=sum(holding),
        num_cells=len(holding),
        num_ties=num_ties,
        num_unreadable=len(cells) - len(printed),
    )


def _holds(check: Check, numbers: Sequence[Number], higher: bool) -> bool | None:
    """Apply the predicate; None for the claim types that need more than a table prints."""
    values = [number.value if higher else -number.value for number in numbers]
    match check:
        case forms.Better():
            return values[0] > values[1]
        case forms.NotBetter():
            return relative_change(values[0], values[1]) <= check.tau + ROUNDING
        case forms.Close():
            return abs(relative_change(values[0], values[1])) <= check.tau + ROUNDING
        case forms.Gain():
            return _gain_holds(check, numbers)
        case forms.Position():
            # Tied rows share the claimed rank: the first for "best", the last for "worst".
            best, worst = forms.get_rank_range(check, len(values))
            first = 1 + sum(other > values[0] for other in values)
            last = len(values) - sum(other < values[0] for other in values)
            return first <= worst and last >= best
        case forms.Value():
            return _value_holds(check, numbers[0])
        case forms.Larger():
            a, b, c, d = values
            if check.relative:
                return relative_change(a, b) > relative_change(c, d)
            return a - b > c - d
        case _:
            return None


def is_consistent(published: Number, low: float, high: float) -> bool:
    """Return whether a published number, before rounding, can lie between low and high."""
    margin = published.half_unit + ROUNDING
    return low - margin <= published.value <= high + margin


def _gain_holds(check: forms.Gain, numbers: Sequence[Number]) -> bool:
    a, b = numbers[:2]
    if check.above is not None:
        return 100 * relative_change(a.value, b.value) > check.above
    claimed = numbers[2] if check.row else Number.read(repr(check.value))
    # The smallest and the largest ratio that rounded numbers allow.
    low = (a.value - a.half_unit) / (b.value + b.half_unit)
    high = (a.value + a.half_unit) / (b.value - b.half_unit)
    return is_consistent(claimed, 100 * (low - 1), 100 * (high - 1))


def _value_holds(check: forms.Value, number: Number) -> bool:
    value = number.value
    if check.value is not None:
        if check.within is not None:
            return abs(value - check.value) <= check.within
        claimed = Number.read(repr(check.value))
        return is_consistent(claimed, value - number.half_unit, value + number.half_unit)
    return (
        (check.above is None or value > check.above)
        and (check.at_least is None or value >= check.at_least)
        and (check.at_most is None or value <= check.at_most)
    )
