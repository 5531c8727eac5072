"""What every stage of a language model is given: the model, where it starts, the nouns."""

from __future__ import annotations

from collections.abc import Mapping

from bench.plan.parts import Model, Nouns, Policy
from bench.plan.stage import Stage
from bench.records import Plain


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
        "quantisation": model.quantisation,
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
