"""`bench explain`: which stages of a trial are stored, which would run, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import bench
from bench.cli import options as o


@o.expand_groups
def explain(
    request: o.RunRequest,
    trial: str | None = o.argument(
        "[TRIAL]", "Id, as in bench plan --json and bench status --json.", None
    ),
    seed: int | None = o.option("--seed", "N", "The trial with this seed.", min=0),
    store: Path = o.STORE,
    results: Path = o.RESULTS,
    data_dir: Path | None = o.DATA_DIR,
    as_json: bool = o.AS_JSON,
) -> None:
    """Explain for each stage of a trial whether it is stored and, if not, what differs.

    The trial is searched in the named boards, or in those that were run if none is named. What its
    result selected on validation is shown with the value there and on test.
    """
    from bench.results.schema import find_result
    from bench.results.validation import read_validation

    match, stages = bench.explain(
        request, trial=trial, seed=seed, store=store, results=results, data_dir=data_dir
    )
    result = find_result(results, match.id)
    selected = read_validation(result) if result else None
    if as_json:
        content = {"trial": match.id, "stages": [dataclasses.asdict(stage) for stage in stages]}
        o.print_json(content | ({"selected": dataclasses.asdict(selected)} if selected else {}))
        return
    counts = Counter(stage.state for stage in stages)
    print(f"{match.id}: {', '.join(f'{number} {state}' for state, number in counts.items())}.")
    width = max(len(stage.kind) for stage in stages)
    for stage in stages:
        nearest = f", nearest is {stage.nearest[:8]}" if stage.nearest else ""
        print(f"  {stage.kind:<{width}}  {stage.key[:8]}  {stage.state}{nearest}")
        for reason in stage.reasons:
            print(f"  {'':<{width}}    {reason}")
    if selected:
        print(f"Selected on validation: {selected.text}.")
