"""Pretrain a built backbone on the training period's histories; the artefact is a backbone, too."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.data import prepared
from bench.lm.model import load
from bench.lm.pretraining import WARMUP, pretrain, texts, training_histories
from bench.lm.training import Recipe
from bench.records import Job

UNCHANGED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def run(
    job: Job,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    tokens: int,
    seed: int,
    threads: int,
    backbone: Path,
    data: Path,
) -> None:
    """Train all weights in float32 and save the model with its tokenizer.

    Raises:
        BenchError: There is nothing to train on, or the loss grew out of bounds.
    """
    model = load(backbone, tuning={"kind": "full"}, dtype="float32")
    histories = list(training_histories(prepared.shared(data)))
    recipe = Recipe(
        epochs=epochs, learning_rate=learning_rate, batch=batch, warmup=WARMUP, seed=seed
    )
    facts = pretrain(
        model,
        texts(model.tokenizer, histories, tokens=tokens),
        recipe,
        threads=threads,
        micro_batch_divisor=job.micro_batch_divisor,
    )
    model.save(job.out)
    for name in UNCHANGED:
        shutil.copyfile(backbone / name, job.out / name)
    job.facts.update(facts)
