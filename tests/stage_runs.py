"""Run one stage by its values: fields of its config, of its model, and folders of its inputs."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from bench.hashing import Job
from bench.plan.config import Config
from bench.plan.types import ModelSpec


def make_config(**values: Any) -> Config:
    """Make a config with these fields, for stages that are never run."""
    fields = [(name, Any) for name in values]
    options = {"frozen": True, "kw_only": True}
    return dataclasses.make_dataclass("AnyConfig", fields, bases=(Config,), **options)(**values)


MODEL_FIELDS = {field.name for field in dataclasses.fields(ModelSpec)}


def run_stage(
    kind: str,
    config: type[Config],
    out: Path,
    *,
    divisor: int = 1,
    data_dir: Path | None = None,
    recompute: bool = False,
    checkpoints: str | None = None,
    **values: Any,
) -> Job:
    """Run a stage into a folder; a `Path` among the values is an input."""
    out.mkdir(exist_ok=True)
    job = Job(
        out=out,
        data_dir=data_dir,
        offline=True,
        micro_batch_divisor=divisor,
        recompute_activations=recompute,
        checkpoints=None if checkpoints is None else Path(checkpoints),
    )
    inputs = {name: value for name, value in values.items() if isinstance(value, Path)}
    fields = {
        name: value
        for name, value in values.items()
        if name not in inputs and name not in MODEL_FIELDS and value is not None
    }
    if "model" in {field.name for field in dataclasses.fields(config)}:
        spec = {name: value for name, value in values.items() if name in MODEL_FIELDS}
        fields["model"] = ModelSpec(**spec)
    importlib.import_module(f"bench.stages.{kind}").run(job, config(**fields), inputs)
    return job
