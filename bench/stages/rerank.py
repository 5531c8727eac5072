"""Train a re-ranker and score the candidate lists of validation and test users.

scores.parquet                  one row per list: its index and the scores of its positions
model.safetensors, config.json  the re-ranker
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as list_files
from bench.errors import BenchError
from bench.hashing import Job, derive_seed
from bench.models.lm.devices import compute_threads
from bench.models.rerank.model import save, score_lists
from bench.models.rerank.training import train_on_lists
from bench.models.rerank.vectors import list_tensors, read_text_vectors, shuffle_user_texts
from bench.plan.rerank_stages import RerankerConfig


def run(job: Job, config: RerankerConfig, inputs: Mapping[str, Path]) -> None:
    """Train, save the model, and write the scores of the validation and test lists.

    Raises:
        BenchError: Vectors do not fit the lists, no list is left to select the epoch, or training
            failed.
    """
    lists = list_files.load(inputs["lists"])
    test = lists.rows("test")
    texts = read_text_vectors(
        lists,
        job.metadata,
        users=inputs.get("users"),
        items=inputs.get("items"),
        max_empty_fraction=config.max_empty_fraction,
    )
    if config.shuffle_user_texts:
        assert texts.users is not None, "the plan requires user texts to shuffle"
        seed = derive_seed("shuffle", config.seed)
        texts = replace(texts, users=shuffle_user_texts(texts.users, lists, seed))
    as_published = config.select_on == "test"
    train = lists.rows("train", "valid") if as_published else lists.rows("train")
    valid = test if as_published else lists.rows("valid")
    if not len(valid):
        raise BenchError("There are no validation lists.", "Raise the number of users.")
    with compute_threads(config.threads):
        model, metadata = train_on_lists(
            lists, train, valid, texts, config, micro_batch_divisor=job.micro_batch_divisor
        )
        scored = lists.rows("valid", "test")
        tensors = list_tensors(lists, scored, texts.select_for_scoring(config.scoring_text))
        scores = score_lists(model, tensors).numpy().astype(np.float64)
    save(model, job.out)
    list_files.write_scores(scored, scores, job.out)
    job.metadata.update(metadata, as_published=as_published, test_lists=len(test))
