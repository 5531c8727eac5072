"""`bench data`: fetch, prepare, describe and check data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

import bench
from bench.cli import options as o

app = typer.Typer(help="Fetch, prepare, describe and check data sets.", no_args_is_help=True)

Names = Annotated[
    list[str], typer.Argument(metavar="NAME…", help="Data sets (see bench list datasets).")
]


@app.command("list")
def list_datasets(data_dir: o.DataDir = None, as_json: o.AsJson = False) -> None:
    """List data sets with their license, and whether their raw files are available locally."""
    from tabulate import tabulate

    from bench.config import plugins
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


@app.command("fetch")
def fetch(names: Names, data_dir: o.DataDir = None, offline: o.Offline = False) -> None:
    """Download the raw files of data sets into the cache and verify their checksums."""
    from bench.config import plugins
    from bench.data.assets import checksums, fetch_raw

    for name in names:
        expected = checksums(plugins.dataset_card(name), data_dir)
        for path in fetch_raw(name, expected, data_dir=data_dir, offline=offline).values():
            print(path)


@app.command("prepare")
@o.expand_groups
def prepare(names: Names, options: o.DataOptions, as_json: o.AsJson = False) -> None:
    """Read, filter and split data sets into the store, and count them."""
    from bench.config import plugins
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
    names: Names,
    options: o.DataOptions,
    model: o.Model = None,
    as_json: o.AsJson = False,
) -> None:
    """Describe data sets: sequences, density, popularity, categories and titles.

    With --model, also titles in tokens of that backbone, and how many of them carry no information.
    """
    from bench.report.data_pages.description import describe
    from bench.runner.prepared_data import count_title_tokens, prepare_datasets

    contents: dict[str, dict[str, Any]] = {}
    for name, prepared in prepare_datasets(names, options).items():
        contents[name] = describe(prepared[1]).as_dict()
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
def verify(names: Names, options: o.DataOptions, as_json: o.AsJson = False) -> None:
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
