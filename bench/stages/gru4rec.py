"""Train GRU4Rec's row form; the artifact is a folder that `bench.models.seqrec.gru4rec` loads."""

from __future__ import annotations

from pathlib import Path

from bench.hashing import Job
from bench.models.seqrec.fitting import fit_rows
from bench.models.seqrec.gru4rec import Sizes
from bench.models.seqrec.training import Recipe


def run(
    job: Job,
    *,
    data: Path,
    train: Path,
    valid: Path | None,
    hidden: int,
    layers: int,
    dropout: float,
    learning_rate: float,
    weight_decay: float,
    batch: int,
    epochs: int,
    patience: int,
    threads: int,
    seed: int,
) -> None:
    """Fit on the drawn rows and save the network; see `fit_rows`."""
    recipe = Recipe(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch=batch,
        epochs=epochs,
        patience=patience,
    )
    fit_rows(
        job,
        Sizes,
        {"hidden": hidden, "layers": layers, "dropout": dropout},
        recipe,
        data=data,
        train=train,
        valid=valid,
        threads=threads,
        seed=seed,
    )
