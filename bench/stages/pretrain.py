"""Pretrain a built backbone on the training period's histories; the artifact is a backbone, too."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.data import prepared
from bench.data import prepared_lists as list_data
from bench.hashing import Job
from bench.models.lm.train.pretrain_trainer import encode_histories, pretrain, training_histories
from bench.models.lm.tuned_model import load
from bench.plan.backbones import PretrainConfig

UNCHANGED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def run(job: Job, config: PretrainConfig, inputs: Mapping[str, Path]) -> None:
    """Train all weights in float32 and save the model with its tokenizer.

    Re-ranking splits by user, not by time: validation and test users of the input "lists" are left
    out.

    Raises:
        BenchError: There is nothing to train on, or the training diverged.
    """
    model = load(inputs["backbone"], tuning={"kind": "full"}, dtype="float32")
    held_out = _held_out_users(inputs.get("lists"))
    histories = list(training_histories(prepared.load(inputs["data"]), held_out))
    metadata = pretrain(
        model,
        encode_histories(model.tokenizer, histories, max_tokens=config.max_length),
        config,
        **job.training,
    )
    model.save(job.out)
    for name in UNCHANGED:
        shutil.copyfile(inputs["backbone"] / name, job.out / name)
    job.metadata.update(metadata)
    job.metadata["users_left_out"] = len(held_out)


def _held_out_users(lists: Path | None) -> frozenset[str]:
    if lists is None:
        return frozenset()
    candidate_lists = list_data.load(lists)
    return frozenset(
        name
        for name, part in zip(candidate_lists.user_ids, candidate_lists.parts, strict=True)
        if list_data.PARTS[part] != "train"
    )
