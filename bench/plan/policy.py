"""What every stage of a language model needs: the backbone, the weights it starts from, nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.errors import BenchError
from bench.plan.config import Config, plan_field
from bench.plan.stage import Stage
from bench.plan.types import ITEMS, Model, ModelSpec, Nouns, Policy


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Config of a stage that computes with a language model."""

    model: ModelSpec = plan_field(ModelSpec())
    """How the backbone is loaded."""
    nouns: Nouns = plan_field(ITEMS)
    """What prompts call the items."""
    append_eos: bool = plan_field(True)
    """Whether responses end with the end-of-sequence token."""


def require_model(model: Model | None) -> Model:
    """Return the language model.

    Raises:
        BenchError: There is none.
    """
    if model is None:
        raise BenchError(
            "This method needs a language model, and none is set.", "Add --model nano."
        )
    return model


def as_policy(start: Model | Policy) -> Policy:
    """Return an untuned model as a policy without trained weights."""
    return Policy(model=start) if isinstance(start, Model) else start


def model_stage(
    kind: str,
    start: Model | Policy,
    config: ModelConfig,
    inputs: Mapping[str, Stage],
    *,
    nouns: Nouns = ITEMS,
) -> Stage:
    """Compose a stage of a language model.

    Args:
        kind: The stage's kind.
        start: The policy that it computes with or starts from.
        config: Its config, in which the properties of the model are filled in here.
        inputs: Its inputs besides the model.
        nouns: What prompts call the items.
    """
    policy = as_policy(start)
    all_inputs = {"backbone": policy.model.backbone, **inputs}
    if policy.weights is not None:
        all_inputs["start"] = policy.weights
    config = replace(config, model=policy.model.spec, nouns=nouns)
    return Stage(kind=kind, config=config, inputs=all_inputs, gpus=policy.model.gpus)
