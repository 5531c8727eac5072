"""Build a backbone from nothing; the artefact is the model with random weights, its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import prepared
from bench.lm.build import build
from bench.records import Job


def run(
    job: Job,
    *,
    architecture: Mapping[str, int],
    context: int,
    nouns: Sequence[str],
    seed: int,
    data: Path,
) -> None:
    """Train a tokenizer on the catalogue's titles and draw the weights."""
    job.facts.update(
        build(
            job.out,
            titles=prepared.shared(data).catalogue.titles,
            nouns=nouns,
            architecture=architecture,
            context=context,
            seed=seed,
        )
    )
