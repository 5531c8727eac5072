"""Options that several commands share; a name means the same everywhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.completion import complete_cards, complete_methods, complete_trackers
from bench.cli.output import write_document
from bench.config.request import PAGES as PAGES
from bench.config.request import RESULTS as RESULTS
from bench.config.request import STORE as STORE
from bench.config.request import DataOptions as DataOptions
from bench.config.request import ExecutionOptions as ExecutionOptions
from bench.config.request import RunRequest as RunRequest
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


def parse_rows(text: str) -> dict[str, int | Literal["all"]]:
    """Parse `train=32,valid=8,test=all`, of which any part may be left out, or `all`.

    Raises:
        BenchError: If there is no such split, or a number is not a positive integer.
    """
    if text.strip() == "all":
        return dict.fromkeys(SPLITS, "all")
    counts: dict[str, int | Literal["all"]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in SPLITS:
            raise unknown("split in --rows", name, SPLITS)
        if number == "all":
            counts[name] = "all"
            continue
        if not number.isdigit() or int(number) < 1:
            raise BenchError(
                f"--rows {part!r} is not a number of rows.",
                "Example: --rows train=512,valid=64,test=all, or --rows all",
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
    write_document(json.dumps(content, indent=2, default=str))


def option(flag: str, metavar: str, help_: str, **more: Any) -> Any:
    """Return an option that takes a value."""
    return typer.Option(flag, metavar=metavar, help=help_, **more)


def folder_option(flag: str, help_: str) -> Any:
    """Return an option whose value is a folder."""
    return typer.Option(flag, metavar="DIR", parser=parse_folder, help=help_)


def card_option(flag: str, kind: str, help_: str, metavar: str = "NAME") -> Any:
    """Return an option whose value is the name of a card, which the shell completes."""
    return option(flag, metavar, help_, autocompletion=complete_cards(kind))


Text = str | None
Texts = list[str] | None

BoardName = Annotated[
    Text, card_option("--board", "leaderboards", "Board (see bench list boards).")
]
Model = Annotated[
    Text,
    card_option(
        "--model", "models", "Backbone: a card, ORG/NAME[@REV] of the hub, or a folder.", "MODEL"
    ),
]
ModelPaths = Annotated[
    Texts,
    option("--model-path", "CARD=DIR", "Folder with the weights of a backbone. Repeatable."),
]
Settings = Annotated[
    Texts,
    option(
        "--set",
        "[METHOD.]PATH=VALUE",
        "Change a setting of a method, or of all that have it. Repeatable.",
    ),
]
RowCounts = Annotated[
    dict[str, Any] | None,
    option(
        "--rows",
        "train=N,valid=N,test=N",
        'Maximum number of samples per split, or "all" for any or every split.',
        parser=parse_rows,
        show_default=False,
    ),
]
Budget = Annotated[
    Text,
    card_option(
        "--budget", "budgets", "Budget and its backbone instead of the board's: smoke, nano, …"
    ),
]
FormerScale = Annotated[Text, typer.Option("--scale", parser=refuse_scale, hidden=True)]
Files = Annotated[
    Texts,
    option(
        "--file",
        "[DATASET:]ROLE=PATH",
        "Use your own raw file for this role of a data set. Repeatable.",
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
Address = Annotated[Text, option("--address", "HOST:PORT", "Use a running Ray cluster.")]
NumCpus = Annotated[
    int | None, option("--cpus", "N", "CPUs that Ray may use (default: all).", min=1)
]
TimeLimit = Annotated[
    float | None,
    option(
        "--time-limit",
        "SECONDS",
        "Time limit per unit of work (default: from its estimate). Inline, it cannot stop C code.",
        min=0.1,
    ),
]
LogTo = Annotated[
    Texts,
    option(
        "--log-to",
        "TRACKER[=TARGET]",
        "Report to mlflow[=URI], tensorboard[=DIR] or wandb[=PROJECT]. Repeatable.",
        autocompletion=complete_trackers,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Metrics = Annotated[
    Texts, option("--metric", "NAME", "Metric, e.g. NDCG@5 (default: the board's). Repeatable.")
]
OneDataset = Annotated[Text, option("--dataset", "NAME", "Data set, if several were run.")]
Equivalence = Annotated[
    Texts,
    option(
        "--equivalence",
        "METRIC=BOUND",
        "Difference up to which the two count as equivalent, e.g. NDCG@5=0.005 (default: the "
        "board's). Repeatable.",
    ),
]
Categories = Annotated[
    Texts,
    option(
        "--category",
        "NAME",
        "Category that fairness metrics track (default: all). Repeatable.",
    ),
]

GROUPS: dict[type, dict[str, Any]] = {
    RunRequest: {
        "name": Annotated[
            Text, option("--name", "NAME", "Name of the pages (default: by what is run).")
        ],
        "suite": Annotated[
            Text, card_option("--suite", "suites", "All boards of a suite (see bench list suites).")
        ],
        "board": BoardName,
        "methods": Annotated[
            Texts,
            option(
                "--method",
                "NAME",
                "Run only this row or method of the board, or add a method. Repeatable.",
                autocompletion=complete_methods,
            ),
        ],
        "floors": Annotated[
            Texts,
            option(
                "--floor",
                "METHOD",
                "Add a row of an item-ID method that trains on all rows, whatever the budget, e.g. "
                "itemknn. Repeatable.",
                autocompletion=complete_methods,
            ),
        ],
        "datasets": Annotated[
            Texts,
            card_option(
                "--dataset",
                "datasets",
                "Use this data set instead of the board's, OLD=NEW: in place of OLD. Repeatable.",
                "[OLD=]NAME",
            ),
        ],
        "model": Model,
        "model_paths": ModelPaths,
        "model_settings": Annotated[
            Texts,
            option("--model-set", "FIELD=VALUE", "Change a backbone's dtype or quantization."),
        ],
        "seeds": Annotated[
            int | None, option("--seeds", "N", "Number of seeds, 0 to N-1.", min=1, max=10_000)
        ],
        "data_seed": Annotated[
            int | None,
            option("--data-seed", "N", "Seed of the sampled rows (default: the board's).", min=0),
        ],
        "settings": Settings,
        "rows": RowCounts,
        "exclude_seen": Annotated[
            bool,
            typer.Option("--exclude-seen", help="Recommend no item of the case's own history."),
        ],
        "order_test": Annotated[
            bool,
            typer.Option("--order-test", help="Rank also with shuffled test histories."),
        ],
        "budget": Budget,
        "scale": FormerScale,
        "files": Files,
        "rehearse": Annotated[
            bool,
            typer.Option("--rehearse", help="All rows in minutes: generated data, a tiny model."),
        ],
        "until_decided": Annotated[
            Text,
            option(
                "--until-decided",
                "METRIC=BOUND",
                "Add seeds until each row differs from its reference by less, or by more, than the "
                "bound, e.g. NDCG@5=0.005.",
            ),
        ],
        "max_seeds": Annotated[
            int | None,
            option("--max-seeds", "N", "At most this number of seeds (default: 10).", min=2),
        ],
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
        "keep_going": Annotated[
            bool, typer.Option("--keep-going", help="Run what can run if something is missing.")
        ],
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
