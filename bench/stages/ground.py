"""Rank the catalogue for every case by nearness to the best text that was written for it.

SPRec's scorer and BIGRec's, see `bench.lm.grounding`. Prompts write a title's double quotes as
single ones, so titles are compared, and were encoded, in that form: what names an item to the
letter is at distance 0 and counts as valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.catalogue import Catalogue
from bench.data.prompts import quotable
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.lm.grounding import Adjust, drawn_nearer, ground, quoted, spread
from bench.lm.texts import read_texts
from bench.rankings import write_ranking
from bench.records import Job
from bench.seqrec.checkpoint import load_scorer
from bench.stages.embed import planned_encoder, read_vectors

DECIMALS = 6


@dataclass(frozen=True)
class Encoded:
    """Texts that were encoded before, by a stage of their own."""

    vectors: Mapping[str, NDArray[np.float32]]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look the vectors up, shape (N, D)."""
        return np.stack([self.vectors[text] for text in texts])


def run(
    job: Job,
    *,
    encoder: str,
    depth: int,
    data: Path,
    cases: Path,
    generated: Path,
    vectors: Path,
    encoder_checksums: Mapping[str, str] | None = None,
    gamma: float = 0.0,
    written: Path | None = None,
    train: Path | None = None,
    oracle: Path | None = None,
) -> None:
    """Write the ranking of the cases, with the texts as they were written.

    Raises:
        BenchError: Texts or vectors are not those of the cases or the catalogue, the encoder's card
            changed since the plan was made, or gamma is negative.
    """
    if gamma < 0:
        raise BenchError(
            f"A gamma of {gamma} would push preferred items away.", "Give 0 or more, 0 for none."
        )
    source = prepared.shared(data)
    titles = [quotable(title) for title in source.catalogue.titles]
    rows = prepared.shared_rows(cases)
    texts = [row[0] for row in read_texts(generated, rows=rows).texts]
    vectors_ID = read_vectors(vectors)
    if len(vectors_ID) != len(titles):
        raise BenchError(
            f"{vectors} holds vectors of {len(vectors_ID)} items, where the catalogue has "
            f"{len(titles)}.",
            "Remove that folder from the store and run again.",
        )
    if written is None:
        known = planned_encoder(job, encoder, encoder_checksums or {})
    else:
        names = map(quoted, texts)
        known = Encoded(dict(zip(names, read_vectors(written), strict=True)))
    adjust = None
    if train is not None:
        targets = source.windows(prepared.shared_rows(train)).targets
        adjust = _by_popularity(targets, len(titles), gamma)
    elif oracle is not None:
        adjust = _by_oracle(oracle, source.catalogue, source.windows(rows), gamma)
    ranking = ground(texts, titles, known, min(depth, len(titles)), vectors_ID, adjust)
    write_ranking(ranking, job.out)
    assert ranking.valid is not None, "grounding says which texts are titles"
    if texts:
        job.facts["valid"] = round(float(ranking.valid.mean()), DECIMALS)
    job.facts["cases"] = len(texts)
    job.facts["distinct_titles"] = len({quoted(text) for text in texts})


def _by_popularity(targets: NDArray[np.integer], num_items: int, gamma: float) -> Adjust:
    """Prefer items by how often they are a training target."""
    counts_I = np.bincount(targets[targets >= 0], minlength=num_items)
    preference_1I = spread(counts_I[np.newaxis].astype(np.float64))
    return lambda rows_B, distances_BI: drawn_nearer(distances_BI, preference_1I, gamma)


def _by_oracle(oracle: Path, catalogue: Catalogue, windows: Windows, gamma: float) -> Adjust:
    """Prefer items by SASRec's scores, case by case."""
    score = load_scorer(oracle, catalogue)

    def adjust(
        rows_B: NDArray[np.int64], distances_BI: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        return drawn_nearer(distances_BI, spread(score(windows.histories[rows_B])), gamma)

    return adjust
