"""`bench assets`: the assets of a run, and offline bundles of them."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.cli import options as o
from bench.config import plugins
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.plan.stage import Stage
    from bench.runner.offline.pack import BundleWriter

app = typer.Typer(
    help="List the assets of a run, and bundle them for a machine without a network.",
    no_args_is_help=True,
)

MIB = 2**20


@app.command("ls")
@o.expand_groups
def list_assets(
    request: o.RunRequest, data_dir: Path | None = o.DATA_DIR, as_json: bool = o.AS_JSON
) -> None:
    """List the raw files, encoders and backbones of a run, with size and whether they are local."""
    from bench.report.render.terminal import fit_table
    from bench.runner.offline.needs import find_local_files, list_assets

    stages, notes = _plan_stages(request, data_dir)
    lines: list[dict[str, Any]] = []
    for asset in list_assets(stages):
        paths = find_local_files(asset, data_dir).values()
        size = sum(path.stat().st_size for path in paths) or (asset.file and asset.file.size)
        lines.append(
            {
                "kind": asset.kind,
                "of": asset.owner,
                "name": asset.name,
                "local": bool(paths),
                "bytes": size or None,
                "license": asset.license,
            }
        )
    if as_json:
        o.print_json({"assets": lines, "notes": notes})
        return
    table = [
        (
            *(line[key] for key in ("kind", "of", "name")),
            "yes" if line["local"] else "no",
            f"{line['bytes']:,}" if line["bytes"] else "unknown",
            line["license"],
        )
        for line in lines
    ]
    if table:
        headers = ("kind", "of", "name", "local", "bytes", "license")
        print(fit_table(table, headers))
        absent = sum(not line["local"] for line in lines)
        total = sum(line["bytes"] or 0 for line in lines) / MIB
        print(
            f"\n{len(lines)} assets, {absent} not available locally; {total:.1f} MiB of known size."
        )
    else:
        print("The run needs no assets.")
    _print_notes(notes)


@app.command("pack")
@o.expand_groups
def pack(
    request: o.RunRequest,
    into: Path = o.option("--into", "DIR", "New folder for the bundle.", ...),
    wheels: bool = typer.Option(
        False, "--wheels/--no-wheels", help="Include wheels of this project and its dependencies."
    ),
    constraints: Path | None = o.option(
        "--constraints", "FILE", "Versions of the wheels, a pip constraints file."
    ),
    prepared: bool = o.flag("--prepared", "Include the prepared data from the store."),
    store: Path = o.STORE,
    data_dir: Path | None = o.DATA_DIR,
    offline: bool = o.OFFLINE,
) -> None:
    """Write an offline bundle: a folder with all assets of a run; download missing ones."""
    from bench.runner.offline.needs import fetch_asset, list_assets
    from bench.runner.offline.pack import write_bundle

    if constraints is not None and not wheels:
        raise BenchError("--constraints needs --wheels.", "Add --wheels, or omit it.")
    stages, notes = _plan_stages(request, data_dir)
    with write_bundle(into) as bundle:
        for asset in list_assets(stages):
            files = fetch_asset(asset, data_dir=data_dir, offline=offline)
            size = bundle.add_asset(asset, files)
            print(f"{asset.kind} {asset.owner}: {asset.name}, {size:,} bytes")
        for stage in stages if prepared else ():
            _add_prepared(bundle, stage, store, data_dir, offline)
        if wheels:
            _add_wheels(bundle, constraints)
        manifest = bundle.finish(_list_options(request), notes)
    print(f"\n{len(manifest.files)} files, {manifest.size / MIB:.1f} MiB in {into}.")
    restricted = sorted(
        {file.owner for file in manifest.files if file.redistribution == "forbidden"}
    )
    if restricted:
        print(
            f"For your own machines only: the license of {', '.join(restricted)} forbids "
            "redistribution."
        )
    _print_notes(manifest.notes)
    print(f"On the other machine: bench assets unpack {shlex.quote(into.name)}")


@app.command("unpack")
def unpack(
    folder: Path = o.argument("DIR", "Folder of the bundle."),
    into: Path | None = o.option("--into", "DIR", "Folder for the files (default: your cache)."),
    store: Path = o.STORE,
) -> None:
    """Verify a bundle's checksums, then copy its files to where `bench run --offline` looks."""
    from bench.data.assets import cache_folder
    from bench.runner.offline.manifest import read_manifest
    from bench.runner.offline.pack import get_install_command
    from bench.runner.offline.unpack import Destination, unpack
    from bench.runner.store import Store

    manifest = read_manifest(folder)
    hub = Path()
    if manifest.select("hub"):
        from huggingface_hub import constants

        hub = Path(constants.HF_HUB_CACHE) if into is None else into / "hub"
    destination = Destination(assets=into or cache_folder(), hub=hub, store=Store(store))
    counts = unpack(folder, manifest, destination)
    print(
        f"{counts['files']} files into {destination.assets}, {counts['artifacts']} artifacts into "
        f"{store}; {counts['present']} were already there."
    )
    if manifest.select("wheels"):
        print(f"The wheels are for Python {manifest.python} on {manifest.system}. To install them:")
        print(f"  {get_install_command(shlex.quote(str(folder / 'wheels')))}")
    if into is not None:
        print("Before a run:")
        print(f"  export BENCH_CACHE={shlex.quote(str(into.absolute()))}")
        if manifest.select("hub"):
            print(f"  export HF_HUB_CACHE={shlex.quote(str(hub.absolute()))}")
    _print_notes(manifest.notes)


