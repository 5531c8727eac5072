"""Encode titles, or written texts, by the backbone's hidden states; the artifact is `vectors.npy`.

For the catalog's titles the artifact is that of `bench.stages.embed`, an item a row; for written
texts it has a row for each, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared
from bench.data.prompts import quotable
from bench.hashing import Job
from bench.models.lm.encode.grounding import extract_title
from bench.models.lm.encode.hidden_states import HiddenStates
from bench.models.lm.generated_texts import read_texts
from bench.models.lm.threads import compute_threads
from bench.models.lm.tuned_model import load
from bench.plan.language_stages import HiddenConfig
from bench.stages.embed import FILE


def run(job: Job, config: HiddenConfig, inputs: Mapping[str, Path]) -> None:
    """Write the vectors in float32, whatever the arithmetic; equal texts have equal vectors."""
    if "generated" in inputs:
        cases = prepared.load_rows(inputs["cases"])
        texts = [extract_title(row[0]) for row in read_texts(inputs["generated"], rows=cases).texts]
    else:
        texts = [quotable(title) for title in prepared.load(inputs["data"]).catalog.titles]
    model = load(inputs["backbone"], **config.model.weights)
    encoder = HiddenStates(model=model, divisor=job.micro_batch_divisor)
    with compute_threads(config.model.threads), model.merged():
        vectors_ND = encoder.encode(texts)
    np.save(job.out / FILE, vectors_ND)
    job.metadata["texts"] = len(set(texts))
    job.metadata["width"] = vectors_ND.shape[1]
