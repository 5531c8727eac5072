"""What a board's page says, as frozen plain values; every renderer reads these.

The table has no dates, costs or paths: equal results give equal tables, and equal tables equal
bytes. Costs and training curves come from the results themselves; see `costs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench.metrics.registry import get_metric
from bench.report.claims.verdict import PublishedVerdict, ReproducedVerdict
from bench.results.outcomes import Outcome, SeedStatus

if TYPE_CHECKING:
    # Only for annotations, so that formatting values loads no scipy.
    from bench.config.cards import FigureCard
    from bench.report.claims.measures import Measure
    from bench.report.published import Number
    from bench.stats.compare import Comparison
    from bench.stats.reproduction import Reproduction

Status = Literal["ok", "partial", "failed", "skipped", "not run"]
FloorVerdict = Literal["above", "below", "undecided", "not tested", "no result", "no floor"]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Relative change of a row from its reference on one metric, as papers print it.

    Attributes:
        change: As a fraction of the reference; None without results.
        low: Lower end of its 95 % interval; high: upper end; None without results.
        published: The paper's number, in percent; None where it prints none.
    """

    change: float | None = None
    low: float | None = None
    high: float | None = None
    published: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row on one metric of one data set.

    Attributes:
        mean: Over the seeds that have a value; None where none has.
        sd: Standard deviation between seeds (n - 1); None with one seed.
        reason: Why seeds are missing.
        values: Seed and value, in the order of the seeds.
        best: Best mean of the ranked rows; rows with equal means share the mark.
        second: Second-best mean of the ranked rows.
        tied: Ranked, not the best, and not significantly different from the best.
        comparison: With the row's reference, Holm-corrected within data set, metric and reference.
        refusal: Why there is no comparison although there are values.
        published: The paper's number; None where it prints none.
        stale: Why values do not match the current code; empty where they do.
        gain: In rows whose relative change is shown as a line of its own.
        interval: 95 % interval of the mean, in rows that are steps of a sweep.
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
    gain: Gain | None = None
    interval: tuple[float, float] | None = None

    @property
    def difference_from_published(self) -> float | None:
        """Our mean minus the paper's number; None without either."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published.value

    @property
    def num_seeds(self) -> int:
        """Number of seeds that have a value."""
        return len(self.values)

    @property
    def significant(self) -> bool:
        """Whether it differs from the reference after Holm, for better or worse."""
        return self.comparison is not None and bool(self.comparison.significant)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a block.

    Attributes:
        name: What the page calls it.
        method: The module in `methods/`.
        ranked: False for a row that is shown but never best, second or tied.
        compared_with: Name of the row that it is tested against; its own for a reference.
        group: Heading of its group; empty without one.
        apart: Whether the comparisons of its group are a family of their own.
        cells: One per metric, in the board's order.
        settings: Resolved settings, dotted path and value as text.
        outcomes: One per seed.
        external: Model trained on other text that it used; empty for none.
    """

    name: str
    method: str
    ranked: bool
    floor: bool = False
    compared_with: str
    cells: tuple[Cell, ...]
    settings: tuple[tuple[str, str], ...]
    outcomes: tuple[Outcome, ...]
    group: str = ""
    apart: bool = False
    external: str = ""

    @property
    def reference(self) -> bool:
        """Whether other rows are tested against this one."""
        return self.name == self.compared_with

    @property
    def gain_name(self) -> str:
        """Name of the line of its relative changes, empty without one."""
        return f"{self.name} over {self.compared_with}" if self.cells[0].gain else ""

    @property
    def status(self) -> Status:
        """Status of all its trials together."""
        return combined_status(outcome.status for outcome in self.outcomes)

    @property
    def successful(self) -> list[Outcome]:
        """Seeds that succeeded."""
        return [outcome for outcome in self.outcomes if outcome.status == "ok"]

    @property
    def stale(self) -> bool:
        """Whether one of its values does not match the current code."""
        return any(outcome.stale for outcome in self.outcomes)

    @property
    def out_of_memory(self) -> bool:
        """Whether it has no value because memory ran out."""
        return not self.successful and any(outcome.out_of_memory for outcome in self.outcomes)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All comparisons with the reference, in the order of the metrics."""
        return tuple(cell.comparison for cell in self.cells if cell.comparison is not None)

    def cell(self, metric: str) -> Cell:
        """Return the row's cell of a metric."""
        return next(cell for cell in self.cells if cell.metric == metric)


