"""Options that several commands share; a name means the same everywhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import typer

from bench.cli.output import write_document
from bench.config import plugins
from bench.config import request as defaults
from bench.config.request import DataOptions as DataOptions
from bench.config.request import ExecutionOptions as ExecutionOptions
from bench.config.request import RunRequest as RunRequest
from bench.errors import BenchError, unknown


def complete(list_names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return a function that completes one of these names in the shell."""

    def find_names(incomplete: str) -> list[str]:
        try:
            return [name for name in list_names() if name.startswith(incomplete)]
        except BenchError:  # a broken $BENCH_PATH is reported when a command runs, not at a tab
            return []

    return find_names


def complete_cards(kind: str) -> Callable[[str], list[str]]:
    """Return a function that completes names of cards of a kind, such as "datasets"."""
    return complete(lambda: sorted(plugins.card_paths(kind)))


complete_methods = complete(plugins.method_names)
complete_trackers = complete(lambda: defaults.TRACKERS)
SPLITS = ("train", "valid", "test")
REQUIRED: Any = ...


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


def option(flag: str, metavar: str | None, help_: str, default: Any = None, **more: Any) -> Any:
    """Return an option that takes a value."""
    return typer.Option(default, flag, metavar=metavar, help=help_, **more)


def flag(name: str, help_: str) -> Any:
    """Return an option that takes no value."""
    return typer.Option(False, name, help=help_)


def argument(metavar: str | None, help_: str, default: Any = REQUIRED) -> Any:
    """Return an argument."""
    return typer.Argument(default, metavar=metavar, help=help_)


def folder_option(flag: str, help_: str, default: Path | None = None) -> Any:
    """Return an option whose value is a folder."""
    return option(flag, "DIR", help_, default, parser=parse_folder)


def card_option(flag: str, kind: str, help_: str, metavar: str = "NAME", **more: Any) -> Any:
    """Return an option whose value is the name of a card, which the shell completes."""
    return option(flag, metavar, help_, autocompletion=complete_cards(kind), **more)


BOARD = card_option("--board", "leaderboards", "Board (see bench list boards).")
MODEL = card_option(
    "--model", "models", "Backbone: a card, ORG/NAME[@REV] of the hub, or a folder.", "MODEL"
)
MODEL_PATHS = option(
    "--model-path", "CARD=DIR", "Folder with the weights of a backbone. Repeatable."
)
SETTINGS = option(
    "--set",
    "[METHOD.]PATH=VALUE",
    "Change a setting of a method, or of all that have it. Repeatable.",
)
ROWS = option(
    "--rows",
    "train=N,valid=N,test=N",
    'Maximum number of samples per split, or "all" for any or every split.',
    parser=parse_rows,
    show_default=False,
)
BUDGET = card_option(
    "--budget", "budgets", "Budget and its backbone instead of the board's: smoke, nano, …"
)
FORMER_SCALE = typer.Option(None, "--scale", parser=refuse_scale, hidden=True)
FILES = option(
    "--file",
    "[DATASET:]ROLE=PATH",
    "Use your own raw file for this role of a data set. Repeatable.",
)
STORE = folder_option("--store", "Folder of the artifacts (stage outputs).", defaults.STORE)
RESULTS = folder_option(
    "--results", "Folder of the results, one JSON file per trial.", defaults.RESULTS
)
PAGES = folder_option("--out", "Folder of the rendered pages.", defaults.PAGES)
SEARCHES = folder_option(
    "--searches", "Folder of results on validation and of Tune's state.", defaults.SEARCHES
)
DATA_DIR = folder_option("--data-dir", "Folder of raw files, searched first.")
OFFLINE = flag("--offline", "Never use the network.")
ADDRESS = option("--address", "HOST:PORT", "Use a running Ray cluster.")
NUM_CPUS = option("--cpus", "N", "CPUs that Ray may use (default: all).", min=1)
TIME_LIMIT = option(
    "--time-limit",
    "SECONDS",
    "Time limit per unit of work (default: from its estimate). Inline, it cannot stop C code.",
    min=0.1,
)
LOG_TO = option(
    "--log-to",
    "TRACKER[=TARGET]",
    "Report to mlflow[=URI], tensorboard[=DIR] or wandb[=PROJECT]. Repeatable.",
    autocompletion=complete_trackers,
)
AS_JSON = flag("--json", "Print one JSON document.")
METRICS = option("--metric", "NAME", "Metric, e.g. NDCG@5 (default: the board's). Repeatable.")
DATASET = option("--dataset", "NAME", "Data set, if several were run.")
EQUIVALENCE = option(
    "--equivalence",
    "METRIC=BOUND",
    "Difference up to which the two count as equivalent, e.g. NDCG@5=0.005 (default: the "
    "board's). Repeatable.",
)
CATEGORIES = option(
    "--category", "NAME", "Category that fairness metrics track (default: all). Repeatable."
)

