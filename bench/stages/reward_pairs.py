"""Prefer, of several texts about a training user, the one that helps a re-ranker most.

pairs.parquet   a line a pair: `prompt` (its place among the questions), `hash` of it, `chosen`, the
                rejected texts, which of them were finished, and `smoothing`, always 0

DPO4Rec ("Direct Preference Optimization for LLM-Enhanced Recommendation Systems"). The re-ranker
learns from training users, and validation users choose its epoch; no test user has any part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data import prepared_lists as data
from bench.errors import BenchError
from bench.hashing import Job, Plain, derive_seed
from bench.models.lm.threads import compute_threads
from bench.models.rerank.fitting import fit_on
from bench.models.rerank.knowledge import Choice, Rewards, choose, rewards
from bench.models.rerank.qa_files import Answered, Asked, read_answers, read_prompts
from bench.models.rerank.vectors import SILENT_SHARE, Texts, item_vectors, rows_of, user_vectors

DECIMALS = 6


def run(
    job: Job,
    *,
    backbone: str,
    training: Mapping[str, Any],
    folds: int,
    tie: str,
    margin: float,
    seed: int,
    threads: int,
    lists: Path,
    users: Path,
    prompts: Path,
    answers: Path,
    items: Path | None = None,
    silent_share: float = SILENT_SHARE,
) -> None:
    """Write the pairs.

    Args:
        job: Where to write.
        backbone: Of the re-ranker that gives the rewards.
        training: Further keyword arguments of `fit_on`.
        folds: Training users are dealt into so many parts, and each is rewarded by a re-ranker that
            learned from the others; 1 rewards them by one that learned from all.
        tie: See `bench.models.rerank.knowledge.choose`.
        margin: Likewise.
        seed: Of the re-ranker and the folds.
        threads: CPU threads.
        lists: The lists.
        users: Vectors of the texts, several a user.
        prompts: The questions about users.
        answers: What was answered to them: the texts.
        items: Vectors of the items' texts.
        silent_share: So many users, and so many items, may be without a text that says anything.

    Raises:
        BenchError: Artifacts do not fit, or a setting is out of range.
    """
    source, asked = data.shared(lists), read_prompts(prompts)
    answered = read_answers(answers, asked)
    parts = np.array([data.PARTS[part] for part in source.parts[asked.places]])
    assert "test" not in parts, "no test user may be asked for a preference"
    texts = Texts(
        users=user_vectors(users, source, job.facts, silent_share, ("train", "valid")),
        items=None if items is None else item_vectors(items, source, job.facts, silent_share),
    )
    with compute_threads(threads):
        found = _rewards(job, source, texts, backbone, training, folds, seed)
    rows = np.flatnonzero(parts == "train")
    of_rows = Rewards(ndcg=found.ndcg[asked.places[rows]], losses=found.losses[asked.places[rows]])
    choice = choose(of_rows, [answered.texts[row] for row in rows], tie=tie, margin=margin)
    _write(choice, rows, asked, answered, job.out)
    job.facts.update(_facts(choice, of_rows))


def _rewards(
    job: Job,
    source: data.Lists,
    texts: Texts,
    backbone: str,
    training: Mapping[str, Any],
    folds: int,
    seed: int,
) -> Rewards:
    """Reward every text of the training users; NaN for everybody else, shape (U, J)."""
    learned, chooser = source.rows("train"), source.rows("valid")
    owners = np.unique(source.users[learned])
    if not 1 <= folds <= len(owners):
        raise BenchError(
            f"{len(owners)} training users cannot be dealt into {folds} folds.",
            "Give 1 for none, or from 2 on fewer than there are users.",
        )
    order = np.random.default_rng(derive_seed("reward folds", seed)).permutation(len(owners))
    fold_of = dict(
        zip(owners[order].tolist(), (np.arange(len(owners)) % folds).tolist(), strict=True)
    )
    folds_of_lists = np.array([fold_of[user] for user in source.users[learned].tolist()])
    assert texts.users is not None
    shape = texts.users.shape[:2]
    total = Rewards(ndcg=np.full(shape, np.nan), losses=np.full(shape, np.nan))
    for fold in range(folds):
        judged = learned[folds_of_lists == fold]
        others = learned if folds == 1 else learned[folds_of_lists != fold]
        model, facts = fit_on(
            source,
            others,
            chooser,
            texts,
            backbone=backbone,
            seed=derive_seed("reward model", seed, fold),
            micro_batch_divisor=job.micro_batch_divisor,
            **training,
        )
        one = rewards(model, rows_of(source, judged, texts.fitting("drawn")))
        known = ~np.isnan(one.ndcg)
        total.ndcg[known], total.losses[known] = one.ndcg[known], one.losses[known]
        job.facts[f"reward_model_{fold}"] = facts
    return total


def _write(
    choice: Choice, rows: np.ndarray[Any, Any], asked: Asked, answered: Answered, folder: Path
) -> None:
    prompts = [int(rows[pair.user]) for pair in choice.pairs]
    best = [
        (answered.texts[row][pair.chosen], answered.finished[row][pair.chosen])
        for row, pair in zip(prompts, choice.pairs, strict=True)
    ]
    worst = [
        (answered.texts[row][pair.rejected], answered.finished[row][pair.rejected])
        for row, pair in zip(prompts, choice.pairs, strict=True)
    ]
    columns = {
        "prompt": pa.array(prompts, pa.int64()),
        "hash": pa.array([asked.prompts[row].hash for row in prompts], pa.string()),
        "chosen": pa.array([text for text, _ in best], pa.string()),
        "chosen_finished": pa.array([whole for _, whole in best], pa.bool_()),
        "rejected": pa.array([[text] for text, _ in worst], pa.list_(pa.string())),
        "rejected_finished": pa.array([[whole] for _, whole in worst], pa.list_(pa.bool_())),
        "smoothing": pa.array([0.0] * len(prompts), pa.float64()),
    }
    pq.write_table(pa.table(columns), folder / "pairs.parquet")


def _facts(choice: Choice, given: Rewards) -> dict[str, Plain]:
    known = given.ndcg[~np.isnan(given.ndcg).any(axis=1)]
    means = {"first": known[:, 0], "best": known.max(axis=1), "worst": known.min(axis=1)}
    return {
        "pairs": len(choice.pairs),
        **{f"skipped: {reason}": num for reason, num in choice.skipped.items()},
        **{
            f"{name}_reward": round(float(values.mean()), DECIMALS) if len(known) else None
            for name, values in means.items()
        },
    }
