"""Pretrain a built backbone on the training period's histories; the artifact is a backbone, too.

A text holds as many whole titles of one user as fit, quoted and joined as in a prompt, between the
tokens that begin and end a text. So it also ends after a closing quote, as every response does. The
loss is on every token.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import prepared
from bench.data import prepared_lists as list_data
from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.collate import SFTSamples
from bench.models.lm.train.sft_trainer import fine_tune
from bench.models.lm.train.trainer_setup import DECIMALS
from bench.models.lm.tuned_model import LanguageModel, load
from bench.plan.backbones import PretrainConfig
from bench.plan.language_stages import SFTConfig, TrainingConfig

SEPARATOR = ", "

UNCHANGED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def training_histories(
    source: Prepared, held_out_users: Collection[str] = ()
) -> Iterator[list[str]]:
    """Yield the titles of the training period of all users but some, oldest first.

    Interactions that only occur in validation or test samples are not included.
    """
    interactions = source.train_interactions()
    if held_out_users:
        included = np.array([name not in held_out_users for name in source.user_ids])
        interactions = interactions[included[source.users[interactions]]]
    users = source.users[interactions]
    borders = [0, *(np.flatnonzero(np.diff(users)) + 1), len(interactions)]
    for start, end in pairwise(borders):
        if start < end:
            yield [source.catalog.titles[item] for item in source.items[interactions[start:end]]]


def encode_histories(
    tokenizer: Tokenizer, histories: Sequence[Sequence[str]], *, max_tokens: int
) -> list[list[int]]:
    """Write histories as texts and tokenize them; the tokens that begin and end a text count, too.

    A title is cut only if it exceeds a text alone.
    """
    begin = [token for token in tokenizer("")["input_ids"] if token != tokenizer.eos_token_id]
    separator = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"]
    max_length = max_tokens - len(begin) - 1
    assert max_length > 0, "a text must fit a token of a title"
    bodies = []
    for titles in histories:
        body: list[int] = []
        for ids in encode_responses(tokenizer, titles, eos=False):
            if body and len(body) + len(separator) + len(ids) > max_length:
                bodies.append(body)
                body = []
            body = [*body, *separator, *ids] if body else ids[:max_length]
        if body:
            bodies.append(body)
    return [[*begin, *body, tokenizer.eos_token_id] for body in bodies]


def pretrain(
    language_model: LanguageModel,
    token_ids: Sequence[Sequence[int]],
    config: TrainingConfig,
    *,
    divisor: int = 1,
    **execution: Any,
) -> dict[str, Plain]:
    """Train all weights to predict each next token of the texts, in place; see `fine_tune`.

    Returns:
        Logged metrics: texts, their tokens, steps, and the loss by epoch, a mean over its steps.

    Raises:
        BenchError: There is no text, or the loss is not finite.
    """
    if not token_ids:
        raise BenchError("There is nothing to pretrain on.", "The data set has no training rows.")
    shared = {field.name: getattr(config, field.name) for field in fields(TrainingConfig)}
    # As everywhere, the first token of a text is predicted by nothing.
    samples = SFTSamples(
        prompts=[list(ids[:1]) for ids in token_ids], responses=[list(ids[1:]) for ids in token_ids]
    )
    metrics = fine_tune(
        language_model.model,
        language_model.tokenizer,
        samples,
        SFTConfig(**shared),
        divisor=divisor,
        **execution,
    )
    losses = np.array(metrics["loss_by_step"])
    by_epoch = losses.reshape(config.num_train_epochs, -1).mean(axis=1)
    return {
        "rows": len(token_ids),
        "tokens": sum(map(len, token_ids)),
        "steps": len(losses),
        "loss_by_epoch": [round(float(loss), DECIMALS) for loss in by_epoch],
    }


def run(job: Job, config: PretrainConfig, inputs: Mapping[str, Path]) -> None:
    """Train all weights in float32 and save the model with its tokenizer.

    Re-ranking splits by user, not by time: validation and test users of the input "lists" are left
    out.

    Raises:
        BenchError: There is nothing to train on, or the training diverged.
    """
    model = load(inputs["backbone"], tuning={"kind": "full"}, dtype="float32")
    held_out = _held_out_users(inputs.get("lists"))
    histories = list(training_histories(prepared.load(inputs["data"]), held_out))
    metadata = pretrain(
        model,
        encode_histories(model.tokenizer, histories, max_tokens=config.max_length),
        config,
        **job.training,
    )
    model.save(job.out)
    for name in UNCHANGED:
        shutil.copyfile(inputs["backbone"] / name, job.out / name)
    job.metadata.update(metadata)
    job.metadata["users_left_out"] = len(held_out)


def _held_out_users(lists: Path | None) -> frozenset[str]:
    if lists is None:
        return frozenset()
    candidate_lists = list_data.load(lists)
    return frozenset(
        name
        for name, part in zip(candidate_lists.user_ids, candidate_lists.parts, strict=True)
        if list_data.PARTS[part] != "train"
    )
