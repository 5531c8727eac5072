"""Verdicts of claims by the papers' own numbers: point values, since tables print no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.report.claims import predicates
from bench.report.claims.cards import Cell, Claim, PaperClaims
from bench.report.claims.claim_types import (
    Better,
    Check,
    Close,
    Gain,
    Larger,
    NotBetter,
    Pair,
    Position,
    Value,
    get_rank_range,
    is_higher_better,
)
from bench.report.claims.verdict import (
    PublishedVerdict,
    combine_published,
    count_required,
    judge_published_cells,
)
from bench.report.published import Number, Published

SIGNIFICANT_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class PublishedCell:
    """What the published numbers say about one cell.

    Attributes:
        cell: The comparison.
        holds: None if the paper does not print all numbers of it.
        tie: Whether the two values of a pair are equal.
        text: The numbers.
    """

    cell: Cell
    holds: bool | None
    tie: bool = False
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PublishedCheck:
    """What the published numbers say about one check.

    Attributes:
        check: The check.
        verdict: None if no cell is printed.
        num_holding: Cells that hold.
        num_cells: Cells that are printed.
        num_ties: Cells where the two values are equal, before rivals are grouped.
        num_unreadable: Cells that lack a number, likewise.
        cells: All of them, likewise.
    """

    check: Check
    verdict: PublishedVerdict | None
    num_holding: int
    num_cells: int
    num_ties: int
    num_unreadable: int
    cells: tuple[PublishedCell, ...]

    @property
    def count(self) -> str:
        """E.g. "6 of 8"; empty if no cell is printed."""
        return f"{self.num_holding} of {self.num_cells}" if self.num_cells else ""


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
        num_cells = sum(check.num_cells for check in self.checks)
        num_holding = sum(check.num_holding for check in self.checks)
        return f"{num_holding} of {num_cells}" if num_cells else ""


def judge_published(claim: Claim, paper: PaperClaims, published: Published) -> PublishedClaim:
    """Judge a claim by the numbers that its paper prints.

    Raises:
        BenchError: If a row is in no table although the card says so, or the expected verdict is
            "figure" or "run" although all its numbers are printed.
    """
    checks = tuple(judge_published_check(check, paper, published) for check in claim.checks)
    verdicts = [check.verdict for check in checks if check.verdict is not None]
    if claim.verdict in ("figure", "run"):
        if len(verdicts) == len(checks):
            raise BenchError(
                f"{claim.id}: all its numbers are printed, but its verdict is {claim.verdict!r}.",
                "Make it yes, partly or no, with counts.",
            )
        verdict: PublishedVerdict = claim.verdict
    elif len(verdicts) < len(checks):
        raise BenchError(f"{claim.id}: a check has no printed number.", "Make it figure or run.")
    else:
        verdict = combine_published(verdicts)
    also = tuple(judge_published_check(check, paper, published) for check in claim.also)
    return PublishedClaim(claim=claim, verdict=verdict, checks=checks, also=also)


def judge_published_check(check: Check, paper: PaperClaims, published: Published) -> PublishedCheck:
    """Judge one check; cells that are not printed are counted separately, never as failures."""
    cells = tuple(_judge_cell(check, cell, paper, published) for cell in paper.expand_cells(check))
    printed = [cell for cell in cells if cell.holds is not None]
    held = _group_rivals(printed, check.rivals)
    verdict = None
    if held:
        verdict = judge_published_cells(sum(held), len(held), check.quantifier, whole=check.whole)
    return PublishedCheck(
        check=check,
        verdict=verdict,
        num_holding=sum(held),
        num_cells=len(held),
        num_ties=sum(cell.tie for cell in printed),
        num_unreadable=len(cells) - len(printed),
        cells=cells,
    )


def _group_rivals(cells: Sequence[PublishedCell], rivals: str) -> list[bool]:
    """Return which cells hold; pairs count as one cell if the check says so."""
    if not rivals:
        return [bool(cell.holds) for cell in cells]
    groups: dict[tuple[str, ...], list[bool]] = {}
    for cell in cells:
        groups.setdefault(cell.cell.group, []).append(bool(cell.holds))
    return [sum(group) >= count_required(rivals, len(group)) for group in groups.values()]


def _judge_cell(
    check: Check, cell: Cell, paper: PaperClaims, published: Published
) -> PublishedCell:
    datasets = [cell.dataset] * len(cell.rows)
    if cell.other_dataset:
        datasets[2:] = [cell.other_dataset] * 2
    numbers = []
    for row, dataset in zip(cell.rows, datasets, strict=True):
        place = paper.find_place(row, dataset, cell.metric)
        number = published.find(place) if place else None
        if number is None:
            return PublishedCell(cell=cell, holds=None)
        numbers.append(number)
    return PublishedCell(
        cell=cell,
        holds=_holds(check, numbers, is_higher_better(cell.metric)),
        tie=isinstance(check, Pair) and numbers[0].value == numbers[1].value,
        text=" / ".join(f"{number.value:.{SIGNIFICANT_DIGITS}g}" for number in numbers),
    )


def _holds(check: Check, numbers: Sequence[Number], higher: bool) -> bool | None:
    """Apply the predicate; None for the claim types that need more than a table prints."""
    values = [number.value for number in numbers]
    match check:
        case Better():
            return predicates.is_better(values[0], values[1], higher=higher)
        case NotBetter():
            return predicates.is_not_better(values[0], values[1], higher=higher, tau=check.tau)
        case Close():
            return predicates.is_close(values[0], values[1], tau=check.tau)
        case Gain():
            return _gain_holds(check, numbers)
        case Position():
            # Tied rows share the claimed rank: the first for "best", the last for "worst".
            best, worst = get_rank_range(check, len(values))
            return (
                predicates.best_rank(values[0], values[1:], higher=higher) <= worst
                and predicates.worst_rank(values[0], values[1:], higher=higher) >= best
            )
        case Value():
            return _value_holds(check, numbers[0])
        case Larger():
            a, b, c, d = values
            first, second = a - b, c - d
            if check.relative:
                first, second = predicates.relative_change(a, b), predicates.relative_change(c, d)
            return predicates.is_better(first, second, higher=higher)
        case _:
            return None


def _gain_holds(check: Gain, numbers: Sequence[Number]) -> bool:
    if check.above is not None:
        return 100 * predicates.relative_change(numbers[0].value, numbers[1].value) > check.above
    claimed = numbers[2] if check.row else Number.read(repr(check.value))
    return predicates.is_consistent(claimed, *predicates.gain_range(numbers[0], numbers[1]))


def _value_holds(check: Value, number: Number) -> bool:
    value = number.value
    if check.value is not None:
        if check.within is not None:
            return abs(value - check.value) <= check.within
        claimed = Number.read(repr(check.value))
        return predicates.is_consistent(claimed, value - number.half_unit, value + number.half_unit)
    return (
        (check.above is None or value > check.above)
        and (check.at_least is None or value >= check.at_least)
        and (check.at_most is None or value <= check.at_most)
    )
