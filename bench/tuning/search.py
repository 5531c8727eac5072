"""A search as ordinary trials: every configuration at every rung, judged on validation cases.

The trials are planned as a board's are, with one difference: where a board's trial has test cases,
these have the validation cases, so that no stage of theirs draws a test row. What they train has
the key that it has on boards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardRow, Rows
from bench.config.fields import check_setting
from bench.config.settings import build_method, overrides_for, resolve_settings, setting_layers
from bench.config.toml import Override
from bench.errors import BenchError
from bench.hashing import Plain, digest
from bench.metrics.registry import get_metric
from bench.plan import Data, Model, evaluate, language_model
from bench.plan.trials import DEFAULT_KS, Trial, compose_data
from bench.tuning.asha import Look, rungs
from bench.tuning.space import Space, configurations

TRIAL_SEED = 0
DATA_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all trials of a search share.

    Attributes:
        method: Whose settings are searched.
        dataset: On which data.
        model: Card of the backbone.
        budget: Card of the budget.
        metric: What the best has most of, or least, where lower is better.
        num: Configurations that are tried, the settings as they are among them.
        seed: Of the search; the trials' own is 0.
        rows: Over the budget's; as many validation rows as it says are the cases.
        overrides: What `--set` gave.
        data_dir: Folder of the user's own raw files.
        model_path: The user's own folder of the backbone.

    Raises:
        BenchError: There are no trials, or there is no such metric.
    """

    method: str
    dataset: str
    model: str | None
    budget: str
    metric: str
    num: int
    seed: int = 0
    rows: Rows = dataclasses.field(default_factory=Rows)
    overrides: Sequence[Override] = ()
    data_dir: Path | None = None
    model_path: Path | None = None

    def __post_init__(self) -> None:
        if self.num < 1:
            raise BenchError("A search of no trials finds nothing.", "Give --trials 8, or more.")
        get_metric(self.metric)


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search, planned whole before it starts.

    Attributes:
        setup: What its trials share.
        space: What it may change.
        given: The settings that it starts from.
        rungs: The resource at each look; without a resource there is one look, at 0.
        changes: By configuration, the settings that it changes.
        trials: By look.
        notes: What a reader should know of the data.
    """

    setup: Setup
    space: Space
    given: Mapping[str, Plain]
    rungs: tuple[int, ...]
    changes: tuple[Mapping[str, Any], ...]
    trials: Mapping[Look, Trial]
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Name of the search; another one where anything differs that may change its end."""
        keys = [
            trial.evaluations["final"].key if trial.evaluations else trial.problem
            for trial in self.trials.values()
        ]
        content: dict[str, Plain] = {
            "space": self.space.model_dump(mode="json"),
            "metric": self.setup.metric,
            "seed": self.setup.seed,
            "keys": keys,
        }
        return f"{self.setup.method}-{self.setup.dataset}-{digest(content)[:12]}"

    @property
    def rows(self) -> Rows:
        """Rows of every trial."""
        return self.trials[Look(0, 0)].rows

    def settings(self, number: int) -> dict[str, Plain]:
        """Return what the searched settings are in a configuration."""
        settings = {**self.given, **self.changes[number]}
        return {name: settings[name] for name in self.space.space}


def plan_search(setup: Setup, space: Space) -> Search:
    """Draw the configurations and plan all their trials.

    Raises:
        BenchError: The setup does not fit together, or no configuration at all can be planned.
    """
    metric = get_metric(setup.metric)
    given = _given(setup, space)
    amounts = _rungs(space, given)
    changes = configurations(space, setup.num, seed=setup.seed, given=given)
    asked = _rows(setup)
    data, notes = compose_data(
        setup.dataset, rows=asked, data_seed=DATA_SEED, strict=False, data_dir=setup.data_dir
    )
    data = dataclasses.replace(data, test=data.valid)
    model = _model(setup, data)
    trials = {}
    for number, changed in enumerate(changes):
        for rung, amount in enumerate(amounts):
            cut = {space.resource: amount} if space.resource else {}
            trial = Trial(
                method=setup.method,
                dataset=setup.dataset,
                seed=TRIAL_SEED,
                model=setup.model,
                rows=asked.model_copy(update={"test": asked.valid}),
                data_seed=DATA_SEED,
                settings={**given, **_checked(setup.method, changed), **cut},
                notes=notes,
            )
            ks = sorted({*DEFAULT_KS, *([metric.k] if metric.k else [])})
            trials[Look(number, rung)] = _planned(trial, data, model, ks)
    if all(trial.problem for trial in trials.values()):
        raise BenchError(f"Nothing can be tried: {trials[Look(0, 0)].problem}")
    return Search(
        setup=setup,
        space=space,
        given=given,
        rungs=amounts,
        changes=tuple(changes),
        trials=trials,
        notes=notes,
    )


def _given(setup: Setup, space: Space) -> dict[str, Plain]:
    budget = plugins.budget_card(setup.budget)
    model = None if setup.model is None else (setup.model, plugins.model_card(setup.model))
    layers = setting_layers([setup.method], model=model, budget=(setup.budget, budget))
    overrides = overrides_for(setup.method, setup.overrides, [setup.method])
    for path, value in overrides.items():
        if path in space.space:
            raise BenchError(
                f"--set {path}={value} fixes a setting that is searched.",
                "Leave one out: the option, or the setting in the space.",
            )
    row = BoardRow(method=setup.method)
    return resolve_settings(row, layers=layers, overrides=overrides)


def _checked(method: str, changed: Mapping[str, Any]) -> dict[str, Plain]:
    cls = plugins.method_class(method)
    return {name: check_setting(cls, name, value, "the space") for name, value in changed.items()}


def _rungs(space: Space, given: Mapping[str, Plain]) -> tuple[int, ...]:
    if not space.resource:
        return (0,)
    most = given[space.resource]
    assert isinstance(most, int)
    if most < space.least:
        raise BenchError(
            f"{space.resource} is {most}, less than the {space.least} of the first look.",
            f"Raise it: --set {space.resource}=…, or search without early looks.",
        )
    return rungs(most, least=space.least, factor=space.factor)


def _rows(setup: Setup) -> Rows:
    given = setup.rows.model_dump(exclude_none=True)
    if "test" in given:
        raise BenchError(
            "A search has no test rows.", "Leave test=… out of --rows; valid=… are its cases."
        )
    return plugins.budget_card(setup.budget).rows.model_copy(update=given)


def _model(setup: Setup, data: Data) -> Model | None:
    if setup.model is None:
        return None
    return language_model(
        setup.model,
        plugins.model_card(setup.model),
        data=data.train.data,
        nouns=data.train.nouns,
        model_path=setup.model_path,
    )


def _planned(trial: Trial, data: Data, model: Model | None, ks: Sequence[int]) -> Trial:
    """Plan a trial's final ranking; a configuration that cannot be planned says why."""
    try:
        method = build_method(trial.method, trial.settings)
        stage = evaluate(method.plan(data, model, trial.seed).ranking, data.test, ks=ks)
        stage.key  # noqa: B018 (a plan that has no key is this configuration's problem)
    except BenchError as error:
        return dataclasses.replace(trial, problem=f"{error.message} {error.hint}".strip())
    except Exception as error:  # a plug-in's plan may fail in any way
        problem = f"plan() failed: {type(error).__name__}: {error}"
        return dataclasses.replace(trial, problem=problem)
    return dataclasses.replace(trial, evaluations={"final": stage})


def fixed(setup: Setup) -> dict[str, Any]:
    """Return what `--set` fixed, as a board's row would have it."""
    return overrides_for(setup.method, setup.overrides, [setup.method])
