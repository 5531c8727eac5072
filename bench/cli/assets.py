"""`bench assets`: what a run needs from outside, and taking it to a machine without a network."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.plan import Stage
    from bench.plan.trials import Trial
    from bench.runner.offline.needs import Asset
    from bench.runner.offline.pack import Packing

app = typer.Typer(
    help="Look at what a run needs from outside, and take it along offline.", no_args_is_help=True
)

MIB = 2**20


@app.command("ls")
@o.asking
def list_assets(asked: o.Asked, data_dir: o.DataDir = None, as_json: o.AsJson = False) -> None:
    """List what a run needs: raw files, encoders, backbones; whether at hand, how large."""
    from tabulate import tabulate

    from bench.runner.offline.needs import at_hand, needed

    stages, notes = _planned(asked, data_dir)
    lines: list[dict[str, Any]] = []
    for asset in needed(stages):
        paths = at_hand(asset, data_dir).values()
        size = sum(path.stat().st_size for path in paths) or (asset.file and asset.file.size)
        lines.append(
            {
                "kind": asset.kind,
                "of": asset.owner,
                "name": asset.name,
                "at hand": bool(paths),
                "bytes": size or None,
                "license": asset.license,
            }
        )
    if as_json:
        print(json.dumps({"assets": lines, "notes": notes}, indent=2))
        return
    table = [
        (
            *(line[key] for key in ("kind", "of", "name")),
            "yes" if line["at hand"] else "no",
            line["bytes"] or "unknown",
            line["license"],
        )
        for line in lines
    ]
    if table:
        headers = ("kind", "of", "name", "at hand", "bytes", "license")
        print(tabulate(table, headers=headers, intfmt=",", maxcolwidths=[None] * 5 + [60]))
        absent = sum(not line["at hand"] for line in lines)
        known = sum(line["bytes"] or 0 for line in lines) / MIB
        print(f"\n{len(lines)} assets, {absent} not at hand; {known:.1f} MiB as far as known.")
    else:
        print("Nothing is needed from outside.")
    _print_notes(notes)


@app.command("pack")
@o.asking
def pack(
    asked: o.Asked,
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="A new folder: the pack.")],
    part_size: Annotated[
        str | None,
        typer.Option("--part-size", metavar="SIZE", help="Cut files into parts: 200MB, 64MiB."),
    ] = None,
    wheels: Annotated[
        bool, typer.Option("--wheels/--no-wheels", help="Also this project and its dependencies.")
    ] = False,
    constraints: Annotated[
        Path | None,
        typer.Option("--constraints", metavar="FILE", help="Versions of the wheels, as for pip."),
    ] = None,
    prepared: Annotated[
        bool, typer.Option("--prepared", help="Also the prepared data, from the store.")
    ] = False,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
) -> None:
    """Write a folder with all that a run needs offline; what is missing is fetched first."""
    from bench.runner.offline.needs import needed
    from bench.runner.offline.pack import packing

    if constraints is not None and not wheels:
        raise BenchError("--constraints goes with --wheels.", "Add --wheels, or leave it out.")
    limit = None if part_size is None else _bytes(part_size)
    stages, notes = _planned(asked, data_dir)
    with packing(into, limit) as filling:
        for asset in needed(stages):
            _add(filling, asset, data_dir, offline)
        for stage in stages if prepared else ():
            _add_prepared(filling, stage, store, data_dir, offline)
        if wheels:
            _add_wheels(filling, constraints)
        manifest = filling.finish(_spelled(asked), notes)
    print(f"\n{len(manifest.files)} files, {manifest.size / MIB:.1f} MiB in {into}.")
    restricted = sorted(
        {file.owner for file in manifest.files if file.redistribution == "forbidden"}
    )
    if restricted:
        print(
            f"For your own machines only: the license of {', '.join(restricted)} forbids passing "
            "the files on."
        )
    _print_notes(manifest.notes)
    print(f"There: bench assets unpack {shlex.quote(into.name)}; {into / 'README.txt'} says more.")


@app.command("unpack")
def unpack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A pack.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="CACHE", help="Folder of the files; your cache by default."),
    ] = None,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Test every checksum of a pack, then put its files where `bench run --offline` finds them."""
    from bench.data.assets import cache_folder
    from bench.runner.offline.manifest import read_manifest
    from bench.runner.offline.unpack import Places, unpack
    from bench.runner.offline.wheels import wheel_commands
    from bench.runner.store import Store

    manifest = read_manifest(folder)
    hub = _hub_cache(into) if manifest.of("hub") else Path()
    places = Places(assets=into or cache_folder(), hub=hub, store=Store(store))
    done = unpack(folder, manifest, places)
    print(
        f"{done['files']} files into {places.assets}, {done['artifacts']} artifacts into {store}; "
        f"{done['there']} were there."
    )
    if commands := wheel_commands(manifest, shlex.quote(str(folder / "wheels"))):
        print(f"The wheels are for Python {manifest.python} on {manifest.system}. To install them:")
        print("\n".join(f"  {line}" for line in commands))
    if into is not None:
        print("Before a run:")
        print(f"  export BENCH_CACHE={shlex.quote(str(into.absolute()))}")
        if manifest.of("hub"):
            print(f"  export HF_HUB_CACHE={shlex.quote(str(hub.absolute()))}")
    _print_notes(manifest.notes)


