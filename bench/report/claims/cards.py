"""The claims of a paper, from `leaderboards/claims/<paper>.toml`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import Field, model_validator

from bench.config import plugins
from bench.config.scoped_cache import once
from bench.config.toml import Card, Homepage, Names, check_card, read_toml
from bench.errors import BenchError, unknown
from bench.metrics.registry import get_metric
from bench.report.claims.claim_types import AnyCheck, Check, Diminishing, Gain, Larger
from bench.report.claims.measures import Measure
from bench.report.claims.verdict import PublishedVerdict
from bench.report.published import Number, Place, Published

FOLDER = "claims"
T = TypeVar("T")


class Claim(Card):
    """A sentence of a paper with its checks.

    Attributes:
        id: A prefix of the paper, a number, a letter for parts of a sentence, e.g. S-04a.
        sentence: The claim in our words.
        boards: Boards with its rows; the claim is listed on the first one.
        verdict: Expected from the paper's own numbers; "run" where there are none.
        implied: No sentence of the paper says it, but its argument needs it.
        also: Further counts, which do not enter the verdict.
        note: What a reader should know about the printed numbers.
    """

    id: str = Field(pattern=r"^[A-Z]+-[0-9]{2,}[a-z]?$")
    section: str = ""
    sentence: str
    boards: Names = Field(min_length=1)
    verdict: PublishedVerdict = "run"
    implied: bool = False
    checks: tuple[AnyCheck, ...] = Field(min_length=1)
    also: tuple[AnyCheck, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _counts_fit(self) -> Claim:
        in_tables = self.verdict in ("yes", "partly", "no")
        if any(bool(check.printed) != in_tables for check in self.checks):
            rule = 'needs `printed`, e.g. "2 of 3", in' if in_tables else "allows no `printed` in"
            raise ValueError(f"{self.id}: the verdict {self.verdict!r} {rule} its checks")
        return self


class PublishedRow(Card):
    """Where the paper prints a row; empty if it is in no table.

    Attributes:
        method: As in the file of published numbers; variant: likewise.
        row: Name of our row, if it differs.
    """

    table: str = ""
    method: str = ""
    variant: str = ""
    row: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One comparison of a check.

    Attributes:
        dataset: As the paper prints it; "" if it names none.
        rows: Names of the rows, in the roles of the claim type.
        row_datasets: Of each row; the second of two differences may be on another data set.
        row_cards: Names of our cards of these data sets; "" likewise.
        host: What `{host}` stands for.
    """

    dataset: str
    metric: str
    rows: tuple[str, ...]
    row_datasets: tuple[str, ...] = ()
    row_cards: tuple[str, ...] = ()
    host: str = ""

    @property
    def card(self) -> str:
        """Name of our card of the data set."""
        return self.row_cards[0]


def group_rivals(check: Check, results: Sequence[tuple[Cell, T]]) -> list[list[T]]:
    """Group the results of pairs that the check counts as one cell (`Check.rivals`)."""
    groups: dict[object, list[T]] = {}
    for index, (cell, result) in enumerate(results):
        pair = (cell.dataset, cell.metric, cell.host, cell.rows[:1])
        groups.setdefault(pair if check.rivals else index, []).append(result)
    return list(groups.values())


class SweptSetting(Card):
    """A setting that the paper sweeps: a board's rows that differ in it alone are its steps.

    Attributes:
        method: The module in `methods/`; setting: its dotted path.
        row: What the claims call the method; x: and the setting.
        without: The method that equals this one with the setting at 0, where it has another name.
    """

    method: str
    setting: str
    row: str
    x: str
    without: str = ""


