"""A paper's data set statistics compared with ours, column by column.

A published column is compared with the count that it really states, which the board's card says for
each data set: SPRec's "#Sequences" are windows in one row and probably users in two, and IGD's
split sizes count the header lines of its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from bench.config import plugins
from bench.config.toml import Card, check_card, read_toml
from bench.errors import unknown
from bench.report.published import Number, Place, Published

FOLDER = "counts"
EQUAL = "equal"
ONE_LESS = "one less, as explained"
EXPLAINED = "differs: explained"
UNEXPLAINED = "differs: unexplained"

Rule = Literal["equal", "equal less one", "reported only"]


class Meaning(Card):
    """What a published number really counts.

    Attributes:
        count: Name of the same count of prepared data.
        rule: What ours should be: the published number, that minus one, or anything.
        explanation: Why; shown on the page.
    """

    count: str
    rule: Rule
    explanation: str = Field(min_length=1)


class Column(Card):
    """One column of the paper's table.

    Attributes:
        meaning: What it counts, unless a row says otherwise.
        not_run: What a count of it would need, where we cannot count it yet.
        needs: What a count of it needs in addition to the data; the reason where it is missing.
    """

    title: str
    meaning: Meaning | None = None
    not_run: str = ""
    needs: str = ""

    @model_validator(mode="after")
    def _counted_or_not(self) -> Column:
        if self.meaning and self.not_run:
            raise ValueError("a column is counted or not run, not both")
        if self.needs and self.not_run:
            raise ValueError("`needs` goes with a column that is counted")
        return self


class CountRow(Card):
    """One data set of the paper's table.

    Attributes:
        label: Its name in the paper; dataset: name of our card.
        scope: How our data set differs from the paper's, if it does.
        cells: What columns count in this row, where it is not the column's own meaning.
    """

    label: str
    dataset: str
    scope: str = ""
    cells: dict[str, Meaning] = {}


class CountCard(Card):
    """A count board: columns by the published metric and rows, in the paper's order."""

    title: str
    description: str
    paper: str
    table: str
    citation: str
    columns: dict[str, Column] = Field(min_length=1)
    rows: tuple[CountRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_cell_has_one_meaning(self) -> CountCard:
        for row in self.rows:
            for name in row.cells.keys() - self.columns.keys():
                raise ValueError(f"{row.label}: there is no column {name!r}")
            for name, column in self.columns.items():
                counted = name in row.cells or column.meaning is not None
                if counted == bool(column.not_run):
                    raise ValueError(f"{row.label}, {name}: give a meaning or say not_run")
        return self


@dataclass(frozen=True, kw_only=True)
class CountCell:
    """A published number and our count.

    Attributes:
        column: The published metric.
        published: None where the paper prints none, or it could not be read.
        ours: None where it was not counted; count: name of our count.
        verdict: How the two compare, or why they cannot be compared.
        explanation: What the published number really counts.
    """

    column: str
    published: Number | None
    ours: float | None
    count: str = ""
    verdict: str
    explanation: str = ""


@dataclass(frozen=True, kw_only=True)
class CountLine:
    """One data set of a count board; `missing` says why we have no counts."""

    label: str
    dataset: str
    missing: str
    cells: tuple[CountCell, ...]


@dataclass(frozen=True, kw_only=True)
class CountTable:
    """A count board, ready to be rendered."""

    name: str
    card: CountCard
    lines: tuple[CountLine, ...]

    def to_json(self) -> dict[str, Any]:
        """Return rows and cells as plain values."""
        rows = [asdict(line) for line in self.lines]
        for cell in (cell for row in rows for cell in row["cells"]):
            cell["published"] = cell["published"] and cell["published"]["value"]
        return {"board": self.name, "rows": rows}


def paths() -> dict[str, Path]:
    """Return the file of each count board by name; the first folder with a name wins."""
    return plugins.board_files(FOLDER)


def load(name: str) -> CountCard:
    """Load and check the card of a count board."""
    files = paths()
    if name not in files:
        raise unknown("count board", name, files)
    return check_card(read_toml(files[name]), CountCard, str(files[name]))


def compare(
    name: str,
    card: CountCard,
    published: Published,
    counts: Mapping[str, Mapping[str, float] | str],
) -> CountTable:
    """Compare our counts with the published ones.

    `counts` has by data set card our counts by name, or why there are none.

    Raises:
        BenchError: If the card names a count that prepared data do not have, or the published
            numbers lack the whole table.
    """
    lines = (_line(card, row, published, counts[row.dataset]) for row in card.rows)
    return CountTable(name=name, card=card, lines=tuple(lines))


def _line(
    card: CountCard, row: CountRow, published: Published, counts: Mapping[str, float] | str
) -> CountLine:
    missing = counts if isinstance(counts, str) else ""
    cells = []
    for metric, column in card.columns.items():
        location = Place(paper=card.paper, table=card.table, dataset=row.label, metric=metric)
        number = published.find(location)
        meaning = row.cells.get(metric, column.meaning)
        uncounted = meaning and not isinstance(counts, str) and meaning.count not in counts
        if meaning is None or (uncounted and column.needs):
            verdict = f"not run: {column.not_run or column.needs}"
            cells.append(CountCell(column=metric, published=number, ours=None, verdict=verdict))
            continue
        if uncounted:
            raise unknown("count", meaning.count, counts)
        ours = None if isinstance(counts, str) else counts[meaning.count]
        cells.append(
            CountCell(
                column=metric,
                published=number,
                ours=ours,
                count=meaning.count,
                verdict=compare_count(number, ours, meaning.rule, missing),
                explanation=meaning.explanation,
            )
        )
    return CountLine(label=row.label, dataset=row.dataset, missing=missing, cells=tuple(cells))


def compare_count(
    published: Number | None, ours: float | None, rule: Rule, missing: str = ""
) -> str:
    """Compare a published number with our count.

    Example:
        >>> compare_count(Number.read("10682"), 10681, "equal less one")
        'one less, as explained'
    """
    if ours is None:
        return f"not available: {missing}"
    if published is None:
        return "not published"
    if ours == published.value:
        return EQUAL
    if rule == "equal less one" and ours == published.value - 1:
        return ONE_LESS
    return EXPLAINED if rule == "reported only" else UNEXPLAINED
