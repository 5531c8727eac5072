"""Pretrain a built backbone on the training period's histories; the artifact is a backbone, too."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.data import prepared
from bench.data import prepared_lists as list_data
from bench.hashing import Job
from bench.models.lm.train.common import Recipe
from bench.models.lm.train.pretrain_trainer import WARMUP, pretrain, texts, training_histories
from bench.models.lm.tuned_model import load

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
    lists: Path | None = None,
) -> None:
    """Train all weights in float32 and save the model with its tokenizer.

    Re-ranking splits users, not time: those whose `lists` validate or test are left out.

    Raises:
        BenchError: There is nothing to train on, or the loss grew out of bounds.
    """
    model = load(backbone, tuning={"kind": "full"}, dtype="float32")
    held_out = _held_out(lists)
    histories = list(training_histories(prepared.shared(data), held_out))
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
    job.facts["users_left_out"] = len(held_out)


def _held_out(lists: Path | None) -> frozenset[str]:
    if lists is None:
        return frozenset()
    known = list_data.shared(lists)
    return frozenset(
        name
        for name, part in zip(known.user_ids, known.parts, strict=True)
        if list_data.PARTS[part] != "train"
    )
