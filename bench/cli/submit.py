"""`bench submit`: a package of results for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import bench
from bench.cli import options as o
from bench.errors import BenchError


@o.expand_groups
def submit(
    *,
    rankings: list[str] = o.argument(
        "RANKINGS…",
        "One ranking file per seed (JSONL, parquet), or one folder "
        "<results>/<dataset>/<method>/<hash> per data set.",
    ),
    board: str = o.card_option("--board", "leaderboards", "Board, as its card says.", default=...),
    label: str = o.option("--label", "TEXT", "Name of the row.", ...),
    contact: str = o.option("--contact", "TEXT", "Person or address for questions.", ...),
    data: o.DataOptions,
    division: Literal["closed", "open"] = o.option(
        "--division",
        None,
        "closed: run by this harness on the board's rows, backbone and budget; open: anything "
        "that did not use the test cases.",
        "open",
    ),
    hardware: str = o.option(
        "--hardware", "TEXT", "What computed it (default: from the results).", ""
    ),
    code: str = o.option("--code", "URL", "Where the code is.", ""),
    dataset: str | None = o.option(
        "--dataset", "NAME", "Of ranking files, if the board has several."
    ),
    settings: list[str] | None = o.option(
        "--set", "NAME=VALUE", "Hyper-parameter of ranking files. Repeatable."
    ),
    into: Path | None = o.folder_option("--into", "Folder (default: submissions/<board>/<label>)."),
) -> None:
    """Build a package for a pull request, and check it as `bench check submission` does."""
    values = dict(text.partition("=")[::2] for text in settings or ())
    path = bench.submit(
        rankings,
        board=board,
        label=label,
        contact=contact,
        division=division,
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