class PaperClaims(Card):
    """All claims of a paper, and where its rows are printed.

    Attributes:
        paper: As in the files of published numbers; empty for claims of our own.
        title: Of the paper, or of our claims; url: where it can be read.
        datasets: Name of our card by the printed name of each data set.
        rows: By the row's name on its board.
        groups: Names for several rows.
        measures: Numbers that stages log, by the name that checks give as a metric.
        backbone: The language model that the paper uses; empty where it does not say.
        sweeps: Settings that the paper sweeps.
        claims: In the paper's order.
    """

    paper: str = ""
    title: str
    url: Homepage = ""
    datasets: dict[str, str] = Field(min_length=1)
    rows: dict[str, PublishedRow] = {}
    groups: dict[str, Names] = {}
    measures: dict[str, Measure] = {}
    backbone: str = ""
    sweeps: tuple[SweptSetting, ...] = ()
    claims: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> PaperClaims:
        counts = Counter(claim.id for claim in self.claims)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"two claims have the id {repeated[0]}")
        for claim in self.claims:
            for check in (*claim.checks, *claim.also):
                try:
                    self.expand_cells(check)
                    divisors = [check.per] if isinstance(check, Diminishing) else []
                    for metric in (*check.metrics, *divisors):
                        self.is_higher_better(metric)
                except BenchError as error:
                    message = f"{claim.id}: {error.message} {error.hint}"
                    raise ValueError(message.rstrip(".")) from error
        return self

    def is_higher_better(self, metric: str) -> bool:
        """Return whether a larger value of a metric or measure is better."""
        if metric in self.measures:
            return self.measures[metric].higher_is_better
        try:
            return get_metric(metric).higher_is_better
        except BenchError as error:
            hint = error.hint or unknown("", metric, self.measures).hint
            raise BenchError(error.message, hint) from error

    def expand_cells(self, check: Check) -> list[Cell]:
        """Expand a check into its cells: data sets × metrics × hosts × rows."""
        others: Sequence[str] = check.than_on if isinstance(check, Larger) else ()
        return [
            self._make_cell(dataset, metric, host, rows, other)
            for dataset in check.datasets or tuple(self.datasets)
            for metric in check.metrics
            for host in check.hosts
            for rows in check.list_rows(self.groups)
            for other in others or (dataset,)
            if not others or other != dataset
        ]

    def expand_our_cells(self, check: Check) -> list[Cell]:
        """Expand a check into its cells with the names of our rows, without printed gains."""
        num_rows = 2 if isinstance(check, Gain) else None
        return [
            replace(cell, rows=tuple(self.rows[row].row or row for row in cell.rows[:num_rows]))
            for cell in self.expand_cells(check)
        ]

    def _make_cell(
        self, dataset: str, metric: str, host: str, templates: Sequence[str], other: str
    ) -> Cell:
        rows = tuple(row.replace("{host}", host) for row in templates)
        for row in rows:
            if row not in self.rows:
                hint = f"{unknown('row', row, self.rows).hint} " if self.rows else ""
                key = row if re.fullmatch(r"[\w-]+", row, re.ASCII) else json.dumps(row)
                raise BenchError(
                    f"There is no row named {row!r}.", f"{hint}Add to [rows]: {key} = {{}}"
                )
        row_datasets = [dataset] * len(rows)
        if other != dataset:
            row_datasets[2:] = [other, other]
        for name in row_datasets:
            is_known = not name or name in self.datasets  # before the cards' folders are read
            if not is_known and name not in plugins.card_paths("datasets"):
                raise unknown("data set", name, self.datasets)
        return Cell(
            dataset=dataset,
            metric=metric,
            rows=rows,
            row_datasets=tuple(row_datasets),
            row_cards=tuple(self.datasets.get(name, name) for name in row_datasets),
            host=host,
        )

    def find_number(
        self, published: Published, row: str, dataset: str, metric: str
    ) -> Number | None:
        """Return a printed number; None if there is none, or the row is in no table."""
        printed = self.rows.get(row)
        if printed is None or not printed.table:
            return None
        names = printed.model_dump(exclude={"row"})
        return published.find(Place(paper=self.paper, dataset=dataset, metric=metric, **names))


def find_claim_files() -> dict[str, Path]:
    """Map the papers' short names to their files; the first folder of a name wins."""
    return plugins.board_files(FOLDER)


@once
def load_claims(paper: str) -> PaperClaims:
    """Load and check the claims of a paper, by its short name, e.g. sprec."""
    paths = find_claim_files()
    if paper not in paths:
        raise unknown("paper", paper, paths)
    return check_card(read_toml(paths[paper]), PaperClaims, str(paths[paper]))
