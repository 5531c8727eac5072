"""Preference pairs from several texts about a user: the text that helps a re-ranker most wins.

DPO4Rec ("Direct Preference Optimization for LLM-Enhanced Recommendation Systems"): the reward of a
text is the user's NDCG under a re-ranker that reads it; the best text is chosen, the worst
rejected. The re-ranking notes, section 7.2, decide what the paper leaves open.

Shapes: U users, J texts per user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench.metrics.rerank import ndcg_of_labels, sort_labels
from bench.models.rerank.model import ListTensors, Reranker, score_lists

REWARD_K = 5
NO_POSITIVE, EQUAL_TEXTS, EQUAL_REWARDS = "no list with a positive", "equal texts", "equal rewards"


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """Rewards of users' texts.

    Attributes:
        ndcg: Mean NDCG@5 over the user's lists with a positive, shape (U, J); NaN without any.
        losses: Mean training loss over the same lists, shape (U, J); NaN likewise.
    """

    ndcg: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TextPair:
    """A user's preference between two texts, by index."""

    user: int
    chosen: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class PairSelection:
    """The pairs, and the number of users without a pair by reason."""

    pairs: tuple[TextPair, ...]
    skipped: dict[str, int]


def compute_rewards(model: Reranker, lists: ListTensors) -> Rewards:
    """Compute how well a re-ranker ranks each user's lists when it reads each of the user's texts.

    Lists without a positive are ignored.
    """
    assert lists.user_texts is not None, "rewards need texts"
    num_users, num_texts = lists.user_texts.shape[:2]
    has_positive = lists.labels.sum(dim=1) > 0
    lists = replace(
        lists,
        items=lists.items[has_positive],
        labels=lists.labels[has_positive],
        users=lists.users[has_positive],
    )
    users, labels = lists.users.numpy(), lists.labels.numpy().astype(np.int8)
    num_lists = np.bincount(users, minlength=num_users).astype(np.float64)
    num_lists[num_lists == 0] = np.nan
    sums = np.empty((2, num_users, num_texts))
    for text in range(num_texts):
        scores = score_lists(model, lists, text)
        with torch.inference_mode():
            losses = model.losses(scores, lists.labels).double().numpy()
        gains = ndcg_of_labels(sort_labels(scores.numpy(), labels), REWARD_K)
        for kind, values in enumerate((gains, losses)):
            sums[kind, :, text] = np.bincount(users, values, minlength=num_users)
    return Rewards(ndcg=sums[0] / num_lists[:, None], losses=sums[1] / num_lists[:, None])


def select_pairs(
    rewards: Rewards,
    texts: Sequence[Sequence[str]],
    *,
    tie: Literal["loss", "first"] = "loss",
    margin: float = 0.0,
) -> PairSelection:
    """Select each user's best and worst text; of a user's equal texts only the first is considered.

    A tie is broken by "loss", the lower one for the best text and the higher one for the worst,
    then by order; or by order alone, "first". A user whose best and worst reward differ by no more
    than `margin` gets no pair.
    """
    pairs = []
    skipped = dict.fromkeys((NO_POSITIVE, EQUAL_TEXTS, EQUAL_REWARDS), 0)
    for user, (gains, losses, own) in enumerate(
        zip(rewards.ndcg, rewards.losses, texts, strict=True)
    ):
        assert len(own) == len(gains), "every text has a reward"
        distinct = [index for index, text in enumerate(own) if text not in own[:index]]
        if np.isnan(gains).any():
            skipped[NO_POSITIVE] += 1
            continue
        if len(distinct) < 2:
            skipped[EQUAL_TEXTS] += 1
            continue
        by_loss = losses if tie == "loss" else np.zeros(len(losses))
        # min() returns the first of equal keys.
        best = min(distinct, key=lambda index: (-gains[index], by_loss[index]))
        worst = min(distinct, key=lambda index: (gains[index], -by_loss[index]))
        if gains[best] - gains[worst] <= margin:
            skipped[EQUAL_REWARDS] += 1
        else:
            pairs.append(TextPair(user=user, chosen=best, rejected=worst))
    return PairSelection(pairs=tuple(pairs), skipped=skipped)
