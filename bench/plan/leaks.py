"""No plan learns from the cases it is evaluated on: a rule on the graph of its stages.

Every input of a stage is a training input, also of a kind that is not named here, except those
that `CASES` and `CHOICES` name. A training input descends from the draw of training samples only;
a choice (early stopping, selection among rankings) may descend from that of validation as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.errors import BenchError
from bench.plan.stage import Stage
from bench.plan.types import Data

CASES: Mapping[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "sample": "rows",
        "pairs": "rows generated",
        "generate": "rows prompts",
        "hidden": "generated",
        "ground": "generated text_vectors",
        "responses": "prompts",
        "text_vectors": "prompts answers",
        "rerank": "users items",
        "reward_pairs": "items",
        "evaluate": "ranking",
        "evaluate_lists": "scores",
    }.items()
}
"""Inputs that a stage computes something for, by kind; `cases` of every kind, and the `test_<n>`
of `select`."""
CHOICES = frozenset({"valid", "select.cases", "select.valid"})
"""Inputs that only select: an epoch by `valid` of any kind, one of several rankings by `select`."""
WHOLE = {"prepare": "data", "reorder": "data", "lists": "lists"}
"""Kinds whose artifact holds every split, and the only name under which a stage reads them."""
HINT = (
    "Train on data.train; data.valid may select (early stopping, select_on_validation); only "
    "the cases of a ranking come from data.test."
)


class LeakError(BenchError):
    """A plan that learns from the cases it is evaluated on; the whole command is refused."""


def check_leaks(evaluations: Iterable[Stage], data: Data, *, method: str, cls: type[Any]) -> None:
    """Refuse a plan that trains on its test or validation split, or selects on its test split.

    The `AS_PUBLISHED` of the method's class may declare a selection on test lists.

    Raises:
        LeakError: The plan breaks the rule, or reads data that are not the trial's.
    """
    own = {data.train.data.key, data.test.data.key} | (
        {data.lists.stage.key} if data.lists else set()
    )
    published = getattr(cls, "AS_PUBLISHED", {})
    splits: dict[str, frozenset[str]] = {}

    def visit(stage: Stage) -> frozenset[str]:
        if stage.key not in splits:
            if stage.kind in WHOLE and stage.key not in own:
                raise LeakError(
                    f"{method} reads data that are not the trial's own.",
                    "Use the given `data` only.",
                )
            _check_labels(stage, method, published)
            splits[stage.key] = _own_splits(stage).union(
                *(check(stage, name, source) for name, source in stage.inputs.items())
            )
        return splits[stage.key]

    def check(stage: Stage, name: str, source: Stage) -> frozenset[str]:
        if source.kind in WHOLE and name != WHOLE[source.kind]:
            raise LeakError(
                f"{method} passes all prepared data to the stage {stage.kind} as {name}: they hold "
                "the targets of the test split.",
                HINT,
            )
        role, descends = _role(stage.kind, name), visit(source)
        if role == "cases":
            return descends
        if "test" in descends or ("valid" in descends and role == "training"):
            split = "test" if "test" in descends else "validation"
            verb = "trains" if role == "training" else "selects"
            raise LeakError(
                f"{method} {verb} on the {split} split: the input {name} of the stage {stage.kind} "
                f"descends from the draw of {split} samples.",
                HINT,
            )
        return descends - {"valid"}

    for evaluation in evaluations:
        visit(evaluation)


def _role(kind: str, name: str) -> str:
    base = f"select.{name.split('_')[0]}" if kind == "select" else name
    if base in CHOICES:
        return "choice"
    is_case = base in ("cases", "select.test") or name in CASES.get(kind, ())
    return "cases" if is_case else "training"


def _own_splits(stage: Stage) -> frozenset[str]:
    """Return the splits whose samples, or users, the stage itself takes from the data."""
    if stage.kind == "draw":
        return frozenset({str(stage.args["split"])})
    if stage.kind == "questions" and stage.args["about"] == "users":
        parts = stage.args["parts"]
        # Pairs are made of training users only; those who validate select the rewarding epoch.
        return frozenset({"test"} & set(parts))  # type: ignore[arg-type]
    return frozenset()


def _check_labels(stage: Stage, method: str, published: Mapping[str, Any]) -> None:
    """Refuse configs that read the labels of the test lists where the method does not say so."""
    if stage.kind == "order_lists" and stage.args["by"] == "oracle" and method != "listorder":
        raise LeakError(
            f"{method} orders the test lists by their labels.", "Only the bound listorder may."
        )
    on_test = stage.kind == "rerank" and stage.args["select_on"] == "test"
    if on_test and "test" not in published.values():
        raise LeakError(
            f"{method} selects an epoch on the test lists.",
            'Set select_on = "valid", or declare it in AS_PUBLISHED.',
        )
