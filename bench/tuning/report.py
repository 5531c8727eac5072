"""The result of a search as plain values: for the terminal, for pages and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bench.hashing import Plain
from bench.metrics.registry import get_metric
from bench.tuning.search import Search

if TYPE_CHECKING:
    import pandas as pd

Status: TypeAlias = Literal["completed", "open", "stopped", "failed"]
STATUSES: tuple[Status, ...] = ("completed", "open", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A configuration evaluated at one amount of the resource.

    Attributes:
        amount: The amount; 0 for a full evaluation without a resource.
        value: The metric on the validation cases.
        seconds: Duration of all its stages, computed from scratch.
    """

    amount: int
    value: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A configuration of a search.

    Attributes:
        number: From 1; the first has the present settings.
        settings: Values of the searched settings, by path.
        status: "completed" at the full amount, "stopped" early, "failed", or "open" after Ctrl-C.
        evaluations: Its evaluations by ascending amount.
    """

    number: int
    settings: Mapping[str, Plain]
    status: Status
    evaluations: tuple[Evaluation, ...]
    num_cases: int | None = None
    stages_run: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A search and its result.

    Attributes:
        configurations: In the order in which they were sampled.
        stopped_by: Number of the signal that ended it, or 0.
    """

    search: Search
    configurations: tuple[Configuration, ...]
    stopped_by: int = 0

    def stop(self, number: int) -> TuneResult:
        """Return the result of a search that a signal ended: what was stopped is open."""
        configurations = tuple(
            replace(each, status="open") if each.status == "stopped" else each
            for each in self.configurations
        )
        return replace(self, configurations=configurations, stopped_by=number)

    @property
    def ranked(self) -> list[Configuration]:
        """Configurations, the best first, then those evaluated at the highest amounts."""
        sign = 1 if get_metric(self.search.setup.metric).higher_is_better else -1

        def rank(configuration: Configuration) -> tuple[int, int, float, int]:
            evaluations = configuration.evaluations
            return (
                STATUSES.index(configuration.status),
                -len(evaluations),
                -sign * evaluations[-1].value if evaluations else 0.0,
                configuration.number,
            )

        return sorted(self.configurations, key=rank)

    @property
    def best(self) -> Configuration | None:
        """The best completed configuration; of equal ones, the first."""
        return next((each for each in self.ranked if each.status == "completed"), None)

    @property
    def values(self) -> dict[str, float | None]:
        """Value on validation of the present settings and of the best, where they completed."""
        present = next((each for each in self.configurations if each.number == 1), None)
        return {
            name: each.evaluations[-1].value if each and each.evaluations else None
            for name, each in (("present", present), ("best", self.best))
        }

    @property
    def num_failed(self) -> int:
        """Number of configurations that failed."""
        return sum(configuration.status == "failed" for configuration in self.configurations)

    @property
    def num_cases(self) -> int | None:
        """Number of validation cases; None if nothing was evaluated."""
        counts = [each.num_cases for each in self.configurations if each.num_cases is not None]
        return counts[0] if counts else None

    @property
    def seconds(self) -> float:
        """Duration of all configurations at their highest amounts, each computed from scratch."""
        last = [each.evaluations[-1] for each in self.configurations if each.evaluations]
        return round(sum(evaluation.seconds for evaluation in last), 3)

    @property
    def stages_run(self) -> int:
        """Stages computed now; the others were in the store."""
        return sum(configuration.stages_run for configuration in self.configurations)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per evaluation: configuration, its settings, status, amount and value."""
        import pandas as pd

        rows = [
            {
                "configuration": each.number,
                **each.settings,
                "status": each.status,
                "amount": evaluation.amount,
                self.search.setup.metric: evaluation.value,
                "seconds": evaluation.seconds,
            }
            for each in self.configurations
            for evaluation in each.evaluations
        ]
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        search = self.search
        setup, space = search.setup, search.space
        return {
            "search": search.id,
            "method": setup.method,
            "dataset": setup.dataset,
            "model": setup.model,
            "metric": setup.metric,
            "num_cases": self.num_cases,
            "budget": {
                "name": setup.budget,
                "rows": {name: getattr(search.row_counts, name) for name in ("train", "valid")},
                "trials": setup.num_trials,
                "algorithm": setup.algorithm,
                "scheduler": "asha" if search.has_early_stopping else "none",
                "seed": setup.seed,
                "resource": space.resource or None,
                "amounts": list(search.amounts),
                "reduction_factor": space.reduction_factor if search.has_early_stopping else None,
            },
            "space": {path: str(distribution) for path, distribution in space.space.items()},
            "best": None if self.best is None else dict(self.best.settings),
            "configurations": [
                {
                    "number": each.number,
                    "settings": dict(each.settings),
                    "status": each.status,
                    "evaluations": [[part.amount, part.value] for part in each.evaluations],
                    **({"reason": each.reason} if each.reason else {}),
                }
                for each in self.ranked
            ],
            "seconds": self.seconds,
        }


def describe_search(result: TuneResult) -> str:
    """Say in a few sentences what was tried, and on what."""
    search = result.search
    setup, space = search.setup, search.space
    num_cases = "" if result.num_cases is None else f"{result.num_cases} "
    algorithm = "random search" if setup.algorithm == "random" else "Optuna's TPE sampler"
    text = (
        f"{len(result.configurations)} configurations of {setup.method} on {setup.dataset}, "
        f"compared by {setup.metric} on {num_cases}validation cases; no test row was used. "
        f"Sampled by {algorithm} with seed {setup.seed}. Budget {setup.budget}"
        f"{f', model {setup.model}' if setup.model else ''}."
    )
    if search.has_early_stopping:
        return text + (
            f" Early stopping: ASHA over {space.resource} = "
            f"{', '.join(map(str, search.amounts))} with reduction factor {space.reduction_factor}."
        )
    return text + " Every configuration was evaluated in full."