GROUPS: dict[type, dict[str, Any]] = {
    RunRequest: {
        "name": option("--name", "NAME", "Name of the pages (default: by what is run)."),
        "suite": card_option("--suite", "suites", "All boards of a suite (see bench list suites)."),
        "board": BOARD,
        "methods": option(
            "--method",
            "NAME",
            "Run only this row or method of the board, or add a method. Repeatable.",
            autocompletion=complete_methods,
        ),
        "floors": option(
            "--floor",
            "METHOD",
            "Add a row of an item-ID method that trains on all rows, whatever the budget, e.g. "
            "itemknn. Repeatable.",
            autocompletion=complete_methods,
        ),
        "datasets": card_option(
            "--dataset",
            "datasets",
            "Use this data set instead of the board's, OLD=NEW: in place of OLD. Repeatable.",
            "[OLD=]NAME",
        ),
        "model": MODEL,
        "model_paths": MODEL_PATHS,
        "model_settings": option(
            "--model-set", "FIELD=VALUE", "Change a backbone's dtype or quantization."
        ),
        "seeds": option("--seeds", "N", "Number of seeds, 0 to N-1.", min=1, max=10_000),
        "data_seed": option(
            "--data-seed", "N", "Seed of the sampled rows (default: the board's).", min=0
        ),
        "settings": SETTINGS,
        "rows": ROWS,
        "exclude_seen": flag("--exclude-seen", "Recommend no item of the case's own history."),
        "order_test": flag("--order-test", "Rank also with shuffled test histories."),
        "budget": BUDGET,
        "scale": FORMER_SCALE,
        "files": FILES,
        "rehearse": flag("--rehearse", "All rows in minutes: generated data, a tiny model."),
        "until_decided": option(
            "--until-decided",
            "METRIC=BOUND",
            "Add seeds until each row differs from its reference by less, or by more, than the "
            "bound, e.g. NDCG@5=0.005.",
        ),
        "max_seeds": option(
            "--max-seeds", "N", "At most this number of seeds (default: 10).", min=2
        ),
    },
    ExecutionOptions: {
        "executor": option("--executor", None, "Run on Ray, or in this process (inline).", "ray"),
        "address": ADDRESS,
        "num_cpus": NUM_CPUS,
        "time_limit": TIME_LIMIT,
        "store": STORE,
        "results": RESULTS,
        "pages": PAGES,
        "data_dir": DATA_DIR,
        "offline": OFFLINE,
        "keep_going": flag("--keep-going", "Run what can run if something is missing."),
    },
    DataOptions: {"store": STORE, "data_dir": DATA_DIR, "files": FILES, "offline": OFFLINE},
}
"""Options by the field of a group; `scale` is none, and only refused."""


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is a key of `GROUPS` by the options of that group."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.annotation in GROUPS:
            groups[parameter.name] = parameter.annotation
            parameters += _list_parameters(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def wrapped(**values: Any) -> None:
        for name, group in groups.items():
            options = {option: values.pop(option) for option in GROUPS[group]}
            values[name] = group(
                **{
                    option: tuple(value) if isinstance(value, list) else value
                    for option, value in options.items()
                    if value is not None and option != "scale"
                }
            )
        command(**values)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def _list_parameters(group: type) -> Iterator[inspect.Parameter]:
    """Yield a parameter per option, of its field's type where typer knows that."""
    types = get_type_hints(group)
    for name, default in GROUPS[group].items():
        type_ = types.get(name, str | None)
        if get_origin(type_) in (tuple, Mapping):
            type_ = list[str] | None if get_origin(type_) is tuple else dict[str, Any] | None
        keyword = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(name, keyword, default=default, annotation=type_)
