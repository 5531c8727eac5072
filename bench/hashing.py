"""Hashes of plain values and files, and the job that a stage's `run` receives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Plain: TypeAlias = bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"] | None
"""What a plan may hold: values that JSON can carry without loss."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a stage's `run` receives in addition to config and inputs; not part of any key.

    Attributes:
        out: Empty folder that becomes the artifact when `run` returns.
        data_dir: Folder of the user's own raw files, searched before anything is fetched.
        model_path: The user's own folder of the backbone, instead of the hub.
        offline: Whether the network must not be used.
        micro_batch_divisor: 1, or a power of two after an out-of-memory: the same global batch is
            processed in micro-batches smaller by this factor.
        recompute_activations: Whether training recomputes activations for the backward pass, after
            smaller micro-batches were not enough.
        checkpoints: Folder that outlives a killed worker, for what a long stage has done so far.
        metadata: What the stage records next to its artifact (counts, loss per epoch).
    """

    out: Path
    data_dir: Path | None = None
    model_path: Path | None = None
    offline: bool = False
    micro_batch_divisor: int = 1
    recompute_activations: bool = False
    checkpoints: Path | None = None
    metadata: dict[str, Plain] = field(default_factory=dict)

    @property
    def training(self) -> dict[str, Any]:
        """Arguments of a training that decide how it runs, but not what it computes."""
        return {
            "divisor": self.micro_batch_divisor,
            "recompute": self.recompute_activations,
            "checkpoints": self.checkpoints,
        }


def canonical_json(value: Plain) -> str:
    """Write a plain value the same way everywhere: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Plain) -> str:
    """Return the sha256 of a plain value's canonical form, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def checksum(path: Path) -> str:
    """Return a file's sha256 as 64 hexadecimal digits; the file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def derive_seed(*parts: Plain) -> int:
    """Derive a seed below 2**31 from names and numbers, a different one for each use.

    Example:
        >>> derive_seed("dropout", 0) != derive_seed("negatives", 0)
        True
    """
    return int(digest(list(parts))[:8], 16) >> 1
