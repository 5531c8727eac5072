"""Cards: data sets, models, boards, suites and budgets as checked TOML."""

from __future__ import annotations

from datetime import date
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bench.config.toml import Card
from bench.hashing import Plain


class Source(Card):
    """One place that a raw file can be had from.

    Attributes:
        url: Address of the file itself or, with `path`, of a zip archive that holds it.
        wheel: Requirement of a PyPI wheel that holds the file, "name==version".
        path: Where the file is inside the archive or the wheel.
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
    """How titles are cleaned before anything else is filtered (A-6 in the data notes).

    Attributes:
        profile: "keep" leaves them as the reader gives them; "d3" does what D3's program does, its
            gaps included, for the papers' tables; "clean" corrects and rejects more.
    """

    profile: Literal["keep", "d3", "clean"] = "keep"


class Filters(Card):
    """Which interactions stay; user and item minima are repeated until both hold (a k-core).

    Attributes:
        min_user_interactions: Least interactions of a user, whatever a sample needs (A-1).
        min_item_interactions: Least interactions of an item.
        min_rating: Least rating.
        start: First day of the window, from its midnight on, UTC.
        end: Last instant of the window is the midnight, UTC, that begins this day.
        min_items: `start` moves back a year at a time until this many items are left.
        earliest_year: `start` moves no further; what is left then stays, however little.
        catalog: "file" keeps the order of the item file; "shuffled" is D3's: the items with
            interactions left, in order of their first one, shuffled by Python's generator, seed 42.
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
            raise ValueError("min_items moves the window's start, so it needs one")
        if self.min_items and self.start and (self.start.month, self.start.day) == (2, 29):
            raise ValueError("a start that moves by years cannot be the 29th of February")
        return self


class Split(Card):
    """How samples are cut and split.

    Attributes:
        history: Length of the window before the target.
        min_history: Samples with a shorter window are left out (A-1 in the data notes: 10).
        ratios: Shares of train, valid, test, in order of the target's time.
        over: What the shares are of (A-2): "all" samples together, as the papers' programs do, or
            those of each "user" alone, so that every split knows every user with enough samples,
            but training on one user may lie after the test on another.
    """

    history: int = Field(10, ge=1)
    min_history: int = Field(10, ge=1)
    ratios: tuple[int, int, int] = (8, 1, 1)
    over: Literal["all", "user"] = "all"

    @model_validator(mode="after")
    def _fits(self) -> Split:
        if self.min_history > self.history:
            raise ValueError("min_history is larger than history")
        if min(self.ratios) < 0 or sum(self.ratios) == 0:
            raise ValueError("ratios are three numbers of at least 0, not all 0")
        return self


class Categories(Card):
    """Which categories the fairness metrics track.

    Attributes:
        top: How many of the most frequent ones, counted over training interactions.
        drop: Names left out before counting (roots, "unknown").
        remove: Names left out afterwards and not refilled (those contained in another).
    """

    top: int = Field(10, ge=0)
    drop: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class ListCard(Card):
    """How lists for re-ranking are made, and what a language model is told of users and items.

    Attributes:
        cap: Maximum interactions of a user that a language model reads (ML-1M 30, Amazon 15).
        positive_above: Label 1 for ratings above it (ML-1M 3, Amazon 4; A-12 in the data notes).
        min_user: Minimum interactions of a user (Amazon Books 60, else 0).
        min_item: Minimum interactions of an item (Amazon Books 40, else 0; A-13).
        by_day: Sort by day, UTC, and within it by line of the file, as KAR does for ML-1M (A-10).
        category_places: Which categories of an item are its attributes, by place in its list.
        brand: Whether the brand is an attribute, too, the first one.
        domain: What prompts are about.
        titles: How prompts write titles: as the reader gives them, with articles "fronted" (as
            MovieLens needs), or "cleaned" (as Amazon does).
        files: Raw files by role that the lists alone need.
        optional: Roles of files to leave out if only they are missing locally: "users", then no
            profile is told; "items", then there are neither titles nor attributes.
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
    """A data set: where it comes from and how it is prepared; `lists` for re-ranking."""

    title: str
    description: str
    license: str
    citation: str
    homepage: str | None = None
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
        """Return what decides the prepared data, and nothing else; it enters the data's key."""
        return self.model_dump(
            mode="json", include={"reader", "fields", "titles", "filters", "split", "categories"}
        )


class Rows(Card):
    """How many samples of each split a trial uses; an upper bound, None for all of them.

    For methods that re-rank lists, the bound is on the users of each part; all their lists count.
    """

    train: int | None = Field(None, ge=1)
    valid: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class Budget(Card):
    """How much a trial may spend: rows, and settings.

    Attributes:
        model: The backbone that it is meant for, which `--budget` selects with it.
        every: Settings of all methods that have them.
        tuning: The same for backbones tuned in "full" or by "lora" alone; learning rates differ.
        methods: Settings by method, over both.
    """

    description: str
    model: str | None = None
    rows: Rows = Rows()
    every: dict[str, Any] = {}
    tuning: dict[Literal["full", "lora"], dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}


class BoardRow(Card):
    """One line of a board: a method with settings.

    Attributes:
        method: Name of a module in `methods/`.
        label: What the page calls it; the method's name by default.
        settings: Over the budget's, under `--set`.
        ranked: False for a line that is shown but never best, second or tied.
        model: Its own language model, where that is not the board's.
    """

    method: str
    label: str = ""
    settings: dict[str, Any] = {}
    ranked: bool = True
    model: str | None = None

    @property
    def name(self) -> str:
        """The label, or the method's name where no label is given."""
        return self.label or self.method


class BoardCard(Card):
    """A leaderboard: rows × data sets × seeds, and the metrics that become its columns.

    Attributes:
        reference: Name of the row that the others are tested against; the first by default.
        strict: Refuse a data set with fewer rows than the budget asks for.
        data_seed: Seed of the draws; apart from the trials' seeds.
    """

    title: str
    description: str = ""
    datasets: tuple[str, ...] = Field(min_length=1)
    rows: tuple[BoardRow, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(3, ge=1)
    model: str | None = None
    budget: str = "paper"
    reference: str = ""
    strict: bool = False
    data_seed: int = 0

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
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rows are called {twice[0]!r}; give one of them another label")
        if self.reference and self.reference not in names:
            raise ValueError(f"the reference {self.reference!r} is not among the rows {names}")
        return self

    @property
    def reference_row(self) -> str:
        """Name of the row that the others are tested against."""
        return self.reference or self.rows[0].name


class SuiteCard(Card):
    """A named set of boards."""

    description: str
    boards: tuple[str, ...] = Field(min_length=1)
