"""Generate texts with a language model: titles for rows, or answers to questions.

texts.parquet    titles: one line per row, best text first
answers.parquet  answers: one line per question, in the order sampled
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import prepared
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.metrics.writing import first_word, new_share, top_share
from bench.models.lm.decode.decoding import Generated, answer_streams, generate_texts, title_streams
from bench.models.lm.devices import compute_threads
from bench.models.lm.encode.grounding import extract_title
from bench.models.lm.generated_texts import write_texts
from bench.models.lm.tokenization import (
    Tokenizer,
    encode_prompts,
    encode_questions,
    has_chat_template,
    history_titles,
)
from bench.models.lm.tuned_model import LanguageModel, load
from bench.models.rerank.qa_files import Answers, load_questions, save_answers
from bench.plan.language_stages import GenerationConfig

DECIMALS = 6


def run(job: Job, config: GenerationConfig, inputs: Mapping[str, Path]) -> None:
    """Write the texts, in the order of the rows or questions.

    After running out of memory the batches are smaller; the texts are the same up to rounding.

    Raises:
        BenchError: The context leaves no space for a prompt.
    """
    policy = load(inputs["backbone"], start=inputs.get("start"), **config.model.weights)
    if "prompts" in inputs:
        _generate_answers(job, config, policy, inputs["prompts"])
    else:
        _generate_titles(job, config, policy, inputs)


def _generate_titles(
    job: Job, config: GenerationConfig, policy: LanguageModel, inputs: Mapping[str, Path]
) -> None:
    source = prepared.load(inputs["data"])
    windows = source.windows(prepared.load_rows(inputs["rows"]))
    prompts, num_truncated = encode_prompts(
        policy.tokenizer,
        history_titles(windows, source.catalog),
        nouns=config.nouns,
        max_length=_max_prompt_length(config),
    )
    streams = title_streams(len(prompts), config)
    generated = _generate(job, config, policy, prompts, streams, titles=True)
    write_texts([row.texts for row in generated], [row.scores for row in generated], job.out)
    job.metadata.update({"rows": len(prompts), "histories_cut": num_truncated})
    job.metadata.update(_title_metadata(generated, policy.tokenizer))


def _generate_answers(
    job: Job, config: GenerationConfig, policy: LanguageModel, folder: Path
) -> None:
    """Answer equal questions once."""
    questions = load_questions(folder)
    distinct = {prompt.hash: prompt for prompt in questions.prompts}
    max_length = _max_prompt_length(config)
    context = config.model.context
    supported = getattr(policy.model.config, "max_position_embeddings", context)
    if context > supported:
        raise BenchError(
            f"A context of {context} tokens exceeds the model's {supported}.",
            "Set a lower context.",
        )
    prompts, num_truncated = encode_questions(
        policy.tokenizer, list(distinct.values()), max_lengths=[max_length] * len(distinct)
    )
    streams = answer_streams(list(distinct), config)
    generated = _generate(job, config, policy, prompts, streams, titles=False)
    by_hash = dict(zip(distinct, generated, strict=True))
    answers = Answers(
        texts=tuple(by_hash[prompt.hash].texts for prompt in questions.prompts),
        finished=tuple(by_hash[prompt.hash].finished for prompt in questions.prompts),
    )
    save_answers(questions, answers, job.out)
    finished = [each for row in generated for each in row.finished]
    job.metadata.update(
        {
            "questions": len(questions),
            "distinct": len(distinct),
            "histories_cut": num_truncated,
            "as_chat": has_chat_template(policy.tokenizer),
            "empty": sum(not text for row in generated for text in row.texts),
            "finished": round(sum(finished) / max(len(finished), 1), DECIMALS),
        }
    )


def _generate(
    job: Job,
    config: GenerationConfig,
    policy: LanguageModel,
    prompts: Sequence[Sequence[int]],
    streams: Sequence[tuple[int, int]],
    *,
    titles: bool,
) -> list[Generated]:
    started = time.perf_counter()
    with compute_threads(config.model.threads), policy.merged():
        generated = generate_texts(
            policy.model,
            policy.tokenizer,
            prompts,
            config,
            streams=streams,
            titles=titles,
            divisor=job.micro_batch_divisor,
            checkpoints=job.checkpoints,
        )
    seconds = time.perf_counter() - started
    num_tokens = sum(sum(row.num_tokens) for row in generated)
    job.metadata.update(
        {
            "tokens": num_tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(num_tokens / seconds, 1),
        }
    )
    return generated


def _max_prompt_length(config: GenerationConfig) -> int:
    context = config.model.context
    if config.max_new_tokens >= context:
        raise BenchError(
            f"A context of {context} tokens has no space for a prompt before "
            f"{config.max_new_tokens} new tokens.",
            "Set max_new_tokens lower, or `context` higher in the model's card.",
        )
    return context - config.max_new_tokens


def _title_metadata(generated: Sequence[Generated], tokenizer: Tokenizer) -> dict[str, Plain]:
    """Describe the form of all texts, and how much the best ones repeat each other."""
    texts = [text for row in generated for text in row.texts]
    if not texts:
        return {}
    names = [extract_title(row.texts[0]) for row in generated]
    ids = tokenizer(names, add_special_tokens=False)["input_ids"]
    words = [first_word(name) for name in names]
    fractions = {
        "closed": sum(text.count('"') == 2 for text in texts) / len(texts),
        "empty": sum(not text.strip() for text in texts) / len(texts),
        "first_word_top": top_share(words),
        "first_word_repeated": 1 - new_share(words),
        "first_token_top": top_share([tokens[0] if tokens else -1 for tokens in ids]),
    }
    return {name: round(fraction, DECIMALS) for name, fraction in fractions.items()}
