"""Why a stage would run: how it differs from the nearest stored artifact of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from bench.config.scoped_cache import one_state
from bench.hashing import Plain
from bench.plan import Stage
from bench.plan.graph import Graph, missing
from bench.runner.store import Store

State: TypeAlias = Literal["stored", "would run", "not needed"]
ABSENT = "nothing"
SHOWN = 40  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What becomes of a stage and why.

    Attributes:
        kind: Its kind.
        key: Its key.
        state: "not needed" where all that would use it is stored.
        nearest: Key of the artifact that it is compared with; None if it is stored, or none is.
        reasons: Differences from that, one sentence each.
    """

    kind: str
    key: str
    state: State
    nearest: str | None = None
    reasons: tuple[str, ...] = ()


@one_state()
def explain(graph: Graph, store: Store) -> list[Explained]:
    """Explain every stage of a graph, inputs first."""
    stored = {key for key, stage in graph.stages.items() if store.has(stage.kind, key)}
    todo = set(missing(graph, lambda stage: stage.key in stored))
    kinds = {graph.stages[key].kind for key in todo}
    metas = [meta for meta in store.entries() if meta["kind"] in kinds]
    explained = []
    for key, stage in graph.stages.items():
        if key in todo:
            fitting = [meta for meta in metas if meta["kind"] == stage.kind]
            nearest, reasons = _compared(stage, fitting, todo)
            explained.append(
                Explained(
                    kind=stage.kind, key=key, state="would run", nearest=nearest, reasons=reasons
                )
            )
        else:
            state: State = "stored" if key in stored else "not needed"
            explained.append(Explained(kind=stage.kind, key=key, state=state))
    return explained


def _compared(
    stage: Stage, metas: Iterable[Mapping[str, Any]], todo: set[str]
) -> tuple[str | None, tuple[str, ...]]:
    compared = [
        (meta, list(_differences(meta["args"], stage.args)), list(_inputs(meta, stage, todo)))
        for meta in metas
    ]
    if not compared:
        return None, (f"No artifact of the kind {stage.kind} is stored.",)
    meta, args, inputs = min(
        compared, key=lambda one: (len(one[1]) + len(one[2]), _code_apart(one[0], stage))
    )
    reasons = [*(f"{_named(path)}: {old} → {new}" for path, old, new in args), *inputs]
    reasons += _code(meta, stage, alone=not reasons)
    return meta["key"], tuple(reasons)


def _named(path: str) -> str:
    """Say what an argument of this path is: the data themselves, their card, or an argument."""
    if path.startswith("checksums."):
        return f"The raw file {path.removeprefix('checksums.')!r} differs, sha256"
    if path.startswith("card."):
        return f"The data set's card differs in {path.removeprefix('card.')}"
    return f"The argument {path} differs"


def _differences(old: Plain, new: Plain, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, old and new value of everything in which two plain values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            inner = f"{path}.{name}" if path else name
            if name not in old:
                yield inner, ABSENT, _shown(new[name])
            elif name not in new:
                yield inner, _shown(old[name]), ABSENT
            else:
                yield from _differences(old[name], new[name], inner)
    elif _listed(old) != _listed(new):
        yield path, _shown(old), _shown(new)


def _listed(value: Plain) -> Plain:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _shown(value: Plain) -> str:
    text = str(_listed(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _inputs(meta: Mapping[str, Any], stage: Stage, todo: set[str]) -> Iterator[str]:
    for role, given in stage.inputs.items():
        old = meta["inputs"].get(role)
        if old == given.key:
            continue
        what = f"{given.kind} {given.key[:8]}"
        if old is None:
            yield f"The input {role} is new: {what}."
        elif given.key in todo:
            yield f"The input {role} differs: {what} would run itself."
        else:
            yield f"The input {role} differs: {what}, not {old[:8]}."
    for role in sorted(meta["inputs"].keys() - stage.inputs.keys()):
        yield f"The input {role} is gone."


def _code_apart(meta: Mapping[str, Any], stage: Stage) -> int:
    """Count the modules that differ; an artifact that does not say is further away than any."""
    if "code" not in meta:
        return len(stage.code) + 1
    return len(list(_differences(meta["code"], stage.code)))


def _code(meta: Mapping[str, Any], stage: Stage, *, alone: bool) -> list[str]:
    """Name the modules that differ.

    Args:
        meta: The artifact.
        stage: The stage.
        alone: Whether nothing else differs, so that it must be the code.
    """
    if "code" in meta:
        changed = [path for path, _, _ in _differences(meta["code"], stage.code)]
        return [f"The code differs: {', '.join(changed)}."] if changed else []
    return ["The code differs; the artifact does not say in which modules."] if alone else []
