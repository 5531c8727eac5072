"""Fine-tune a language model on prompts and target titles."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.config import plugins
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Job, derive_seed
from bench.models.lm.tokenization import Tokenizer, encode_prompts, encode_responses, history_titles
from bench.models.lm.train.collate import Texts, checked_weights
from bench.models.lm.train.common import isolated
from bench.models.lm.train.information_gain import token_groups
from bench.models.lm.train.sft_trainer import fine_tune
from bench.models.lm.tuned_model import load
from bench.plan.language_stages import SFTConfig


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Encodes samples as token ids.

    Attributes:
        tokenizer: The model's tokenizer.
        catalog: Catalog with the titles.
        config: Nouns, context and end of the responses.
    """

    tokenizer: Tokenizer
    catalog: Catalog
    config: SFTConfig

    def responses(self, windows: Windows) -> list[list[int]]:
        """Return the token ids of the target titles."""
        titles = [self.catalog.titles[item] for item in windows.targets]
        return encode_responses(self.tokenizer, titles, eos=self.config.append_eos)

    def prompts(self, windows: Windows, max_length: int) -> tuple[list[list[int]], int]:
        """Return the token ids of the prompts, and how many of them lost their oldest titles."""
        histories = history_titles(windows, self.catalog)
        prompts = self._encode(histories, sys.maxsize)
        long = [row for row, ids in enumerate(prompts) if len(ids) > max_length]
        shortened = self._encode([histories[row] for row in long], max_length)
        for row, ids in zip(long, shortened, strict=True):
            prompts[row] = ids
        return prompts, len(long)

    def prompt_without_history(self, max_length: int) -> list[int]:
        """Return the token ids of the prompt without any history."""
        return self._encode([[]], max_length)[0]

    def _encode(self, histories: Sequence[Sequence[str]], max_length: int) -> list[list[int]]:
        return encode_prompts(self.tokenizer, histories, nouns=self.config.nouns, room=max_length)


def run(job: Job, config: SFTConfig, inputs: Mapping[str, Path]) -> None:
    """Train and write the trained weights; rows with an unknown target are left out.

    The function `config.weighting` is called once, as `function(responses, windows, catalog,
    tokenizer, **config.weighting_arguments)`, with the token ids of all N responses, the
    end-of-sequence token included, and their rows. It returns N arrays of non-negative numbers,
    each as long as its response. They carry no gradient.

    Raises:
        BenchError: Values exclude one another, no row is left, a prompt does not fit, weights are
            unusable, or the loss is not finite.
    """
    _check(config)
    source = prepared.shared(inputs["data"])
    rows = prepared.shared_rows(inputs["rows"])
    train = _with_known_target(source.windows(rows), "training")
    valid = None
    if "valid" in inputs:
        valid_rows = prepared.shared_rows(inputs["valid"])
        valid = _with_known_target(source.windows(valid_rows), "validation")
    seed = derive_seed("sft", config.seed)
    with isolated(seed, config.model.threads), TemporaryDirectory() as folder:
        model = load(
            inputs["backbone"],
            start=inputs.get("start"),
            seed=config.seed,
            **config.model.weights,
        )
        encoder = Encoder(tokenizer=model.tokenizer, catalog=source.catalog, config=config)
        texts, num_truncated = _encode(encoder, train, config.counterfactual_weight > 0)
        responses = texts.responses
        if config.weighting:
            function = plugins.function(config.weighting)
            weights = function(
                responses,
                train,
                source.catalog,
                model.tokenizer,
                **config.weighting_arguments,
            )
            texts = replace(texts, weights=checked_weights(weights, responses, config.weighting))
        groups = token_groups(responses, train, source.catalog, model.tokenizer)
        facts = fine_tune(
            model.model,
            model.tokenizer,
            replace(texts, groups=groups),
            replace(config, seed=seed),
            folder=Path(folder),
            valid=None if valid is None else _encode(encoder, valid, False)[0],
            divisor=job.micro_batch_divisor,
        )
    model.save(job.out)
    job.facts["rows"] = len(train)
    job.facts["unknown_targets"] = len(rows) - len(train)
    job.facts["truncated_prompts"] = num_truncated
    job.facts.update(facts)


def _check(config: SFTConfig) -> None:
    """Refuse values that exclude each other."""
    if config.completion_only_loss:
        return
    if config.counterfactual_weight:
        raise BenchError(
            "The counterfactual loss compares responses, so the loss cannot cover prompts as well.",
            "Set completion_only_loss = true.",
        )
    if config.weighting and config.mean_over == "tokens":
        raise BenchError(
            f"{config.weighting} weights the tokens of responses, so the loss cannot cover "
            "prompts as well.",
            'Set completion_only_loss = true, or mean_over = "rows" to weight whole rows.',
        )


def _with_known_target(windows: Windows, split: str) -> Windows:
    """Keep the rows whose target is in the catalog."""
    known = windows.targets >= 0
    if not known.any():
        raise BenchError(f"No {split} row has a known target.", "Use more rows.")
    return Windows(
        users=windows.users[known],
        histories=windows.histories[known],
        targets=windows.targets[known],
    )


def _encode(encoder: Encoder, windows: Windows, counterfactual: bool) -> tuple[Texts, int]:
    """Encode rows as token ids; also return how many prompts lost titles."""
    responses = encoder.responses(windows)
    max_length = encoder.config.model.context - max(map(len, responses))
    prompts, num_truncated = encoder.prompts(windows, max_length)
    bare = [encoder.prompt_without_history(max_length)] * len(windows) if counterfactual else None
    return Texts(prompts=prompts, responses=responses, bare_prompts=bare), num_truncated
