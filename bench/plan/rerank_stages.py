"""Stages of re-ranking: make the lists, order them plainly, train a re-ranker, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.hashing import Plain
from bench.metrics.plugins import plugin_references
from bench.metrics.registry import plugin_metrics
from bench.plan.stage import Stage

PARTS = ("train", "valid", "test")
LIST_KS = (1, 3, 5, 7, 10)
LENGTH = 10


def lists(
    *,
    name: str,
    reader: str,
    fields: Mapping[str, Plain],
    checksums: Mapping[str, Plain],
    cap: int,
    positive_above: float,
    min_user: int = 0,
    min_item: int = 0,
    by_day: bool = False,
    category_places: Sequence[int] = (0,),
    brand: bool = False,
    users: Mapping[str, int | None] | None = None,
    valid_share: float = 0.1,
    seed: int = 0,
) -> Stage:
    """Make KAR's lists of a data set, from its raw files.

    Args:
        name: Name of the data set's card.
        reader: Its reader.
        fields: Its fields.
        checksums: The raw files' sha256 by role. With "users" there are profiles, and without
            "items" neither titles nor attributes.
        cap: Most interactions of a user that a language model reads (ML-1M 30, Amazon 15).
        positive_above: Label 1 for ratings above it (ML-1M 3, Amazon 4).
        min_user: Least interactions of a user.
        min_item: Least interactions of an item.
        by_day: Sort by day, and within it by line of the file (ML-1M).
        category_places: Which categories of an item are its attributes (ML-1M the first one, place
            0; Amazon the one below the shop, place 1).
        brand: Whether the brand is an attribute, too, the first one (Amazon).
        users: At most so many users of each part, with all their lists; None for all.
        valid_share: Share of KAR's training users that is set apart for validation.
        seed: Decides which ones, and which users are kept.
    """
    rules: dict[str, Plain] = {
        "cap": cap,
        "positive_above": positive_above,
        "min_user": min_user,
        "min_item": min_item,
        "by_day": by_day,
    }
    args: dict[str, Plain] = {
        "name": name,
        "card": {"reader": reader, "fields": fields},
        "checksums": checksums,
        "rules": rules,
        "category_places": list(category_places),
        "brand": brand,
        "users": dict.fromkeys(PARTS) | dict(users or {}),
        "valid_share": valid_share,
        "seed": seed,
    }
    return Stage(kind="lists", args=args)


def order(lists: Stage, *, by: str) -> Stage:
    """Score the test lists without training: "given", by "popularity", or by the "oracle"."""
    args: dict[str, Plain] = {"scorer": by, "threads": 1}
    return Stage(kind="rerank", args=args, inputs={"lists": lists})


def rerank(
    lists: Stage,
    *,
    backbone: str,
    learning_rate: float,
    batch: int,
    epochs: int,
    patience: int,
    seed: int,
    weight_decay: float = 0.0,
    users: Stage | None = None,
    items: Stage | None = None,
    shared: int = 2,
    dedicated: int = 5,
    setrank_loss: str = "kar_offset",
    temperature: float = 0.5,
    as_published: bool = False,
    fit_text: str = "drawn",
    score_text: str = "first",
    shuffle_users: bool = False,
    silent_share: float | None = None,
    threads: int = 1,
) -> Stage:
    """Train a re-ranker and score the test lists; the artifact holds scores and weights.

    Args:
        lists: The lists.
        backbone: "dlcm", "prm" or "setrank".
        learning_rate: Of AdamW, constant.
        batch: Lists of one optimizer step.
        epochs: The most epochs.
        patience: Epochs without a better MAP@5 before it stops.
        seed: Decides first weights, order, and which text of a user is seen.
        weight_decay: Of AdamW.
        users: Vectors of the users' texts, one or several a user.
        items: Vectors of the items' texts.
        shared: Experts of the adapter that both kinds of texts share.
        dedicated: Experts of each kind alone.
        setrank_loss: "kar_offset"; "kar" to the letter, dead zone included; or "softmax".
        temperature: Of SetRank's attention rank.
        as_published: Learn from all training users and let the test lists choose the epoch, as KAR
            does; otherwise validation users choose it.
        fit_text: Which of a user's texts training sees: one "drawn" anew each time, or the "first".
        score_text: Which one scoring sees: the "first", or the "mean" of all vectors.
        shuffle_users: Give every user the texts of another; what the texts are good for must go.
        silent_share: Largest share of users, or of items, without a text that says anything; None
            for one in 200.
        threads: CPU threads.
    """
    recipe: dict[str, Plain] = {
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch": batch,
        "epochs": epochs,
        "patience": patience,
    }
    training: dict[str, Plain] = {
        "recipe": recipe,
        "seed": seed,
        "select_on": "test" if as_published else "valid",
        "setrank_loss": setrank_loss,
        "temperature": temperature,
        "shared": shared,
        "dedicated": dedicated,
        "fit_text": fit_text,
        "score_text": score_text,
        "shuffle_users": shuffle_users,
    }
    inputs = {"lists": lists}
    if users is not None:
        inputs["users"] = users
    if items is not None:
        inputs["items"] = items
    args: dict[str, Plain] = {"scorer": backbone, "threads": threads, "training": training}
    if silent_share is not None:
        args["silent_share"] = silent_share
    return Stage(kind="rerank", args=args, inputs=inputs)


def evaluate_lists(scores: Stage, lists: Stage, *, ks: Sequence[int]) -> Stage:
    """Compute the metrics of re-ranked lists at every k, with their values list by list.

    Args:
        scores: An order, or a re-ranker.
        lists: The lists that it scored.
        ks: Asked for; those beyond a list's length are left out, KAR's are always there.
    """
    fitting = sorted({*LIST_KS, *(k for k in ks if k <= LENGTH)})
    functions = plugin_references(plugin_metrics())
    args = {"plugins": list(functions)} if functions else {}
    return Stage(
        kind="evaluate_lists",
        args={"ks": fitting, **args},
        inputs={"lists": lists, "scores": scores},
        functions=functions,
    )
