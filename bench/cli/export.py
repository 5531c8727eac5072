"""`bench export`: data sets, rankings and results in other projects' formats."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o
from bench.config.request import TRACKERS, ExportFormat, Relationship


@o.expand_groups
def export(
    *,
    format_: ExportFormat = o.argument(
        "FORMAT",
        "For data sets: recbole, d3, sprec, croissant. For boards: cases. For results: trec, "
        "every-eval-ever, mlflow, tensorboard, wandb. For trials: hub.",
    ),
    data: o.DataOptions,
    names: list[str] | None = o.argument(
        "[NAME]…",
        "Data sets, boards that were run (default: all), or trials; trec: also ranking files.",
        None,
    ),
    into: str | None = o.option(
        "--into",
        "TARGET",
        "Folder; mlflow: tracking URI; wandb: project. Required except for trackers.",
    ),
    by: str | None = o.option("--by", "NAME", "every-eval-ever: name of the evaluator."),
    relationship: Relationship | None = o.option(
        "--relationship", None, "every-eval-ever: relationship of the evaluator to the methods."
    ),
    samples: bool = o.flag("--samples", "every-eval-ever: per-case samples, too."),
    results: Path = o.RESULTS,
) -> None:
    """Write data sets, rankings or results in the format of another project."""
    written = bench.export(
        format_,
        names or (),
        into=into,
        results=results,
        data=data,
        evaluator=by,
        relationship=relationship,
        samples=samples,
    )
    if format_ in TRACKERS:
        print(f"{len(written)} trials are in {format_}.")
    else:
        print("\n".join(written))
