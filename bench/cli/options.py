"""Options that several commands share; a name means the same everywhere."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import completion
from bench.errors import BenchError


def folder(text: str | Path) -> Path:
    """Take a folder of this machine, or of a file system that it shares with others.

    Raises:
        BenchError: It is a URL.
    """
    if "://" in str(text):
        raise BenchError(
            f"{text} is a URL, and folders must be paths.",
            "Mount it, under the same path on all nodes, and give that path.",
        )
    return Path(text)


Suite = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="S",
        help="All boards of a suite (bench list suites).",
        autocompletion=completion.suites,
    ),
]
BoardName = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="B",
        help="One board (bench list boards).",
        autocompletion=completion.boards,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="M",
        help="Narrow a board to this row, or add one. Repeatable.",
        autocompletion=completion.methods,
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="D",
        help="Run on this data set instead. Repeatable.",
        autocompletion=completion.datasets,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="CARD",
        help="Backbone (bench list models).",
        autocompletion=completion.models,
    ),
]
ModelPath = Annotated[
    Path | None,
    typer.Option(
        "--model-path", metavar="DIR", parser=folder, help="Your own folder of the backbone."
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="[DATASET:]ROLE=PATH",
        help="Your own file in a role of the card, another version or a part. Repeatable.",
    ),
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", min=1, metavar="N", help="Number of seeds: 0 to N-1.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[METHOD.]KEY=VALUE", help="Change a setting. Repeatable."),
]
RowCounts = Annotated[
    str | None,
    typer.Option(
        "--rows", metavar="train=…,valid=…,test=…", help="Samples of each split, at most."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="BUDGET",
        autocompletion=completion.budgets,
        help="Budget, and its backbone, instead of the board's: smoke, nano, …",
    ),
]
StoreFolder = Annotated[
    Path, typer.Option("--store", metavar="DIR", parser=folder, help="Artifacts of stages.")
]
ResultsFolder = Annotated[
    Path, typer.Option("--results", metavar="DIR", parser=folder, help="Results, one JSON a trial.")
]
PagesFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", parser=folder, help="Rendered pages.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", parser=folder, help="Your own raw files, looked at first."
    ),
]
LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="TRACKER[=WHERE]",
        help="Also tell mlflow[=URI], tensorboard[=DIR] or wandb[=PROJECT]. Repeatable.",
        autocompletion=completion.trackers,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

STORE = Path(".bench/store")
RESULTS = Path("results")
PAGES = Path("leaderboards")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say what to run."""

    suite: Suite = None
    board: BoardName = None
    method: Methods = None
    dataset: Datasets = None
    model: Model = None
    model_path: ModelPath = None
    seeds: Seeds = None
    set_: Settings = None
    rows: RowCounts = None
    scale: Scale = None
    file: Files = None

    @property
    def names_something(self) -> bool:
        """Whether a suite, a board, a method or a data set was named."""
        return any((self.suite, self.board, self.method, self.dataset))


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Asked`, and hand them to it as its argument `asked`."""
    hints = typing.get_type_hints(Asked, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(Asked)
    ]
    own = [
        parameter.replace(kind=keyword)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "asked"
    ]

    def wrapped(**options: Any) -> None:
        asked = Asked(**{parameter.name: options.pop(parameter.name) for parameter in shared})
        command(asked=asked, **options)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {
        parameter.name: parameter.annotation for parameter in [*shared, *own]
    }
    return wrapped
