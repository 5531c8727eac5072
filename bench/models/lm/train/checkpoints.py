"""Checkpoints within a stage: a training that is killed continues, and ends as if it had not been.

transformers' Trainer writes optimizer, schedule, random states and its own state; the trained
weights and everything that a training records are safetensors here. Names are those of the objects
that record something, see `Recorder`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Trainer, TrainerCallback

from bench.models.lm import weights

INTERVAL_SECONDS = 300.0
STATE_FILE = "trainer_state.json"  # written last
FILE = "training.safetensors"


@runtime_checkable
class Recorder(Protocol):
    """Something that records numbers while a model is trained."""

    def snapshot(self) -> dict[str, Tensor]:
        """Return what was recorded."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what was recorded."""
        ...


class Checkpoints(TrainerCallback):
    """Saves a training to its `output_dir` every few minutes, and restores the last checkpoint."""

    def __init__(self, trainer: Trainer, recorders: Sequence[Recorder]) -> None:
        self._model: Any = trainer.model
        self._recorders = {type(recorder).__name__: recorder for recorder in recorders}
        self._saved = time.monotonic()
        vars(trainer)["save_model"] = self._save
        vars(trainer)["_load_from_checkpoint"] = self._load

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint once the last one is old."""
        if time.monotonic() > self._saved + INTERVAL_SECONDS:
            self._saved = time.monotonic()
            control.should_save = True

    def record(self) -> dict[str, Tensor]:
        """Return what all recorders recorded."""
        return {
            f"{name}.{key}": value
            for name, recorder in self._recorders.items()
            for key, value in recorder.snapshot().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Let all recorders continue from what `record` returned."""
        for name, recorder in self._recorders.items():
            start = f"{name}."
            recorder.restore(
                {
                    key.removeprefix(start): value
                    for key, value in tensors.items()
                    if key.startswith(start)
                }
            )

    def _save(self, output_dir: str, _internal_call: bool = False) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        weights.write_tensors(self._trained_weights() | self.record(), Path(output_dir) / FILE)

    @torch.no_grad()
    def _load(self, resume_from_checkpoint: str, model: Any = None) -> None:
        tensors = load_file(Path(resume_from_checkpoint) / FILE)
        for name, weight in self._trained_weights().items():
            weight.copy_(tensors.pop(name))
        self.restore(tensors)

    def _trained_weights(self) -> dict[str, Tensor]:
        return {
            f"weights.{name}": weight
            for name, weight in self._model.named_parameters()
            if weight.requires_grad
        }


def find_last(folder: Path) -> str | None:
    """Return the last complete checkpoint of a training, or None."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name[11:])):
        try:
            json.loads((path / STATE_FILE).read_bytes())
        except (OSError, ValueError):  # killed while it was written
            continue
        return str(path)
    return None
