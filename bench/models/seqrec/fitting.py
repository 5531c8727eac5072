"""From drawn rows to a trained row-form network in a folder: what its stages have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.hashing import Job
from bench.models.lm.threads import compute_threads
from bench.models.seqrec.rows import RowSizes, save
from bench.models.seqrec.training import Recipe, fit


def fit_rows(
    job: Job,
    sizes_class: type[RowSizes],
    shape: dict[str, int | float],
    recipe: Recipe,
    *,
    data: Path,
    train: Path,
    valid: Path | None,
    threads: int,
    seed: int,
) -> None:
    """Fit on the drawn rows and save the network; without validation rows every epoch is trained.

    Args:
        job: Where to write.
        sizes_class: The network's.
        shape: Its sizes, beside those that the data decide.
        recipe: How it is trained.
        data: Prepared data.
        train: Rows to learn from.
        valid: Rows that decide when to stop.
        threads: CPU threads.
        seed: Decides all randomness.
    """
    source = prepared.shared(data)
    seen = source.windows(prepared.shared_rows(train))
    none = np.empty(0, dtype=np.int64)
    held_out = source.windows(none if valid is None else prepared.shared_rows(valid))
    given = {"num_items": len(source.catalog), "length": seen.histories.shape[1], **shape}
    with compute_threads(threads):
        network, facts = fit(
            seen,
            held_out,
            sizes_class(**given),
            recipe,
            seed=seed,
            micro_batch_divisor=job.micro_batch_divisor,
        )
    save(network, job.out)
    job.facts.update(facts)
