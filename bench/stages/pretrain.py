"""Pretrain a built backbone on the training period's histories; the artefact is a backbone, too."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.data import lists as list_data
from bench.data import prepared
from bench.lm.model import load
from bench.lm.pretraining import WARMUP_STEPS, encode_histories, pretrain, training_histories
from bench.plan.language_configs import ModelSpec, TrainingConfig
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
    config = TrainingConfig(
        model=ModelSpec(threads=threads),
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch,
        warmup_steps=WARMUP_STEPS,
        seed=seed,
    )
    facts = pretrain(
        model,
        encode_histories(model.tokenizer, histories, max_tokens=tokens),
        config,
        divisor=job.micro_batch_divisor,
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
