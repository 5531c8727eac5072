"""Pair each training user's texts: the one that helps a re-ranker most is preferred.

pairs.parquet   one row per pair: `prompt` (index of the question), its `hash`, the chosen and the
                rejected texts, which of them are finished, and `smoothing`, always 0

DPO4Rec ("Direct Preference Optimization for LLM-Enhanced Recommendation Systems"): the reward of a
text is the user's NDCG under a re-ranker that reads it; the best text is chosen, the worst
rejected. The re-ranker is trained on training users, and validation users select its epoch; test
users are not used.

Shapes: U users, J texts per user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from bench.data import prepared_lists as list_files
from bench.data.prepared_lists import PARTS, PreparedLists
from bench.errors import BenchError
from bench.hashing import Job, Plain, derive_seed
from bench.metrics.rerank import ndcg_of_labels, sort_labels
from bench.models.lm.devices import compute_threads
from bench.models.rerank.model import ListTensors, Reranker, score_lists
from bench.models.rerank.qa_files import Answers, Questions, load_answers, load_questions
from bench.models.rerank.training import train_on_lists
from bench.models.rerank.vectors import TextVectors, list_tensors, read_text_vectors
from bench.plan.knowledge_stages import RewardPairsConfig

REWARD_K = 5
NO_POSITIVE, EQUAL_TEXTS, EQUAL_REWARDS = "no list with a positive", "equal texts", "equal rewards"

DECIMALS = 6


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


def run(job: Job, config: RewardPairsConfig, inputs: Mapping[str, Path]) -> None:
    """Write the pairs.

    Raises:
        BenchError: Artifacts do not fit each other, or there are more folds than training users.
    """
    lists, questions = list_files.load(inputs["lists"]), load_questions(inputs["prompts"])
    answers = load_answers(inputs["answers"], questions)
    parts = np.array([PARTS[part] for part in lists.parts[questions.indices]])
    assert "test" not in parts, "preferences must not use test users"
    texts = read_text_vectors(
        lists,
        job.metadata,
        users=inputs["users"],
        items=inputs.get("items"),
        max_empty_fraction=config.reranker.max_empty_fraction,
        parts=("train", "valid"),
    )
    with compute_threads(config.reranker.threads):
        all_rewards = _reward_texts(job, lists, texts, config)
    rows = np.flatnonzero(parts == "train")
    users = questions.indices[rows]
    rewards = Rewards(ndcg=all_rewards.ndcg[users], losses=all_rewards.losses[users])
    selection = select_pairs(
        rewards, [answers.texts[row] for row in rows], tie=config.tie, margin=config.margin
    )
    _write_pairs(selection, rows, questions, answers, job.out)
    job.metadata.update(_describe(selection, rewards))


def _reward_texts(
    job: Job, lists: PreparedLists, texts: TextVectors, config: RewardPairsConfig
) -> Rewards:
    """Reward every text of the training users; NaN for other users, shape (U, J)."""
    train, num_folds = lists.rows("train"), config.num_folds
    fold_of_list = _assign_folds(lists.users[train], num_folds, config.seed)
    assert texts.users is not None
    ndcg, losses = np.full((2, *texts.users.shape[:2]), np.nan)
    for fold in range(num_folds):
        rewarded = train[fold_of_list == fold]
        model, metadata = train_on_lists(
            lists,
            train if num_folds == 1 else train[fold_of_list != fold],
            lists.rows("valid"),
            texts,
            replace(config.reranker, seed=derive_seed("reward model", config.seed, fold)),
            micro_batch_divisor=job.micro_batch_divisor,
        )
        tensors = list_tensors(lists, rewarded, texts.select_for_training("sampled"))
        rewards = compute_rewards(model, tensors)
        has_reward = ~np.isnan(rewards.ndcg)
        ndcg[has_reward], losses[has_reward] = rewards.ndcg[has_reward], rewards.losses[has_reward]
        job.metadata[f"reward_model_{fold}"] = metadata
    return Rewards(ndcg=ndcg, losses=losses)


def _assign_folds(users: NDArray[np.int64], num_folds: int, seed: int) -> NDArray[np.int64]:
    """Assign every user to a random fold; return the fold of each list."""
    distinct, index_of_list = np.unique(users, return_inverse=True)
    if num_folds > len(distinct):
        raise BenchError(
            f"{len(distinct)} training users cannot be split into {num_folds} folds.",
            "Lower num_folds.",
        )
    order = np.random.default_rng(derive_seed("reward folds", seed)).permutation(len(distinct))
    fold_of_user = np.empty(len(distinct), dtype=np.int64)
    fold_of_user[order] = np.arange(len(distinct)) % num_folds
    return fold_of_user[index_of_list]


def _write_pairs(
    selection: PairSelection,
    rows: NDArray[np.int64],
    questions: Questions,
    answers: Answers,
    folder: Path,
) -> None:
    """Write the pairs; `rows` are the questions of the users that pairs refer to."""
    pairs = [(int(rows[pair.user]), pair.chosen, pair.rejected) for pair in selection.pairs]
    texts, finished = answers.texts, answers.finished
    strings, flags = pa.string(), pa.bool_()
    columns = {
        "prompt": pa.array([row for row, _, _ in pairs], pa.int64()),
        "hash": pa.array([questions.prompts[row].hash for row, _, _ in pairs], strings),
        "chosen": pa.array([texts[row][best] for row, best, _ in pairs], strings),
        "chosen_finished": pa.array([finished[row][best] for row, best, _ in pairs], flags),
        "rejected": pa.array([[texts[row][worst]] for row, _, worst in pairs], pa.list_(strings)),
        "rejected_finished": pa.array(
            [[finished[row][worst]] for row, _, worst in pairs], pa.list_(flags)
        ),
        "smoothing": pa.array([0.0] * len(pairs), pa.float64()),
    }
    pq.write_table(pa.table(columns), folder / "pairs.parquet")


def _describe(selection: PairSelection, rewards: Rewards) -> dict[str, Plain]:
    ndcg = rewards.ndcg[~np.isnan(rewards.ndcg).any(axis=1)]
    means = {"first": ndcg[:, 0], "best": ndcg.max(axis=1), "worst": ndcg.min(axis=1)}
    return {
        "pairs": len(selection.pairs),
        **{f"skipped: {reason}": num for reason, num in selection.skipped.items()},
        **{
            f"{name}_reward": round(float(values.mean()), DECIMALS) if len(ndcg) else None
            for name, values in means.items()
        },
    }