def _hub_cache(into: Path | None) -> Path:
    if into is not None:
        return into / "hub"
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _planned(asked: o.Asked, data_dir: Path | None) -> tuple[list[Stage], list[str]]:
    """Return the stages of a run, and what a pack of it cannot hold, in sentences."""
    from bench.cli.selection import cells, distinct, select
    from bench.plan.graph import build
    from bench.runner.offline.needs import left_out

    trials: list[Trial] = distinct(cells(select(asked), data_dir=data_dir))
    stages = list(build(trial for trial in trials if not trial.problem).stages.values())
    problems = [f"{one.id} cannot be planned: {one.problem}" for one in trials if one.problem]
    return stages, [*left_out(stages), *problems]


def _bytes(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise BenchError(
            f"--part-size {text!r} is no size.", "Examples: --part-size 200MB, 64MiB."
        ) from error
    if size < 1:
        raise BenchError("--part-size is at least one byte.", "Example: --part-size 200MB.")
    return size


def _add(filling: Packing, asset: Asset, data_dir: Path | None, offline: bool) -> None:
    from bench.runner.offline.needs import fetch

    size = filling.add_asset(asset, fetch(asset, data_dir=data_dir, offline=offline))
    print(f"{asset.kind} {asset.owner}: {asset.name}, {size:,} bytes")


def _add_prepared(
    filling: Packing, stage: Stage, store: Path, data_dir: Path | None, offline: bool
) -> None:
    from bench.config import plugins
    from bench.plan.graph import Unit
    from bench.runner.offline.needs import READS_RAW_FILES
    from bench.runner.store import Store
    from bench.runner.worker import order, work

    if stage.kind not in READS_RAW_FILES:
        return
    opened = Store(store)
    unit = Unit(stages=(stage,), parents=frozenset())
    made = work(order(unit, store=opened.root, data_dir=data_dir, offline=offline, divisor=1))
    if made.failure is not None:
        raise BenchError(made.message)
    name = str(stage.args["name"])
    license = plugins.dataset_card(name).license
    folder = opened.open(stage.kind, stage.key)
    size = filling.add_artifact(folder, stage.kind, stage.key, card=name, license=license)
    print(f"prepared {name}: {stage.kind}/{stage.key}, {size:,} bytes")


def _add_wheels(filling: Packing, constraints: Path | None) -> None:
    from bench.runner.offline.wheels import collect

    print("wheels: pip collects them, which takes minutes …", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=filling.folder) as folder:
        collect(Path(folder), constraints)
        size = filling.add_wheels(Path(folder))
    print(f"wheels: {size:,} bytes")


def _spelled(asked: o.Asked) -> dict[str, str | list[str]]:
    given: dict[str, Any] = {name: value for name, value in vars(asked).items() if value}
    return {
        name: [str(one) for one in value] if isinstance(value, list) else str(value)
        for name, value in given.items()
    }


def _print_notes(notes: Any) -> None:
    for note in notes:
        print(f"Note: {note}")
