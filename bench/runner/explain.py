"""Why a stage would run: how it differs from the most similar stored artifact of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bench.config.request import RESULTS, STORE, RunRequest
from bench.config.scoped_cache import one_state
from bench.errors import BenchError
from bench.hashing import Plain
from bench.plan.board_selection import distinct_trials, find_trial
from bench.plan.graph import Graph, build_graph, find_missing
from bench.plan.stage import Stage
from bench.plan.trials import Trial
from bench.results.run_records import plan_requested
from bench.runner.store import Store

State: TypeAlias = Literal["stored", "would run", "not needed"]
ABSENT = "nothing"
MAX_LENGTH = 40  # of a value, in characters


@dataclass(frozen=True, kw_only=True)
class StageExplanation:
    """Whether a stage would run, and why.

    Attributes:
        state: "not needed" if all stages that use it are stored.
        nearest: Key of the artifact that it is compared with, if it would run and there is one.
        reasons: Differences from that artifact, one sentence each.
    """

    kind: str
    key: str
    state: State
    nearest: str | None = None
    reasons: tuple[str, ...] = ()


def explain(
    request: RunRequest | None = None,
    *,
    trial: str | None = None,
    seed: int | None = None,
    store: Path | str = STORE,
    results: Path | str = RESULTS,
    data_dir: Path | None = None,
) -> tuple[Trial, list[StageExplanation]]:
    """Explain for each stage of one trial whether it is stored and, if not, what differs.

    The trial is that of the id, which may be omitted if only one matches, in the boards of the
    request, or in those that were run into `results`.

    Raises:
        BenchError: If no trial matches, several do, or the trial cannot run.
    """
    planned = plan_requested(request or RunRequest(), Path(results), data_dir=data_dir)
    match = find_trial(distinct_trials(planned), trial, seed)
    if match.problem:
        raise BenchError(f"{match.id} cannot run: {match.problem}")
    return match, explain_graph(build_graph([match]), Store(Path(store)))


@one_state()
def explain_graph(graph: Graph, store: Store) -> list[StageExplanation]:
    """Explain every stage of a graph, inputs first."""
    stored = {key for key, stage in graph.stages.items() if store.has(stage.kind, key)}
    todo = set(find_missing(graph, lambda stage: stage.key in stored))
    kinds = {graph.stages[key].kind for key in todo}
    metas = [meta for meta in store.entries() if meta["kind"] in kinds]
    explanations = []
    for key, stage in graph.stages.items():
        state: State = "would run" if key in todo else "stored" if key in stored else "not needed"
        nearest, reasons = _compare(stage, metas, todo) if key in todo else (None, ())
        explanation = StageExplanation(
            kind=stage.kind, key=key, state=state, nearest=nearest, reasons=reasons
        )
        explanations.append(explanation)
    return explanations


def _compare(
    stage: Stage, metas: Sequence[Mapping[str, Any]], todo: set[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the artifact with the fewest differences, and these."""
    candidates = [
        ([*_compare_args(meta["args"], stage.args), *_compare_inputs(meta, stage, todo)], meta)
        for meta in metas
        if meta["kind"] == stage.kind
    ]
    if not candidates:
        return None, (f"No artifact of the kind {stage.kind} is stored.",)
    reasons, meta = min(candidates, key=lambda pair: (len(pair[0]), _count_code(pair[1], stage)))
    if "code" not in meta:
        code = [] if reasons else ["The code differs; the artifact does not list its modules."]
    else:
        changed = [path for path, _, _ in _list_differences(meta["code"], stage.code)]
        code = [f"The code differs: {', '.join(changed)}."] if changed else []
    return meta["key"], (*reasons, *code)


def _count_code(meta: Mapping[str, Any], stage: Stage) -> int:
    """Count modules that differ; an artifact that does not list them is the least similar."""
    if "code" not in meta:
        return len(stage.code) + 1
    return len(list(_list_differences(meta["code"], stage.code)))


def _compare_args(old: Plain, new: Plain) -> Iterator[str]:
    for path, before, after in _list_differences(old, new):
        if path.startswith("checksums."):
            name = f"The raw file {path.removeprefix('checksums.')!r} differs, sha256"
        elif path.startswith("card."):
            name = f"The data set's card differs in {path.removeprefix('card.')}"
        else:
            name = f"The argument {path} differs"
        yield f"{name}: {before} → {after}"


def _list_differences(old: Plain, new: Plain, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, old and new value of everything in which two plain values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            inner = f"{path}.{name}" if path else name
            if name not in old:
                yield inner, ABSENT, _format(new[name])
            elif name not in new:
                yield inner, _format(old[name]), ABSENT
            else:
                yield from _list_differences(old[name], new[name], inner)
    elif _to_lists(old) != _to_lists(new):
        yield path, _format(old), _format(new)


def _to_lists(value: Plain) -> Plain:
    return [_to_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _format(value: Plain) -> str:
    text = str(_to_lists(value))
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}…"


def _compare_inputs(meta: Mapping[str, Any], stage: Stage, todo: set[str]) -> Iterator[str]:
    for role, source in stage.inputs.items():
        old = meta["inputs"].get(role)
        name = f"{source.kind} {source.key[:8]}"
        if old is None:
            yield f"The input {role} is new: {name}."
        elif old != source.key and source.key in todo:
            yield f"The input {role} differs: {name} would run itself."
        elif old != source.key:
            yield f"The input {role} differs: {name}, not {old[:8]}."
    for role in sorted(meta["inputs"].keys() - stage.inputs.keys()):
        yield f"The input {role} was removed."
