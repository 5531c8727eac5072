"""What the papers' own numbers say of their claims: point values, for tables print no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.report.claims import predicates
from bench.report.claims.cards import Book, Cell, Claim
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
)
from bench.report.claims.measures import higher_is_better
from bench.report.claims.verdict import Printed, all_printed, needed, of_cells_printed
from bench.report.published import Number, Published

SIGNIFICANT_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the printed numbers say of one cell.

    Attributes:
        cell: The comparison.
        holds: None where the paper does not print all that it needs.
        tie: Whether the two rows of a pair are equal.
        text: The numbers.
    """

    cell: Cell
    holds: bool | None
    tie: bool = False
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PrintedCheck:
    """What the printed numbers say of one check.

    Attributes:
        check: The check.
        verdict: None where no cell is printed.
        holds: Cells that hold.
        of: Cells that are printed.
        ties: Readings where the two rows are equal.
        unreadable: Readings that lack a number.
        readings: All of them, before rivals are counted as one cell.
    """

    check: Check
    verdict: Printed | None
    holds: int
    of: int
    ties: int
    unreadable: int
    readings: tuple[Reading, ...]

    @property
    def count(self) -> str:
        """As in "6 of 8"; empty where no cell is printed."""
        return f"{self.holds} of {self.of}" if self.of else ""


@dataclass(frozen=True, kw_only=True)
class PrintedClaim:
    """What the printed numbers say of a claim."""

    claim: Claim
    verdict: Printed
    checks: tuple[PrintedCheck, ...]
    also: tuple[PrintedCheck, ...]

    @property
    def count(self) -> str:
        """The cells of all deciding checks together; empty where none is printed."""
        of = sum(check.of for check in self.checks)
        return f"{sum(check.holds for check in self.checks)} of {of}" if of else ""


def judge(claim: Claim, book: Book, published: Published) -> PrintedClaim:
    """Judge a claim by the numbers that its paper prints.

    Raises:
        BenchError: If a row is in no table although the book says so, or the claim is said to be
            only in a figure, or to need a run, and yet all its numbers are printed.
    """
    checks = tuple(judge_check(check, book, published) for check in claim.checks)
    verdicts = [check.verdict for check in checks if check.verdict is not None]
    if claim.verdict in ("figure", "run"):
        if len(verdicts) == len(checks):
            raise BenchError(
                f"{claim.id}: all its numbers are printed, but its verdict is {claim.verdict!r}.",
                "Make it yes, partly or no, with counts.",
            )
        verdict: Printed = claim.verdict
    elif len(verdicts) < len(checks):
        raise BenchError(f"{claim.id}: a check has no printed number.", "Make it figure or run.")
    else:
        verdict = all_printed(verdicts)
    also = tuple(judge_check(check, book, published) for check in claim.also)
    return PrintedClaim(claim=claim, verdict=verdict, checks=checks, also=also)


def judge_check(check: Check, book: Book, published: Published) -> PrintedCheck:
    """Judge one check; cells that are not printed are counted apart, never as failures."""
    readings = tuple(_reading(check, cell, book, published) for cell in book.cells(check))
    printed = [reading for reading in readings if reading.holds is not None]
    units = _units(printed, check.rivals)
    verdict = None
    if units:
        verdict = of_cells_printed(sum(units), len(units), check.quantifier, whole=check.whole)
    return PrintedCheck(
        check=check,
        verdict=verdict,
        holds=sum(units),
        of=len(units),
        ties=sum(reading.tie for reading in printed),
        unreadable=len(readings) - len(printed),
        readings=readings,
    )


def _units(readings: Sequence[Reading], rivals: str) -> list[bool]:
    """Count the pairs of one cell as one where the check says so."""
    if not rivals:
        return [bool(reading.holds) for reading in readings]
    groups: dict[tuple[str, ...], list[bool]] = {}
    for reading in readings:
        groups.setdefault(reading.cell.group, []).append(bool(reading.holds))
    return [sum(group) >= needed(rivals, len(group)) for group in groups.values()]


def _reading(check: Check, cell: Cell, book: Book, published: Published) -> Reading:
    datasets = [cell.dataset] * len(cell.rows)
    if cell.other_dataset:
        datasets[2:] = [cell.other_dataset] * 2
    numbers = []
    for row, dataset in zip(cell.rows, datasets, strict=True):
        place = book.place(row, dataset, cell.metric)
        found = published.find(place) if place else None
        if found is None:
            return Reading(cell=cell, holds=None)
        numbers.append(found)
    holds = _holds(check, numbers, higher_is_better(cell.metric))
    return Reading(
        cell=cell,
        holds=holds,
        tie=isinstance(check, Pair) and numbers[0].value == numbers[1].value,
        text=" / ".join(f"{number.value:.{SIGNIFICANT_DIGITS}g}" for number in numbers),
    )


def _holds(check: Check, numbers: Sequence[Number], higher: bool) -> bool | None:
    """Apply the form; None for the forms that need more than a table prints."""
    values = [number.value for number in numbers]
    match check:
        case Better():
            return predicates.better(values[0], values[1], higher=higher)
        case NotBetter():
            return predicates.not_better(values[0], values[1], higher=higher, tau=check.tau)
        case Close():
            return predicates.close(values[0], values[1], tau=check.tau)
        case Gain():
            return _gain_holds(check, numbers)
        case Position():
            return _position_holds(check, values, higher)
        case Value():
            return _value_holds(check, numbers[0])
        case Larger():
            first, second = _differences(check, values)
            return predicates.larger(first, second, higher=higher)
        case _:
            return None


def _gain_holds(check: Gain, numbers: Sequence[Number]) -> bool:
    if check.above is not None:
        return 100 * predicates.change(numbers[0].value, numbers[1].value) > check.above
    stated = numbers[2] if check.row else Number.read(repr(check.value))
    return predicates.agrees(stated, *predicates.gain(numbers[0], numbers[1]))


def _position_holds(check: Position, values: Sequence[float], higher: bool) -> bool:
    """Count a shared place as the one that is asked for: the first for best, the last for worst."""
    first, last = check.ranks(len(values))
    return (
        predicates.rank(values[0], values[1:], higher=higher) <= last
        and predicates.last_rank(values[0], values[1:], higher=higher) >= first
    )


def _value_holds(check: Value, number: Number) -> bool:
    value = number.value
    if check.value is not None:
        if check.within is not None:
            return abs(value - check.value) <= check.within
        return predicates.agrees(
            Number.read(repr(check.value)), value - number.half_unit, value + number.half_unit
        )
    return (
        (check.above is None or value > check.above)
        and (check.at_least is None or value >= check.at_least)
        and (check.at_most is None or value <= check.at_most)
    )


def _differences(check: Larger, values: Sequence[float]) -> tuple[float, float]:
    a, b, c, d = values
    if check.relative:
        return predicates.change(a, b), predicates.change(c, d)
    return a - b, c - d
