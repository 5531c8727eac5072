"""Rank the catalog for every case by nearness to the best text that was written for it.

SPRec's scorer and BIGRec's, see `bench.models.lm.encode.grounding`. Prompts write a title's double
quotes as single ones, so titles are compared, and were encoded, in that form: what names an item to
the letter is at distance 0 and counts as valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.prompts import quotable
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.encode.grounding import (
    Adjust,
    TextEncoder,
    extract_title,
    ground,
    read_vectors,
    scale_rows,
    shrink_distances,
)
from bench.models.lm.generated_texts import read_texts
from bench.models.seqrec.checkpoint import load_scorer
from bench.plan.language_stages import GroundingConfig
from bench.results.ranking_file import write_ranking
from bench.stages.embed import load_planned_encoder

DECIMALS = 6


@dataclass(frozen=True)
class Encoded:
    """Texts that an earlier stage embedded."""

    vectors: Mapping[str, NDArray[np.float32]]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look the vectors up, shape (N, D)."""
        return np.stack([self.vectors[text] for text in texts])


def run(job: Job, config: GroundingConfig, inputs: Mapping[str, Path]) -> None:
    """Write the ranking of the test cases, with the generated texts.

    Raises:
        BenchError: Texts or vectors are not those of the test cases or the catalog, or the
            encoder's card has changed since the plan.
    """
    source = prepared.load(inputs["data"])
    titles = [quotable(title) for title in source.catalog.titles]
    rows = prepared.load_rows(inputs["cases"])
    texts = [row[0] for row in read_texts(inputs["generated"], rows=rows)]
    vectors_ID = read_vectors(inputs["vectors"])
    if len(vectors_ID) != len(titles):
        raise BenchError(
            f"{inputs['vectors']} holds vectors of {len(vectors_ID)} items, and the catalog has "
            f"{len(titles)}.",
            "Remove that folder from the store and run again.",
        )
    if "text_vectors" in inputs:
        vectors = read_vectors(inputs["text_vectors"])
        encoder: TextEncoder = Encoded(dict(zip(map(extract_title, texts), vectors, strict=True)))
    else:
        encoder = load_planned_encoder(job, config.encoder, config.encoder_checksums)
    adjust = None
    if "train" in inputs:
        targets = source.windows(prepared.load_rows(inputs["train"])).targets
        adjust = _by_popularity(targets, len(titles), config.gamma)
    elif "oracle" in inputs:
        windows = source.windows(rows)
        adjust = _by_oracle(inputs["oracle"], source.catalog, windows, config.gamma)
    is_candidate = source.candidates(inputs)
    depth = min(config.depth, int(is_candidate.sum()))
    ranking = ground(texts, titles, encoder, depth, vectors_ID, adjust, is_candidate)
    write_ranking(ranking, job.out)
    assert ranking.valid is not None, "grounding tells which texts are titles"
    if texts:
        job.metadata["valid"] = round(float(ranking.valid.mean()), DECIMALS)
    job.metadata["cases"] = len(texts)
    job.metadata["distinct_titles"] = len({extract_title(text) for text in texts})


def _by_popularity(targets: NDArray[np.integer], num_items: int, gamma: float) -> Adjust:
    """Prefer items by how often they are a training target."""
    counts_I = np.bincount(targets[targets >= 0], minlength=num_items)
    preference_1I = scale_rows(counts_I[np.newaxis].astype(np.float64))
    return lambda rows_B, distances_BI: shrink_distances(distances_BI, preference_1I, gamma)


def _by_oracle(oracle: Path, catalog: Catalog, windows: Windows, gamma: float) -> Adjust:
    """Prefer items by SASRec's scores, case by case."""
    score = load_scorer(oracle, catalog)

    def adjust(
        rows_B: NDArray[np.int64], distances_BI: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        return shrink_distances(distances_BI, scale_rows(score(windows.histories[rows_B])), gamma)

    return adjust
