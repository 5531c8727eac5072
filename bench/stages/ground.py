"""Rank the catalogue for every case by nearness to the best text that was written for it.

SPRec's scorer, see `bench.lm.grounding`. Prompts write a title's double quotes as single ones, so
titles are compared, and were encoded, in that form: what names an item to the letter is at
distance 0 and counts as valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.data import prepared
from bench.data.prompts import quotable
from bench.errors import BenchError
from bench.lm.grounding import ground, quoted
from bench.lm.texts import read_texts
from bench.rankings import write_ranking
from bench.records import Job
from bench.stages.embed import planned_encoder, read_vectors

DECIMALS = 6


def run(
    job: Job,
    *,
    encoder: str,
    encoder_checksums: Mapping[str, str],
    depth: int,
    data: Path,
    cases: Path,
    generated: Path,
    vectors: Path,
) -> None:
    """Write the ranking of the cases, with the texts as they were written.

    Raises:
        BenchError: Texts or vectors are not those of the cases or the catalogue, or the encoder's
            card changed since the plan was made.
    """
    titles = [quotable(title) for title in prepared.shared(data).catalogue.titles]
    written = read_texts(generated, rows=prepared.shared_rows(cases))
    texts = [row[0] for row in written.texts]
    vectors_ID = read_vectors(vectors)
    if len(vectors_ID) != len(titles):
        raise BenchError(
            f"{vectors} holds vectors of {len(vectors_ID)} items, where the catalogue has "
            f"{len(titles)}.",
            "Remove that folder from the store and run again.",
        )
    ranking = ground(
        texts,
        titles,
        planned_encoder(job, encoder, encoder_checksums),
        min(depth, len(titles)),
        vectors_ID,
    )
    write_ranking(ranking, job.out)
    assert ranking.valid is not None, "grounding says which texts are titles"
    if texts:
        job.facts["valid"] = round(float(ranking.valid.mean()), DECIMALS)
    job.facts["cases"] = len(texts)
    job.facts["distinct_titles"] = len({quoted(text) for text in texts})
