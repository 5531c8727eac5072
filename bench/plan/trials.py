"""From boards to trials: resolve settings, make plans, assign ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, Candidates, RowCounts, Rows
from bench.config.fields import flatten
from bench.config.scoped_cache import one_state
from bench.config.settings import (
    Layer,
    build_method,
    follows_published,
    overrides_for,
    resolve_settings,
    setting_layers,
)
from bench.config.toml import parse_override
from bench.data.assets import checksums
from bench.errors import BenchError, printable
from bench.foreign_code import foreign_code
from bench.hashing import Plain, digest
from bench.metrics.registry import get_metric
from bench.plan.backbones import language_model
from bench.plan.code_hash import plugin_hash
from bench.plan.item_stages import (
    DEPTH,
    DrawConfig,
    PrepareConfig,
    ReorderConfig,
    draw_rows,
    evaluate,
    prepare_data,
    reorder_histories,
)
from bench.plan.leaks import LeakError, check_leaks
from bench.plan.rerank_stages import evaluate_lists, list_data
from bench.plan.selection import describe_selection, list_candidates, select_on_validation
from bench.plan.stage import Stage
from bench.plan.types import Data, Model, Nouns, Plan

MAX_PLAN_SECONDS = 60.0
DEFAULT_KS = (1, 5, 10, 20)
NO_BITSANDBYTES = (
    "{} needs the package bitsandbytes, which is not installed here "
    "(pip install 'llmrec-bench[nf4]')."
)
OTHER_MODEL = "Skipped: this row needs {own}, but the run replaced the board's {board} by {model}."


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with its name, after the replacements of the command line.

    Attributes:
        page: Name of its pages and of the record of its run: its own, unless it was changed.
    """

    name: str
    card: BoardCard
    page: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "page", self.page or self.name)

    def completes(self, other: Board) -> bool:
        """Tell whether claims on the other board may read this one, too.

        Claims on an unchanged board read other unchanged boards; on a changed one, boards with its
        model and budget.
        """
        if other.page == other.name:
            return self.page == self.name
        return (self.card.model, self.card.budget) == (other.card.model, other.card.budget)


@dataclass(frozen=True, kw_only=True)
class BoardSelection:
    """Boards to run, with the options that apply to all of them.

    Attributes:
        boards: The boards, changed as requested.
        settings: `[METHOD.]PATH=VALUE`, over all other settings.
        rows: Maximum number of samples per split, over the budgets'.
        model_paths: Folders with the weights of backbones by card.
        files: Checksums of the user's own raw files, by data set and role.
        model_option: The option that changes backbones; "" for none.
    """

    boards: tuple[Board, ...]
    settings: tuple[str, ...] = ()
    rows: RowCounts = field(default_factory=RowCounts)
    model_paths: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    model_option: str = ""