class Interval(NamedTuple):
    """A value with its 95 % interval and the p of its difference from 0, or why it has none.

    They are over users and training seeds, or over users alone where a row has one seed.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Stratification:
    """One metric of all rows, separately on each stratum of the test cases.

    Attributes:
        kind: What divides the cases; definition: in words.
        counts: Number of test cases by stratum; empty strata are left out.
        rows: Name of each row, and its value per stratum.
        reversals: Sentences that name rows whose order in a stratum is not that of all cases.
    """

    kind: str
    definition: str
    metric: str
    counts: dict[str, int]
    rows: tuple[tuple[str, tuple[Interval, ...]], ...]
    reversals: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The best ranked row on the main metric, and what is known of its lead.

    Attributes:
        row: Its name; empty if no ranked row has a result.
        mean: Its value; all ranked rows are equal if it is 0, the worst value.
        num_others: Number of other ranked rows; num_tested: of those that it could be tested
            against, over users and seeds; num_beaten: of those that are significantly worse.
        decisive: How few users decide which row is the best, empty if none do; None if unknown.
        floor: Side of the floor that the row is on; floor_row: best row of the floor, empty
            without one; floor_mean: its value; floor_text: the comparison in one sentence.
    """

    metric: str
    row: str = ""
    mean: float | None = None
    num_others: int = 0
    num_tested: int = 0
    num_beaten: int = 0
    decisive: str | None = None
    floor: FloorVerdict
    floor_row: str = ""
    floor_mean: float | None = None
    floor_text: str

    @property
    def without_hit(self) -> bool:
        """Whether no ranked row has a hit."""
        return self.mean == 0 and get_metric(self.metric).higher_is_better

    @property
    def robustness(self) -> str:
        """How few users decide which row is the best, in one sentence; may be empty."""
        if self.decisive is None:
            return ""
        rest = f"; {self.decisive}" if self.decisive else " whichever users are left out"
        return f"{self.row} has the best {self.metric}{rest}."


