"""Which artifacts and assets the boards that were run, and their results, need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.plan.board_selection import BoardSelection, distinct_trials, plan_boards
from bench.plan.graph import build_graph
from bench.plan.trials import Trial
from bench.results.run_records import list_recorded, read_boards
from bench.results.schema import read_result
from bench.runner.offline.needs import get_cache_path, list_assets


@dataclass(frozen=True, kw_only=True)
class NeededArtifacts:
    """What garbage collection must keep.

    Attributes:
        keys: Keys of the artifacts that a plan or a result names.
        assets: Paths of assets in the cache.
        notes: What could not be determined.
    """

    keys: set[str] = field(default_factory=set)
    assets: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def find_needed(results: Sequence[Path], searches: Path, data_dir: Path | None) -> NeededArtifacts:
    """Find what is needed.

    Args:
        results: Folders of results.
        searches: Folder of the results of `bench tune`.
        data_dir: Folder of raw files, searched first.

    Raises:
        BenchError: If a board or a result cannot be read, so that its needs are unknown.
    """
    artifacts = NeededArtifacts()
    for selection in (board for folder in results for board in _read_all_boards(folder)):
        trials = _plan(selection, data_dir)
        stages = build_graph(trial for trial in trials if not trial.problem).stages
        artifacts.keys.update(stages)
        artifacts.assets.update(
            get_cache_path(asset.file) for asset in list_assets(stages.values()) if asset.file
        )
        if problems := sum(bool(trial.problem) for trial in trials):
            artifacts.notes.append(
                f"{problems} trials of the board {selection.boards[0].page} can no longer be "
                "planned; their artifacts are kept only if a result names them or they were used "
                "recently."
            )
    for folder in (*results, searches):
        for path in sorted(folder.rglob("seed-*.json")):
            artifacts.keys.update(stage.key for stage in read_result(path).stages)
    return artifacts


def _read_all_boards(results: Path) -> list[BoardSelection]:
    selections = read_boards(results)
    if len(selections) != len(list_recorded(results)):
        raise BenchError(
            f"A board recorded in {results} cannot be read, so the artifacts it needs are unknown.",
            "Run it again, or remove its record.",
        )
    return selections


def _plan(selection: BoardSelection, data_dir: Path | None) -> list[Trial]:
    try:
        return distinct_trials(plan_boards(selection, data_dir=data_dir))
    except BenchError as error:
        raise BenchError(
            f"The board {selection.boards[0].page} that was run can no longer be planned: "
            f"{error.message}",
            f"{error.hint} If you no longer want it, remove its record in boards/.".strip(),
        ) from error