def collect_ks(boards: Iterable[Board]) -> tuple[int, ...]:
    """Return every k at which trials of these boards are evaluated, the default ones included.

    Raises:
        BenchError: A k is larger than a stored ranking.
    """
    on_boards = {get_metric(name).k for board in boards for name in board.card.metrics}
    largest = max(filter(None, on_boards), default=0)
    if largest > DEPTH:
        raise BenchError(
            f"A metric at k = {largest} needs longer rankings than the {DEPTH} items they keep.",
            f"Use a k up to {DEPTH}.",
        )
    return tuple(sorted({*DEFAULT_KS, *(k for k in on_boards if k is not None)}))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One method with settings × data set × seed × model × budget.

    Attributes:
        settings: Resolved settings by dotted path.
        candidates: See `BoardCard`, like `group_titles`.
        exclude_seen: Whether lists are evaluated without the items of the case's own history.
        test_order: See `BoardRow`.
        evaluations: The stages whose artifacts become the result: "final", then checkpoints.
        notes: Remarks on the plan, for example that raw files were not found locally.
        problem: Why the trial cannot be planned; then there are no evaluations.
    """

    method: str
    dataset: str
    seed: int
    model: str | None
    rows: Rows
    data_seed: int
    settings: Mapping[str, Plain]
    candidates: Candidates = "catalog"
    group_titles: bool = True
    exclude_seen: bool = False
    test_order: Literal["time", "ties", "all"] = "time"
    evaluations: Mapping[str, Stage] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str = ""

    @cached_property
    def setting_hash(self) -> str:
        """Hash of everything that distinguishes trials of one method, data set and seed."""
        return digest(
            {
                "settings": self.settings,
                "model": self.model,
                "rows": self.rows.model_dump(),
                "data_seed": self.data_seed,
                **({"exclude_seen": True} if self.exclude_seen else {}),
                **({} if self.test_order == "time" else {"test_order": self.test_order}),
                **({} if self.candidates == "catalog" else {"candidates": self.candidates}),
                **({} if self.group_titles else {"group_titles": False}),
            }
        )[:12]

    @cached_property
    def plugins(self) -> Mapping[str, str]:
        """Hash of the code of each plug-in that the trial's stages reach, by module."""
        modules, stages = {self.method}, {id(stage): stage for stage in self.evaluations.values()}
        waiting = [*stages.values()]
        while waiting:
            stage = waiting.pop()
            modules |= {reference.partition(":")[0] for reference in stage.config.functions}
            new = {id(each): each for each in stage.inputs.values() if id(each) not in stages}
            stages |= new
            waiting += new.values()
        hashes = {module: plugin_hash(module) for module in sorted(modules)}
        return {module: code for module, code in hashes.items() if code}

    @cached_property
    def id(self) -> str:
        """`<dataset>/<method>/<hash>/seed-<n>`, also the path of its result."""
        return f"{self.dataset}/{self.method}/{self.setting_hash}/seed-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of plans on one data set, and notes on what their keys lack."""

    data: Data
    model: Model | None
    notes: tuple[str, ...]


def compose_preparation(
    name: str, data_dir: Path | None, files: Mapping[str, str] | None = None
) -> Stage:
    """Compose the stage that prepares a data set, keyed by its card and raw checksums.

    `files` has the checksums of the user's own files by role.
    """
    card = plugins.dataset_card(name)
    config = PrepareConfig(
        name=name, card=card.preparation(), checksums=checksums(card, data_dir, files)
    )
    return prepare_data(config)


def compose_data(
    name: str,
    *,
    rows: Rows,
    data_seed: int,
    strict: bool,
    data_dir: Path | None,
    files: Mapping[str, str] | None = None,
    candidates: Candidates = "catalog",
    group_titles: bool = True,
) -> tuple[Data, tuple[str, ...]]:
    """Compose the data of a trial, and notes on what its key lacks."""
    card = plugins.dataset_card(name)
    prepared = compose_preparation(name, data_dir, files)
    assert isinstance(prepared.config, PrepareConfig)
    file_checksums = prepared.config.checksums
    missing = sorted(role for role, value in file_checksums.items() if value is None)
    notes: tuple[str, ...] = ()
    if missing:
        names = ", ".join(card.files[role].name for role in missing)
        notes = (
            f"{name}: {names} not found locally; stage keys use the card's hash instead of the "
            "file's checksum.",
        )
    nouns = Nouns(card.nouns.singular, card.nouns.plural)
    splits = {
        split: draw_rows(
            prepared,
            DrawConfig(split=split, num=num, seed=data_seed, strict=strict),  # type: ignore[arg-type]
            nouns=nouns,
            group_titles=group_titles,
        )
        for split, num in rows.model_dump().items()
    }
    if candidates == "trained":
        trained = splits["train"].stage
        splits = {name: replace(each, candidates=trained) for name, each in splits.items()}
    lists, list_notes = list_data(
        name, card, rows=rows, data_seed=data_seed, data_dir=data_dir, files=files
    )
    return Data(name=name, lists=lists, **splits), (*notes, *list_notes)


def get_task(method: str) -> str:
    """Return what a method does: "next-item" ranks the catalog, "rerank" re-ranks given lists."""
    task: str = getattr(plugins.method_class(method), "TASK", "next-item")
    return task


