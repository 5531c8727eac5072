"""`bench cache`: list the artifacts of a store and delete those that are no longer needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli import options as o
from bench.config.request import RESULTS
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.runner.garbage_collection import Garbage, StoreSurvey

MIB = 2**20
MIN_DIGITS = 4

app = typer.Typer(help="List and delete artifacts of the store.", no_args_is_help=True)


@app.command("ls")
def list_artifacts(store: Path = o.STORE, as_json: bool = o.AS_JSON) -> None:
    """List artifacts: kind, key, size in MiB, seconds to compute."""
    from tabulate import tabulate

    from bench.runner.store import Store

    lines = [
        {
            "kind": meta["kind"],
            "key": meta["key"],
            "mib": round(sum(file["size"] for file in meta["files"].values()) / MIB, 3),
            "seconds": meta["seconds"],
        }
        for meta in Store(store).entries()
    ]
    if as_json:
        o.print_json(lines)
    elif lines:
        print(tabulate(lines, headers="keys", floatfmt=".2f"))
    else:
        print(f"The store {store} is empty.")


@app.command("rm")
def remove(
    keys: list[str] = o.argument("KEY…", "Keys, or their first 4 digits or more."),
    yes: bool = o.flag("--yes", "Delete without asking."),
    store: Path = o.STORE,
) -> None:
    """Delete artifacts, after asking; a later run computes them again."""
    from bench.runner.store import Store

    opened = Store(store)
    entries = list(opened.entries())
    selected = []
    for prefix in keys:
        matches = [
            meta for meta in entries if len(prefix) >= MIN_DIGITS and meta["key"].startswith(prefix)
        ]
        if len(matches) != 1:
            number = "several artifacts" if matches else "no artifact"
            raise BenchError(f"{prefix!r} names {number}.", "To list keys: bench cache ls")
        selected += matches
    if not yes:
        names = ", ".join(f"{meta['kind']}/{meta['key'][:8]}" for meta in selected)
        typer.confirm(f"Delete {names}?", abort=True)
    freed = sum(opened.remove(meta["kind"], meta["key"]) for meta in selected)
    print(f"Deleted {len(selected)} artifacts, {freed / MIB:.1f} MiB.")


@app.command("gc")
def collect_garbage(
    keep_days: float = o.option("--keep-days", "N", "Keep what was used within N days.", 30, min=0),
    yes: bool = o.flag("--yes", "Delete; without it, only report."),
    with_assets: bool = o.flag("--assets", "Also delete downloaded files that no plan needs."),
    store: Path = o.STORE,
    results: list[Path] | None = o.option(
        "--results", "DIR", "Folder of results that use this store; name every one. Repeatable."
    ),
    searches: Path = o.SEARCHES,
    data_dir: Path | None = o.DATA_DIR,
    as_json: bool = o.AS_JSON,
) -> None:
    """Delete artifacts that no board that was run and no result needs and nobody used lately."""
    from bench.data.assets import cache_folder
    from bench.runner.garbage_collection import (
        find_needed,
        find_unused_assets,
        remove_garbage,
        survey_store,
    )
    from bench.runner.store import Store

    opened = Store(store)
    required = find_needed(results or [RESULTS], searches, data_dir)
    survey = survey_store(opened, required.keys, keep_days=keep_days)
    garbage = list(survey.garbage)
    if with_assets:
        garbage += find_unused_assets(cache_folder(), required.assets, keep_days=keep_days)
    in_use = [item for item in garbage if not remove_garbage(opened, item)] if yes else []
    garbage = [item for item in garbage if item not in in_use]
    if as_json:
        content = {
            "deleted": yes,
            "kinds": {
                kind: {"count": count, "bytes": size} for kind, count, size in _sum_kinds(garbage)
            },
            "bytes": sum(item.size for item in garbage),
            "held": [item.key for item in in_use],
            "kept": {"count": survey.num_kept, "bytes": survey.kept_bytes},
            "notes": required.notes,
        }
        o.print_json(content)
    else:
        _print_garbage(survey, garbage, in_use, required.notes, deleted=yes)


def _sum_kinds(garbage: Sequence[Garbage]) -> list[tuple[str, int, int]]:
    """Return kind, number and bytes of artifacts of each kind."""
    kinds = dict.fromkeys(item.kind for item in garbage)
    sizes = {kind: [item.size for item in garbage if item.kind == kind] for kind in kinds}
    return [(kind, len(sizes[kind]), sum(sizes[kind])) for kind in kinds]


def _print_garbage(
    survey: StoreSurvey,
    garbage: Sequence[Garbage],
    in_use: Sequence[Garbage],
    notes: Sequence[str],
    *,
    deleted: bool,
) -> None:
    from tabulate import tabulate

    total = sum(item.size for item in garbage) / MIB
    if garbage:
        headers = ("kind", "count", "bytes")
        print(tabulate(_sum_kinds(garbage), headers=headers, intfmt=",") + "\n")
    print(f"Kept: {survey.num_kept} artifacts, {survey.kept_bytes / MIB:.1f} MiB.")
    if in_use:
        print(f"In use, and not deleted: {', '.join(item.key for item in in_use)}.")
    for note in notes:
        print(f"Note: {note}")
    if deleted:
        print(f"Deleted: {len(garbage)}, {total:.1f} MiB.")
    elif garbage:
        print(f"This would free {total:.1f} MiB. Nothing was deleted: add --yes.")
    else:
        print("There is nothing to delete.")
