"""What to run and how, as plain values: what a command line or a script asks for.

Importing this module costs nothing, so that the command line and `import bench` stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

STORE = Path(".bench/store")
RESULTS = Path("results")
PAGES = Path(".bench/pages")
PUBLISHED = Path("leaderboards")
SEARCHES = Path(".bench/tuning")
PROBES = Path(".bench/probes")
NUM_COMPARISONS = 50
"""Comparisons per task of a probe."""
Tracker = Literal["mlflow", "tensorboard", "wandb"]
TRACKERS = get_args(Tracker)
DataFormat = Literal["recbole", "d3", "sprec", "croissant"]
ExportFormat = Literal[DataFormat, "cases", "hub", "trec", "every-eval-ever", Tracker]
Relationship = Literal["first_party", "third_party", "collaborative", "other"]
"""Of an evaluator to the methods, in the vocabulary of Every Eval Ever."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Which boards to run, and what to change about them.

    One of `suite`, `board`, or `methods` with `datasets` is required; the rest changes boards.

    Attributes:
        name: Name of the pages of a board that is changed or put together here.
        suite: Name of a suite; all its boards.
        board: Name of a board.
        methods: Rows or methods; only these rows of a board, or a new row for a method that the
            board does not have.
        floors: Methods on item IDs to add as rows of the floor, which train on all rows.
        datasets: Names of data sets, instead of the board's; OLD=NEW says that NEW is in place of
            the board's OLD, whose published values are shown.
        model: Card of the backbone, ORG/NAME[@REV] on the hub, or a folder, instead of the board's.
        model_paths: `CARD=DIR`, folders with the weights of backbones.
        model_settings: FIELD=VALUE for `dtype` or `quantization` of the backbones.
        seeds: Number of seeds, from 0.
        data_seed: Seed of the sampled rows, instead of the board's.
        settings: `[METHOD.]PATH=VALUE`, over all other settings.
        rows: Maximum number of samples per split (`train`, `valid`, `test`), or "all", over the
            budget's.
        exclude_seen: Whether to remove the items of a test case's own history from its list.
        order_test: Whether to rank each row's test cases also with shuffled histories.
        budget: Name of a budget, with its backbone, instead of the board's.
        files: `[DATASET:]ROLE=PATH`, raw files instead of the ones that a card describes.
        rehearse: Whether to run everything in minutes: generated data, a tiny model, one seed.
        until_decided: `METRIC=BOUND`: add seeds until each row differs from its reference by less
            or by more than the bound.
        max_seeds: At most this number of seeds with `until_decided`.
    """

    name: str | None = None
    suite: str | None = None
    board: str | None = None
    methods: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    model: str | None = None
    model_paths: tuple[str, ...] = ()
    model_settings: tuple[str, ...] = ()
    seeds: int | None = None
    data_seed: int | None = None
    settings: tuple[str, ...] = ()
    rows: Mapping[str, int | Literal["all"]] = field(default_factory=dict)
    exclude_seen: bool = False
    order_test: bool = False
    budget: str | None = None
    files: tuple[str, ...] = ()
    rehearse: bool = False
    until_decided: str | None = None
    max_seeds: int | None = None

    def __post_init__(self) -> None:
        """Drop repetitions."""
        for name in ("methods", "floors", "datasets"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))

    @property
    def names_boards(self) -> bool:
        """Whether it names a suite, a board, a method or a data set."""
        return any((self.suite, self.board, self.methods, self.datasets))


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where a run computes, reads and writes.

    Attributes:
        executor: "ray", or "inline" for this process.
        address: Address of a running Ray cluster; None starts Ray on this machine.
        num_cpus: CPUs that Ray may use; None for all.
        time_limit: Maximum seconds per unit of work; None for limits from estimates.
        pages: Folder of the rendered pages.
        offline: Whether to never use the network.
        keep_going: Whether to run what can run if something is missing that cannot be fetched.
    """

    executor: Literal["ray", "inline"] = "ray"
    address: str | None = None
    num_cpus: int | None = None
    time_limit: float | None = None
    store: Path = STORE
    results: Path = RESULTS
    pages: Path = PAGES
    data_dir: Path | None = None
    offline: bool = False
    keep_going: bool = False


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where prepared data are stored, and where their raw files come from.

    Attributes:
        files: `[DATASET:]ROLE=PATH`, raw files instead of the ones that a card describes.
        offline: Whether to never use the network.
    """

    store: Path = STORE
    data_dir: Path | None = None
    files: tuple[str, ...] = ()
    offline: bool = False
