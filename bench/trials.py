"""From boards to trials: settings resolved, plans made, ids given.

Settings come from, later over earlier: the method's defaults, its `as_published`, the model card,
the budget, the board's row, `--set`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bench import plugins
from bench.cards import BoardCard, BoardRow, Rows
from bench.config import Override, check_setting, parse_value, setting_names
from bench.data.assets import checksums
from bench.errors import BenchError, unknown
from bench.metrics.names import parse
from bench.plan import Data, Plan, Stage, draw, evaluate, prepare
from bench.records import Plain, digest

DEFAULT_KS = (1, 5, 10, 20)
AS_PUBLISHED = "as_published"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with its name, as it is run: what the command line replaced is replaced."""

    name: str
    card: BoardCard


def all_ks(boards: Iterable[Board]) -> tuple[int, ...]:
    """Return every k that trials of these boards are evaluated at, the usual ones among them."""
    asked = {parse(name).k for board in boards for name in board.card.metrics}
    return tuple(sorted({*DEFAULT_KS, *(k for k in asked if k is not None)}))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One method with settings × data set × seed × model × budget.

    Attributes:
        evaluations: The stages whose artefacts become the result: "final", then checkpoints.
        notes: What a reader of the plan should know, e.g. that raw files are not at hand.
        problem: Why the trial cannot be planned; then there are no evaluations.
    """

    method: str
    dataset: str
    seed: int
    model: str | None
    rows: Rows
    data_seed: int
    settings: Mapping[str, Plain]
    evaluations: Mapping[str, Stage] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str = ""

    @cached_property
    def setting_hash(self) -> str:
        """Hash of all that tells this trial from others of its method, data set and seed."""
        return digest(
            {
                "settings": self.settings,
                "model": self.model,
                "rows": self.rows.model_dump(),
                "data_seed": self.data_seed,
            }
        )[:12]

    @cached_property
    def id(self) -> str:
        """`<dataset>/<method>/<hash>/seed-<n>`, also the place of its result."""
        return f"{self.dataset}/{self.method}/{self.setting_hash}/seed-{self.seed}"


def resolve_settings(
    row: BoardRow,
    *,
    layers: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]],
    overrides: Sequence[Override],
) -> dict[str, Plain]:
    """Resolve a row's settings.

    Args:
        row: The board's row.
        layers: Settings by method from the model card and the budget, each with its name.
        overrides: What `--set` gave for this method.

    Raises:
        BenchError: For a name or a type that the method does not know.
    """
    method = plugins.method_class(row.method)
    board = dict(row.settings)
    typed = [(override.key, parse_value(override.text)) for override in overrides]
    published = board.pop(AS_PUBLISHED, False)
    published = dict(typed).get(AS_PUBLISHED, published)
    if not isinstance(published, bool):
        raise BenchError(f"{row.method}: as_published is true or false, not {published!r}.")
    resolved: dict[str, Plain] = dataclasses.asdict(method())
    sources: list[tuple[str, Iterable[tuple[str, Any]]]] = []
    if published:
        released = getattr(method, "AS_PUBLISHED", None)
        if released is None:
            raise BenchError(
                f"{row.method} has no settings of its own for as_published.", "Leave it out."
            )
        sources.append((f"{row.method}.AS_PUBLISHED", released.items()))
    sources += [(where, settings.get(row.method, {}).items()) for where, settings in layers]
    sources += [(f"row {row.name!r}", board.items())]
    sources += [("--set", [(key, value) for key, value in typed if key != AS_PUBLISHED])]
    for where, settings in sources:
        for name, value in settings:
            resolved[name] = check_setting(method, name, value, where)
    return resolved


def overrides_for(
    method: str, overrides: Sequence[Override], methods: Iterable[str]
) -> list[Override]:
    """Pick the overrides of one method; one without a method needs a run of a single method.

    Raises:
        BenchError: Where an override names a method that is not in the run.
    """
    known = sorted(set(methods))
    for override in overrides:
        if override.method is None and len(known) > 1:
            raise BenchError(
                f"--set {override.key}=… does not say which method it is for.",
                f"Write --set METHOD.{override.key}=…, METHOD one of {', '.join(known)}.",
            )
        if override.method is not None and override.method not in known:
            raise unknown("method in this run", override.method, known)
    return [override for override in overrides if override.method in (None, method)]


def prepare_stage(name: str, data_dir: Path | None) -> Stage:
    """Compose the stage that prepares a data set, keyed by its card and raw checksums."""
    card = plugins.dataset_card(name)
    known = checksums(card, data_dir)
    return prepare(name=name, card=card.preparation(), checksums=known)


def dataset(
    name: str, *, rows: Rows, data_seed: int, strict: bool, data_dir: Path | None
) -> tuple[Data, tuple[str, ...]]:
    """Compose the data of a trial, and notes on what its key had to do without."""
    card = plugins.dataset_card(name)
    prepared = prepare_stage(name, data_dir)
    missing = sorted(role for role, value in checksums(card, data_dir).items() if value is None)
    notes = tuple(
        f"{name}: {card.files[role].name} is not at hand; the card stands in for its checksum."
        for role in missing
    )
    drawn = {
        split: draw(prepared, split=split, num=num, seed=data_seed, strict=strict)
        for split, num in rows.model_dump().items()
    }
    return Data(name=name, **drawn), notes


def board_trials(
    board: Board,
    *,
    ks: Sequence[int],
    overrides: Sequence[Override] = (),
    rows: Rows | None = None,
    data_dir: Path | None = None,
    methods_in_run: Iterable[str] = (),
) -> list[tuple[BoardRow, Trial]]:
    """Plan every cell of a board, row by row, data set by data set, seed by seed.

    A mistake in settings is raised; a plan that cannot be made (an unknown data set, a plug-in that
    fails) becomes that trial's `problem`, and the rest of the board goes on.

    Args:
        board: The board.
        ks: Lengths of lists that every ranking is evaluated at.
        overrides: What `--set` gave.
        rows: What `--rows` gave, over the budget's.
        data_dir: Folder of the user's own raw files.
        methods_in_run: Methods of other boards of the run, which overrides may name.
    """
    card = board.card
    budget = plugins.budget_card(card.budget)
    layers = [(f"budget {card.budget}", budget.methods)]
    if card.model is not None:
        layers.insert(0, (f"model {card.model}", plugins.model_card(card.model).methods))
    given = (rows or Rows()).model_dump(exclude_none=True)
    asked = budget.rows.model_copy(update=given)
    methods = {*methods_in_run, *(row.method for row in card.rows)}

    @cache
    def data_of(name: str) -> tuple[Data, tuple[str, ...]]:
        return dataset(
            name, rows=asked, data_seed=card.data_seed, strict=card.strict, data_dir=data_dir
        )

    planned: list[tuple[BoardRow, Trial]] = []
    for row in card.rows:
        chosen = overrides_for(row.method, overrides, methods)
        settings = resolve_settings(row, layers=layers, overrides=chosen)
        method = plugins.method_class(row.method)(**settings)
        for name, seed in itertools.product(card.datasets, range(card.seeds)):
            trial = Trial(
                method=row.method,
                dataset=name,
                seed=seed,
                model=card.model,
                rows=asked,
                data_seed=card.data_seed,
                settings=settings,
            )
            planned.append((row, _planned(trial, method, data_of, ks)))
    return planned


def _planned(
    trial: Trial,
    method: Any,
    data_of: Callable[[str], tuple[Data, tuple[str, ...]]],
    ks: Sequence[int],
) -> Trial:
    try:
        data, notes = data_of(trial.dataset)
        plan = method.plan(data, trial.model, trial.seed)
        return dataclasses.replace(trial, evaluations=_evaluations(plan, data, ks), notes=notes)
    except BenchError as error:
        return dataclasses.replace(trial, problem=f"{error.message} {error.hint}".strip())
    except Exception as error:  # a plug-in's plan may fail in any way
        problem = f"plan() failed: {type(error).__name__}: {error}"
        return dataclasses.replace(trial, problem=problem)


def _evaluations(plan: Plan, data: Data, ks: Sequence[int]) -> dict[str, Stage]:
    if not isinstance(plan, Plan):
        raise BenchError(f"plan() returned {type(plan).__name__}, not a Plan.")
    rankings = {"final": plan.final, **plan.checkpoints}
    stages = {name: evaluate(stage, data.test, ks=ks) for name, stage in rankings.items()}
    for stage in stages.values():
        stage.key  # noqa: B018 (a plan that has no key is this trial's problem, found here)
    return stages


def settings_table(method: str) -> list[tuple[str, Plain]]:
    """List a method's settings with their defaults, for `bench show`."""
    cls = plugins.method_class(method)
    defaults = dataclasses.asdict(cls())
    return [(name, defaults[name]) for name in setting_names(cls)]
