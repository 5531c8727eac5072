"""What a board's page says, as plain frozen values; every rendering reads these and nothing else.

No dates, no cost, no paths: equal results make equal tables, and equal tables equal bytes. What a
run cost, and how training went, stands apart in `ledger`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.report.claims.verdict import PublishedVerdict, ReproducedVerdict
from bench.results.load import Outcome, SeedStatus

if TYPE_CHECKING:
    # Only named here: a report of bare values must not wait for scipy.
    from bench.report.published import Number
    from bench.stats.compare import Comparison
    from bench.stats.reproduction import Reproduction

Status = Literal["ok", "partial", "failed", "skipped", "not run"]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep of a board.

    Attributes:
        row: What the claims call the swept method; x: and the setting.
        steps: Value of the setting and name of the row, in ascending order.
    """

    row: str
    x: str
    steps: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row on one metric of one data set.

    Attributes:
        mean: Over the seeds that have a value; None where none has.
        sd: Standard deviation between seeds (n - 1); None with one seed.
        reason: Why seeds are missing.
        values: Seed and value, in the order of the seeds.
        best: Best mean of the ranked rows; rows that share it share the mark.
        second: Next best mean of the ranked rows.
        tied: Ranked, not best, and not rejected against the best.
        comparison: Against the block's reference, corrected by Holm within data set and metric.
        refusal: Why there is no comparison although there are values.
        published: The paper's number of this cell; None where it prints none.
        stale: Why values are older than the program; empty where none is.
    """

    metric: str
    status: Status
    expected_seeds: int
    mean: float | None = None
    sd: float | None = None
    reason: str = ""
    values: tuple[tuple[int, float], ...] = ()
    best: bool = False
    second: bool = False
    tied: bool = False
    comparison: Comparison | None = None
    refusal: str = ""
    published: Number | None = None
    stale: str = ""

    @property
    def from_published(self) -> float | None:
        """Our mean - the paper's number; None without either."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published.value

    @property
    def n_seeds(self) -> int:
        """Number of seeds that have a value."""
        return len(self.values)

    @property
    def significant(self) -> bool:
        """Whether it differs from the reference after Holm, for better or worse."""
        return self.comparison is not None and bool(self.comparison.significant)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a block.

    Attributes:
        name: What the page calls it.
        method: The module in `methods/`.
        ranked: False for a line that is shown but never best, second or tied.
        reference: Whether the others are tested against this one.
        cells: One a metric, in the board's order.
        settings: Resolved settings, name and value as text.
        outcomes: One a seed.
    """

    name: str
    method: str
    ranked: bool
    reference: bool
    cells: tuple[Cell, ...]
    settings: tuple[tuple[str, str], ...]
    outcomes: tuple[Outcome, ...]

    @property
    def status(self) -> Status:
        """How its trials ended, taken together."""
        return overall(outcome.status for outcome in self.outcomes)

    @property
    def num_ok(self) -> int:
        """Number of seeds that ended well."""
        return sum(outcome.status == "ok" for outcome in self.outcomes)

    @property
    def stale(self) -> bool:
        """Whether a value of it is older than the program."""
        return any(outcome.stale for outcome in self.outcomes)

    @property
    def out_of_memory(self) -> bool:
        """Whether it has no value because memory ran out."""
        return self.num_ok == 0 and any(outcome.out_of_memory for outcome in self.outcomes)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All comparisons with the reference, in the order of the metrics."""
        return tuple(cell.comparison for cell in self.cells if cell.comparison is not None)

    def cell(self, metric: str) -> Cell:
        """The row's cell of a metric."""
        return next(cell for cell in self.cells if cell.metric == metric)


@dataclass(frozen=True, kw_only=True)
class Block:
    """All rows on one data set.

    Attributes:
        dataset: Name of its card; title: how the page calls it.
        num_cases: n of the test cases; None as long as there is no result.
        num_items: Size of the catalog; None likewise.
        fingerprint: Of the prepared data behind every value of the block; empty likewise.
        reproduction: Our values beside the paper's; None where it prints none, or before testing.
    """

    dataset: str
    title: str
    num_cases: int | None
    num_items: int | None
    fingerprint: str
    license: str
    citation: str
    homepage: str
    rows: tuple[Row, ...]
    reproduction: Reproduction | None = None

    @property
    def reference(self) -> Row | None:
        """The row that the others are tested against."""
        return next((row for row in self.rows if row.reference), None)


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """How many trials (row × data set × seed) ended how; stale ones are among the ok."""

    ok: int
    failed: int
    skipped: int
    not_run: int
    stale: int = 0

    @property
    def total(self) -> int:
        """Number of trials the board plans."""
        return self.ok + self.failed + self.skipped + self.not_run


@dataclass(frozen=True, kw_only=True)
class ClaimLine:
    """A sentence of the board's paper with both verdicts.

    Attributes:
        id: As in S-04a; section: of the paper; sentence: in our words.
        implied: No sentence of the paper says it, but its argument needs it.
        in_print: Verdict in the paper's printed numbers; count_in_print: "6 of 8", or empty.
        ours: Verdict in our results; count_ours: cells by verdict, or empty.
        note: What a reader should know of the printed numbers.
        cells: Data set, metric, verdict and numbers of each comparison that was made.
        lacking: Why others were not.
    """

    id: str
    section: str
    sentence: str
    implied: bool
    in_print: PublishedVerdict
    count_in_print: str
    ours: ReproducedVerdict
    count_ours: str
    note: str
    cells: tuple[tuple[str, str, str, str], ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The paper whose table a board mirrors.

    Attributes:
        paper: Short name; title: of the paper.
        differences: What here is not as in the paper, a sentence each.
        departures: Where the marks in print are not those of the rule, a sentence each.
        num_marks: Columns of the paper's table whose marks could be checked.
    """

    paper: str
    title: str
    differences: tuple[str, ...]
    departures: tuple[str, ...]
    num_marks: int


@dataclass(frozen=True, kw_only=True)
class BoardTable:
    """A board with its values, verdicts and the sentences that belong to them.

    Attributes:
        reference: Name of the row that the others are tested against.
        scope: Says where the rows run on less than the papers' budget; empty where they do not.
        protocol: Cases, candidates, k and seeds in one sentence.
        statistics: Tests, correction and intervals, fit for a paper.
        across: Mean ranks over the data sets, a sentence a metric; none with a single data set.
        source: The paper whose table this one mirrors; None for a board of our own.
        claims: What that paper claims of these rows.
        sweeps: Settings that its rows step through.
    """

    name: str
    title: str
    description: str
    reference: str
    metrics: tuple[str, ...]
    datasets: tuple[Block, ...]
    completeness: Completeness
    scope: str
    protocol: str
    statistics: str
    across: tuple[str, ...] = ()
    source: Source | None = None
    claims: tuple[ClaimLine, ...] = ()
    sweeps: tuple[Sweep, ...] = ()


def overall(statuses: Iterable[SeedStatus]) -> Status:
    """Sum up the seeds of a row: any value at all makes it "partial", a failure outweighs a gap."""
    seen = set(statuses)
    if seen == {"ok"}:
        return "ok"
    if "ok" in seen:
        return "partial"
    ordered: tuple[Status, ...] = ("failed", "skipped")
    return next((status for status in ordered if status in seen), "not run")
