"""Encode titles, or written texts, by the backbone's hidden states; the artifact is `vectors.npy`.

For the catalog's titles the artifact is that of `bench.stages.embed`, an item a row; for written
texts it has a row for each, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import prepared
from bench.data.prompts import quotable
from bench.hashing import Job
from bench.models.lm.encode.grounding import quoted
from bench.models.lm.encode.hidden_states import HiddenStates
from bench.models.lm.generated_texts import read_texts
from bench.models.lm.threads import compute_threads
from bench.models.lm.tuned_model import load
from bench.stages.embed import FILE


def run(
    job: Job,
    *,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    data: Path,
    backbone: Path,
    cases: Path | None = None,
    generated: Path | None = None,
) -> None:
    """Write the vectors in float32, whatever the arithmetic; equal texts have equal ones."""
    del context, nouns
    if generated is None:
        texts = [quotable(title) for title in prepared.shared(data).catalog.titles]
    else:
        assert cases is not None, "texts were written for cases"
        written = read_texts(generated, rows=prepared.shared_rows(cases))
        texts = [quoted(row[0]) for row in written.texts]
    model = load(backbone, tuning=tuning, dtype=dtype, quantization=quantization)
    encoder = HiddenStates(model=model, divisor=job.micro_batch_divisor)
    with compute_threads(threads):
        vectors_ND = encoder.encode(texts)
    np.save(job.out / FILE, vectors_ND)
    job.facts["texts"] = len(set(texts))
    job.facts["width"] = vectors_ND.shape[1]
