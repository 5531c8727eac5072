"""Encode the catalog's titles as prompts write them; the artifact is `vectors.npy`, (I, D)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.data.assets import encoder_checksums as current_checksums
from bench.data.prompts import quotable
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.encode.grounding import VECTORS_FILE, TextEncoder
from bench.models.lm.encode.sentence_encoder import load_encoder
from bench.plan.language_stages import EmbedConfig


def run(job: Job, config: EmbedConfig, inputs: Mapping[str, Path]) -> None:
    """Write one float32 vector per item; items of the same title have equal vectors.

    Titles are embedded as they are written between quotes, as models generate them.

    Raises:
        BenchError: The encoder's card has changed since the plan, or its files are missing.
    """
    titles = [quotable(title) for title in prepared.load(inputs["data"]).catalog.titles]
    encoder = load_planned_encoder(job, config.encoder, config.encoder_checksums)
    vectors_ID = encoder.encode(titles)
    np.save(job.out / VECTORS_FILE, vectors_ID)
    job.metadata["titles"] = len(set(titles))
    job.metadata["width"] = vectors_ID.shape[1]


def load_planned_encoder(job: Job, name: str, checksums: Mapping[str, str]) -> TextEncoder:
    """Load the encoder of the plan.

    Raises:
        BenchError: Its card has changed since the plan, or its files cannot be fetched.
    """
    if current_checksums(name) != dict(checksums):
        raise BenchError(
            f"The card of the encoder {name} changed during the run.", "Start the run again."
        )
    return load_encoder(name, offline=job.offline, data_dir=job.data_dir)
