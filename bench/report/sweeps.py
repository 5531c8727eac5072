"""Boards that sweep a setting: which rows are its steps, by their resolved settings; its charts.

A sweep goes through the board's reference row: its steps are that row and those of the same method
that differ from it in the swept setting alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.config.cards import BoardRow
from bench.hashing import Plain
from bench.plan.trials import Board, Trial
from bench.report.table import Sweep

FEWEST_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A setting that papers sweep.

    Attributes:
        method: Whose setting it is.
        setting: Its name.
        row: What the claims call the method.
        x: What they call the setting.
        without: The method that is this one with the setting at 0, where it has another name.
    """

    method: str
    setting: str
    row: str
    x: str
    without: str = ""


SWEPT = (
    Swept(method="sprec", setting="random_fraction", row="SPRec", x="random share"),
    Swept(method="sprec", setting="num_negatives", row="SPRec", x="negatives"),
    Swept(method="dpo4rec", setting="dpo_rounds", row="DPO4Rec", x="round", without="kar"),
    Swept(method="dpo4rec", setting="samples", row="DPO4Rec", x="samples"),
)


def sweeps(board: Board, cells: Sequence[tuple[BoardRow, Trial]]) -> tuple[Sweep, ...]:
    """Find the sweeps of a board, those of three steps or more."""
    rows = {row.name: trial for row, trial in cells}
    base = rows.get(board.card.reference_row)
    if base is None:
        return ()
    found = []
    for one in SWEPT:
        steps: dict[float, str] = {}
        for name, trial in rows.items():
            value = _step(one, base, trial)
            if value is not None:
                steps.setdefault(value, name)
        if one.method == base.method and len(steps) >= FEWEST_STEPS:
            found.append(Sweep(row=one.row, x=one.x, steps=tuple(sorted(steps.items()))))
    return tuple(found)


def _step(swept: Swept, base: Trial, trial: Trial) -> float | None:
    """Return the value of the setting where nothing else differs; None where it is no step."""
    if swept.without and trial.method == swept.without and trial.model == base.model:
        same = trial.settings.keys() & base.settings.keys()
        return 0.0 if all(trial.settings[key] == base.settings[key] for key in same) else None
    if trial.method != swept.method or _others(swept, trial) != _others(swept, base):
        return None
    value = trial.settings.get(swept.setting)
    return float(value) if isinstance(value, int | float) else None


def _others(swept: Swept, trial: Trial) -> Mapping[str, Plain]:
    others = {key: value for key, value in trial.settings.items() if key != swept.setting}
    return others | {"model": trial.model}
