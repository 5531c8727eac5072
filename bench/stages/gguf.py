"""Fetch a backbone's GGUF file and convert it; the artifact is a model as transformers saves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.plugins import model_card
from bench.data import assets
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.gguf import convert_gguf
from bench.plan.backbones import GGUFConfig


def run(job: Job, config: GGUFConfig, inputs: Mapping[str, Path]) -> None:
    """Write configuration, weights and tokenizer.

    Raises:
        BenchError: The card has changed since the plan, or the file cannot be fetched or is not
            a Llama model.
    """
    name = config.name
    card = model_card(name)
    file = card.files.get("gguf")
    if file is None or file.sha256 != config.sha256:
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    owner = f"the model {name}"
    path = assets.fetch(file, card, owner, data_dir=job.data_dir, offline=job.offline)
    job.metadata.update(convert_gguf(path, job.out))
