"""What makes stages alike although their keys differ: equal work with other seeds or code.

Stages of a plan and artifacts of a store are described alike, so that what one took tells what the
other will take.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from bench.hashing import Plain

# In which of its inputs a stage's rows stand, the first that it has.
ROWS = ("cases", "rows", "pairs", "train", "lists", "questions", "generated")
PASSES = ("num_train_epochs", "epochs", "num_beams")
NUM_ROWS = {"draw": "num", "sample": "num", "pairs": "max_pairs"}

_spelled = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage of a plan, or an artifact: what both say about themselves; inputs by key."""

    kind: str
    args: Mapping[str, Plain]
    inputs: Mapping[str, str]


class Likeness:
    """Tells which steps are alike.

    Args:
        look_up: Returns the step of a key, or None where nothing is known about it.
    """

    def __init__(self, look_up: Callable[[str], Step | None]) -> None:
        self._look_up = look_up
        self._twins: dict[str, int] = {}  # by key
        self._numbers: dict[Hashable, int] = {}

    def twin(self, key: str) -> int:
        """Number steps so that those share one that differ in seeds and code alone."""
        if key not in self._twins:
            step = self._look_up(key)
            name: Hashable = key  # what was made of something unknown is like nothing else
            if step is not None:
                inputs = tuple((role, self.twin(one)) for role, one in sorted(step.inputs.items()))
                name = (step.kind, _spelled(_without_seeds(step.args)), inputs)
            self._twins[key] = self._numbers.setdefault(name, len(self._numbers))
        return self._twins[key]

    def words(self, step: Step) -> Hashable:
        """Name a step by its kind, its model and whatever of its arguments is no number."""
        return step.kind, self._model(step), _spelled(_words(step.args))

    def _model(self, step: Step) -> str:
        """Describe the untuned model that a step computes with; "" for none."""
        if "backbone" not in step.inputs:
            return ""
        root = self._look_up(step.inputs["backbone"])
        while root is not None and "backbone" in root.inputs:
            root = self._look_up(root.inputs["backbone"])
        return "?" if root is None else _spelled({"kind": root.kind, **root.args})

    def amount(self, step: Step) -> float | None:
        """Return rows × passes over them; None where the plan does not say how many rows."""
        rows = self._rows(step)
        if rows is None:
            return None
        for name in PASSES:
            passes = step.args.get(name, 1)
            rows *= passes if isinstance(passes, int | float) else 1
        return float(rows)

    def _rows(self, step: Step) -> float | None:
        behind = next((step.inputs[role] for role in ROWS if role in step.inputs), None)
        given = None if behind is None else self._look_up(behind)
        rows = None if given is None else self._rows(given)
        own = step.args.get(
            {"draw": "num", "sample": "num", "pairs": "max_pairs"}.get(step.kind, "")
        )
        if not isinstance(own, int | float):
            return rows
        return own if rows is None else min(own, rows)


def _without_seeds(value: Plain) -> Plain:
    if isinstance(value, dict):  # a plain mapping; the general one is slow to ask for
        return {name: _without_seeds(one) for name, one in value.items() if name != "seed"}
    return value


def _words(value: Plain) -> Plain:
    """Replace numbers by their kind; true and false are words."""
    if isinstance(value, dict):
        return {name: _words(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_words(one) for one in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value
