"""A stage: one step of a trial's plan, and its key. Nothing here computes.

A key hashes the stage's kind, config, input keys and code, so that equal work has one key
however many trials need it, and a changed line of code makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.errors import BenchError
from bench.hashing import Plain, digest
from bench.plan.code_hash import code_parts, function_hash, module_hash
from bench.plan.config import Config, to_plain
from bench.plan.device import planned_device

SMALL_MODEL_GPUS = 0.125
"""Fraction of a GPU that an item-ID model, a re-ranker or a sentence encoder requests."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One step of a plan.

    Attributes:
        kind: Name of a module in `bench.stages`, whose `run(job, config, inputs)` makes the
            artifact.
        config: Everything but the inputs that decides the artifact.
        inputs: Other stages by name; `run` receives the folders of their artifacts.
        gpus: GPU, or the fraction of one, that it requests; 0 in a plan for a CPU. Only whether it
            computes on a GPU is part of its key.
    """

    kind: str
    config: Config = Config()
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.gpus and planned_device() == "cpu":
            object.__setattr__(self, "gpus", 0.0)

    @cached_property
    def args(self) -> Mapping[str, Plain]:
        """The config as plain values, by field."""
        plain = to_plain(self.config)
        assert isinstance(plain, Mapping)
        return plain

    @cached_property
    def key(self) -> str:
        """The first 32 hexadecimal digits of the hash of everything that decides the artifact.

        Raises:
            BenchError: The config holds something that is no plain value.
        """
        content: dict[str, Plain] = {
            "kind": self.kind,
            "config": self._with_code(self.args),
            "inputs": {name: stage.key for name, stage in self.inputs.items()},
            "code": module_hash(f"bench.stages.{self.kind}"),
            **({"device": "cuda"} if self.gpus else {}),
        }
        try:
            return digest(content)[:32]
        except (TypeError, ValueError) as error:
            raise BenchError(
                f"The config of the stage {self.kind} holds something that is no plain value: "
                f"{error}.",
                "Plans hold numbers (not NaN), text, booleans, and lists and mappings of these.",
            ) from error

    def _with_code(self, value: Plain) -> Plain:
        """Put the hash of its code in the place of each reference to a function."""
        if isinstance(value, Mapping):
            return {name: self._with_code(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._with_code(inner) for inner in value]
        if isinstance(value, str) and value in self.config.functions:
            return {"function": function_hash(value)}
        return value

    @property
    def threads(self) -> int:
        """CPU threads that the stage computes with: its config's, or its model's."""
        args: Mapping[str, Any] = self.args
        held = args.get("model") or args.get("reranker") or {}
        threads = args.get("threads") or held.get("threads", 1)
        assert isinstance(threads, int)
        return threads

    @property
    def code(self) -> Mapping[str, str]:
        """Shortened code hashes by module, to say what changed; keys do not use them."""
        return code_parts(f"bench.stages.{self.kind}", self.config.functions)
