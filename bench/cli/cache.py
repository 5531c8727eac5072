"""`bench cache`: what the store holds, and what of it may go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.cli.tune import SEARCHES, SearchesFolder
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cli.selection import Selection
    from bench.runner.garbage_collection import Garbage, StoreSurvey

app = typer.Typer(help="Look at the store of artifacts and delete from it.", no_args_is_help=True)


@app.command("ls")
def list_artifacts(store: o.StoreFolder = o.STORE, as_json: o.AsJson = False) -> None:
    """List artifacts: kind, key, MiB, seconds that making them took."""
    from tabulate import tabulate

    from bench.runner.store import Store

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
    """Delete artifacts; a later run makes them again."""
    from bench.runner.store import Store

    opened = Store(store)
    entries = list(opened.entries())
    chosen = []
    for start in keys:
        found = [meta for meta in entries if len(start) >= 4 and meta["key"].startswith(start)]
        if len(found) != 1:
            number = "several artifacts" if found else "no artifact"
            raise BenchError(f"{start!r} names {number}.", "Keys: bench cache ls")
        chosen += found
    freed = sum(opened.remove(meta["kind"], meta["key"]) for meta in chosen)
    print(f"Deleted {len(chosen)} artifacts, {freed / 2**20:.1f} MiB.")


@app.command("gc")
def collect_garbage(
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, metavar="N", help="Keep what was used since.")
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is.")] = False,
    with_assets: Annotated[
        bool, typer.Option("--assets", help="Also fetched files that no such plan needs.")
    ] = False,
    store: o.StoreFolder = o.STORE,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results", metavar="DIR", help="Every folder of results of this store. Repeatable."
        ),
    ] = None,
    searches: SearchesFolder = SEARCHES,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Delete artifacts that no board that was run needs, no result names and nobody used lately."""
    from bench.data.assets import cache_folder
    from bench.runner.garbage_collection import find_unused_assets, remove_garbage, survey_store
    from bench.runner.store import Store

    opened = Store(store)
    keys, places, notes = _needed(results or [o.RESULTS], searches, data_dir)
    survey = survey_store(opened, keys, keep_days=keep_days)
    garbage = list(survey.garbage)
    if with_assets:
        garbage += find_unused_assets(cache_folder(), places, keep_days=keep_days)
    held = [item for item in garbage if not remove_garbage(opened, item)] if yes else []
    _print_garbage(survey, garbage, held, notes, deleted=yes, as_json=as_json)


def _needed(
    results: list[Path], searches: Path, data_dir: Path | None
) -> tuple[set[str], set[str], list[str]]:
    """Return the keys that boards and results name, places of assets, and notes on what is unsure.

    Raises:
        BenchError: A board or a result cannot be read, so that nobody knows what it needs.
    """
    from bench.plan.graph import build_graph
    from bench.results.schema import read_result
    from bench.runner.offline.needs import get_cache_path, list_assets

    keys: set[str] = set()
    places: set[str] = set()
    notes = []
    for selection in (one for folder in results for one in _boards(folder)):
        trials = _planned(selection, data_dir)
        stages = build_graph(trial for trial in trials if not trial.problem).stages
        keys |= stages.keys()
        places |= {
            get_cache_path(asset.file) for asset in list_assets(stages.values()) if asset.file
        }
        if problems := sum(bool(trial.problem) for trial in trials):
            notes.append(
                f"{problems} trials of the board {selection.boards[0].name} cannot be planned now; "
                "what they left stays only where a result or its date says so."
            )
    for folder in (*results, searches):
        for path in sorted(folder.rglob("seed-*.json")):
            keys |= {stage.key for stage in read_result(path).stages}
    return keys, places, notes


def _boards(results: Path) -> list[Selection]:
    from bench.cli.selection import RECORDS, recall

    found = recall(results)
    if len(found) != len(list((results / RECORDS).glob("*.json"))):
        raise BenchError(
            f"A board in {results / RECORDS} cannot be read, so nobody knows what it needs.",
            "Run it again, or remove its record.",
        )
    return found


def _planned(selection: Selection, data_dir: Path | None) -> list[Any]:
    from bench.cli.selection import cells, distinct

    try:
        return distinct(cells(selection, data_dir=data_dir))
    except BenchError as error:
        raise BenchError(
            f"The board {selection.boards[0].name} that was run can no longer be planned: "
            f"{error.message}",
            f"{error.hint} If it is not wanted any more, remove its record in boards/.".strip(),
        ) from error


def _print_garbage(
    survey: StoreSurvey,
    garbage: list[Garbage],
    held: list[Garbage],
    notes: list[str],
    *,
    deleted: bool,
    as_json: bool,
) -> None:
    from tabulate import tabulate

    gone = [item for item in garbage if item not in held]
    kinds = {
        kind: [item.size for item in gone if item.kind == kind]
        for kind in dict.fromkeys(item.kind for item in gone)
    }
    total = sum(item.size for item in gone)
    if as_json:
        content = {
            "deleted": deleted,
            "kinds": {
                kind: {"count": len(sizes), "bytes": sum(sizes)} for kind, sizes in kinds.items()
            },
            "bytes": total,
            "held": [item.key for item in held],
            "kept": {"count": survey.num_kept, "bytes": survey.kept_bytes},
            "notes": notes,
        }
        print(json.dumps(content, indent=2))
        return
    if kinds:
        lines = [(kind, len(sizes), sum(sizes)) for kind, sizes in kinds.items()]
        print(tabulate(lines, headers=("kind", "count", "bytes"), intfmt=",") + "\n")
    print(f"Kept: {survey.num_kept} artifacts, {survey.kept_bytes / 2**20:.1f} MiB.")
    if held:
        print(f"In use, and left: {', '.join(item.key for item in held)}.")
    for note in notes:
        print(f"Note: {note}")
    if deleted:
        print(f"Deleted: {len(gone)}, {total / 2**20:.1f} MiB.")
    elif gone:
        print(f"This would free {total / 2**20:.1f} MiB. Nothing was deleted: add --yes.")
    else:
        print("There is nothing to delete.")
