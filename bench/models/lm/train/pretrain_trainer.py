"""Teaches a model the language of a catalog: its users' histories as text, one title on another.

A text holds as many whole titles of one user as fit, quoted and joined as in a prompt, between the
tokens that begin and end a text. So it also ends after a closing quote, as every response does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.common import (
    StepLog,
    isolated,
    num_steps,
    on_one_device,
    train,
    training_arguments,
    unpatched,
)
from bench.models.lm.tuned_model import LanguageModel
from bench.plan.language_stages import TrainingConfig

SEPARATOR = ", "
IGNORED = -100
DECIMALS = 6


def training_histories(source: Prepared, without: Collection[str] = ()) -> Iterator[list[str]]:
    """Yield each user's titles of the training period, in the order of time.

    No interaction that only occurs in validation or test samples is among them.

    Args:
        source: The prepared data.
        without: Ids of users to leave out altogether.
    """
    chosen = source.train_interactions()
    if without:
        kept = [name not in without for name in source.user_ids]
        chosen = chosen[np.array(kept)[source.users[chosen]]]
    users = source.users[chosen]
    borders = [0, *(np.flatnonzero(np.diff(users)) + 1), len(chosen)]
    for start, end in pairwise(borders):
        if start < end:
            yield [source.catalog.titles[item] for item in source.items[chosen[start:end]]]


def texts(
    tokenizer: Tokenizer, histories: Sequence[Sequence[str]], *, tokens: int
) -> list[list[int]]:
    """Write histories as texts of at most `tokens` tokens.

    A title is only cut where it does not even fit alone.

    Args:
        tokenizer: The model's.
        histories: Titles, oldest first.
        tokens: Most tokens of a text, those that begin and end it included.
    """
    begin = _beginning(tokenizer)
    separator = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"]
    room = tokens - len(begin) - 1
    assert room > 0, "a text must have room for a token of a title"
    written = []
    for titles in histories:
        body: list[int] = []
        for ids in encode_responses(tokenizer, titles, eos=False):
            if body and len(body) + len(separator) + len(ids) > room:
                written.append(body)
                body = []
            body = [*body, *separator, *ids] if body else ids[:room]
        if body:
            written.append(body)
    return [[*begin, *body, tokenizer.eos_token_id] for body in written]


def pretrain(
    language_model: LanguageModel,
    written: Sequence[Sequence[int]],
    config: TrainingConfig,
    *,
    threads: int,
    micro_batch_divisor: int = 1,
) -> dict[str, Plain]:
    """Train all weights to predict each next token of the texts, in place.

    Args:
        language_model: Loaded for full tuning.
        written: Token ids of each text.
        config: How to train.
        threads: CPU threads.
        micro_batch_divisor: Into how many micro-batches a batch is split to save memory.

    Returns:
        Facts: texts, their tokens, steps, and the loss by epoch, a mean over its steps.

    Raises:
        BenchError: There is no text, or the loss is no finite number.
    """
    if not written:
        raise BenchError("There is nothing to pretrain on.", "The data set has no training rows.")
    log, model = StepLog(), language_model.model
    with (
        isolated(config.seed, threads),
        unpatched(model),
        tempfile.TemporaryDirectory() as folder,
    ):
        arguments = training_arguments(
            config, num_rows=len(written), divisor=micro_batch_divisor, folder=Path(folder)
        )
        trainer = Trainer(
            model=model,
            args=on_one_device(TrainingArguments(**arguments)),
            train_dataset=[{"ids": ids} for ids in written],
            data_collator=_Collator(language_model.tokenizer.pad_token_id),
            callbacks=[log],
        )
        train(trainer)
    losses = np.array([step["loss"] for step in log.steps])
    assert len(losses) == num_steps(config, len(written))
    by_epoch = losses.reshape(config.num_train_epochs, -1).mean(axis=1)
    return {
        "rows": len(written),
        "tokens": sum(map(len, written)),
        "steps": len(losses),
        "loss_by_epoch": [round(float(loss), DECIMALS) for loss in by_epoch],
    }


class _Collator:
    """Puts texts of unlike length into one batch, padded on the right."""

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["ids"]) for row in rows)
        ids_BL = torch.full((len(rows), longest), self.padding)
        mask_BL = torch.zeros_like(ids_BL)
        for place, row in enumerate(rows):
            ids_BL[place, : len(row["ids"])] = torch.tensor(row["ids"])
            mask_BL[place, : len(row["ids"])] = 1
        labels_BL = ids_BL.masked_fill(mask_BL == 0, IGNORED)
        return {"input_ids": ids_BL, "attention_mask": mask_BL, "labels": labels_BL}


def _beginning(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that the tokenizer begins a text with."""
    ids: list[int] = tokenizer("")["input_ids"]
    return [token for token in ids if token != tokenizer.eos_token_id]
