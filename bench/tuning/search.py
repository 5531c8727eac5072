"""A search: what its trials share, and each configuration planned as an ordinary trial.

The trials are planned like those of a board, except that the validation cases take the place of
the test cases: no stage of a search draws a test row. The stages that train have the same keys as
on boards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bench.config import plugins
from bench.config.cards import BoardRow, RowCounts, Rows
from bench.config.fields import check_setting
from bench.config.settings import build_method, overrides_for, resolve_settings, setting_layers
from bench.config.toml import Override
from bench.errors import BenchError
from bench.hashing import Plain, digest
from bench.metrics.registry import get_metric
from bench.plan.backbones import find_model_paths
from bench.plan.trials import (
    DEFAULT_KS,
    Trial,
    compose_evaluations,
    compose_inputs,
    get_task,
)
from bench.plan.types import Data, Model, Plan
from bench.tuning.space import Space, round_settings

TRIAL_SEED = 0
DATA_SEED = 0

Algorithm: TypeAlias = Literal["random", "optuna"]
Scheduler: TypeAlias = Literal["asha", "none"]


@dataclass(frozen=True, kw_only=True)
class SearchSetup:
    """What all trials of a search share.

    Attributes:
        metric: The metric on validation that decides.
        num_trials: Number of configurations, the present settings among them.
        algorithm: Random search, or Optuna's TPE sampler.
        scheduler: Early stopping by ASHA, or none; None for ASHA if there is a resource.
        seed: Decides which configurations are sampled; the seed of the trials is 0.
        rows: Row counts over the budget's; `valid` is the number of cases.
        overrides: Settings fixed by `--set`.
        model_paths: `CARD=DIR`, the user's own folders of backbones.

    Raises:
        BenchError: There are no trials, or there is no such metric.
    """

    method: str
    dataset: str
    model: str | None
    budget: str
    metric: str
    num_trials: int
    algorithm: Algorithm = "random"
    scheduler: Scheduler | None = None
    seed: int = 0
    rows: RowCounts = dataclasses.field(default_factory=RowCounts)
    overrides: tuple[Override, ...] = ()
    data_dir: Path | None = None
    model_paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_trials < 1:
            raise BenchError("A search needs at least one trial.", "Example: --trials 8")
        get_metric(self.metric)

    @property
    def fixed_settings(self) -> dict[str, Any]:
        """Settings fixed by `--set`, by path."""
        return overrides_for(self.method, self.overrides, [self.method])


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search with everything that its trials are planned from.

    Attributes:
        settings: The present settings, which are the first configuration.
        amounts: Values of the resource at which a configuration is evaluated, ascending; (0,) for
            one full evaluation.
        data: The data, validation cases in place of test cases.
        notes: What a reader should know of the data.
        key: Key of the evaluation of the present settings.
    """

    setup: SearchSetup
    space: Space
    settings: Mapping[str, Plain]
    amounts: tuple[int, ...]
    data: Data
    model: Model | None
    row_counts: Rows
    notes: tuple[str, ...] = ()
    key: str = ""

    @property
    def has_early_stopping(self) -> bool:
        """Whether ASHA stops configurations early."""
        return len(self.amounts) > 1

    @property
    def id(self) -> str:
        """Name of the search, different if anything differs that may change its result."""
        setup = self.setup
        content: dict[str, Plain] = {
            "space": self.space.model_dump(mode="json"),
            "settings": dict(self.settings),
            "amounts": self.amounts,
            "metric": setup.metric,
            "algorithm": setup.algorithm,
            "num_trials": setup.num_trials,
            "seed": setup.seed,
            "key": self.key,
        }
        return f"{setup.method}-{setup.dataset}-{digest(content)[:12]}"

    @property
    def present(self) -> dict[str, Plain]:
        """The present values of the searched settings."""
        return {path: self.settings[path] for path in self.space.space}

    def plan_trial(self, sampled: Mapping[str, Any], amount: int) -> Trial:
        """Plan the evaluation of a configuration at an amount of the resource.

        A configuration that the method refuses gets a trial with a `problem`.
        """
        setup, problem, evaluations = self.setup, "", {}
        cls = plugins.method_class(setup.method)
        resource = {self.space.resource: amount} if self.space.resource and amount else {}
        settings = {**self.settings, **round_settings(sampled), **resource}
        k = get_metric(setup.metric).k
        try:
            settings = {
                path: check_setting(cls, path, value, "the search space")
                for path, value in settings.items()
            }
            plan = build_method(setup.method, settings).plan(self.data, self.model, TRIAL_SEED)
            ks = sorted({*DEFAULT_KS, *([k] if k else [])})
            evaluations = compose_evaluations(
                setup.method, Plan(ranking=plan.ranking), self.data, ks, exclude_seen=False
            )
        except BenchError as error:
            problem = f"{error.message} {error.hint}".strip()
        except Exception as error:  # a plug-in's plan may fail in any way
            problem = f"plan() failed: {type(error).__name__}: {error}"
        return Trial(
            method=setup.method,
            dataset=setup.dataset,
            seed=TRIAL_SEED,
            model=setup.model,
            rows=self.row_counts,
            data_seed=DATA_SEED,
            settings=settings,
            notes=self.notes,
            problem=problem,
            evaluations={} if problem else evaluations,
        )