def compose_inputs(
    dataset: str,
    model: str | None,
    task: str,
    *,
    model_paths: Mapping[str, Path] | None,
    **fields: Any,
) -> Inputs:
    """Compose the data, see `compose_data` for the fields, and the backbone of plans for a task."""
    data, notes = compose_data(dataset, **fields)
    if model is None:
        return Inputs(data=data, model=None, notes=notes)
    card = plugins.model_card(model)
    if card.quantization != "none" and find_spec("bitsandbytes") is None:
        notes = (*notes, NO_BITSANDBYTES.format(model))
    backbone = language_model(
        model,
        card,
        data=data.train.data,
        nouns=data.train.nouns,
        lists=data.lists.stage if task == "rerank" and data.lists else None,
        model_paths=model_paths,
    )
    return Inputs(data=data, model=backbone, notes=notes)


@one_state()
def board_trials(
    board: Board,
    selection: BoardSelection | None = None,
    *,
    ks: Sequence[int] | None = None,
    data_dir: Path | None = None,
    lenient: bool = False,
) -> list[tuple[BoardRow, Trial]]:
    """Plan every trial of a board, by row, data set and seed.

    A mistake in settings is raised, and so is a plan that learns from its test cases. A plan that
    cannot be made (an unknown data set, a plug-in that fails) becomes the `problem` of its trial,
    and the rest of the board is planned.

    Args:
        board: The board.
        selection: All boards of the run, with what applies to them; by default this one.
        ks: Cut-offs at which every ranking is evaluated; by default those of the boards.
        data_dir: Folder of the user's own raw files.
        lenient: Whether a mistake in a row's settings, or a leak, is the problem of its trials.
    """
    card, selection = board.card, selection or BoardSelection(boards=(board,))
    budget = plugins.budget_card(card.budget)
    trial_rows = selection.rows.apply(budget.rows)
    all_rows = RowCounts(train="all", valid="all").apply(trial_rows)
    ks = collect_ks(selection.boards) if ks is None else ks
    overrides = [parse_override(text) for text in selection.settings]
    # Overrides may name methods of other boards of the run as well.
    methods = {row.method for each in (board, *selection.boards) for row in each.card.rows}

    @cache
    def layers_of(method: str, model: str | None) -> list[Layer]:
        model_card = None if model is None else (model, plugins.model_card(model))
        return setting_layers([method], model=model_card, budget=(card.budget, budget))

    @cache
    def inputs_of(name: str, model: str | None, task: str, rows: Rows) -> Inputs:
        return compose_inputs(
            name,
            model,
            task,
            model_paths=selection.model_paths,
            rows=rows,
            data_seed=card.data_seed,
            strict=card.strict,
            data_dir=data_dir,
            files=selection.files.get(name),
            candidates=card.candidates,
            group_titles=card.group_titles,
        )

    planned: list[tuple[BoardRow, Trial]] = []
    for row in card.rows:
        model, problem = row.model or card.model, _explain_skip(board, row)
        try:
            options = overrides_for(row.method, overrides, methods)
            if model is not None and ":" not in model and follows_published(row, options):
                variant = plugins.model_card(model).as_published
                model = f"{model}:{variant}" if variant else model
            layers = layers_of(row.method, model)
            settings = resolve_settings(row, layers=layers, overrides=options)
            candidates = {"": settings}
            if budget.select:
                candidates = list_candidates(card, row, settings, fixed=options)
            settings = describe_selection(candidates, card.select_by)
            methods_by_name = {
                name: build_method(row.method, values) for name, values in candidates.items()
            }
        except BenchError as error:
            if not lenient:
                raise
            settings, problem = flatten(row.settings), f"{error.message} {error.hint}".strip()
        for name, seed in itertools.product(card.datasets, range(card.seeds)):
            trial = Trial(
                method=row.method,
                dataset=name,
                seed=seed,
                model=model,
                rows=all_rows if row.floor else trial_rows,
                data_seed=card.data_seed,
                settings=settings,
                candidates=card.candidates,
                group_titles=card.group_titles,
                exclude_seen=card.exclude_seen,
                test_order=row.test_order,
                problem=problem,
            )
            if not problem:
                trial = _plan_trial(
                    trial, methods_by_name, inputs_of, ks, select_by=card.select_by, lenient=lenient
                )
            planned.append((row, trial))
    if not lenient:
        _check_distinct(planned)
    return planned


