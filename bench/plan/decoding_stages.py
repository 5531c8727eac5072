"""Stages of language models that decode inside the catalog."""

from __future__ import annotations

from bench.hashing import Plain
from bench.plan.item_stages import DEPTH
from bench.plan.policy import as_policy, model_stage
from bench.plan.stage import Stage
from bench.plan.types import Model, Policy, Rows


def decode(
    start: Model | Policy,
    cases: Rows,
    train: Rows,
    *,
    length_penalty: float,
    beams: int = 10,
    widest: int | None = None,
    exact: str = "beam",
    temperature: float = 1.0,
    oracle: Stage | None = None,
    assistant: float = 1.0,
    igd_alpha: float = 0.0,
    entropy: str = "partial",
    prior: str = "popularity",
    trained_only: bool = False,
    eos: bool = True,
    depth: int = DEPTH,
) -> Stage:
    """Rank the titles that a policy finds likeliest among those of the catalog.

    Args:
        start: The policy, or the untuned model.
        cases: Whose histories are the prompts.
        train: Whose targets are counted as the items' popularity.
        length_penalty: A title's score is divided by its number of tokens to this power: 0 for sums
            (D3), 1 for means (BIGRec's decoding).
        beams: Prefixes that go on at each step, and items of a list.
        widest: A list that a wider search might change is searched for again with twice the beams,
            up to this many; None for a single search, as the papers have it.
        exact: "beam", or "all" to score every title instead of searching; then `beams` is the items
            of a list alone.
        temperature: Logits are divided by it.
        oracle: A trained SASRec that assists (D3).
        assistant: The policy's weight beside it, from 0 to 1; 1 is the policy alone.
        igd_alpha: How much tokens that tell more are favored, from 0 to 1 (IGD).
        entropy: "partial" as in IGD's program, or "conditional" on the prefix.
        prior: Probability of the titles in it: "popularity" or "uniform".
        trained_only: Whether only targets of `train` can be recommended (IGD); else the whole
            catalog (D3).
        eos: Whether the policy ends its responses with the end-of-sequence token.
        depth: Places of the ranking; those after the found items are empty.
    """
    assert oracle is not None or assistant == 1, "without an assistant the policy is alone"
    args: dict[str, Plain] = {
        "beams": beams,
        "widest": beams if widest is None else widest,
        "exact": exact,
        "length_penalty": length_penalty,
        "temperature": temperature,
        "assistant": assistant,
        "igd_alpha": igd_alpha,
        "entropy": entropy,
        "prior": prior,
        "trained_only": trained_only,
        "eos": eos,
        "depth": depth,
    }
    inputs = {"data": cases.data, "cases": cases.stage, "train": train.stage}
    # A policy alone needs no assistant's training.
    if oracle is not None and assistant < 1:
        inputs["oracle"] = oracle
    return model_stage(as_policy(start), "decode", args, inputs, cases.nouns)
