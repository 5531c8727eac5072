"""`bench explain`: for one trial, which stages are stored, which would run, and why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.plan.trials import Trial
    from bench.runner.explain import StageExplanation

NAMED = 5


@o.asking
def explain(
    asked: o.Asked,
    trial: Annotated[
        str | None,
        typer.Argument(help="Its id as `bench plan --json` and `bench status --json` print it."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="The trial of this seed.")
    ] = None,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Say for each stage of a trial whether it is stored, and if not, what differs.

    Without a suite, board or method it is looked for among the boards that were run.
    """
    from bench.plan.graph import build_graph
    from bench.runner.explain import explain as explain_stages
    from bench.runner.store import Store

    chosen = _chosen(_planned(asked, results, data_dir), trial, seed)
    if chosen.problem:
        raise BenchError(f"{chosen.id} cannot run: {chosen.problem}")
    explained = explain_stages(build_graph([chosen]), Store(store))
    if as_json:
        stages = [dataclasses.asdict(one) for one in explained]
        print(json.dumps({"trial": chosen.id, "stages": stages}, indent=2))
        return
    _print(chosen.id, explained)


def _planned(asked: o.Asked, results: Path, data_dir: Path | None) -> list[Trial]:
    from bench.cli.selection import cells, distinct, recall, select

    if asked.names_something:
        return distinct(cells(select(asked), data_dir=data_dir))
    if asked != o.Asked():
        raise BenchError(
            "Options that change a board need to know which.", "Add --suite S or --board B."
        )
    try:
        selections = recall(results)
    except BenchError as error:
        raise BenchError(error.message, "Name the trial's board: --board B") from error
    planned = [board for one in selections for board in cells(one, data_dir=data_dir)]
    return distinct(planned)


def _chosen(trials: list[Trial], name: str | None, seed: int | None) -> Trial:
    """Return the one trial that is meant.

    Raises:
        BenchError: There is none, or several fit.
    """
    known = [trial.id for trial in trials]
    if name is not None:
        trials = [trial for trial in trials if trial.id == name]
        if not trials:
            raise unknown("trial", name, known)
    fitting = [trial for trial in trials if seed in (None, trial.seed)]
    if not fitting:
        raise BenchError(
            f"No trial of these has the seed {seed}.",
            f"Seeds: {', '.join(map(str, sorted({trial.seed for trial in trials})))}.",
        )
    if len(fitting) > 1:
        names = ", ".join(trial.id for trial in fitting[:NAMED])
        more = ", …" if len(fitting) > NAMED else ""
        raise BenchError(f"{len(fitting)} trials fit.", f"Name one of them: {names}{more}")
    return fitting[0]


def _print(name: str, explained: list[StageExplanation]) -> None:
    states = [one.state for one in explained]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{name}: {counts}.")
    width = max(len(one.kind) for one in explained)
    for one in explained:
        against = f", nearest is {one.nearest[:8]}" if one.nearest else ""
        print(f"  {one.kind:<{width}}  {one.key[:8]}  {one.state}{against}")
        for reason in one.reasons:
            print(f"  {'':<{width}}    {reason}")
