"""Score the lists of the test users: by a plain order, or by a re-ranker trained on the others.

scores.parquet               a line a test list: its number, and a score for each of its places
model.safetensors, sizes.json  the re-ranker, where one was trained
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import prepared_lists as data
from bench.errors import BenchError, unknown
from bench.hashing import Job, derive_seed
from bench.models.lm.threads import compute_threads
from bench.models.rerank.baseline_orders import ORDERS, scores_by
from bench.models.rerank.fitting import fit_on
from bench.models.rerank.model import save
from bench.models.rerank.scoring import scores
from bench.models.rerank.vectors import (
    SILENT_SHARE,
    Texts,
    item_vectors,
    rows_of,
    shuffled,
    user_vectors,
)

SELECTIONS = ("valid", "test")


def run(
    job: Job,
    *,
    scorer: str,
    threads: int,
    lists: Path,
    training: Mapping[str, Any] | None = None,
    users: Path | None = None,
    items: Path | None = None,
    silent_share: float = SILENT_SHARE,
) -> None:
    """Write the scores of the test lists.

    Args:
        job: Where to write.
        scorer: One of `ORDERS`, or a backbone.
        threads: Of the training.
        lists: The lists.
        training: How a backbone is trained, see `_train`; None for an order.
        users: Vectors of the users' texts, "vectors.npy" of shape (U, T) or (U, J, T).
        items: Vectors of the items' texts, of shape (I, T).
        silent_share: So many users, and so many items, may be without a text that says anything.

    Raises:
        BenchError: Settings or vectors do not fit, or training cannot go on.
    """
    source = data.shared(lists)
    rows = source.rows("test")
    if scorer in ORDERS:
        assert training is None, "an order is not trained"
        assert users is None, "an order reads nothing"
        assert items is None, "an order reads nothing"
        found = scores_by(scorer, source, rows)
    else:
        assert training is not None, "a backbone is trained"
        allowed = (job.facts, silent_share)
        texts = Texts(
            users=None if users is None else user_vectors(users, source, *allowed),
            items=None if items is None else item_vectors(items, source, *allowed),
        )
        with compute_threads(threads):
            found = _train(job, source, rows, scorer, texts, **training)
    data.write_scores(rows, found, job.out)
    job.facts["test_lists"] = len(rows)


def _train(
    job: Job,
    source: data.Lists,
    rows: NDArray[np.int64],
    backbone: str,
    texts: Texts,
    *,
    seed: int,
    select_on: str,
    score_text: str,
    shuffle_users: bool,
    **how: Any,
) -> NDArray[np.float64]:
    """Train a backbone, save it, and score the test lists; `how` goes to `fit_on`.

    `select_on` "test" is KAR as published: it learns from all training users and lets the test
    lists choose the epoch. `shuffle_users` gives each user the texts of another one of the same
    part, which must undo whatever the texts were good for.
    """
    if select_on not in SELECTIONS:
        raise unknown("part that chooses the epoch", select_on, SELECTIONS)
    if shuffle_users and texts.users is None:
        raise BenchError("There are no users' texts to shuffle.", "Leave shuffle_users out.")
    if shuffle_users:
        texts = replace(texts, users=shuffled(texts.users, source, derive_seed("shuffle", seed)))
    as_published = select_on == "test"
    learned = source.rows("train", "valid") if as_published else source.rows("train")
    chooser = rows if as_published else source.rows("valid")
    if not len(chooser):
        raise BenchError(
            "No list is left to choose the epoch by.", "Set a larger share of users apart."
        )
    model, facts = fit_on(
        source,
        learned,
        chooser,
        texts,
        backbone=backbone,
        seed=seed,
        score_text=score_text,
        micro_batch_divisor=job.micro_batch_divisor,
        **how,
    )
    save(model, job.out)
    job.facts.update(facts)
    job.facts["as_published"] = as_published
    scored = scores(model, rows_of(source, rows, texts.scoring(score_text)))
    found: NDArray[np.float64] = scored.numpy()
    return found.astype(np.float64)
