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

from bench.data import lists as data
from bench.errors import BenchError, unknown
from bench.records import Job, derive_seed
from bench.rerank.model import Sizes, save
from bench.rerank.orders import ORDERS, scores_by
from bench.rerank.scoring import scores
from bench.rerank.training import Recipe, fit
from bench.rerank.vectors import (
    Texts,
    attribute_numbers,
    item_vectors,
    rows_of,
    shuffled,
    user_vectors,
)
from bench.seqrec.threads import compute_threads

SELECTIONS = ("valid", "test")
FIT_TEXTS, SCORE_TEXTS = ("drawn", "first"), ("first", "mean")


def run(
    job: Job,
    *,
    scorer: str,
    threads: int,
    lists: Path,
    training: Mapping[str, Any] | None = None,
    users: Path | None = None,
    items: Path | None = None,
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
        texts = Texts(
            users=None if users is None else user_vectors(users, source, job.facts),
            items=None if items is None else item_vectors(items, source, job.facts),
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
    recipe: Mapping[str, Any],
    seed: int,
    select_on: str,
    setrank_loss: str,
    temperature: float,
    shared: int,
    dedicated: int,
    fit_text: str,
    score_text: str,
    shuffle_users: bool,
) -> NDArray[np.float64]:
    """Train a backbone, save it, and score the test lists.

    `select_on` "test" is KAR as published: it learns from all training users and lets the test
    lists choose the epoch. `shuffle_users` gives each user the texts of another one of the same
    part, which must undo whatever the texts were good for.
    """
    for name, value, known in (
        ("part that chooses the epoch", select_on, SELECTIONS),
        ("text to fit on", fit_text, FIT_TEXTS),
        ("text to score by", score_text, SCORE_TEXTS),
    ):
        if value not in known:
            raise unknown(name, value, known)
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
    fitting, scoring = texts.fitting(fit_text), texts.scoring(score_text)
    sizes = Sizes(
        backbone=backbone,
        num_items=len(source.item_ids),
        num_attributes=len(source.attribute_names),
        fields=source.attributes.shape[1],
        text_width=texts.width,
        user_texts=texts.users is not None,
        item_texts=texts.items is not None,
        shared=shared,
        dedicated=dedicated,
        loss=setrank_loss,
        temperature=temperature,
    )
    model, facts = fit(
        rows_of(source, learned, fitting),
        rows_of(source, chooser, scoring),
        sizes,
        Recipe(**recipe),
        attributes_IF=attribute_numbers(source),
        texts_IT=texts.item_table(),
        seed=seed,
        micro_batch_divisor=job.micro_batch_divisor,
    )
    save(model, job.out)
    job.facts.update(facts)
    job.facts["as_published"] = as_published
    found: NDArray[np.float64] = scores(model, rows_of(source, rows, scoring)).numpy()
    return found.astype(np.float64)
