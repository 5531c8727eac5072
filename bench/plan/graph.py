"""The deduplicated graph of all stages of a run, and its division into units of work.

A unit is what one Ray task does: a connected set of stages that exactly the same trials need. Work
that several trials share becomes units of its own; all that only one trial needs, from its last
shared checkpoint to its result, is one unit. Since the inputs of a stage are needed by at least the
trials that need the stage, units depend on one another without cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.plan.stage import Stage
from bench.plan.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The stages of a run.

    Attributes:
        stages: Stages by key, in an order in which inputs come first.
        needed_by: Ids of the trials that need each stage.
        needs: Keys that each trial needs, inputs first.
    """

    stages: Mapping[str, Stage]
    needed_by: Mapping[str, frozenset[str]]
    needs: Mapping[str, Sequence[str]]

    def inputs(self, key: str) -> list[str]:
        """Return the keys of a stage's inputs."""
        return [stage.key for stage in self.stages[key].inputs.values()]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Stages that one worker does one after another.

    Attributes:
        stages: In order; inputs inside the unit come first.
        parents: Keys outside the unit that must be in the store before it starts.
        trials: Ids of the trials that need it.
    """

    stages: tuple[Stage, ...]
    parents: frozenset[str]
    trials: frozenset[str] = field(default_factory=frozenset)

    @property
    def id(self) -> str:
        """Key of its last stage."""
        return self.stages[-1].key

    @property
    def threads(self) -> int:
        """The most CPU threads that any of its stages uses."""
        return max(stage.threads for stage in self.stages)

    @property
    def gpus(self) -> float:
        """The largest share of a GPU that any of its stages asks for."""
        return max(stage.gpus for stage in self.stages)

    @property
    def backbone(self) -> str:
        """Key of the untuned backbone that its last such stage uses; "" for none."""
        for stage in reversed(self.stages):
            root = stage
            while "backbone" in root.inputs:
                root = root.inputs["backbone"]
            if root is not stage:
                return root.key
        return ""


def build_graph(trials: Iterable[Trial]) -> Graph:
    """Merge the stages of all trials by key."""
    stages: dict[str, Stage] = {}
    needed_by: dict[str, set[str]] = {}
    needs: dict[str, list[str]] = {}

    def visit(stage: Stage, trial: str) -> None:
        if trial in needed_by.setdefault(stage.key, set()):
            return
        needed_by[stage.key].add(trial)
        for parent in stage.inputs.values():
            visit(parent, trial)
        stages.setdefault(stage.key, stage)
        needs[trial].append(stage.key)

    for trial in trials:
        needs[trial.id] = []
        for stage in trial.evaluations.values():
            visit(stage, trial.id)
    frozen = {key: frozenset(needed_by[key]) for key in stages}
    return Graph(stages=stages, needed_by=frozen, needs=needs)


def find_missing(graph: Graph, is_stored: Callable[[Stage], bool]) -> list[str]:
    """Return, in order, the keys that must run: those asked for and not stored, and their inputs.

    An input that is not stored runs only where something that needs it runs.
    """
    wanted: set[str] = set()
    consumed = {key for stage in graph.stages for key in graph.inputs(stage)}
    waiting = [key for key in graph.stages if key not in consumed]
    seen: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if not is_stored(graph.stages[key]):
            wanted.add(key)
            waiting.extend(graph.inputs(key))
    return [key for key in graph.stages if key in wanted]


def divide_into_units(graph: Graph, keys: Iterable[str]) -> list[Unit]:
    """Divide the given stages (those that must run) into units, in an order parents-first."""
    todo = list(keys)
    required = set(todo)
    leader = {key: key for key in todo}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for key in todo:
        for parent in graph.inputs(key):
            if parent in required and graph.needed_by[parent] == graph.needed_by[key]:
                leader[find(parent)] = find(key)
    members: dict[str, list[str]] = {}
    for key in todo:
        members.setdefault(find(key), []).append(key)
    built = []
    for group in members.values():
        parents = {parent for key in group for parent in graph.inputs(key)} - set(group)
        built.append(
            Unit(
                stages=tuple(graph.stages[key] for key in group),
                parents=frozenset(parents),
                trials=graph.needed_by[group[0]],
            )
        )
    return built
