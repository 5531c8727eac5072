"""From several texts of a user to a preference: the text that helps the re-ranker most wins.

DPO4Rec ("Direct Preference Optimization for LLM-Enhanced Recommendation Systems"): the reward of a
text is the user's NDCG of a re-ranker that reads it; the best text is chosen, the worst rejected.
What the paper leaves open is decided by the re-ranking notes, section 7.2.

Shapes: U users, J texts of a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import unknown
from bench.metrics.rerank import ndcg_of_labels, sort_labels
from bench.models.rerank.model import Reranker
from bench.models.rerank.scoring import Rows, scores

REWARD_K = 5
Tie = Literal["loss", "first"]


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What each text of each user is worth.

    Attributes:
        ndcg: Mean NDCG@5 over the user's lists with a positive, shape (U, J); NaN for users without
            any.
        losses: Mean training loss over the same lists, shape (U, J); NaN likewise.
    """

    ndcg: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One user's preference between two of their texts, by place."""

    user: int
    chosen: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The pairs, and how many users have none, by reason."""

    pairs: tuple[Pair, ...]
    skipped: dict[str, int]


def rewards(model: Reranker, rows: Rows) -> Rewards:
    """Let a re-ranker read each text of each user in turn and see how well it ranks.

    Args:
        model: A re-ranker that reads users' texts.
        rows: The lists that count, with J texts of U users.
    """
    assert rows.user_texts is not None, "without texts there is nothing to reward"
    num_users, num_texts = rows.user_texts.shape[:2]
    counted = rows.labels.sum(dim=1) > 0
    kept = Rows(
        items=rows.items[counted],
        labels=rows.labels[counted],
        users=rows.users[counted],
        user_texts=rows.user_texts,
    )
    users, labels = kept.users.numpy(), kept.labels.numpy().astype(np.int8)
    num_lists = np.bincount(users, minlength=num_users).astype(np.float64)
    num_lists[num_lists == 0] = np.nan
    found = np.empty((2, num_users, num_texts))
    for text in range(num_texts):
        scored = scores(model, kept, text)
        with torch.inference_mode():
            losses = model.losses(scored, kept.labels).double().numpy()
        gains = ndcg_of_labels(sort_labels(scored.numpy(), labels), REWARD_K)
        for kind, values in enumerate((gains, losses)):
            found[kind, :, text] = np.bincount(users, values, minlength=num_users) / num_lists
    return Rewards(ndcg=found[0], losses=found[1])


def choose(
    given: Rewards,
    texts: Sequence[Sequence[str]],
    *,
    tie: str = "loss",
    margin: float = 0.0,
) -> Choice:
    """Pick each user's best and worst text.

    Args:
        given: Rewards of U users' J texts.
        texts: The texts themselves; of equal ones of a user the first stands for all.
        tie: Of equal rewards, "loss" takes the text with the lower loss as the best and that with
            the higher one as the worst; then, and with "first" at once, the first one.
        margin: A user whose best and worst reward differ by no more has no pair.

    Raises:
        BenchError: There is no such way with ties.
    """
    if tie not in get_args(Tie):
        raise unknown("way with ties", tie, get_args(Tie))
    pairs = []
    skipped = {"no list with a positive": 0, "equal texts": 0, "equal rewards": 0}
    for user, own in enumerate(texts):
        gains, losses = given.ndcg[user], given.losses[user]
        assert len(own) == len(gains), "every text has a reward"
        distinct = [place for place, text in enumerate(own) if text not in own[:place]]
        if np.isnan(gains).any():
            skipped["no list with a positive"] += 1
        elif len(distinct) < 2:
            skipped["equal texts"] += 1
        else:
            by_loss = losses if tie == "loss" else np.zeros(len(losses))
            # min() keeps the first of equal keys.
            best = min(distinct, key=lambda place: (-gains[place], by_loss[place]))
            worst = min(distinct, key=lambda place: (gains[place], -by_loss[place]))
            if gains[best] - gains[worst] <= margin:
                skipped["equal rewards"] += 1
            else:
                pairs.append(Pair(user=user, chosen=best, rejected=worst))
    return Choice(pairs=tuple(pairs), skipped=skipped)
