"""Optimize preferences: train a language model on pairs of titles or of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.data import prepared
from bench.data.prompts import quotable
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.models.lm.tokenization import (
    Tokenizer,
    encode_answers,
    encode_prompts,
    encode_questions,
    encode_responses,
    history_titles,
)
from bench.models.lm.train.preference_losses import resolve_loss
from bench.models.lm.train.preference_trainer import Pair, add_reference, max_length, optimize
from bench.models.lm.train.shared_prefix import takes_branches
from bench.models.lm.train.trainer_setup import DECIMALS
from bench.models.lm.tuned_model import LanguageModel, load
from bench.models.rerank.qa_files import load_questions
from bench.plan.preference_stages import PreferenceConfig


def run(job: Job, config: PreferenceConfig, inputs: Mapping[str, Path]) -> None:
    """Train on the pairs and save the weights; without any pair the weights stay as they are.

    A prompt may be as long as the context and its longest response allow, so no response is ever
    truncated.

    Raises:
        BenchError: The loss cannot use the pairs, a response leaves no space for its prompt, or the
            training diverged.
    """
    table = read_pairs(inputs["pairs"])
    loss = resolve_loss(
        config.loss,
        config.loss_arguments,
        num_rejected=max(map(len, table["rejected"]), default=1),
        smoothed=any(table["smoothing"]),
    )

    def load_weights(role: str, seed: int | None) -> LanguageModel:
        return load(inputs["backbone"], start=inputs.get(role), seed=seed, **config.model.weights)

    # Only the trained policy may get a new adapter, and so a seed for its initial weights.
    is_start = config.reference == "start"
    model = load_weights("start", config.seed) if is_start else load_weights("reference", None)
    if "prompts" in inputs:
        pairs = _encode_answers(job, model.tokenizer, config, table, inputs["prompts"])
    else:
        source = prepared.load(inputs["data"])
        job.metadata.update(_title_metadata(source, table))
        pairs = encode_titles(model.tokenizer, config, table, source)
    if pairs:
        shared = takes_branches(model.model.config, max_length(pairs))
        job.metadata["layout"] = "shared prompts" if shared else "a sequence an answer"
        options: dict[str, Any] = {"divisor": job.micro_batch_divisor, "shared": shared}
        pairs = add_reference(model, pairs, config, **options)
    if not is_start:
        model = load_weights("start", config.seed)
    if pairs:
        execution = {**options, **job.training}
        job.metadata.update(optimize(model, pairs, config, loss=loss, **execution))
    model.save(job.out)


def read_pairs(folder: Path) -> dict[str, list[Any]]:
    """Read preference pairs as columns, one element per pair.

    Raises:
        BenchError: A pair has no rejected response, or a smoothing that is no probability.
    """
    table: dict[str, list[Any]] = pq.read_table(folder / "pairs.parquet").to_pydict()
    if not all(table["rejected"]):
        raise BenchError(
            "A preference pair has no rejected response.", "Add one, or leave out the pair."
        )
    if not all(0 <= value <= 1 for value in table["smoothing"]):
        raise BenchError("A label smoothing is no probability.", "Keep it between 0 and 1.")
    return table


def encode_titles(
    tokenizer: Tokenizer,
    config: PreferenceConfig,
    table: Mapping[str, Sequence[Any]],
    source: prepared.Prepared,
) -> list[Pair]:
    """Encode pairs of titles: the prompt of each sample, its target, the rejected responses."""
    if not table["sample"]:
        return []
    catalog = source.catalog
    windows = source.windows(np.array(table["sample"], dtype=np.int64))
    chosen = [catalog.titles[target] for target in windows.targets]
    texts = [*chosen, *(text for rejected in table["rejected"] for text in rejected)]
    responses = encode_responses(tokenizer, texts, eos=config.append_eos)
    prompts, _ = encode_prompts(
        tokenizer,
        history_titles(windows, catalog),
        nouns=config.nouns,
        max_length=config.model.context - max(map(len, responses)),
        style=config.prompt_style,
    )
    rejected = iter(responses[len(chosen) :])
    return [
        Pair(
            prompt=prompt,
            chosen=response,
            rejected=[next(rejected) for _ in texts],
            smoothing=smoothing,
        )
        for prompt, response, texts, smoothing in zip(
            prompts, responses, table["rejected"], table["smoothing"], strict=False
        )
    ]


def _encode_answers(
    job: Job,
    tokenizer: Tokenizer,
    config: PreferenceConfig,
    table: Mapping[str, Sequence[Any]],
    prompts: Path,
) -> list[Pair]:
    """Encode pairs of answers; those that leave no space for the question are left out."""
    all_prompts = load_questions(prompts).prompts
    questions = [all_prompts[index] for index in table["prompt"]]
    assert [question.hash for question in questions] == table["hash"], "pairs of other questions"
    context = config.model.context
    chosen = encode_answers(tokenizer, table["chosen"], table["chosen_finished"])
    rejected = [
        encode_answers(tokenizer, texts, finished)
        for texts, finished in zip(table["rejected"], table["rejected_finished"], strict=True)
    ]
    lengths = [
        # An answer without any token, not even the end, cannot be preferred to anything.
        max(map(len, responses)) if all(responses) else context
        for responses in ((first, *others) for first, others in zip(chosen, rejected, strict=True))
    ]
    fitting = [index for index, length in enumerate(lengths) if length < context]
    encoded, num_truncated = encode_questions(
        tokenizer,
        [questions[index] for index in fitting],
        max_lengths=[context - lengths[index] for index in fitting],
    )
    job.metadata.update(
        {
            "pairs": len(fitting),
            "pairs_left_out": len(questions) - len(fitting),
            "histories_cut": num_truncated,
            "chosen_tokens": _mean([len(chosen[index]) for index in fitting]),
            "rejected_tokens": _mean([len(ids) for index in fitting for ids in rejected[index]]),
        }
    )
    return [
        Pair(prompt=question, chosen=chosen[index], rejected=rejected[index])
        for index, question in zip(fitting, encoded, strict=True)
    ]


def _title_metadata(
    source: prepared.Prepared, table: Mapping[str, Sequence[Any]]
) -> dict[str, Plain]:
    """Describe the pairs: their number, and fractions of rejected responses by what they are."""
    titles = {quotable(title) for title in source.catalog.titles}
    windows = source.windows(np.array(table["sample"], dtype=np.int64))
    rejected = [
        (quotable(text), quotable(source.catalog.titles[target]))
        for texts, target in zip(table["rejected"], windows.targets, strict=True)
        for text in texts
    ]
    return {
        "pairs": len(table["sample"]),
        "rejected": len(rejected),
        "rejected_is_chosen": _mean([text == target for text, target in rejected]),
        "rejected_in_catalog": _mean([text in titles for text, _ in rejected]),
        "mean_smoothing": _mean(table["smoothing"]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), DECIMALS) if values else None
