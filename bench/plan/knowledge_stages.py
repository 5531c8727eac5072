"""Stages of knowledge in words: ask, answer, encode, reward, prefer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.encoders import encoder_checksums
from bench.errors import BenchError
from bench.hashing import Plain, checksum
from bench.plan.stage import Stage
from bench.plan.types import Lists


def questions(lists: Lists, *, about: str, parts: Sequence[str]) -> Stage:
    """Write a question for each user, or each item, of the lists of some parts.

    Args:
        lists: The lists.
        about: "users" or "items".
        parts: "train", "valid", "test", or several of them.
    """
    args: dict[str, Plain] = {
        "about": about,
        "parts": list(parts),
        "domain_name": lists.domain,
        "titles": lists.titles,
    }
    return Stage(kind="questions", args=args, inputs={"lists": lists.stage})


def responses(
    lists: Lists,
    prompts: Stage,
    *,
    about: str,
    dataset: str,
    writer: str,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
) -> Stage:
    """Take answers that a model elsewhere wrote: from a file of responses, or from an endpoint.

    The environment says where: BENCH_RESPONSES names the file, BENCH_ENDPOINT (with
    BENCH_ENDPOINT_KEY) the address. The file's checksum stands in the key, unless there is an
    endpoint, which adds to it.

    Args:
        lists: Whose users and items they are.
        prompts: The questions.
        about: "users" or "items".
        dataset: Name of the data set's card.
        writer: The model that answers.
        max_new_tokens: Most tokens of an answer.
        temperature: As the endpoint takes it.
        top_p: Likewise.

    Raises:
        BenchError: The environment names neither.
    """
    file, address = os.environ.get("BENCH_RESPONSES"), os.environ.get("BENCH_ENDPOINT")
    if not file and not address:
        raise BenchError(
            f"not run: no endpoint, and no file of responses, for {writer}.",
            "Set BENCH_ENDPOINT (and BENCH_ENDPOINT_KEY), or BENCH_RESPONSES.",
        )
    if file and not address and not Path(file).is_file():
        raise BenchError(f"not run: BENCH_RESPONSES {file} is no file.", "Check its spelling.")
    decoding: dict[str, Plain] = {
        "max_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
    }
    args: dict[str, Plain] = {
        "about": about,
        "dataset": dataset,
        "writer": writer,
        "decoding": decoding,
        "file": checksum(Path(file)) if file and not address else None,
    }
    return Stage(kind="responses", args=args, inputs={"lists": lists.stage, "prompts": prompts})


def text_vectors(
    lists: Lists,
    prompts: Stage,
    answered: Stage,
    *,
    about: str,
    encoder: str,
    user_text: str = "history+answer",
    long_text: str = "windows",
) -> Stage:
    """Encode answers about users or items.

    Args:
        lists: Whose users and items they are.
        prompts: The questions.
        answered: The answers.
        about: "users" or "items".
        encoder: The sentence encoder (`bench list encoders`).
        user_text: What is read of a user: "history+answer" as KAR, or the "answer" alone.
        long_text: "windows" reads all of it, "truncate" the first window alone, as KAR.
    """
    args: dict[str, Plain] = {
        "about": about,
        "encoder": encoder,
        "encoder_checksums": encoder_checksums(encoder),
        # Of an item only the answer is read, so all ways with users share its vectors.
        "user_text": user_text if about == "users" else "answer",
        "long_text": long_text,
    }
    inputs = {"lists": lists.stage, "prompts": prompts, "answers": answered}
    return Stage(kind="text_vectors", args=args, inputs=inputs)


def reward_pairs(
    lists: Lists,
    prompts: Stage,
    answered: Stage,
    users: Stage,
    *,
    items: Stage | None,
    backbone: str,
    recipe: Mapping[str, Any],
    seed: int,
    shared: int = 2,
    dedicated: int = 5,
    setrank_loss: str = "kar_offset",
    temperature: float = 0.5,
    fit_text: str = "drawn",
    folds: int = 1,
    tie: str = "loss",
    margin: float = 0.0,
    silent_share: float | None = None,
    threads: int = 1,
) -> Stage:
    """Prefer, of several texts about a training user, the one that helps a re-ranker most.

    Args:
        lists: The lists; those of test users play no part.
        prompts: The questions about users.
        answered: Several answers to each.
        users: Their vectors.
        items: Vectors of texts about items.
        backbone: Of the re-ranker that gives rewards.
        recipe: learning_rate, batch, epochs, patience and weight_decay of it.
        seed: Of it, and of the folds.
        shared: Experts that both kinds of texts share.
        dedicated: Experts of each kind alone.
        setrank_loss: SetRank's loss.
        temperature: SetRank's.
        fit_text: Which of a user's texts it learns from: one "drawn" anew each time, or the
            "first".
        folds: Into how many parts users are dealt, each rewarded by a re-ranker that learned from
            the others; 1 for none.
        tie: Of equal rewards "loss" decides by the training loss; "first" takes the first text.
        margin: A user whose best and worst reward differ by no more has no pair.
        silent_share: See `bench.plan.rerank_stages.rerank`.
        threads: CPU threads.
    """
    training: dict[str, Plain] = {
        "recipe": dict(recipe),
        "setrank_loss": setrank_loss,
        "temperature": temperature,
        "shared": shared,
        "dedicated": dedicated,
        "fit_text": fit_text,
    }
    args: dict[str, Plain] = {
        "backbone": backbone,
        "training": training,
        "folds": folds,
        "tie": tie,
        "margin": margin,
        "seed": seed,
        "threads": threads,
    }
    inputs = {"lists": lists.stage, "prompts": prompts, "answers": answered, "users": users}
    if items is not None:
        inputs["items"] = items
    if silent_share is not None:
        args["silent_share"] = silent_share
    return Stage(kind="reward_pairs", args=args, inputs=inputs)
