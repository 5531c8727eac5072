"""`bench data`: fetch, prepare, describe, check and export data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.data.prepared import Prepared

app = typer.Typer(help="Fetch, prepare, describe, check, export data.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(help="Data sets (bench list datasets).")]


class Form(StrEnum):
    """Forms that prepared data are exported to."""

    recbole = "recbole"
    d3 = "d3"
    sprec = "sprec"
    trec = "trec"


@app.command("list")
def list_datasets(data_dir: o.DataDir = None, as_json: o.AsJson = False) -> None:
    """List data sets: raw files at hand or to be fetched, and their licence."""
    from tabulate import tabulate

    from bench import plugins
    from bench.data.assets import local_file

    lines = []
    for line in plugins.list_cards("datasets"):
        if line.error:
            lines.append({"name": line.name, "files": "", "licence": f"BROKEN: {line.error}"})
            continue
        card = plugins.dataset_card(line.name)
        here = sum(local_file(file, data_dir) is not None for file in card.files.values())
        files = f"{here} of {len(card.files)} at hand" if card.files else "generated"
        lines.append({"name": line.name, "files": files, "licence": card.licence})
    if as_json:
        print(json.dumps(lines, indent=2))
    else:
        print(tabulate(lines, headers="keys", maxcolwidths=[None, None, 70]))


@app.command("fetch")
def fetch(names: Names, data_dir: o.DataDir = None, offline: o.Offline = False) -> None:
    """Fetch the raw files of data sets into the cache, checked against their checksums."""
    from bench import plugins
    from bench.data.assets import checksums
    from bench.stages.prepare import fetch_raw

    for name in names:
        known = checksums(plugins.dataset_card(name), data_dir)
        for path in fetch_raw(name, known, data_dir=data_dir, offline=offline).values():
            print(path)


@app.command("prepare")
def prepare(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Read, filter and split data sets into the store, and count them."""
    opened = {name: prepared_data(name, store, data_dir, offline) for name in names}

    def text(data: Prepared) -> str:
        return f"fingerprint  {data.fingerprint}\n{_table(data.counts)}"

    _print(
        opened,
        as_json,
        lambda data: {"fingerprint": data.fingerprint, "counts": dict(data.counts)},
        text,
    )


@app.command("stats")
def stats(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Describe data sets: sequences by definition, density, popularity, categories, titles."""
    from bench.data.description import describe

    def text(data: Prepared) -> str:
        parts = []
        for name, value in describe(data).as_dict().items():
            title = name.replace("_", " ")
            shown = _table(value) if isinstance(value, dict) else f"{value:.4f}"
            parts.append(f"{title}:\n{shown}" if isinstance(value, dict) else f"{title}: {shown}")
        return "\n\n".join(parts)

    opened = {name: prepared_data(name, store, data_dir, offline) for name in names}
    _print(opened, as_json, lambda data: describe(data).as_dict(), text)


@app.command("verify")
def verify(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Check expected counts and leaks. Exit code 1 if a check fails."""
    from bench import plugins
    from bench.data.verification import verify as check

    found = {
        name: check(prepared_data(name, store, data_dir, offline), plugins.dataset_card(name))
        for name in names
    }
    if as_json:
        print(json.dumps({name: [vars(one) for one in all_] for name, all_ in found.items()}))
    else:
        for name, findings in found.items():
            print(name)
            for one in findings:
                print(f"  {one.verdict:<6}{one.check}: {one.text}")
    failing = any(one.verdict == "fails" for findings in found.values() for one in findings)
    raise typer.Exit(1 if failing else 0)


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="A data set.")],
    form: Annotated[Form, typer.Option("--format", help="Whose form.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where to write.")],
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
) -> None:
    """Write a prepared data set in another project's form."""
    from bench import plugins
    from bench.export import export as write

    nouns = plugins.dataset_card(name).nouns
    data = prepared_data(name, store, data_dir, offline)
    for path in write(data, form.value, into, name=name, nouns=nouns):
        print(path)


def prepared_data(name: str, store: Path, data_dir: Path | None, offline: bool) -> Prepared:
    """Return a data set from the store, prepared first where it is not there.

    Raises:
        BenchError: Where its files cannot be had, or hold no such data.
    """
    from bench.data.prepared import read
    from bench.graph import Unit
    from bench.runner.work import order, work
    from bench.store import Store
    from bench.trials import prepare_stage

    stage = prepare_stage(name, data_dir)
    unit = Unit(stages=(stage,), parents=frozenset())
    opened = Store(store)
    given = order(unit, store=opened.root, data_dir=data_dir, offline=offline, divisor=1)
    outcome = work(given)
    if outcome.failure is not None:
        raise BenchError(outcome.message)
    return read(opened.open(stage.kind, stage.key))


def _table(values: Any) -> str:
    from tabulate import tabulate

    return tabulate(values.items(), tablefmt="plain", intfmt=",", floatfmt=",.4g")


def _print(
    opened: dict[str, Prepared],
    as_json: bool,
    content: Callable[[Prepared], Any],
    text: Callable[[Prepared], str],
) -> None:
    if as_json:
        print(json.dumps({name: content(data) for name, data in opened.items()}, indent=2))
        return
    for name, data in opened.items():
        print(f"{name}\n\n{text(data)}\n")
