"""Stages that find the items nearest to generated titles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.data.assets import encoder_checksums
from bench.errors import BenchError
from bench.plan.config import Config, NonNegativeFloat, PositiveInt, plan_field
from bench.plan.item_stages import DEPTH
from bench.plan.policy import ModelConfig, model_stage
from bench.plan.stage import SMALL_MODEL_GPUS, Stage
from bench.plan.types import Model, Rows

BACKBONE = "backbone"
"""Instead of a sentence encoder: hidden states of the untuned backbone (BIGRec's program)."""


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(Config):
    """Config of `embed_titles`."""

    encoder: str
    """Name of a sentence encoder, see `bench list encoders`."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""


def embed_titles(data: Stage, encoder: str) -> Stage:
    """Embed all titles of the catalog with a sentence encoder."""
    config = EmbedConfig(encoder=encoder, encoder_checksums=encoder_checksums(encoder))
    return Stage(kind="embed", config=config, inputs={"data": data}, gpus=SMALL_MODEL_GPUS)


@dataclass(frozen=True, kw_only=True)
class HiddenConfig(ModelConfig):
    """Config of `hidden_states`."""


def hidden_states(model: Model, cases: Rows, generated: Stage | None = None) -> Stage:
    """Embed generated texts, or all titles of the catalog, by the untuned backbone."""
    inputs = {"data": cases.data}
    if generated is not None:
        inputs |= {"cases": cases.stage, "generated": generated}
    return model_stage("hidden", model, HiddenConfig(), inputs, nouns=cases.nouns)


@dataclass(frozen=True, kw_only=True)
class GroundingConfig(Config):
    """Config of `ground`."""

    encoder: str = "all-minilm-l6-v2"
    """Sentence encoder that grounds titles (`bench list encoders`), or "backbone" for the hidden
    states of the untuned backbone, as in BIGRec's program."""
    gamma: NonNegativeFloat = 0.0
    """How much the distances of preferred items shrink (BIGRec); 0 for not at all."""
    depth: PositiveInt = DEPTH
    """Number of ranks to store."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""


def ground(
    generated: Stage,
    cases: Rows,
    config: GroundingConfig,
    *,
    model: Model,
    train: Rows | None = None,
    oracle: Stage | None = None,
) -> Stage:
    """Rank the catalog by the distance of each title to the generated text.

    Args:
        generated: The generated texts.
        cases: The test cases that they were generated for.
        config: Encoder and adjustment.
        model: Whose backbone embeds titles if the encoder is "backbone".
        train: Rows whose target counts tell which items are preferred, for `gamma`.
        oracle: A trained SASRec whose scores tell it instead, per test case.

    Raises:
        BenchError: `gamma` is set, and nothing tells which items are preferred.
    """
    inputs = {**cases.ranking_inputs, "generated": generated}
    if config.encoder == BACKBONE:
        inputs["vectors"] = hidden_states(model, cases)
        inputs["text_vectors"] = hidden_states(model, cases, generated)
    else:
        config = replace(config, encoder_checksums=encoder_checksums(config.encoder))
        inputs["vectors"] = embed_titles(cases.data, config.encoder)
    if config.gamma:
        if (train is None) == (oracle is None):
            raise BenchError(
                "grounding.gamma needs either training rows or a trained SASRec.",
                "This method has neither: set it to 0.",
            )
        if train is not None:
            inputs["train"] = train.stage
        if oracle is not None:
            inputs["oracle"] = oracle
    return Stage(kind="ground", config=config, inputs=inputs, gpus=SMALL_MODEL_GPUS)
