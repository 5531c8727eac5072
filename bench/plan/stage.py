"""A stage: one step of a trial's plan, and its key. Nothing here computes.

A key hashes the stage's kind, arguments, input keys and code, so that equal work has one key
however many trials ask for it, and a changed line makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bench.errors import BenchError
from bench.hashing import Plain, digest
from bench.plan.code_hash import code_parts, function_hash, module_hash


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One step of a plan.

    Attributes:
        kind: Name of a module in `bench.stages`, whose `run` takes the arguments and inputs.
        args: Plain values.
        inputs: Other stages by argument name; `run` receives the folders of their artifacts.
        functions: References "module:function" among the arguments; the key holds their code
            in place of their names.
        gpus: Share of a GPU that it asks for where there is one; no part of the key.
    """

    kind: str
    args: Mapping[str, Plain] = field(default_factory=dict)
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    gpus: float = 0.0

    @cached_property
    def key(self) -> str:
        """The first 32 hexadecimal digits of the hash of all that decides the artifact.

        Raises:
            BenchError: Where an argument is no plain value.
        """
        content: dict[str, Plain] = {
            "kind": self.kind,
            "args": self._with_code(self.args),
            "inputs": {name: stage.key for name, stage in self.inputs.items()},
            "code": module_hash(f"bench.stages.{self.kind}"),
        }
        try:
            return digest(content)[:32]
        except (TypeError, ValueError) as error:
            raise BenchError(
                f"The stage {self.kind} has an argument that is no plain value: {error}.",
                "A plan holds numbers, text, lists and mappings of them; NaN is none.",
            ) from error

    def _with_code(self, value: Plain) -> Plain:
        """Put the hash of its code in the place of each reference to a function."""
        if isinstance(value, Mapping):
            return {name: self._with_code(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._with_code(inner) for inner in value]
        if isinstance(value, str) and value in self.functions:
            return {"function": function_hash(value)}
        return value

    @property
    def threads(self) -> int:
        """CPU threads that the stage computes with; an argument, and so part of its key."""
        threads = self.args.get("threads", 1)
        assert isinstance(threads, int)
        return threads

    @property
    def code(self) -> Mapping[str, str]:
        """Its code by module, each a shortened hash: to say what changed, not to decide it."""
        return code_parts(f"bench.stages.{self.kind}", self.functions)
