"""From lists, vectors and settings to a trained re-ranker: what stages that train one share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.prepared_lists import Lists
from bench.errors import unknown
from bench.models.rerank.model import Sizes
from bench.models.rerank.training import Fitted, Recipe, fit
from bench.models.rerank.vectors import Texts, attribute_numbers, rows_of

FIT_TEXTS, SCORE_TEXTS = ("drawn", "first"), ("first", "mean")


def fit_on(
    source: Lists,
    learned: NDArray[np.int64],
    chooser: NDArray[np.int64],
    texts: Texts,
    *,
    backbone: str,
    recipe: Mapping[str, Any],
    seed: int,
    setrank_loss: str,
    temperature: float,
    shared: int,
    dedicated: int,
    fit_text: str = "drawn",
    score_text: str = "first",
    micro_batch_divisor: int = 1,
) -> Fitted:
    """Train a re-ranker.

    Args:
        source: All lists.
        learned: Numbers of the lists to learn from.
        chooser: Numbers of the lists that choose the epoch.
        texts: Vectors of texts.
        backbone: "dlcm", "prm" or "setrank".
        recipe: The keyword arguments of `Recipe`.
        seed: Decides first weights, order, and which text of a user is seen.
        setrank_loss: See `bench.models.rerank.setrank`.
        temperature: SetRank's.
        shared: Experts of all kinds of texts.
        dedicated: Experts of each kind alone.
        fit_text: Which text of a user training sees: one "drawn" anew each time, or the "first".
        score_text: Which one choosing sees: the "first", or the "mean" of all vectors.
        micro_batch_divisor: Into how many parts a batch is split to save memory.

    Raises:
        BenchError: A name is unknown, sizes do not fit, or training cannot go on.
    """
    for name, value, known in (
        ("text to fit on", fit_text, FIT_TEXTS),
        ("text to score by", score_text, SCORE_TEXTS),
    ):
        if value not in known:
            raise unknown(name, value, known)
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
    return fit(
        rows_of(source, learned, texts.fitting(fit_text)),
        rows_of(source, chooser, texts.scoring(score_text)),
        sizes,
        Recipe(**recipe),
        attributes_IF=attribute_numbers(source),
        texts_IT=texts.item_table(),
        seed=seed,
        micro_batch_divisor=micro_batch_divisor,
    )
