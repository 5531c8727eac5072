"""A paper's claims, as they stand in `leaderboards/claims/<paper>.toml`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from bench.config import plugins
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError, unknown
from bench.report.claims.claim_types import AnyCheck, Check, Larger, Names
from bench.report.claims.verdict import Printed
from bench.report.published import Place

FOLDER = "claims"


class Claim(Card):
    """A sentence of a paper with its checks.

    Attributes:
        id: As in S-04a: the paper's letter, a number, a letter for parts of a sentence.
        section: Of the paper.
        sentence: The claim in our words.
        boards: Where its rows stand; the first shows it.
        verdict: Expected in the paper's own numbers.
        implied: No sentence of the paper says it, but its argument needs it.
        checks: All must hold.
        also: Counted beside them; they decide nothing.
        note: What a reader should know of the printed numbers.
    """

    id: str = Field(pattern=r"^[SID]-[0-9]{2}[a-d]?$")
    section: str
    sentence: str
    boards: Names = Field(min_length=1)
    verdict: Printed
    implied: bool = False
    checks: tuple[AnyCheck, ...] = Field(min_length=1)
    also: tuple[AnyCheck, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _counts_fit(self) -> Claim:
        in_tables = self.verdict in ("yes", "partly", "no")
        if any(bool(check.printed) != in_tables for check in self.checks):
            raise ValueError(f"the verdict {self.verdict!r} and the `printed` counts do not fit")
        return self


class PrintedRow(Card):
    """Where a row stands in print; without a table it stands nowhere.

    Attributes:
        table: Number of the table.
        method: As in the file of published numbers.
        variant: Likewise.
    """

    table: str = ""
    method: str = ""
    variant: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One comparison of a check.

    Attributes:
        dataset: As the paper prints it.
        metric: Name of the metric.
        rows: Names of the rows, in the roles that the form gives them.
        host: What `{host}` stood for.
        other_dataset: Of the second of two differences.
    """

    dataset: str
    metric: str
    rows: tuple[str, ...]
    host: str = ""
    other_dataset: str = ""

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What the pairs of one cell have in common where a check counts its rivals as one."""
        return self.dataset, self.metric, self.host, self.rows[0]


class Book(Card):
    """All claims of a paper, and where its rows stand in print and on boards.

    Attributes:
        paper: As in the files of published numbers.
        title: Of the paper.
        datasets: The name in print of each data set, with the name of our card.
        rows: By the row's name on its board.
        groups: Names for several rows.
        claims: In the paper's order.
    """

    paper: str
    title: str
    datasets: dict[str, str] = Field(min_length=1)
    rows: dict[str, PrintedRow]
    groups: dict[str, Names] = {}
    claims: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> Book:
        twice = [
            one for one, times in Counter(claim.id for claim in self.claims).items() if times > 1
        ]
        if twice:
            raise ValueError(f"two claims have the id {twice[0]}")
        for claim in self.claims:
            for check in (*claim.checks, *claim.also):
                try:
                    self._check_names(check)
                except BenchError as error:
                    raise ValueError(
                        f"{claim.id}: {error.message} {error.hint}".rstrip(".")
                    ) from error
        return self

    def _check_names(self, check: Check) -> None:
        for cell in self.cells(check):
            for row in cell.rows:
                if row not in self.rows:
                    raise unknown("row", row, self.rows)
            for dataset in filter(None, (cell.dataset, cell.other_dataset)):
                if dataset not in self.datasets:
                    raise unknown("data set", dataset, self.datasets)

    def claim(self, name: str) -> Claim:
        """Look up a claim by its id.

        Raises:
            BenchError: If there is none.
        """
        for claim in self.claims:
            if claim.id == name:
                return claim
        raise unknown("claim", name, [claim.id for claim in self.claims])

    def cells(self, check: Check) -> list[Cell]:
        """Multiply a check out into its cells: data sets × metrics × hosts × rows."""
        others: Sequence[str] = check.than_on if isinstance(check, Larger) else ()
        return [
            Cell(
                dataset=dataset,
                metric=metric,
                rows=tuple(row.replace("{host}", host) for row in rows),
                host=host,
                other_dataset=other,
            )
            for dataset in check.datasets or tuple(self.datasets)
            for metric in check.metrics
            for host in check.hosts
            for rows in check.lines(lambda name: self.groups.get(name, (name,)))
            for other in others or ("",)
            if not other or other != dataset
        ]

    def place(self, row: str, dataset: str, metric: str) -> Place | None:
        """Say where a number stands in print; None where the row stands in no table."""
        printed = self.rows[row]
        if not printed.table:
            return None
        return Place(
            paper=self.paper,
            table=printed.table,
            dataset=dataset,
            method=printed.method,
            variant=printed.variant,
            metric=metric,
        )


def book_paths() -> dict[str, Path]:
    """Map the papers' short names to their files; the first folder of a name wins."""
    return plugins.board_files(FOLDER)


def load(paper: str) -> Book:
    """Load and check the claims of a paper.

    Args:
        paper: Its short name: sprec, igd, dpo4rec.

    Raises:
        BenchError: If there is no such file, or something in it does not fit.
    """
    paths = book_paths()
    if paper not in paths:
        raise unknown("paper", paper, paths)
    return check_card(read_toml(paths[paper]), Book, str(paths[paper]))
