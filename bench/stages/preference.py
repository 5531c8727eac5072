"""Optimize preferences: train a language model on pairs, against a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.data import prepared
from bench.data.prompts import Style, quotable
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.models.lm.tokenization import Tokenizer, encode_prompts, encode_responses, history_titles
from bench.models.lm.train.common import Recipe
from bench.models.lm.train.preference_losses import Loss, resolved
from bench.models.lm.train.preference_trainer import DECIMALS, Pair, longest, prefer, referenced
from bench.models.lm.train.shared_prefix import takes_branches
from bench.models.lm.tuned_model import LanguageModel, load


def run(
    job: Job,
    *,
    loss: str,
    loss_settings: Mapping[str, Any],
    beta: float,
    epochs: int,
    learning_rate: float,
    batch: int,
    warmup: int,
    prompt: Style,
    eos: bool,
    seed: int,
    reference_is: str,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    data: Path,
    pairs: Path,
    backbone: Path,
    start: Path | None = None,
    reference: Path | None = None,
) -> None:
    """Train on the pairs and save the weights; without any pair the weights stay as they are.

    The reference is where the training starts (`reference_is` "start"), other trained weights
    ("given"), or the untuned backbone ("backbone"). A prompt has the room that the longest response
    leaves it, so no response is ever cut.

    Raises:
        BenchError: The loss cannot use the pairs, a response leaves no room for a prompt, or the
            training diverged.
    """
    recipe = Recipe(
        epochs=epochs, learning_rate=learning_rate, batch=batch, warmup=warmup, seed=seed
    )
    table = read_pairs(pairs)
    num_rejected = max(map(len, table["rejected"]), default=1)
    objective = resolved(
        loss, loss_settings, num_rejected=num_rejected, smoothed=any(table["smoothing"])
    )
    source = prepared.shared(data)

    def encode(tokenizer: Tokenizer) -> list[Pair]:
        return encoded_pairs(
            tokenizer, source, table, nouns=nouns, context=context, style=prompt, eos=eos
        )

    job.facts.update(_facts(source, table))
    optimize(
        job,
        encode,
        recipe,
        loss=objective,
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


def optimize(
    job: Job,
    encode: Callable[[Tokenizer], list[Pair]],
    recipe: Recipe,
    *,
    loss: Loss,
    beta: float,
    reference_is: str,
    backbone: Path,
    start: Path | None,
    reference: Path | None,
    threads: int,
    **same: Any,
) -> None:
    """Train on pairs, whatever they are of, and save the weights; `same` goes to every `load`.

    Args:
        job: Where the weights go, and what is noted of the training.
        encode: Writes the pairs in a tokenizer's ids.
        recipe: How to train; its seed is also a new adapter's.
        loss: See `bench.models.lm.train.preference_losses`.
        beta: Its strength of the pull to the reference.
        reference_is: "start", "given" or "backbone".
        backbone: The untuned model.
        start: Weights where the training starts, if not there.
        reference: Weights of the reference, where it is "given".
        threads: CPU threads.
        same: Tuning, dtype and quantization.
    """

    def policy(weights: Path | None, new_adapter: int | None) -> LanguageModel:
        return load(backbone, start=weights, seed=new_adapter, **same)

    assert (reference is not None) == (reference_is == "given")
    model = policy(start, recipe.seed) if reference_is == "start" else policy(reference, None)
    encoded = encode(model.tokenizer)
    if encoded:
        branches = takes_branches(model.model.config, longest(encoded))
        job.facts["layout"] = "shared prompts" if branches else "a sequence an answer"
        how: dict[str, Any] = {
            "divisor": job.micro_batch_divisor,
            "shared": branches,
            "threads": threads,
        }
        encoded = referenced(model, encoded, recipe, **how)
    if reference_is != "start":
        model = policy(start, recipe.seed)
    if encoded:
        job.facts.update(prefer(model, encoded, recipe, loss=loss, beta=beta, **how))
    model.save(job.out)


def read_pairs(folder: Path) -> dict[str, list[Any]]:
    """Read what the stage `pairs` left: "sample", "rejected" and "smoothing", a place a pair.

    Raises:
        BenchError: A pair has nothing rejected, or a smoothing that is no probability.
    """
    table: dict[str, list[Any]] = pq.read_table(folder / "pairs.parquet").to_pydict()
    if not all(table["rejected"]):
        raise BenchError(
            "A preference pair has no rejected response.", "Give it one or leave it out."
        )
    if not all(0 <= value <= 1 for value in table["smoothing"]):
        raise BenchError("A smoothing is no probability.", "Keep it between 0 and 1.")
    return table


def encoded_pairs(
    tokenizer: Tokenizer,
    source: prepared.Prepared,
    table: Mapping[str, Sequence[Any]],
    *,
    nouns: Sequence[str],
    context: int,
    style: Style,
    eos: bool,
) -> list[Pair]:
    """Write pairs as token ids: the prompt of each sample, its target, what was rejected."""
    if not table["sample"]:
        return []
    catalog = source.catalog
    windows = source.windows(np.array(table["sample"], dtype=np.int64))
    chosen = [catalog.titles[target] for target in windows.targets]
    texts = [*chosen, *(text for rejected in table["rejected"] for text in rejected)]
    responses = encode_responses(tokenizer, texts, eos=eos)
    prompts = encode_prompts(
        tokenizer,
        history_titles(windows, catalog),
        nouns=nouns,
        room=context - max(map(len, responses)),
        style=style,
    )
    rejected = iter(responses[len(chosen) :])
    return [
        Pair(
            prompt=tokens,
            chosen=answer,
            rejected=[next(rejected) for _ in written],
            smoothing=smoothing,
        )
        for tokens, answer, written, smoothing in zip(
            prompts, responses, table["rejected"], table["smoothing"], strict=False
        )
    ]


def _facts(source: prepared.Prepared, table: Mapping[str, Sequence[Any]]) -> dict[str, Plain]:
    """Describe the pairs: how many, and shares of rejected responses by what they are."""
    titles = {quotable(title) for title in source.catalog.titles}
    windows = source.windows(np.array(table["sample"], dtype=np.int64))
    rejected = [
        (quotable(text), quotable(source.catalog.titles[target]))
        for texts, target in zip(table["rejected"], windows.targets, strict=True)
        for text in texts
    ]

    def share(values: Sequence[float]) -> float | None:
        return round(sum(values) / len(values), DECIMALS) if values else None

    return {
        "pairs": len(table["sample"]),
        "rejected": len(rejected),
        "rejected_is_chosen": share([text == target for text, target in rejected]),
        "rejected_in_catalog": share([text in titles for text, _ in rejected]),
        "mean_smoothing": share(table["smoothing"]),
    }
