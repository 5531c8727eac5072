"""`bench data`: fetch, prepare, describe and check data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.cli.materialize import Place, prepare_stage, tokenizer_of

if TYPE_CHECKING:
    from bench.data.prepared import Prepared

app = typer.Typer(help="Fetch, prepare, describe and check data.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(help="Data sets (bench list datasets).")]


@app.command("list")
def list_datasets(data_dir: o.DataDir = None, as_json: o.AsJson = False) -> None:
    """List data sets: raw files at hand or to be fetched, and their license."""
    from tabulate import tabulate

    from bench.config import plugins
    from bench.data.assets import local_file

    lines = []
    for line in plugins.list_cards("datasets"):
        if line.error:
            lines.append({"name": line.name, "files": "", "license": f"BROKEN: {line.error}"})
            continue
        card = plugins.dataset_card(line.name)
        here = sum(local_file(file, data_dir) is not None for file in card.files.values())
        files = f"{here} of {len(card.files)} at hand" if card.files else "generated"
        lines.append({"name": line.name, "files": files, "license": card.license})
    if as_json:
        print(json.dumps(lines, indent=2))
    else:
        print(tabulate(lines, headers="keys", maxcolwidths=[None, None, 70]))


@app.command("fetch")
def fetch(names: Names, data_dir: o.DataDir = None, offline: o.Offline = False) -> None:
    """Fetch the raw files of data sets into the cache, checked against their checksums."""
    from bench.config import plugins
    from bench.data.assets import checksums, fetch_raw

    for name in names:
        known = checksums(plugins.dataset_card(name), data_dir)
        for path in fetch_raw(name, known, data_dir=data_dir, offline=offline).values():
            print(path)


@app.command("prepare")
def prepare(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    file: o.Files = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Read, filter and split data sets into the store, and count them."""
    from bench.config import plugins
    from bench.data.prepare import find_mismatches

    opened = _opened(names, store, data_dir, offline, file)
    notes = {
        name: [*data.notes, *find_mismatches(plugins.dataset_card(name), data.counts)]
        for name, data in opened.items()
    }

    def content(name: str, data: Prepared) -> Any:
        counts = dict(data.counts)
        return {"fingerprint": data.fingerprint, "counts": counts, "notes": notes[name]}

    def text(name: str, data: Prepared) -> str:
        counted = f"fingerprint  {data.fingerprint}\n{_table(data.counts)}"
        return "\n".join([counted, *(f"Note: {note}" for note in notes[name])])

    _print(opened, as_json, content, text)


@app.command("stats")
def stats(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    file: o.Files = None,
    model: o.Model = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Describe data sets: sequences by definition, density, popularity, categories, titles.

    With --model also titles in tokens of that backbone, and how many of them say nothing.
    """
    from bench.data.user_files import parse_files
    from bench.report.data_pages.description import describe

    place = Place(store=store, data_dir=data_dir, offline=offline)
    opened, described = {}, {}
    for name, paths in parse_files(file or [], names).items():
        stage, opened[name] = prepare_stage(name, place, paths)
        described[name] = describe(opened[name]).as_dict()
        if model is not None:
            from bench.models.lm.decode.title_tokens import count_tokens

            tokenizer = tokenizer_of(model, name, stage, place)
            described[name][f"tokens, {model}"] = count_tokens(opened[name], tokenizer)
    _print(
        opened,
        as_json,
        lambda name, data: described[name],
        lambda name, data: "\n\n".join(_part(*pair) for pair in described[name].items()),
    )


def _part(name: str, value: Any) -> str:
    title = name.replace("_", " ")
    if not isinstance(value, dict):
        return f"{title}: {value:,}" if isinstance(value, int) else f"{title}: {value:.4f}"
    if any(isinstance(inner, dict) for inner in value.values()):
        parts = (_part(f"{name}, {inner}", one) for inner, one in value.items())
        return "\n\n".join(parts)
    return f"{title}:\n{_table(value)}"


@app.command("verify")
def verify(
    names: Names,
    store: o.StoreFolder = o.STORE,
    data_dir: o.DataDir = None,
    file: o.Files = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Check expected counts and leaks. Exit code 1 if a check fails."""
    from bench.config import plugins
    from bench.data.verification import verify as check

    opened = _opened(names, store, data_dir, offline, file)
    found = {name: check(data, plugins.dataset_card(name)) for name, data in opened.items()}
    if as_json:
        print(json.dumps({name: [vars(one) for one in all_] for name, all_ in found.items()}))
    else:
        for name, findings in found.items():
            print(name)
            for one in findings:
                print(f"  {one.verdict:<6}{one.check}: {one.text}")
    failing = any(one.verdict == "fails" for findings in found.values() for one in findings)
    raise typer.Exit(1 if failing else 0)


def _opened(
    names: Sequence[str],
    store: Path,
    data_dir: Path | None,
    offline: bool,
    files: Sequence[str] | None,
) -> dict[str, Prepared]:
    from bench.data.user_files import parse_files

    own = parse_files(files or [], list(dict.fromkeys(names)))
    return {
        name: prepared_data(name, store, data_dir, offline, paths) for name, paths in own.items()
    }


def prepared_data(
    name: str,
    store: Path,
    data_dir: Path | None,
    offline: bool,
    files: Mapping[str, Path] | None = None,
) -> Prepared:
    """Return a data set from the store, prepared first where it is not there.

    Args:
        name: Its card.
        store: Folder of the artifacts.
        data_dir: The user's own folder.
        offline: Whether the network must not be touched.
        files: The user's own files by role, instead of those that the card means.

    Raises:
        BenchError: Where its files cannot be had, or hold no such data.
    """
    place = Place(store=store, data_dir=data_dir, offline=offline)
    return prepare_stage(name, place, files)[1]


def _table(values: Any) -> str:
    from tabulate import tabulate

    return tabulate(values.items(), tablefmt="plain", intfmt=",", floatfmt=",.4g")


def _print(
    opened: dict[str, Prepared],
    as_json: bool,
    content: Callable[[str, Prepared], Any],
    text: Callable[[str, Prepared], str],
) -> None:
    if as_json:
        print(json.dumps({name: content(name, data) for name, data in opened.items()}, indent=2))
        return
    for name, data in opened.items():
        print(f"{name}\n\n{text(name, data)}\n")
