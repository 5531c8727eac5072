"""Sweeps of a board: its rows that differ in one setting alone.

A sweep goes through the board's reference row: its steps are that row and those of the same method
that differ from it in the swept setting alone. The papers' claim files name the swept settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.config.cards import BoardRow
from bench.plan.trials import Board, Trial
from bench.report.claims.cards import SweptSetting, find_claim_files, load_claims
from bench.report.table import Sweep

MIN_STEPS = 3
CHECKPOINTS = "step"
"""Name of the sweep over the rankings after each training stage."""


def find_sweeps(board: Board, row_trials: Sequence[tuple[BoardRow, Trial]]) -> tuple[Sweep, ...]:
    """Find the sweeps of a board, those of three steps or more."""
    trials = {row.name: trial for row, trial in row_trials}
    base = trials.get(board.card.reference_row)
    if base is None:
        return ()
    sweeps = []
    for swept in (
        sweep for paper in sorted(find_claim_files()) for sweep in load_claims(paper).sweeps
    ):
        if swept.method != base.method:
            continue
        steps: dict[float, str] = {}
        for name, trial in trials.items():
            value = _step_value(swept, base, trial)
            if value is not None:
                steps.setdefault(value, name)
        if len(steps) >= MIN_STEPS:
            sweeps.append(Sweep(row=swept.row, x=swept.x, steps=tuple(sorted(steps.items()))))
    return tuple(sweeps)


def _step_value(swept: SweptSetting, base: Trial, trial: Trial) -> float | None:
    """Return the value of the swept setting; None where anything else differs."""
    if swept.without and trial.method == swept.without and trial.model == base.model:
        shared = trial.settings.keys() & base.settings.keys()
        equal = all(trial.settings[path] == base.settings[path] for path in shared)
        return 0.0 if equal else None
    if trial.method != swept.method or _other_settings(swept, trial) != _other_settings(
        swept, base
    ):
        return None
    value = trial.settings.get(swept.setting)
    return float(value) if isinstance(value, int | float) else None


def _other_settings(swept: SweptSetting, trial: Trial) -> Mapping[str, Any]:
    others = {path: value for path, value in trial.settings.items() if path != swept.setting}
    return others | {"model": trial.model}
