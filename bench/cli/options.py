"""Options that several commands share; a name means the same everywhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.completion import complete_cards, complete_methods, complete_trackers
from bench.config.request import PAGES as PAGES
from bench.config.request import RESULTS as RESULTS
from bench.config.request import STORE as STORE
from bench.config.request import DataOptions, ExecutionOptions, RunRequest
from bench.errors import BenchError, unknown

SPLITS = ("train", "valid", "test")


class ExecutorName(StrEnum):
    """Where units of work run."""

    ray = "ray"
    inline = "inline"


def parse_folder(text: str | Path) -> Path:
    """Parse a folder of this machine, or of a file system that it shares with others.

    Raises:
        BenchError: If it is a URL.
    """
    if "://" in str(text):
        raise BenchError(
            f"{text} is a URL, and folders must be paths.",
            "Mount it at the same path on all nodes, and give that path.",
        )
    return Path(text)


def parse_rows(text: str) -> dict[str, int]:
    """Parse `train=32,valid=8,test=16`; any part may be left out.

    Raises:
        BenchError: If there is no such split, or a number is not a positive integer.
    """
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in SPLITS:
            raise unknown("split in --rows", name, SPLITS)
        if not number.isdigit() or int(number) < 1:
            raise BenchError(
                f"--rows {part!r} is not a number of rows.",
                "Example: --rows train=512,valid=64,test=100",
            )
        counts[name] = int(number)
    return counts


def refuse_scale(text: str) -> str:
    """Refuse the former name of `--budget`.

    Raises:
        BenchError: Always.
    """
    raise BenchError("--scale is now called --budget.", f"Write --budget {text}.")


def print_json(content: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(content, indent=2))


def folder_option(name: str, help_: str, **more: Any) -> Any:
    """Return an option whose value is a folder."""
    return typer.Option(name, metavar="DIR", parser=parse_folder, help=help_, **more)


BoardName = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="NAME",
        help="Board (see bench list boards).",
        autocompletion=complete_cards("leaderboards"),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="CARD",
        help="Backbone (see bench list models).",
        autocompletion=complete_cards("models"),
    ),
]
ModelPath = Annotated[
    Path | None, folder_option("--model-path", "Folder with the weights of the backbone.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[METHOD.]PATH=VALUE", help="Change a setting. Repeatable."),
]
RowCounts = Annotated[
    dict,
    typer.Option(
        "--rows",
        metavar="train=N,valid=N,test=N",
        parser=parse_rows,
        show_default=False,
        help="Maximum number of samples per split.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="NAME",
        autocompletion=complete_cards("budgets"),
        help="Budget and its backbone instead of the board's: smoke, nano, …",
    ),
]
FormerScale = Annotated[str | None, typer.Option("--scale", parser=refuse_scale, hidden=True)]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="[DATASET:]ROLE=PATH",
        help="Use your own raw file for this role of a data set. Repeatable.",
    ),
]
StoreFolder = Annotated[Path, folder_option("--store", "Folder of the artifacts (stage outputs).")]
ResultsFolder = Annotated[
    Path, folder_option("--results", "Folder of the results, one JSON file per trial.")
]
PagesFolder = Annotated[Path, folder_option("--out", "Folder of the rendered pages.")]
DataDir = Annotated[
    Path | None, folder_option("--data-dir", "Folder of raw files, searched first.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Executor = Annotated[
    ExecutorName, typer.Option("--executor", help="Run on Ray, or in this process (inline).")
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Use a running Ray cluster."),
]
NumCpus = Annotated[
    int | None,
    typer.Option("--cpus", min=1, metavar="N", help="CPUs that Ray may use (default: all)."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", min=0.1, metavar="SECONDS", help="Time limit per unit of work."),
]
LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="TRACKER[=TARGET]",
        help="Report to mlflow[=URI], tensorboard[=DIR] or wandb[=PROJECT]. Repeatable.",
        autocompletion=complete_trackers,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", metavar="NAME", help="Metric, e.g. NDCG@5 (default: the board's). Repeatable."
    ),
]
OneDataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="Data set, if several were run."),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        metavar="NAME",
        help="Category that fairness metrics track (default: all). Repeatable.",
    ),
]

GROUPS: dict[type, dict[str, Any]] = {
    RunRequest: {
        "suite": Annotated[
            str | None,
            typer.Option(
                "--suite",
                metavar="NAME",
                help="All boards of a suite (see bench list suites).",
                autocompletion=complete_cards("suites"),
            ),
        ],
        "board": BoardName,
        "methods": Annotated[
            list[str] | None,
            typer.Option(
                "--method",
                metavar="NAME",
                help="Run only this row or method of the board, or add a method. Repeatable.",
                autocompletion=complete_methods,
            ),
        ],
        "datasets": Annotated[
            list[str] | None,
            typer.Option(
                "--dataset",
                metavar="NAME",
                help="Use this data set instead of the board's. Repeatable.",
                autocompletion=complete_cards("datasets"),
            ),
        ],
        "model": Model,
        "model_path": ModelPath,
        "seeds": Annotated[
            int | None,
            typer.Option("--seeds", min=1, metavar="N", help="Number of seeds, 0 to N-1."),
        ],
        "settings": Settings,
        "rows": RowCounts,
        "budget": Budget,
        "scale": FormerScale,
        "files": Files,
    },
    ExecutionOptions: {
        "executor": Executor,
        "address": Address,
        "num_cpus": NumCpus,
        "time_limit": TimeLimit,
        "store": StoreFolder,
        "results": ResultsFolder,
        "pages": PagesFolder,
        "data_dir": DataDir,
        "offline": Offline,
    },
    DataOptions: {
        "store": StoreFolder,
        "data_dir": DataDir,
        "files": Files,
        "offline": Offline,
    },
}


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is a key of `GROUPS` by the options of that group."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if parameter.annotation not in GROUPS:
            parameters.append(parameter.replace(kind=keyword))
            continue
        groups[name] = parameter.annotation
        defaults = vars(parameter.annotation())
        for option, annotation in GROUPS[parameter.annotation].items():
            default = defaults.get(option) or None
            parameters.append(
                inspect.Parameter(option, keyword, default=default, annotation=annotation)
            )

    def wrapped(**values: Any) -> None:
        for name, group in groups.items():
            options = {option: values.pop(option) for option in GROUPS[group]}
            values[name] = build_group(group, options)
        command(**values)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def build_group(group: type, options: dict[str, Any]) -> Any:
    """Build a group from the values of its options; one that was not given keeps its default."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if value is not None and name != "scale"
    }
    return group(**values)
