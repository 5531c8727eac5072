"""Stages of language models: train, prefer, generate."""

from __future__ import annotations

from collections.abc import Mapping

from bench.data.encoders import encoder_checksums
from bench.hashing import Plain
from bench.plan.grounding_stages import embed
from bench.plan.policy import as_policy, model_stage, trained
from bench.plan.stage import Stage
from bench.plan.types import Model, Pairs, Policy, Rows


def sft(
    start: Model | Policy,
    rows: Rows,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    seed: int,
    warmup: int = 20,
    valid: Rows | None = None,
    patience: int = 0,
    loss_on: str = "response",
    eos: bool = True,
    weights: str = "",
    weight_settings: Mapping[str, Plain] | None = None,
    mean_over: str = "tokens",
    counterfactual: float = 0.0,
) -> Policy:
    """Fine-tune on prompt and target title of every row.

    Args:
        start: Where it starts: the untuned model, or a policy.
        rows: Training rows.
        epochs: Passes over the rows; at most so many where `patience` may end them earlier.
        learning_rate: Of AdamW, falling linearly to 0 after the warm-up.
        batch: Rows of one optimizer step.
        seed: Decides order, dropout and a new adapter's first weights.
        warmup: Steps of linear warm-up; never more than a tenth of all steps.
        valid: Rows whose loss `patience` watches.
        patience: Epochs without a lower validation loss before it stops and the best epoch's
            weights are kept; 0 trains every epoch and keeps the last.
        loss_on: "response", or "sequence" for the loss on the prompt, too (SPRec's program).
        eos: Whether the response ends in the end-of-sequence token.
        weights: "module:function" that weights the tokens of the responses, see
            `bench.stages.sft`; nothing for weight 1 everywhere.
        weight_settings: Its keyword arguments.
        mean_over: "tokens" for the weighted mean over all supervised tokens of a step (IGD, CFT),
            "rows" for the mean over rows of a row's weighted mean (RW as intended), "micro-batch"
            for what RW's program computes, in fours.
        counterfactual: Weight of CFT's second loss, on the logits minus those without history.
    """
    policy = as_policy(start)
    assert (valid is None) == (patience == 0), "patience goes with validation rows"
    args: dict[str, Plain] = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch": batch,
        "warmup": warmup,
        "patience": patience,
        "loss_on": loss_on,
        "eos": eos,
        "weights": weights,
        "weight_settings": dict(weight_settings or {}),
        "mean_over": mean_over,
        "counterfactual": counterfactual,
        "seed": seed,
    }
    inputs = {"data": rows.data, "rows": rows.stage}
    if valid is not None:
        inputs["valid"] = valid.stage
    functions = (weights,) if weights else ()
    return trained(policy, "sft", args, inputs, rows.nouns, functions)


def pairs(
    rows: Rows,
    *,
    seed: int,
    take: int | None = None,
    generated: Stage | None = None,
    negatives: str = "generated",
    num: int = 1,
    random_share: float = 0.0,
    grounded: str = "",
    oracle: Stage | None = None,
    smooth: bool = False,
) -> Pairs:
    """Put preference pairs together: the target chosen, one or more responses rejected.

    Args:
        rows: Rows in the order they are tried.
        seed: Decides random items and the order.
        take: How many pairs are kept, see `bench.stages.pairs` for which; None keeps all.
        generated: What a policy wrote for the same rows, for negatives "generated".
        negatives: "generated"; or items: "random" uniformly, "popular" in proportion to their
            training counts, "similar" to the history by title (RosePO).
        num: Rejected responses of each pair, K.
        random_share: Share of the rows, from 0 to 1, whose generated negatives are replaced by
            random items (SPRec's Fig. 5); 1 needs nothing generated.
        grounded: Name of an encoder: generated texts are replaced by the nearest item's title.
            "similar" needs it, too.
        oracle: A trained SASRec, for `smooth`.
        smooth: Note for each pair the oracle's probability that the rejected item is preferred.
    """
    args: dict[str, Plain] = {
        "take": take,
        "seed": seed,
        "negatives": negatives,
        "num": num,
        "random_share": random_share,
        "smooth": smooth,
    }
    inputs = {"data": rows.data, "rows": rows.stage}
    if generated is not None:
        inputs["generated"] = generated
    if oracle is not None:
        inputs["oracle"] = oracle
    if grounded:
        args |= {"encoder": grounded, "encoder_checksums": encoder_checksums(grounded)}
        inputs["vectors"] = embed(rows.data, encoder=grounded)
    stage = Stage(kind="pairs", args=args, inputs=inputs)
    return Pairs(data=rows.data, stage=stage, nouns=rows.nouns)


def preference(
    start: Policy,
    pairs: Pairs,
    *,
    loss: str = "dpo",
    loss_settings: Mapping[str, Plain] | None = None,
    beta: float,
    epochs: int,
    learning_rate: float,
    batch: int,
    seed: int,
    warmup: int = 20,
    reference: Policy | None = None,
    prompt: str = "wrapped",
    eos: bool = True,
) -> Policy:
    """Optimize preferences against a reference: DPO and its kin, dropout off.

    Args:
        start: Where it starts; also the reference, unless another is given.
        pairs: Chosen and rejected responses.
        loss: "dpo", "sdpo", "dmpo", "dmpo-sum" or "rosepo", see
            `bench.models.lm.train.preference_losses`; or "module:function" of a method's own module
            with the same signature.
        loss_settings: Further keyword arguments of the loss.
        beta: Strength of the pull to the reference, above 0.
        epochs: Passes over the pairs.
        learning_rate: Of AdamW, falling linearly to 0 after the warm-up.
        batch: Pairs of one optimizer step.
        seed: Decides the order.
        warmup: Steps of linear warm-up; never more than a tenth of all steps.
        reference: Policy of the reference log-probabilities, which are computed once.
        prompt: "wrapped" as everywhere, or "bare" without markers (SPRec's program).
        eos: Whether responses end in the end-of-sequence token.
    """
    own = ":" in loss
    args: dict[str, Plain] = {
        "loss": loss,
        "loss_settings": dict(loss_settings or {}),
        "beta": beta,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch": batch,
        "warmup": warmup,
        "prompt": prompt,
        "eos": eos,
        "seed": seed,
        "reference_is": "start",
    }
    inputs = {"data": pairs.data, "pairs": pairs.stage}
    if reference is not None and reference != start:
        args["reference_is"] = "given" if reference.weights else "backbone"
        if reference.weights is not None:
            inputs["reference"] = reference.weights
    functions = (loss,) if own else ()
    return trained(start, "preference", args, inputs, pairs.nouns, functions)


def generate(
    start: Model | Policy,
    rows: Rows,
    *,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    beams: int = 1,
    num: int = 1,
    seed: int = 0,
) -> Stage:
    """Let a policy write titles for the rows; the artifact holds the texts, best first.

    Args:
        start: The policy, or the untuned model.
        rows: Whose histories are the prompts.
        max_new_tokens: Most tokens of a response.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn.
        beams: Width of the beam search; 1 for none.
        num: Texts a row: at most `beams`, or any number where they are drawn.
        seed: Decides what is drawn; nothing is at temperature 0.
    """
    args: dict[str, Plain] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "beams": beams,
        "num": num,
        "seed": seed if temperature else 0,
    }
    policy = as_policy(start)
    inputs = {"data": rows.data, "rows": rows.stage}
    return model_stage(policy, "generate", args, inputs, rows.nouns)
