"""Fine-tune a language model on prompts and target titles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.tokenization import Tokenizer, encode_prompts, encode_responses, history_titles
from bench.models.lm.train.collate import SFTSamples, check_weights
from bench.models.lm.train.information_gain import token_groups
from bench.models.lm.train.sft_trainer import fine_tune
from bench.models.lm.train.trainer_setup import isolated
from bench.models.lm.tuned_model import load
from bench.plan.language_stages import SFTConfig


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
    source = prepared.load(inputs["data"])
    rows = prepared.load_rows(inputs["rows"])
    train = _with_known_target(source.windows(rows), "training")
    valid = None
    if "valid" in inputs:
        valid_rows = prepared.load_rows(inputs["valid"])
        valid = _with_known_target(source.windows(valid_rows), "validation")
    with isolated(config.seed, config.model.threads):
        model = load(
            inputs["backbone"],
            start=inputs.get("start"),
            seed=config.seed,
            **config.model.weights,
        )
        catalog, tokenizer = source.catalog, model.tokenizer
        samples, num_truncated = _encode(tokenizer, catalog, config, train)
        responses = samples.responses
        if config.weighting:
            function = plugins.function(config.weighting)
            arguments = config.weighting_arguments
            weights = function(responses, train, catalog, tokenizer, **arguments)
            checked = check_weights(weights, responses, config.weighting)
            samples = replace(samples, weights=checked)
        groups, high_gain_above = token_groups(responses, train, catalog, tokenizer)
        metadata = fine_tune(
            model.model,
            tokenizer,
            replace(samples, groups=groups),
            config,
            valid=None if valid is None else _encode(tokenizer, catalog, config, valid)[0],
            **job.training,
        )
    model.save(job.out)
    job.metadata["rows"] = len(train)
    job.metadata["unknown_targets"] = len(rows) - len(train)
    job.metadata["high_gain_above"] = round(high_gain_above, 6)
    job.metadata["truncated_prompts"] = num_truncated
    job.metadata.update(metadata)


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
    is_known = windows.targets >= 0
    if not is_known.any():
        raise BenchError(f"No {split} row has a known target.", "Use more rows.")
    return Windows(
        users=windows.users[is_known],
        histories=windows.histories[is_known],
        targets=windows.targets[is_known],
    )


def _encode(
    tokenizer: Tokenizer, catalog: Catalog, config: SFTConfig, windows: Windows
) -> tuple[SFTSamples, int]:
    """Encode rows as token ids; also return how many prompts lost titles."""
    titles = [catalog.titles[item] for item in windows.targets]
    responses = encode_responses(tokenizer, titles, eos=config.append_eos)
    limits: dict[str, Any] = {
        "nouns": config.nouns,
        "max_length": config.model.context - max(map(len, responses)),
    }
    histories = history_titles(windows, catalog)
    prompts, num_truncated = encode_prompts(tokenizer, histories, **limits)
    bare = None
    if config.counterfactual_weight:
        (without_history,), _ = encode_prompts(tokenizer, [[]], **limits)
        bare = [without_history] * len(windows)
    return SFTSamples(prompts=prompts, responses=responses, bare_prompts=bare), num_truncated
