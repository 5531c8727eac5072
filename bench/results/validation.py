"""The validation value that selected a result, next to its test value: the selection gap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.results.schema import FINAL, Result, StageRecord

CURVE = re.compile(r"\bvalid_(loss|ndcg@\d+)_by_epoch\b|\b(map@\d+)_by_epoch\b")
"""Names of the curves by which training selects an epoch."""


@dataclass(frozen=True, kw_only=True)
class ValidationValue:
    """What validation selected, and by which value.

    Attributes:
        metric: Such as "NDCG@5", or "LOSS".
        validation: Value of the selected one, the best of `num`.
        test: The test value of the same metric; None where it was not computed.
    """

    selected: str
    metric: str
    validation: float
    num: int
    test: float | None

    @property
    def text(self) -> str:
        """All of it in one line."""
        best = f"{self.metric} {self.validation:.4f} on validation, best of {self.num}"
        if self.test is None:
            return f"{self.selected}: {best}"
        gap = f"{self.test - self.validation:+.4f}"
        return f"{self.selected}: {best}; {self.test:.4f} on test, gap {gap}"


def read_validation(result: Result) -> ValidationValue | None:
    """Return what the last selection of a result, or else its last training, selected.

    A choice among rankings or epochs of the model that ranks has a test value; fine-tuning selects
    its epoch by the loss, which is not computed on test cases. None where nothing was selected.
    """
    kinds = {stage.kind for stage in result.stages}
    last = next((kind for kind in ("select", "sft") if kind in kinds), None)
    stages = [stage for stage in result.stages if last in (None, stage.kind)]
    metrics = result.evaluations[FINAL].metrics if FINAL in result.evaluations else {}
    values = (_read_stage(stage, metrics) for stage in reversed(stages))
    return next(filter(None, values), None)


def _read_stage(stage: StageRecord, metrics: Mapping[str, float]) -> ValidationValue | None:
    logged = stage.metadata
    if stage.kind == "select":
        metric, values = logged["metric"], logged["validation"]
        selected, value = logged["chosen"], values[logged["chosen"]]
    elif (curve := CURVE.search(" ".join(logged))) and not logged.get("as_published"):
        metric, values = (curve[1] or curve[2]).upper(), logged[curve[0]]
        if not values:
            return None
        value = min(values) if metric == "LOSS" else max(values)
        selected = f"epoch {logged['best_epoch']}"
    else:
        return None
    return ValidationValue(
        selected=selected,
        metric=metric,
        validation=value,
        num=len(values),
        test=metrics.get(metric),
    )
