"""`bench data`: fetch, prepare, describe and check data sets, and render pages about them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

import bench
from bench.cli import options as o
from bench.config import plugins
from bench.config.search_path import extend_path
from bench.errors import BenchError

app = typer.Typer(help="Fetch, prepare, describe and check data sets.", no_args_is_help=True)

NAMES = o.argument("NAME…", "Data sets (see bench list datasets).")


@app.command("list")
def list_datasets(data_dir: Path | None = o.DATA_DIR, as_json: bool = o.AS_JSON) -> None:
    """List data sets with their license, and whether their raw files are available locally."""
    from tabulate import tabulate

    from bench.data.assets import local_file

    lines = []
    for entry in bench.list_datasets():
        if entry.error:
            lines.append({"name": entry.name, "files": "", "license": f"BROKEN: {entry.error}"})
            continue
        card = plugins.dataset_card(entry.name)
        num_local = sum(local_file(file, data_dir) is not None for file in card.files.values())
        files = f"{num_local} of {len(card.files)} available locally" if card.files else "generated"
        lines.append({"name": entry.name, "files": files, "license": card.license})
    if as_json:
        o.print_json(lines)
    else:
        print(tabulate(lines, headers="keys", maxcolwidths=[None, None, 70]))


def _column(meaning: str) -> Any:
    return o.option(f"--{meaning}", "COLUMN", f"Column of the {meaning}.")


@app.command("import")
def import_own(
    interactions: str = o.argument("FILE", "CSV, TSV, parquet, or hf:ORG/NAME of the hub."),
    name: str = o.option("--name", "NAME", "Name of the data set.", ...),
    items: str | None = o.option(
        "--items", "FILE", "Table with one row per item (titles, categories)."
    ),
    user: str | None = _column("user"),
    item: str | None = _column("item"),
    time: str | None = _column("time"),
    rating: str | None = _column("rating"),
    title: str | None = _column("title"),
    categories: str | None = _column("categories"),
    out: Path = o.folder_option("--out", "Folder of the card.", Path("datasets")),
) -> None:
    """Make a data set of your own interactions: guess the columns, write the files and a card."""
    from bench.data.import_table import import_table
    from bench.files import write_atomic

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise BenchError(f"{name!r} is no name.", "Use lower-case letters, digits and hyphens.")
    path = out / f"{name}.toml"
    existing = path if path.exists() else plugins.card_paths("datasets").get(name)
    if existing is not None:
        again = f", or delete {path} to import it again" * (existing == path)
        message = f"There is a data set {name} already: {existing}."
        raise BenchError(message, f"Take another --name{again}.")
    options = {
        "user": user, "item": item, "time": time,
        "rating": rating, "title": title, "categories": categories,
    }  # fmt: skip
    columns = {meaning: column for meaning, column in options.items() if column is not None}
    imported = import_table(name, interactions, items, columns)
    write_atomic(path, imported.card.encode())
    for meaning, column in imported.columns.items():
        remark = "" if meaning in columns else f"  (guessed; --{meaning} changes it)"
        if not column:
            by_id = ": items are called by their ids" * (meaning == "title")
            column, remark = f"none recognized{by_id}", f"  (--{meaning} names one)"
        print(f"{meaning:<11} {column}{remark}")
    print(f"{'not used':<11} {', '.join(imported.unused) or 'none'}")
    print(f"{imported.rows:,} interactions. Card, to be edited: {path}")
    if extended := extend_path(out, "datasets"):
        print(f"To find it: export {extended}")
    print(f"Next: bench data verify {name}; bench run --method popularity --dataset {name}")


@app.command("fetch")
def fetch(
    names: list[str] = NAMES, data_dir: Path | None = o.DATA_DIR, offline: bool = o.OFFLINE
) -> None:
    """Download the raw files of data sets into the cache and verify their checksums."""
    from bench.data.assets import checksums, fetch_raw

    for name in names:
        expected = checksums(plugins.dataset_card(name), data_dir)
        for path in fetch_raw(name, expected, data_dir=data_dir, offline=offline).values():
            print(path)


@app.command("prepare")
@o.expand_groups
def prepare(*, names: list[str] = NAMES, options: o.DataOptions, as_json: bool = o.AS_JSON) -> None:
    """Read, filter and split data sets into the store, and count them."""
    from bench.data.prepare import find_mismatches

    contents: dict[str, dict[str, Any]] = {
        name: {
            "fingerprint": data.fingerprint,
            "counts": dict(data.counts),
            "notes": [*data.notes, *find_mismatches(plugins.dataset_card(name), data.counts)],
        }
        for name, data in bench.prepare(names, options).items()
    }
    if as_json:
        o.print_json(contents)
        return
    for name, content in contents.items():
        print(
            f"{name}\n\nfingerprint  {content['fingerprint']}\n{_format_table(content['counts'])}"
        )
        print("".join(f"Note: {note}\n" for note in content["notes"]))


@app.command("stats")
@o.expand_groups
def stats(
    *,
    names: list[str] = NAMES,
    options: o.DataOptions,
    model: str | None = o.MODEL,
    as_json: bool = o.AS_JSON,
) -> None:
    """Describe data sets: sequences, density, popularity, categories and titles.

    With --model, also titles in tokens of that backbone, and how many of them carry no information.
    """
    from bench.report.data_pages.description import describe
    from bench.runner.prepared_data import count_title_tokens, prepare_datasets

    contents: dict[str, dict[str, Any]] = {}
    for name, prepared in prepare_datasets(names, options).items():
        contents[name] = dataclasses.asdict(describe(prepared[1]))
        if model is not None:
            contents[name][f"tokens, {model}"] = count_title_tokens(model, name, prepared, options)
    if as_json:
        o.print_json(contents)
        return
    for name, content in contents.items():
        parts = (_format_part(*item) for item in content.items())
        print(f"{name}\n\n" + "\n\n".join(parts) + "\n")


def _format_part(name: str, value: Any) -> str:
    title = name.replace("_", " ")
    if not isinstance(value, dict):
        return f"{title}: {value:,}" if isinstance(value, int) else f"{title}: {value:.4f}"
    if any(isinstance(inner, dict) for inner in value.values()):
        return "\n\n".join(_format_part(f"{name}, {key}", inner) for key, inner in value.items())
    return f"{title}:\n{_format_table(value)}"


def _format_table(values: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    return tabulate(values.items(), tablefmt="plain", intfmt=",", floatfmt=",.4g")


@app.command("verify")
@o.expand_groups
def verify(*, names: list[str] = NAMES, options: o.DataOptions, as_json: bool = o.AS_JSON) -> None:
    """Check expected counts and look for leaks; exit code 1 if a check fails."""
    findings = bench.verify(names, options)
    if as_json:
        o.print_json({name: [vars(each) for each in checks] for name, checks in findings.items()})
    else:
        for name, checks in findings.items():
            print(name)
            for finding in checks:
                print(f"  {finding.verdict:<6}{finding.check}: {finding.text}")
    failed = any(each.verdict == "fails" for checks in findings.values() for each in checks)
    raise typer.Exit(1 if failed else 0)


@app.command("page")
@o.expand_groups
def page(*, names: list[str] = NAMES, options: o.DataOptions, out: Path = o.PAGES) -> None:
    """Render one page about data sets: counts, checks and plots of their distributions."""
    from bench.report.data_pages.page import render_data

    prepared = bench.prepare(names, options)
    items = [(name, plugins.dataset_card(name), data) for name, data in prepared.items()]
    for path in render_data(items, out):
        print(path)


@app.command("counts")
def counts(
    name: str = o.argument("TABLE", "Table of a paper: sprec-table3 or igd-table4."),
    store: Path = o.STORE,
    data_dir: Path | None = o.DATA_DIR,
    model: str | None = o.MODEL,
    offline: bool = o.OFFLINE,
    out: Path = o.PAGES,
    as_json: bool = o.AS_JSON,
) -> None:
    """Compare our counts of a paper's data sets with the published ones, and render them.

    Tokens are counted with the tokenizer of --model.
    """
    from bench.report.data_pages.count_page import counts_text, render_tables

    options = o.DataOptions(store=store, data_dir=data_dir, offline=offline)
    (table,), written = render_tables([name], options, out, model)
    if as_json:
        o.print_json(table.to_json())
        return
    print(counts_text(table))
    for path in written:
        print(path)