def plan_search(setup: SearchSetup, space: Space) -> Search:
    """Resolve the present settings and plan their trial.

    Raises:
        BenchError: The setup is inconsistent, or the present settings cannot be planned.
    """
    settings = _resolve_present(setup, space)
    if setup.rows.test is not None:
        message = "A search uses no test rows."
        raise BenchError(message, "Leave test=… out of --rows; valid=… sets the cases.")
    rows = setup.rows.apply(plugins.budget_card(setup.budget).rows)
    inputs = compose_inputs(
        setup.dataset,
        setup.model,
        get_task(setup.method),
        model_paths=find_model_paths(setup.model_paths, [setup.model]),
        rows=rows,
        data_seed=DATA_SEED,
        strict=False,
        data_dir=setup.data_dir,
    )
    search = Search(
        setup=setup,
        space=space,
        settings=settings,
        amounts=_list_amounts(setup, space, settings),
        data=inputs.data.on_validation,
        model=inputs.model,
        row_counts=rows.model_copy(update={"test": rows.valid}),
        notes=inputs.notes,
    )
    present = search.plan_trial({}, search.amounts[-1])
    if present.problem:
        raise BenchError(f"The present settings cannot be planned: {present.problem}")
    return dataclasses.replace(search, key=present.evaluations["final"].key)


def _resolve_present(setup: SearchSetup, space: Space) -> dict[str, Plain]:
    budget = plugins.budget_card(setup.budget)
    model = None if setup.model is None else (setup.model, plugins.model_card(setup.model))
    layers = setting_layers([setup.method], model=model, budget=(setup.budget, budget))
    overrides = setup.fixed_settings
    for path, value in overrides.items():
        if path in space.space:
            raise BenchError(
                f"--set {path}={value} fixes a setting that is searched.",
                "Leave out the option, or remove the setting from the space.",
            )
    return resolve_settings(BoardRow(method=setup.method), layers=layers, overrides=overrides)


def _list_amounts(
    setup: SearchSetup, space: Space, settings: Mapping[str, Plain]
) -> tuple[int, ...]:
    """Return ASHA's rungs and the full amount; (0,) without a resource."""
    if setup.scheduler == "asha" and not space.resource:
        raise BenchError(
            f"ASHA needs a resource, and {setup.method} declares none.",
            "Use --scheduler none, or name a `resource` in the file of --space.",
        )
    if not space.resource or setup.scheduler == "none":
        return (0,)
    full, amounts = settings[space.resource], []
    assert isinstance(full, int)
    if full < space.grace_period:
        raise BenchError(
            f"{space.resource} is {full}, less than the grace period of {space.grace_period}.",
            f"Raise it (--set {space.resource}=…), or use --scheduler none.",
        )
    amount = space.grace_period
    while amount < full:
        amounts.append(amount)
        amount *= space.reduction_factor
    return (*amounts, full)
