"""Let a language model answer questions in free words; the artifact is `answers.parquet`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.chat_prompts import Prompt, asked_as_chat, encode_questions
from bench.models.lm.decode.answers import Answers, Drawing, answer
from bench.models.lm.decode.decoding import TOKENS_AT_ONCE
from bench.models.lm.threads import compute_threads
from bench.models.lm.tuned_model import LanguageModel, load
from bench.models.rerank.qa_files import Answered, read_prompts, write_answers

DECIMALS = 6


def run(
    job: Job,
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    num: int,
    seed: int,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    prompts: Path,
    backbone: Path,
    start: Path | None = None,
) -> None:
    """Write the answers, in the order of the questions; equal questions are answered once.

    Raises:
        BenchError: The settings exclude each other, or leave no room for a question.
    """
    how = Drawing(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        num=num,
        seed=seed,
    )
    asked = read_prompts(prompts)
    distinct = {prompt.hash: prompt for prompt in asked.prompts}
    policy = load(backbone, start=start, tuning=tuning, dtype=dtype, quantization=quantization)
    started = time.perf_counter()
    with compute_threads(threads), policy.merged():
        found, num_cut = _answered(job, policy, distinct, how, context)
    seconds = time.perf_counter() - started
    write_answers(
        asked,
        Answered(
            texts=tuple(found[prompt.hash].texts for prompt in asked.prompts),
            finished=tuple(found[prompt.hash].finished for prompt in asked.prompts),
        ),
        job.out,
    )
    texts = [text for row in found.values() for text in row.texts]
    finished = [one for row in found.values() for one in row.finished]
    num_tokens = sum(sum(row.num_tokens) for row in found.values())
    job.facts.update(
        {
            "questions": len(asked),
            "distinct": len(distinct),
            "histories_cut": num_cut,
            "as_chat": asked_as_chat(policy.tokenizer),
            "tokens": num_tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(num_tokens / seconds, 1),
            "empty": sum(not text for text in texts),
            "finished": round(sum(finished) / max(len(finished), 1), DECIMALS),
        }
    )


def _answered(
    job: Job, policy: LanguageModel, prompts: Mapping[str, Prompt], how: Drawing, context: int
) -> tuple[dict[str, Answers], int]:
    room = context - how.max_new_tokens
    longest = getattr(policy.model.config, "max_position_embeddings", context)
    if context > longest or room < 1:
        raise BenchError(
            f"A context of {context} tokens does not hold a question before "
            f"{how.max_new_tokens} new tokens, or is beyond the model's {longest}.",
            "Set answer_tokens or answer_context otherwise.",
        )
    questions, num_cut = encode_questions(
        policy.tokenizer, list(prompts.values()), rooms=[room] * len(prompts)
    )
    answers = answer(
        policy.model,
        policy.tokenizer,
        questions,
        list(prompts),
        how,
        tokens_at_once=TOKENS_AT_ONCE[policy.device.type] // job.micro_batch_divisor,
    )
    return dict(zip(prompts, answers, strict=True)), num_cut