def _plan_stages(request: o.RunRequest, data_dir: Path | None) -> tuple[list[Stage], list[str]]:
    """Return the stages of a run, and one sentence per thing that a bundle cannot contain."""
    from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
    from bench.plan.graph import build_graph
    from bench.runner.offline.needs import list_user_files

    trials = distinct_trials(plan_boards(select_boards(request), data_dir=data_dir))
    stages = list(build_graph(trial for trial in trials if not trial.problem).stages.values())
    problems = [f"{each.id} cannot be planned: {each.problem}" for each in trials if each.problem]
    return stages, [*list_user_files(stages), *problems]


def _add_prepared(
    bundle: BundleWriter, stage: Stage, store: Path, data_dir: Path | None, offline: bool
) -> None:
    from bench.runner.loop import READS_RAW_FILES
    from bench.runner.store import Store
    from bench.runner.worker import materialize_stage

    if stage.kind not in READS_RAW_FILES:
        return
    folder = materialize_stage(stage, Store(store), data_dir=data_dir, offline=offline)
    files = {
        f"{stage.kind}/{stage.key}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    name = str(stage.args["name"])
    terms = plugins.dataset_card(name).license
    size = bundle.add_files("store", files, owner=f"data {name}", license_note=terms)
    print(f"prepared {name}: {stage.kind}/{stage.key}, {size:,} bytes")


def _add_wheels(bundle: BundleWriter, constraints: Path | None) -> None:
    from bench.runner.offline.pack import build_wheels

    print("wheels: pip collects them, which takes minutes …", file=sys.stderr)
    size = 0
    with tempfile.TemporaryDirectory(dir=bundle.folder) as folder:
        build_wheels(Path(folder), constraints)
        for path in sorted(Path(folder).glob("*.whl")):
            package = path.name.split("-")[0]
            note = "see the wheel's own metadata"
            size += bundle.add_files("wheels", {path.name: path}, owner=package, license_note=note)
    print(f"wheels: {size:,} bytes")


def _list_options(request: o.RunRequest) -> dict[str, str | list[str]]:
    return {
        name: [str(item) for item in value] if isinstance(value, tuple) else str(value)
        for name, value in vars(request).items()
        if value
    }


def _print_notes(notes: Any) -> None:
    for note in notes:
        print(f"Note: {note}")
