"""The command tree; each command is in the module of its name."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import typer

from bench.cli import (
    assets,
    cache,
    check,
    claims,
    compare,
    data,
    doctor,
    explain,
    export,
    listing,
    merge,
    new,
    plan,
    power,
    probe,
    report,
    run,
    score,
    status,
    submit,
    tune,
)

app = typer.Typer(
    name="bench",
    help="Run and compare LLM-based recommenders under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "list": listing.list_names,
    "show": listing.show,
    "plan": plan.plan,
    "explain": explain.explain,
    "doctor": doctor.doctor,
    "run": run.run,
    "retry": run.retry,
    "cancel": run.cancel,
    "report": report.report,
    "publish": report.publish,
    "tune": tune.tune,
    "status": status.status,
    "serve": report.serve,
    "score": score.score,
    "claims": claims.claims,
    "compare": compare.compare,
    "power": power.power,
    "probe": probe.probe,
    "merge": merge.merge,
    "export": export.export,
    "check": check.check,
    "submit": submit.submit,
    "schema": listing.schema,
}


def _print_version(value: bool) -> None:
    if value:
        print(f"llmrec-bench {importlib.metadata.version('llmrec-bench')}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and exit.",
        is_eager=True,
        callback=_print_version,
    ),
) -> None:
    """Run and compare LLM-based recommenders under one protocol."""


for name, command in COMMANDS.items():
    app.command(name)(command)
for name, group in {"data": data, "cache": cache, "assets": assets, "new": new}.items():
    app.add_typer(group.app, name=name)