@dataclass(frozen=True, kw_only=True)
class Block:
    """All rows on one data set.

    Attributes:
        dataset: Name of its card; title: what the page calls it.
        num_cases: Number of test cases; None as long as there is no result.
        num_items: Size of the catalog, in titles if scored by title; None likewise.
        num_ids: Its size in items, where several share a title.
        note: How the data differ from those of a paper that uses the name.
        fingerprint: Of the prepared data behind every value of the block; empty likewise.
        reproduction: Our values next to the paper's; None where it prints none, or before testing.
        lead: The best ranked row on the main metric; None before testing, or if that metric is of
            whole lists.
        strata: The main metric per stratum of the test cases; empty likewise.
        external: Which rows used models that may have seen the data; empty if none did.
    """

    dataset: str
    title: str
    num_cases: int | None
    num_items: int | None
    num_ids: int | None
    fingerprint: str
    note: str
    license: str
    citation: str
    homepage: str
    rows: tuple[Row, ...]
    reproduction: Reproduction | None = None
    lead: Lead | None = None
    strata: tuple[Stratification, ...] = ()
    external: str = ""

    @property
    def has_results(self) -> bool:
        """Whether any row has a result."""
        return any(row.successful for row in self.rows)

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """Neighboring rows with their heading, which is empty without one."""
        return [(name, list(rows)) for name, rows in groupby(self.rows, lambda row: row.group)]

    @property
    def families(self) -> list[tuple[str, list[Row]]]:
        """Rows whose comparisons are corrected together, with the name of their reference."""
        return [(key[0], rows) for key, rows in split_families(self.rows).items()]


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """Number of trials (row × data set × seed) per status; stale ones are among the ok."""

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
    """A claim of the board's paper with both verdicts.

    Attributes:
        id: As in S-04a; section: of the paper; sentence: in our words.
        implied: No sentence of the paper says it, but its argument needs it.
        published_verdict: In the paper's numbers; published_count: "6 of 8", or empty.
        verdict: In our results; count: cells by verdict, or empty.
        note: What a reader should know about the printed numbers.
        cells: Data set, metric, verdict and numbers of each comparison that was made.
        missing: Why others were not.
        difference: What ran here and not in the paper, where that makes them not comparable.
    """

    id: str
    section: str
    sentence: str
    implied: bool
    published_verdict: PublishedVerdict
    published_count: str
    verdict: ReproducedVerdict
    count: str
    note: str
    cells: tuple[tuple[str, str, str, str], ...]
    missing: tuple[str, ...]
    difference: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The paper whose table a board reproduces: short name, title, URL."""

    paper: str
    title: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One swept setting of a board.

    Attributes:
        row: What the claims call the swept method; x: and the setting.
        steps: Value of the setting and name of the row, in ascending order.
    """

    row: str
    x: str
    steps: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that a board declares.

    Attributes:
        card: As declared.
        measure: The measure that it names; None without one.
        published: The paper's numbers of that measure, by row.
    """

    card: FigureCard
    measure: Measure | None = None
    published: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BoardTable:
    """A board with its values, tests and captions.

    Attributes:
        page: Name of the folder of its pages.
        backbone: Name of its language model; "" without one.
        reference: What rows are tested against: a row's name, or "the reference of its group".
        equivalence: Explains the mark of equivalent rows; empty without bounds.
        budget: Says where rows ran on less than the papers' budget; empty where they did not.
        differences: What differs from the paper, or from the cards on a board of our own.
        protocol: Cases, candidates, k and seeds in one sentence.
        statistics: Tests, correction and intervals, fit for a paper.
        mean_ranks: Mean ranks over the data sets, one sentence per metric.
        source: The paper whose table this one reproduces; None for a board of our own.
        claims: What that paper claims about these rows.
        sweeps: Settings that its rows sweep.
        figures: Figures to draw from the results.
    """

    name: str
    title: str
    description: str
    reference: str
    metrics: tuple[str, ...]
    datasets: tuple[Block, ...]
    completeness: Completeness
    budget: str
    differences: tuple[str, ...] = ()
    protocol: str
    statistics: str
    equivalence: str = ""
    mean_ranks: tuple[str, ...] = ()
    source: Source | None = None
    claims: tuple[ClaimLine, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    figures: tuple[Figure, ...] = ()
    page: str = ""
    backbone: str = ""

    @property
    def scope(self) -> str:
        """Budget and differences together."""
        return " ".join(filter(None, (self.budget, *self.differences)))

    @property
    def rows(self) -> list[tuple[Block, Row]]:
        """All rows of all data sets."""
        return [(block, row) for block in self.datasets for row in block.rows]

    @property
    def any_stale(self) -> bool:
        """Whether it shows a value that does not match the current code."""
        return any(row.stale for _, row in self.rows)

    @property
    def any_published(self) -> bool:
        """Whether the paper prints a number of any of its cells."""
        return any(cell.published for _, row in self.rows for cell in row.cells)


def split_families(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Split rows into families, within which marks, tests and corrections are made.

    Returns:
        By the reference, and the heading of a group that is apart; "" for all others.
    """
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        key = (row.compared_with, row.group if row.apart else "")
        families.setdefault(key, []).append(row)
    return families


def combined_status(statuses: Iterable[SeedStatus]) -> Status:
    """Combine the seeds of a row: any value makes it "partial"; "failed" comes before "skipped"."""
    distinct = set(statuses)
    if distinct == {"ok"}:
        return "ok"
    if "ok" in distinct:
        return "partial"
    ordered: tuple[Status, ...] = ("failed", "skipped")
    return next((status for status in ordered if status in distinct), "not run")
