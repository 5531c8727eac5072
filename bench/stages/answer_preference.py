"""Optimize preferences between answers in free words; training is that of `preference`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.hashing import Job
from bench.models.lm.chat_prompts import Prompt, encode_answers, encode_questions
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.common import Recipe
from bench.models.lm.train.preference_losses import resolved
from bench.models.lm.train.preference_trainer import DECIMALS, Pair
from bench.models.rerank.qa_files import read_prompts
from bench.stages.preference import optimize, read_pairs


def run(
    job: Job,
    *,
    beta: float,
    epochs: int,
    learning_rate: float,
    batch: int,
    warmup: int,
    seed: int,
    reference_is: str,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    prompts: Path,
    pairs: Path,
    backbone: Path,
    start: Path | None = None,
    reference: Path | None = None,
) -> None:
    """Train by DPO on the pairs and save the weights; without a pair they stay as they are.

    A pair with an answer that leaves its question no room at all is left out, and counted.
    """
    recipe = Recipe(
        epochs=epochs, learning_rate=learning_rate, batch=batch, warmup=warmup, seed=seed
    )
    table = read_pairs(pairs)
    asked = read_prompts(prompts)
    questions = [asked.prompts[row] for row in table["prompt"]]
    hashes = [prompt.hash for prompt in questions]
    assert hashes == table["hash"], "pairs come with their questions"

    def encode(tokenizer: Tokenizer) -> list[Pair]:
        return _encoded(job, tokenizer, questions, table, context)

    optimize(
        job,
        encode,
        recipe,
        loss=resolved("dpo", {}, num_rejected=1, smoothed=False),
        beta=beta,
        reference_is=reference_is,
        backbone=backbone,
        start=start,
        reference=reference,
        threads=threads,
        tuning=tuning,
        dtype=dtype,
        quantization=quantization,
    )


def _encoded(
    job: Job,
    tokenizer: Tokenizer,
    questions: Sequence[Prompt],
    table: Mapping[str, Sequence[Any]],
    context: int,
) -> list[Pair]:
    chosen = encode_answers(tokenizer, table["chosen"], table["chosen_finished"])
    rejected = [
        encode_answers(tokenizer, texts, finished)
        for texts, finished in zip(table["rejected"], table["rejected_finished"], strict=True)
    ]
    # An answer may be empty to the last token, and then there is nothing to prefer.
    longest = [
        max(map(len, (one, *others))) if all((one, *others)) else context
        for one, others in zip(chosen, rejected, strict=True)
    ]
    fitting = [row for row, length in enumerate(longest) if length < context]
    encoded, num_cut = encode_questions(
        tokenizer,
        [questions[row] for row in fitting],
        rooms=[context - longest[row] for row in fitting],
    )
    job.facts.update(
        {
            "pairs": len(fitting),
            "pairs_left_out": len(questions) - len(fitting),
            "histories_cut": num_cut,
            "chosen_tokens": _mean([len(chosen[row]) for row in fitting]),
            "rejected_tokens": _mean([len(ids) for row in fitting for ids in rejected[row]]),
        }
    )
    return [
        Pair(prompt=question, chosen=chosen[row], rejected=rejected[row])
        for row, question in zip(fitting, encoded, strict=True)
    ]


def _mean(lengths: Sequence[int]) -> float | None:
    return round(sum(lengths) / len(lengths), DECIMALS) if lengths else None
