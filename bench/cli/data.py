"""`bench data`: prepare a data set and count it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

app = typer.Typer(help="Prepare data sets and look at them.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(help="Data sets (bench list datasets).")]


@app.command("prepare")
def prepare(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Fetch, read, filter and split data sets into the store."""
    _print_counts({name: _prepared(name, store, data_dir, offline) for name in names}, as_json)


@app.command("stats")
def stats(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Count users, items, interactions and samples, beside what the card expects."""
    from bench import plugins
    from bench.data.prepare import mismatches

    counted = {name: _prepared(name, store, data_dir, offline) for name in names}
    _print_counts(counted, as_json)
    for name, facts in counted.items():
        for sentence in mismatches(plugins.dataset_card(name), facts["counts"]):
            typer.echo(f"{name}: {sentence}", err=True)


def _prepared(name: str, store: Path, data_dir: Path | None, offline: bool) -> dict[str, Any]:
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
    meta = opened.meta(stage.kind, stage.key)
    assert meta is not None
    facts: dict[str, Any] = meta["facts"]
    return facts


def _print_counts(counted: dict[str, dict[str, Any]], as_json: bool) -> None:
    from tabulate import tabulate

    if as_json:
        print(json.dumps(counted, indent=2))
        return
    for name, facts in counted.items():
        print(f"{name}  (fingerprint {facts['fingerprint'][:12]})")
        print(tabulate(facts["counts"].items(), tablefmt="plain", intfmt=","))
        print()
