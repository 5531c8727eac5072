"""Fine-tune a language model on prompts and target titles."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import plugins
from bench.data import prepared
from bench.data.catalogue import Catalogue
from bench.data.windows import Windows
from bench.errors import BenchError, unknown
from bench.lm.batches import SFTSamples, check_weights
from bench.lm.encoding import Tokenizer, encode_prompts, encode_responses, history_titles
from bench.lm.finetuning import fine_tune
from bench.lm.information import token_groups
from bench.lm.model import load
from bench.lm.token_loss import MEANS
from bench.lm.training import isolated
from bench.plan.language_configs import ModelSpec, SFTConfig
from bench.records import Job

LOSSES = ("response", "sequence")


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How samples become token ids.

    Attributes:
        tokenizer: The model's.
        catalogue: Knows the titles.
        nouns: What prompts call one item, and several.
        context: Most tokens of prompt and response together.
        eos: Whether responses end in the end-of-sequence token.
    """

    tokenizer: Tokenizer
    catalogue: Catalogue
    nouns: Sequence[str]
    context: int
    eos: bool

    def responses(self, windows: Windows) -> list[list[int]]:
        """Return the ids of the target titles."""
        titles = [self.catalogue.titles[item] for item in windows.targets]
        return encode_responses(self.tokenizer, titles, eos=self.eos)

    def prompts(self, windows: Windows, room: int) -> tuple[list[list[int]], int]:
        """Return the ids of the prompts, and how many of them lost their oldest titles."""
        histories = history_titles(windows, self.catalogue)
        prompts = self._encoded(histories, sys.maxsize)
        long = [row for row, ids in enumerate(prompts) if len(ids) > room]
        for row, ids in zip(long, self._encoded([histories[r] for r in long], room), strict=True):
            prompts[row] = ids
        return prompts, len(long)

    def bare_prompt(self, room: int) -> list[int]:
        """Return the ids of the prompt without any history."""
        return self._encoded([[]], room)[0]

    def _encoded(self, histories: Sequence[Sequence[str]], room: int) -> list[list[int]]:
        return encode_prompts(self.tokenizer, histories, nouns=self.nouns, room=room)


def run(
    job: Job,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    warmup: int,
    patience: int,
    loss_on: str,
    eos: bool,
    weights: str,
    weight_settings: Mapping[str, Any],
    mean_over: str,
    counterfactual: float,
    seed: int,
    tuning: Mapping[str, Any],
    dtype: str,
    quantisation: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    backbone: Path,
    data: Path,
    rows: Path,
    valid: Path | None = None,
    start: Path | None = None,
) -> None:
    """Train and write the trained weights; rows whose target is unknown are left out.

    A function named by `weights` is called once, as `function(responses, windows, catalogue,
    tokenizer, **weight_settings)`, with the token ids of all N responses, the end-of-sequence token
    included, and the rows that they answer. It returns N arrays of numbers from 0, each as long as
    its response. They carry no gradient.

    Raises:
        BenchError: Settings exclude one another, no row is left, a prompt does not fit, weights are
            unusable, or the loss is no finite number.
    """
    _check(loss_on, mean_over, counterfactual, weights)
    config = SFTConfig(
        model=ModelSpec(threads=threads),
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch,
        warmup_steps=warmup,
        seed=seed,
        early_stopping_patience=patience,
        completion_only_loss=loss_on == "response",
        mean_over=mean_over,
        counterfactual_weight=counterfactual,
    )
    source = prepared.shared(data)
    seen = _known(source.windows(prepared.shared_rows(rows)), "training")
    held_out = None
    if valid is not None:
        held_out = _known(source.windows(prepared.shared_rows(valid)), "validation")
    with isolated(seed, threads):
        model = load(
            backbone, start=start, tuning=tuning, dtype=dtype, quantisation=quantisation, seed=seed
        )
        writing = Writing(
            tokenizer=model.tokenizer,
            catalogue=source.catalogue,
            nouns=nouns,
            context=context,
            eos=eos,
        )
        texts, truncated = _texts(writing, seen, counterfactual > 0)
        if weights:
            function = partial(plugins.function(weights), **weight_settings)
            given = function(texts.responses, seen, source.catalogue, model.tokenizer)
            texts = replace(texts, weights=check_weights(given, texts.responses, weights))
        groups = token_groups(texts.responses, seen, source.catalogue, model.tokenizer)
        facts = fine_tune(
            model.model,
            model.tokenizer,
            replace(texts, groups=groups),
            config,
            valid=None if held_out is None else _texts(writing, held_out, False)[0],
            divisor=job.micro_batch_divisor,
        )
    model.save(job.out)
    job.facts["rows"] = len(seen)
    job.facts["unknown_targets"] = len(prepared.shared_rows(rows)) - len(seen)
    job.facts["truncated_prompts"] = truncated
    job.facts.update(facts)


def _check(loss_on: str, mean_over: str, counterfactual: float, weights: str) -> None:
    """Refuse settings of the loss that exclude each other."""
    if loss_on not in LOSSES:
        raise unknown("loss_on", loss_on, LOSSES)
    if mean_over not in MEANS:
        raise unknown("mean_over", mean_over, MEANS)
    if not 0 <= counterfactual < np.inf:
        raise BenchError(
            f"The counterfactual loss cannot weigh {counterfactual}.", "Give 0 or more."
        )
    if loss_on == "sequence" and counterfactual:
        raise BenchError(
            "The counterfactual loss compares responses, so prompts cannot be supervised with it.",
            'Set loss_on = "response".',
        )
    if loss_on == "sequence" and weights and mean_over == "tokens":
        raise BenchError(
            f"{weights} weights the tokens of responses, so prompts cannot be supervised with it.",
            'Set loss_on = "response", or mean_over = "rows" for weights of whole rows.',
        )


def _known(windows: Windows, what: str) -> Windows:
    """Keep the rows whose target is in the catalogue."""
    known = windows.targets >= 0
    if not known.any():
        raise BenchError(f"No {what} row has a known target.", "Draw more rows.")
    return Windows(
        users=windows.users[known],
        histories=windows.histories[known],
        targets=windows.targets[known],
    )


def _texts(writing: Writing, windows: Windows, counterfactual: bool) -> tuple[SFTSamples, int]:
    """Write rows as token ids; also how many prompts lost titles."""
    responses = writing.responses(windows)
    room = writing.context - max(map(len, responses))
    prompts, truncated = writing.prompts(windows, room)
    bare = [writing.bare_prompt(room)] * len(windows) if counterfactual else None
    return SFTSamples(prompts=prompts, responses=responses, bare_prompts=bare), truncated
