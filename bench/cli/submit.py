"""`bench submit`: a package of results for a pull request."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import bench
from bench.cli import options as o
from bench.errors import BenchError


class Division(StrEnum):
    """Rules of a submission."""

    closed = "closed"
    open = "open"


@o.expand_groups
def submit(
    rankings: Annotated[
        list[str],
        typer.Argument(
            metavar="RANKINGS…",
            help="One ranking file per seed (JSONL, parquet), or one folder "
            "<results>/<dataset>/<method>/<hash> per data set.",
        ),
    ],
    board: Annotated[str, o.card_option("--board", "leaderboards", "Board, as its card says.")],
    label: Annotated[str, o.option("--label", "TEXT", "Name of the row.")],
    contact: Annotated[str, o.option("--contact", "TEXT", "Person or address for questions.")],
    data: o.DataOptions,
    division: Annotated[
        Division,
        typer.Option(
            "--division",
            help="closed: run by this harness on the board's rows, backbone and budget; open: "
            "anything that did not use the test cases.",
        ),
    ] = Division.open,
    hardware: Annotated[
        str, o.option("--hardware", "TEXT", "What computed it (default: from the results).")
    ] = "",
    code: Annotated[str, o.option("--code", "URL", "Where the code is.")] = "",
    dataset: Annotated[
        str | None, o.option("--dataset", "NAME", "Of ranking files, if the board has several.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        o.option("--set", "NAME=VALUE", "Hyper-parameter of ranking files. Repeatable."),
    ] = None,
    into: Annotated[
        Path | None,
        o.folder_option("--into", "Folder (default: submissions/<board>/<label>)."),
    ] = None,
) -> None:
    """Build a package for a pull request, and check it as `bench check submission` does."""
    values = dict(text.partition("=")[::2] for text in settings or ())
    path = bench.submit(
        rankings,
        board=board,
        label=label,
        contact=contact,
        division=division.value,
        hardware=hardware,
        code=code,
        dataset=dataset,
        settings=values,
        into=into,
        options=data,
    )
    print(f"{path}\nNext: commit this folder, and open a pull request (docs/submit.md).")


def print_check(path: Path, options: Any) -> None:
    """Check a submission or a published board, and print what was found.

    Raises:
        BenchError: There is no such folder, or it does not pass.
    """
    from bench.report.compare.pairwise import format_report

    if not path.is_dir():
        raise BenchError(f"There is no folder {path}.", "Name a package or leaderboards/<board>.")
    checked = bench.check_submission(path, options)
    for result in checked.results:
        print(f"ok    {result.trial}: {result.evaluations['final'].num_cases} cases recomputed")
    for note in checked.notes:
        print(f"note  {note}")
    for report in checked.comparisons:
        print(f"\n{format_report(report)}")