def _check_distinct(planned: Iterable[tuple[BoardRow, Trial]]) -> None:
    """Refuse two rows of one board that are the same trial, which no page could tell apart."""
    rows: dict[str, str] = {}
    for row, trial in planned:
        other = rows.setdefault(trial.id, row.name)
        if other != row.name:
            raise BenchError(
                f"Rows {other!r} and {row.name!r} have the same method, model and settings.",
                f"Remove one, or the --set of {trial.method} that makes them equal.",
            )


def _explain_skip(board: Board, row: BoardRow) -> str:
    """Return why a row with a model of its own is skipped: `--model` replaced the board's model."""
    if row.model is None or board.name not in plugins.card_paths("leaderboards"):
        return ""
    declared = plugins.board_card(board.name).model
    if declared == (board.card.model or "").partition(":")[0]:
        return ""
    return OTHER_MODEL.format(own=row.model, model=board.card.model, board=declared)


def _plan_trial(
    trial: Trial,
    methods: Mapping[str, Any],
    inputs_of: Callable[[str, str | None, str, Rows], Inputs],
    ks: Sequence[int],
    *,
    select_by: str,
    lenient: bool,
) -> Trial:
    """Plan a trial with the method, or with the one of several that validation selects."""
    method, *others = methods.values()
    try:
        task = get_task(trial.method)
        inputs = inputs_of(trial.dataset, trial.model, task, trial.rows)
        data = _reorder_test(inputs.data, trial, task)

        def rank(data: Data, name: str) -> Stage:
            ranking: Stage = methods[name].plan(data, inputs.model, trial.seed).ranking
            return ranking

        with foreign_code("plan()", "plan() failed", seconds=MAX_PLAN_SECONDS):
            if others:
                ranking = select_on_validation(list(methods), rank, data, metric=select_by)
                plan = Plan(ranking=ranking)
            else:
                plan = method.plan(data, inputs.model, trial.seed)
            evaluations = compose_evaluations(
                trial.method, plan, data, ks, exclude_seen=trial.exclude_seen
            )
        return replace(trial, evaluations=evaluations, notes=inputs.notes)
    except BenchError as error:
        if isinstance(error, LeakError) and not lenient:
            raise
        return replace(trial, problem=printable(f"{error.message} {error.hint}".strip()))


def _reorder_test(data: Data, trial: Trial, task: str) -> Data:
    """Shuffle the histories of the test cases, if the trial says so."""
    if trial.test_order == "time":
        return data
    if task == "rerank":
        raise BenchError(
            "The order test shuffles histories of next-item cases, and this row re-ranks lists.",
            "Leave out --order-test for it.",
        )
    config = ReorderConfig(within=trial.test_order, seed=trial.seed)
    return replace(data, test=reorder_histories(data.test, config))


def compose_evaluations(
    method: str, plan: Plan, data: Data, ks: Sequence[int], *, exclude_seen: bool
) -> dict[str, Stage]:
    """Compose the evaluations of a plan's rankings by name.

    Raises:
        BenchError: The plan is none, has no key, or learns from the cases that it is evaluated on.
    """
    if not isinstance(plan, Plan):
        raise BenchError(f"plan() returned {type(plan).__name__}, not a Plan.")
    rankings = {"final": plan.ranking, **plan.checkpoints}
    stages = {
        name: _compose_evaluation(ranking, data, ks, exclude_seen)
        for name, ranking in rankings.items()
    }
    check_leaks(stages.values(), data, method=method, cls=plugins.method_class(method))
    return stages


def _compose_evaluation(ranking: Stage, data: Data, ks: Sequence[int], exclude_seen: bool) -> Stage:
    if "lists" in ranking.inputs:
        if exclude_seen:
            raise BenchError(
                "Candidate lists are re-ranked as they are, so exclude_seen does not apply.",
                "Remove exclude_seen from the board.",
            )
        assert data.lists is not None, "lists were re-ranked"
        return evaluate_lists(ranking, data.lists, ks=ks)
    cases = replace(data.test, data=data.train.data)  # with their histories in order of time
    return evaluate(ranking, cases, ks=ks, exclude_seen=exclude_seen)
