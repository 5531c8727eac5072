"""`bench check`: the contract suite on a plug-in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from bench.cli import options as o
from bench.cli.submit import print_check
from bench.config import plugins, search_path
from bench.config.cards import BoardCard
from bench.config.plugins import MARKS
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.testing import Check

CLAIMS = "claims"
"""Key of a paper's file of claims."""
KINDS = {"datasets": "data set", "leaderboards": "board", "models": "model", "suites": "suite"}


@o.expand_groups
def check(
    *,
    path: Path = o.argument(
        "FILE", "Module of a method or metric (.py), or card (.toml); or the word submission."
    ),
    data: o.DataOptions,
    submission: Path | None = o.argument(
        "[DIR]", "submission: a package, or leaderboards/<board>.", None
    ),
) -> None:
    """Test a method or metric on generated data, check a card, or recompute a submission.

    Options are for submissions.
    """
    if path == Path("submission") or submission is not None:
        if path != Path("submission") or submission is None:
            raise BenchError("Two arguments mean a submission.", "bench check submission DIR")
        print_check(submission, data)
        return
    if not path.is_file():
        raise BenchError(f"There is no file {path}.", "Give a method's module or a card.")
    from bench.report.claims.cards import PaperClaims
    from bench.testing import check_board, check_claims, check_method, check_metric

    if path.suffix == ".toml":
        kind, card = _check_card(path)
        print(f"ok    {kind} card {path.stem}")
        if isinstance(card, BoardCard):
            checks = check_board(path.stem, card)
            if not any(each.problem for each in checks) and _needs_floor(card):
                print(
                    "warn  no row is a floor, so the board cannot show that its rows beat item-ID "
                    'models on all training rows: add { method = "itemknn", floor = true }'
                )
            _report(checks)
        if isinstance(card, PaperClaims):
            _report(check_claims(card))
        return
    from bench.metrics.plugins import is_metric_file

    folder = path.resolve().parent
    searched = [*map(Path, search_path.folders("methods"))]
    if folder not in searched:
        extended = [str(folder), os.environ.get("BENCH_PATH", "")]
        os.environ["BENCH_PATH"] = os.pathsep.join(filter(None, extended))
    if is_metric_file(path):
        _report(check_metric(path))
    module = plugins.method_module(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise BenchError(
            f"The name {path.stem!r} is taken by {module.__file__}.", "Rename the module."
        )
    with tempfile.TemporaryDirectory() as workspace:
        checks = check_method(path.stem, Path(workspace))
    _report(checks)


def _needs_floor(card: BoardCard) -> bool:
    """Return whether a board ranks the catalog without a floor; no floor re-ranks lists."""
    from bench.plan.trials import get_task

    tasks = {get_task(row.method) for row in card.rows}
    return "next-item" in tasks and not any(row.floor for row in card.rows)


def _report(checks: list[Check]) -> NoReturn:
    """Print the rules, and exit with 1 if one is broken."""
    for check in checks:
        print(f"{'FAIL' if check.problem else 'ok':<6}{check.rule}")
        if check.problem:
            print(f"      {check.problem}")
    raise typer.Exit(1 if any(check.problem for check in checks) else 0)


def _check_card(path: Path) -> tuple[str, Card]:
    from bench.report.claims.cards import PaperClaims

    content = read_toml(path)
    if CLAIMS in content:
        return "claims", check_card(content, PaperClaims, str(path))
    for folder, mark in MARKS.items():
        if mark in content:
            return KINDS[folder], check_card(content, plugins.CARDS[folder], str(path))
    marks = ", ".join(f"{mark!r}" for mark in (*MARKS.values(), CLAIMS))
    raise BenchError(f"{path} is not a card: it has none of the keys {marks}.")
