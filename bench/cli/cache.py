"""`bench cache`: what the store holds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError

app = typer.Typer(help="Look at the store of artefacts and delete from it.", no_args_is_help=True)


@app.command("ls")
def list_artefacts(store: o.StoreFolder = o.STORE, as_json: o.AsJson = False) -> None:
    """List artefacts: kind, key, MiB, seconds that making them took."""
    from tabulate import tabulate

    from bench.store import Store

    lines = [
        {
            "kind": meta["kind"],
            "key": meta["key"],
            "mib": round(sum(file["size"] for file in meta["files"].values()) / 2**20, 3),
            "seconds": meta["seconds"],
        }
        for meta in Store(store).entries()
    ]
    if as_json:
        print(json.dumps(lines, indent=2))
    elif lines:
        print(tabulate(lines, headers="keys", floatfmt=".2f"))
    else:
        print(f"The store {store} is empty.")


@app.command("rm")
def remove(
    keys: Annotated[
        list[str], typer.Argument(help="Keys or beginnings of keys, 4 digits or more.")
    ],
    store: o.StoreFolder = o.STORE,
) -> None:
    """Delete artefacts; a later run makes them again."""
    from bench.store import Store

    opened = Store(store)
    entries = list(opened.entries())
    chosen = []
    for start in keys:
        found = [meta for meta in entries if len(start) >= 4 and meta["key"].startswith(start)]
        if len(found) != 1:
            number = "several artefacts" if found else "no artefact"
            raise BenchError(f"{start!r} names {number}.", "Keys: bench cache ls")
        chosen += found
    freed = sum(opened.remove(meta["kind"], meta["key"]) for meta in chosen)
    print(f"Deleted {len(chosen)} artefacts, {freed / 2**20:.1f} MiB.")
