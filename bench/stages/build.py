"""Build a backbone: random weights, and a tokenizer trained on the catalog's titles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.data import prepared
from bench.hashing import Job
from bench.models.lm.build import build_model
from bench.plan.backbones import BuildConfig


def run(job: Job, config: BuildConfig, inputs: Mapping[str, Path]) -> None:
    """Train the tokenizer and draw the weights."""
    job.metadata.update(
        build_model(
            job.out,
            titles=prepared.load(inputs["data"]).catalog.titles,
            nouns=config.nouns,
            architecture=config.architecture,
            context=config.context,
            seed=config.seed,
        )
    )
