"""Train SASRec's row form; the artefact is a folder of weights that `bench.seqrec.sasrec` loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.records import Job
from bench.seqrec.sasrec import Sizes, save
from bench.seqrec.threads import compute_threads
from bench.seqrec.training import Recipe, fit


def run(
    job: Job,
    *,
    data: Path,
    train: Path,
    valid: Path | None,
    hidden: int,
    blocks: int,
    heads: int,
    dropout: float,
    position_std: float,
    learning_rate: float,
    weight_decay: float,
    batch: int,
    epochs: int,
    patience: int,
    threads: int,
    seed: int,
) -> None:
    """Fit on the drawn rows and save the model; without validation rows every epoch is trained."""
    source = prepared.shared(data)
    seen = source.windows(prepared.shared_rows(train))
    none = np.empty(0, dtype=np.int64)
    held_out = source.windows(none if valid is None else prepared.shared_rows(valid))
    sizes = Sizes(
        num_items=len(source.catalogue),
        length=seen.histories.shape[1],
        hidden=hidden,
        blocks=blocks,
        heads=heads,
        dropout=dropout,
        position_std=position_std,
    )
    recipe = Recipe(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch=batch,
        epochs=epochs,
        patience=patience,
    )
    with compute_threads(threads):
        model, facts = fit(
            seen,
            held_out,
            sizes,
            recipe,
            seed=seed,
            micro_batch_divisor=job.micro_batch_divisor,
        )
    save(model, job.out)
    job.facts.update(facts)
