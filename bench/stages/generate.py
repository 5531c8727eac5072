"""Let a language model write titles for rows; the artifact is `texts.parquet`, best text first."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data import prepared
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.metrics.writing import first_word, new_share, top_share
from bench.models.lm.decode.decoding import TOKENS_AT_ONCE, Decoding, Written, write
from bench.models.lm.encode.grounding import quoted
from bench.models.lm.generated_texts import Texts, write_texts
from bench.models.lm.threads import compute_threads
from bench.models.lm.tokenization import Tokenizer, encode_prompts, history_titles
from bench.models.lm.tuned_model import LanguageModel, load

DECIMALS = 6


def run(
    job: Job,
    *,
    max_new_tokens: int,
    temperature: float,
    beams: int,
    num: int,
    seed: int,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    data: Path,
    rows: Path,
    backbone: Path,
    start: Path | None = None,
) -> None:
    """Write the texts, in the order of the rows.

    After an out-of-memory the batches are smaller; the texts are the same, rounding apart.

    Raises:
        BenchError: The settings exclude each other, or leave no room for a prompt.
    """
    how = Decoding(
        max_new_tokens=max_new_tokens, temperature=temperature, beams=beams, num=num, seed=seed
    )
    source = prepared.shared(data)
    windows = source.windows(prepared.shared_rows(rows))
    histories = history_titles(windows, source.catalog)
    policy = load(backbone, start=start, tuning=tuning, dtype=dtype, quantization=quantization)
    prompts, num_cut = fitting_prompts(
        policy.tokenizer, histories, nouns=nouns, room=_room(context, max_new_tokens)
    )
    started = time.perf_counter()
    with compute_threads(threads), policy.merged():
        written = write(
            policy.model,
            policy.tokenizer,
            prompts,
            how,
            tokens_at_once=TOKENS_AT_ONCE[policy.device.type] // job.micro_batch_divisor,
        )
    seconds = time.perf_counter() - started
    write_texts(
        Texts(
            texts=tuple(row.texts for row in written), scores=tuple(row.scores for row in written)
        ),
        job.out,
    )
    job.facts.update(
        {"rows": len(prompts), "histories_cut": num_cut, **_facts(written, policy, seconds)}
    )


def fitting_prompts(
    tokenizer: Tokenizer, histories: Sequence[Sequence[str]], *, nouns: Sequence[str], room: int
) -> tuple[list[list[int]], int]:
    """Encode prompts of at most `room` tokens, and count those that lost titles for it."""
    prompts = encode_prompts(tokenizer, histories, nouns=nouns, room=sys.maxsize)
    long = [row for row, prompt in enumerate(prompts) if len(prompt) > room]
    shortened = encode_prompts(tokenizer, [histories[row] for row in long], nouns=nouns, room=room)
    for row, prompt in zip(long, shortened, strict=True):
        prompts[row] = prompt
    return prompts, len(long)


def _room(context: int, max_new_tokens: int) -> int:
    if max_new_tokens >= context:
        raise BenchError(
            f"A context of {context} tokens has no room for a prompt before {max_new_tokens} new "
            "ones.",
            "Set max_new_tokens lower, or `context` higher in the model's card.",
        )
    return context - max_new_tokens


def _facts(written: Sequence[Written], policy: LanguageModel, seconds: float) -> dict[str, Plain]:
    """Describe speed and form of all texts, and how much the best ones repeat each other."""
    num_tokens = sum(sum(row.num_tokens) for row in written)
    facts: dict[str, Plain] = {
        "tokens": num_tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(num_tokens / seconds, 1),
    }
    texts = [text for row in written for text in row.texts]
    if not texts:
        return facts
    names = [quoted(row.texts[0]) for row in written]
    ids = policy.tokenizer(names, add_special_tokens=False)["input_ids"]
    words = [first_word(name) for name in names]
    shares = {
        "closed": sum(text.count('"') == 2 for text in texts) / len(texts),
        "empty": sum(not text.strip() for text in texts) / len(texts),
        "first_word_top": top_share(words),
        "first_word_repeated": 1 - new_share(words),
        "first_token_top": top_share([tokens[0] if tokens else -1 for tokens in ids]),
    }
    return facts | {name: round(share, DECIMALS) for name, share in shares.items()}
