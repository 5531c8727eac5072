"""Similarity of stages: same configuration with another seed or code, same structure, workload.

Planned stages and stored artifacts are compared alike, so that what one took predicts another.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeAlias

from bench.hashing import Plain
from bench.plan.graph import Graph
from bench.plan.stage import Stage
from bench.runner.store import Store

ROW_INPUTS = ("cases", "rows", "pairs", "train", "lists", "questions", "generated")
"""Inputs that hold a stage's rows; the first one that a stage has counts."""

REPETITIONS = ("num_train_epochs", "epochs", "num_beams")
NUM_ROWS = {"draw": "num", "sample": "num", "pairs": "max_pairs"}

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


StageInfo: TypeAlias = Mapping[str, Any]
"""Kind, args, inputs (keys by role) and device class of a planned stage, as in the metadata of an
artifact. Without a device class it was computed on a CPU."""


def describe_stage(stage: Stage) -> StageInfo:
    """Describe a planned stage as artifacts are."""
    inputs = {role: source.key for role, source in stage.inputs.items()}
    device = "cuda" if stage.gpus else "cpu"
    return {"kind": stage.kind, "args": stage.args, "inputs": inputs, "device": device}


class StageHistory:
    """The artifacts of some stores, compared with each other and with the stages of a plan.

    An artifact of an earlier store hides one of the same key.

    Attributes:
        metas: Metadata of the artifacts by key.
    """

    def __init__(self, stores: Iterable[Store], graph: Graph) -> None:
        self.metas: dict[str, dict[str, Any]] = {}
        for store in stores:
            for meta in store.entries():
                self.metas.setdefault(meta["key"], meta)
        self._graph = graph
        self._numbers: dict[str, int] = {}  # by key
        self._configurations: dict[Hashable, int] = {}

    def number_configuration(self, key: str) -> int:
        """Return a number that stages share if they differ only in seeds and code."""
        if key not in self._numbers:
            info = self._find(key)
            name: Hashable = key  # an unknown input makes a stage similar to no other
            if info is not None:
                inputs = tuple(
                    (role, self.number_configuration(source))
                    for role, source in sorted(info["inputs"].items())
                )
                name = (
                    info["kind"],
                    info.get("device", "cpu"),
                    _encode(_drop_seeds(info["args"])),
                    inputs,
                )
            number = self._configurations.setdefault(name, len(self._configurations))
            self._numbers[key] = number
        return self._numbers[key]

    def describe_structure(self, info: StageInfo) -> Hashable:
        """Return kind, device, backbone, and arguments with every number replaced by 0."""
        arguments = _encode(_drop_numbers(info["args"]))
        return info["kind"], info.get("device", "cpu"), self._describe_backbone(info), arguments

    def estimate_workload(self, info: StageInfo) -> float | None:
        """Return rows × repetitions; None if the plan does not state the number of rows."""
        workload = self.count_rows(info)
        if workload is None:
            return None
        for name in REPETITIONS:
            repetitions = info["args"].get(name, 1)
            workload *= repetitions if isinstance(repetitions, int | float) else 1
        return float(workload)

    def _find(self, key: str) -> StageInfo | None:
        if key in self._graph.stages:
            return describe_stage(self._graph.stages[key])
        return self.metas.get(key)

    def _describe_backbone(self, info: StageInfo) -> str:
        """Describe the untuned model that a stage uses; "" for none."""
        if "backbone" not in info["inputs"]:
            return ""
        root = self.find_backbone(info)
        return "?" if root is None else _encode({"kind": root["kind"], **root["args"]})

    def find_backbone(self, info: StageInfo) -> StageInfo | None:
        """Return the stage that makes the untuned model; None without one, or if it is unknown."""
        root = None
        while "backbone" in info["inputs"]:
            root = self._find(info["inputs"]["backbone"])
            if root is None:
                return None
            info = root
        return root

    def count_rows(self, info: StageInfo) -> float | None:
        """Return the rows that a stage works on; None if the plan does not state them."""
        source = next((info["inputs"][role] for role in ROW_INPUTS if role in info["inputs"]), None)
        parent = None if source is None else self._find(source)
        rows = None if parent is None else self.count_rows(parent)
        limit = info["args"].get(NUM_ROWS.get(info["kind"], ""))
        if not isinstance(limit, int | float):
            return rows
        return limit if rows is None else min(limit, rows)


def _drop_seeds(value: Plain) -> Plain:
    if isinstance(value, dict):  # checking for a Mapping is slow
        return {name: _drop_seeds(inner) for name, inner in value.items() if name != "seed"}
    return value


def _drop_numbers(value: Plain) -> Plain:
    if isinstance(value, dict):
        return {name: _drop_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_drop_numbers(inner) for inner in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value
