"""Fine-tune a language model on prompts and target titles."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.config import plugins
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError, unknown
from bench.hashing import Job, derive_seed
from bench.models.lm.tokenization import Tokenizer, encode_prompts, encode_responses, history_titles
from bench.models.lm.train.collate import Texts, checked_weights
from bench.models.lm.train.common import Recipe, isolated
from bench.models.lm.train.information_gain import token_groups
from bench.models.lm.train.sft_trainer import Objective, fine_tune
from bench.models.lm.train.token_loss import MEANS
from bench.models.lm.tuned_model import load

LOSSES = ("response", "sequence")


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How samples become token ids.

    Attributes:
        tokenizer: The model's.
        catalog: Knows the titles.
        nouns: What prompts call one item, and several.
        context: Most tokens of prompt and response together.
        eos: Whether responses end in the end-of-sequence token.
    """

    tokenizer: Tokenizer
    catalog: Catalog
    nouns: Sequence[str]
    context: int
    eos: bool

    def responses(self, windows: Windows) -> list[list[int]]:
        """Return the ids of the target titles."""
        titles = [self.catalog.titles[item] for item in windows.targets]
        return encode_responses(self.tokenizer, titles, eos=self.eos)

    def prompts(self, windows: Windows, room: int) -> tuple[list[list[int]], int]:
        """Return the ids of the prompts, and how many of them lost their oldest titles."""
        histories = history_titles(windows, self.catalog)
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
    quantization: str,
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

    A function named by `weights` is called once, as `function(responses, windows, catalog,
    tokenizer, **weight_settings)`, with the token ids of all N responses, the end-of-sequence token
    included, and the rows that they answer. It returns N arrays of numbers from 0, each as long as
    its response. They carry no gradient.

    Raises:
        BenchError: Settings exclude one another, no row is left, a prompt does not fit, weights are
            unusable, or the loss is no finite number.
    """
    objective = _objective(loss_on, mean_over, counterfactual, weights)
    recipe = Recipe(
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        warmup=warmup,
        seed=derive_seed("sft", seed),
    )
    source = prepared.shared(data)
    seen = _known(source.windows(prepared.shared_rows(rows)), "training")
    held_out = None
    if valid is not None:
        held_out = _known(source.windows(prepared.shared_rows(valid)), "validation")
    with isolated(recipe.seed, threads), TemporaryDirectory() as folder:
        model = load(
            backbone, start=start, tuning=tuning, dtype=dtype, quantization=quantization, seed=seed
        )
        writing = Writing(
            tokenizer=model.tokenizer,
            catalog=source.catalog,
            nouns=nouns,
            context=context,
            eos=eos,
        )
        texts, truncated = _texts(writing, seen, counterfactual > 0)
        if weights:
            function = partial(plugins.function(weights), **weight_settings)
            given = function(texts.responses, seen, source.catalog, model.tokenizer)
            texts = replace(texts, weights=checked_weights(given, texts.responses, weights))
        groups = token_groups(texts.responses, seen, source.catalog, model.tokenizer)
        facts = fine_tune(
            model.model,
            model.tokenizer,
            replace(texts, groups=groups),
            recipe,
            objective=objective,
            folder=Path(folder),
            valid=None if held_out is None else _texts(writing, held_out, False)[0],
            patience=patience,
            divisor=job.micro_batch_divisor,
        )
    model.save(job.out)
    job.facts["rows"] = len(seen)
    job.facts["unknown_targets"] = len(prepared.shared_rows(rows)) - len(seen)
    job.facts["truncated_prompts"] = truncated
    job.facts.update(facts)


def _objective(loss_on: str, mean_over: str, counterfactual: float, weights: str) -> Objective:
    """Read the settings of the loss, and refuse those that do not go together."""
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
    return Objective(
        prompts_too=loss_on == "sequence", mean_over=mean_over, counterfactual=counterfactual
    )


def _known(windows: Windows, what: str) -> Windows:
    """Keep the rows whose target is in the catalog."""
    known = windows.targets >= 0
    if not known.any():
        raise BenchError(f"No {what} row has a known target.", "Draw more rows.")
    return Windows(
        users=windows.users[known],
        histories=windows.histories[known],
        targets=windows.targets[known],
    )


def _texts(writing: Writing, windows: Windows, counterfactual: bool) -> tuple[Texts, int]:
    """Write rows as token ids; also how many prompts lost titles."""
    responses = writing.responses(windows)
    room = writing.context - max(map(len, responses))
    prompts, truncated = writing.prompts(windows, room)
    bare = [writing.bare_prompt(room)] * len(windows) if counterfactual else None
    return Texts(prompts=prompts, responses=responses, bare_prompts=bare), truncated
