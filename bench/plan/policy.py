"""What every stage of a language model is given: the model, where it starts, the nouns."""

from __future__ import annotations

from collections.abc import Mapping

from bench.hashing import Plain
from bench.plan.stage import Stage
from bench.plan.types import Model, Nouns, Policy


def as_policy(start: Model | Policy) -> Policy:
    """Take an untuned model for a policy without trained weights."""
    return Policy(model=start) if isinstance(start, Model) else start


def trained(
    start: Policy,
    kind: str,
    args: Mapping[str, Plain],
    inputs: Mapping[str, Stage],
    nouns: Nouns,
    functions: tuple[str, ...],
) -> Policy:
    """Compose a stage that trains, and return the policy that it leaves."""
    stage = model_stage(start, kind, args, inputs, nouns, functions)
    return Policy(model=start.model, weights=stage)


def model_stage(
    policy: Policy,
    kind: str,
    args: Mapping[str, Plain],
    inputs: Mapping[str, Stage],
    nouns: Nouns,
    functions: tuple[str, ...] = (),
) -> Stage:
    """Add what every stage of a language model needs: the model, where it starts, the nouns."""
    model = policy.model
    shared: dict[str, Plain] = {
        "tuning": model.tuning,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "context": model.context,
        "threads": model.threads,
        "nouns": list(nouns),
    }
    given = {"backbone": model.backbone, **inputs}
    if policy.weights is not None:
        given["start"] = policy.weights
    return Stage(
        kind=kind, args={**args, **shared}, inputs=given, functions=functions, gpus=model.gpus
    )
