"""Build a backbone from nothing; the artifact is the model with random weights, its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import prepared
from bench.hashing import Job
from bench.models.lm.build import build


def run(
    job: Job,
    *,
    architecture: Mapping[str, int],
    context: int,
    nouns: Sequence[str],
    seed: int,
    data: Path,
) -> None:
    """Train a tokenizer on the catalog's titles and draw the weights."""
    job.facts.update(
        build(
            job.out,
            titles=prepared.shared(data).catalog.titles,
            nouns=nouns,
            architecture=architecture,
            context=context,
            seed=seed,
        )
    )
