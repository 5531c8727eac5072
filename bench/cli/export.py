"""`bench export`: data sets, rankings and results in other projects' formats."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

import bench
from bench.cli import options as o
from bench.cli.completion import TRACKERS


class Format(StrEnum):
    """Formats of other projects."""

    recbole = "recbole"
    d3 = "d3"
    sprec = "sprec"
    croissant = "croissant"
    cases = "cases"
    hub = "hub"
    trec = "trec"
    every_eval_ever = "every-eval-ever"
    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"


class Relationship(StrEnum):
    """Of the evaluator to the methods, in the vocabulary of Every Eval Ever."""

    first_party = "first_party"
    third_party = "third_party"
    collaborative = "collaborative"
    other = "other"


@o.expand_groups
def export(
    format_: Annotated[
        Format,
        typer.Argument(
            metavar="FORMAT",
            help="For data sets: recbole, d3, sprec, croissant. For boards: cases. For results: "
            "trec, every-eval-ever, mlflow, tensorboard, wandb. For trials: hub.",
        ),
    ],
    data: o.DataOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help="Data sets, boards that were run (default: all), or trials; trec: also ranking "
            "files.",
        ),
    ] = None,
    into: Annotated[
        str | None,
        o.option(
            "--into",
            "TARGET",
            "Folder; mlflow: tracking URI; wandb: project. Required except for trackers.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        o.option("--by", "NAME", "every-eval-ever: name of the evaluator."),
    ] = None,
    relationship: Annotated[
        Relationship | None,
        typer.Option(
            "--relationship", help="every-eval-ever: relationship of the evaluator to the methods."
        ),
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="every-eval-ever: per-case samples, too.")
    ] = False,
    results: o.ResultsFolder = o.RESULTS,
) -> None:
    """Write data sets, rankings or results in the format of another project."""
    written = bench.export(
        format_.value,
        names or (),
        into=into,
        results=results,
        data=data,
        evaluator=by,
        relationship=relationship and relationship.value,
        samples=samples,
    )
    if format_ in TRACKERS:
        print(f"{len(written)} trials are in {format_.value}.")
    else:
        print("\n".join(written))
