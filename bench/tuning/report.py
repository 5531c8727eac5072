"""What a search came to, as plain values: for the terminal, for pages, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.hashing import Plain
from bench.metrics.registry import get_metric
from bench.tuning.asha import Look, State
from bench.tuning.search import Search
from bench.tuning.search_state import Book

ORDER: tuple[State, ...] = ("finished", "open", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One configuration.

    Attributes:
        number: From 1; the first has the settings as they were.
        settings: Values of the searched settings.
        state: What became of it.
        values: The metric on validation by the resource spent, as far as it was looked at.
        seconds: Of all its stages, from scratch.
        reason: Why it failed.
        best: Whether it is the best.
    """

    number: int
    settings: Mapping[str, Plain]
    state: State
    values: Mapping[int, float]
    seconds: float
    reason: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A search and its end.

    Attributes:
        search: The search.
        lines: The best first, then what was looked at furthest.
        num_cases: Validation cases; None where nothing was evaluated.
        spent: Units of the resource over all looks; looks where there is no resource.
        seconds: Of all distinct stages, from scratch.
    """

    search: Search
    lines: tuple[Line, ...]
    num_cases: int | None
    spent: int
    seconds: float

    @property
    def best(self) -> Line | None:
        """The best configuration, if any came to the end."""
        return next((line for line in self.lines if line.best), None)

    @property
    def num_failed(self) -> int:
        """Configurations that failed."""
        return sum(line.state == "failed" for line in self.lines)


def findings(book: Book) -> Findings:
    """Collect what a book knows."""
    search, best = book.search, book.best
    lines, looks = [], []
    for number, standing in enumerate(book.standings()):
        made = [Look(number, rung) for rung in range(standing.looks)]
        after = Look(number, standing.looks)
        lines.append(
            Line(
                number=number + 1,
                settings=search.settings(number),
                state=standing.state,
                values={search.rungs[look.rung]: book.values[look] for look in made},
                seconds=round(book.seconds(made), 3),
                reason=book.problems.get(after, "") if standing.state == "failed" else "",
                best=number == best,
            )
        )
        looks += made
    sign = 1 if get_metric(search.setup.metric).higher_is_better else -1

    def place(line: Line) -> tuple[int, int, float, int]:
        last = list(line.values.values())[-1] if line.values else 0.0
        return ORDER.index(line.state), -len(line.values), -sign * last, line.number

    return Findings(
        search=search,
        lines=tuple(sorted(lines, key=place)),
        num_cases=book.num_cases,
        spent=sum(search.rungs[look.rung] or 1 for look in looks),
        seconds=round(book.seconds(looks), 3),
    )


def as_json(found: Findings) -> dict[str, Any]:
    """Write findings down; all but the seconds are equal whenever the search is."""
    setup, space = found.search.setup, found.search.space
    return {
        "search": found.search.id,
        "method": setup.method,
        "dataset": setup.dataset,
        "model": setup.model,
        "metric": setup.metric,
        "num_cases": found.num_cases,
        "budget": {
            "name": setup.budget,
            "rows": {name: getattr(found.search.rows, name) for name in ("train", "valid")},
            "trials": setup.num,
            "configurations": len(found.lines),
            "seed": setup.seed,
            "resource": space.resource or None,
            "rungs": list(found.search.rungs) if space.resource else [],
            "factor": space.factor if space.resource else None,
            "spent": found.spent,
        },
        "space": {
            name: domain.model_dump(mode="json", exclude_none=True)
            for name, domain in space.space.items()
        },
        "best": None if found.best is None else dict(found.best.settings),
        "configurations": [
            {
                "number": line.number,
                "settings": dict(line.settings),
                "state": line.state,
                "looks": [[amount, value] for amount, value in line.values.items()],
                **({"reason": line.reason} if line.reason else {}),
            }
            for line in found.lines
        ],
        "seconds": found.seconds,
    }


def how(found: Findings) -> str:
    """Say in a sentence or two what was tried, and on what."""
    search = found.search
    setup, space = search.setup, search.space
    num = len(found.lines)
    cases = "validation cases" if found.num_cases is None else f"{found.num_cases} validation cases"
    text = (
        f"{num} configurations of {setup.method} on {setup.dataset}, judged by {setup.metric} on "
        f"{cases}; test rows took no part. Budget {setup.budget}"
        f"{f', model {setup.model}' if setup.model else ''}, search seed {setup.seed}."
    )
    if num < setup.num:
        text += f" The space has no more than these, though {setup.num} were asked for."
    if space.resource and len(search.rungs) > 1:
        return text + (
            f" Looked at with {space.resource} = {', '.join(map(str, search.rungs))}; the upper "
            f"1/{space.factor} of those so far goes on (asynchronous successive halving)."
        )
    if space.resource:
        return text + f" {space.resource} is {search.rungs[0]}, which leaves no room to stop early."
    return text + " No resource is declared, so each was evaluated in full."
