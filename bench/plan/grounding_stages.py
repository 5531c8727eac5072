"""Stages that find the items nearest to what was written."""

from __future__ import annotations

from bench.data.encoders import encoder_checksums
from bench.hashing import Plain
from bench.plan.item_stages import DEPTH
from bench.plan.policy import model_stage
from bench.plan.stage import Stage
from bench.plan.types import Model, Policy, Rows

BACKBONE = "backbone"
"""In place of a sentence encoder: the hidden states of the untuned backbone (BIGRec's program)."""


def embed(data: Stage, *, encoder: str) -> Stage:
    """Encode all titles of the catalog with a sentence encoder."""
    args: dict[str, Plain] = {"encoder": encoder, "encoder_checksums": encoder_checksums(encoder)}
    return Stage(kind="embed", args=args, inputs={"data": data})


def hidden(model: Model, cases: Rows, generated: Stage | None = None) -> Stage:
    """Encode by the untuned backbone: what was written for the cases, or all titles."""
    inputs = {"data": cases.data}
    if generated is not None:
        inputs |= {"cases": cases.stage, "generated": generated}
    return model_stage(Policy(model=model), "hidden", {}, inputs, cases.nouns)


def ground(
    generated: Stage,
    cases: Rows,
    *,
    encoder: str,
    model: Model | None = None,
    gamma: float = 0.0,
    train: Rows | None = None,
    oracle: Stage | None = None,
    depth: int = DEPTH,
) -> Stage:
    """Rank the catalog by nearness to what was written for each case.

    Args:
        generated: The written texts.
        cases: What they were written for.
        encoder: A sentence encoder (SPRec's scorer), or `BACKBONE` (BIGRec's).
        model: Whose backbone that is.
        gamma: How much preferred items are drawn nearer, from 0, which draws none (BIGRec).
        train: Rows whose targets' counts say how much an item is preferred.
        oracle: Or a trained SASRec, whose scores say it for each case.
        depth: Places of the ranking.
    """
    args: dict[str, Plain] = {"encoder": encoder, "depth": depth}
    inputs = {"data": cases.data, "cases": cases.stage, "generated": generated}
    if encoder == BACKBONE:
        assert model is not None, "hidden states are of some model"
        inputs["vectors"] = hidden(model, cases)
        inputs["written"] = hidden(model, cases, generated)
    else:
        args["encoder_checksums"] = encoder_checksums(encoder)
        inputs["vectors"] = embed(cases.data, encoder=encoder)
    if gamma:
        assert (train is None) != (oracle is None), "one of them says what is preferred"
        args["gamma"] = gamma
        if train is not None:
            inputs["train"] = train.stage
        if oracle is not None:
            inputs["oracle"] = oracle
    return Stage(kind="ground", args=args, inputs=inputs)
