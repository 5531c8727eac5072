"""Ranking files: the common output of every next-item method, as parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data.ranking import Ranking

FILE = "ranking.parquet"


def write_ranking(ranking: Ranking, folder: Path) -> None:
    """Write a ranking's item indices, scores, texts and validity, one row per case."""
    columns: dict[str, object] = {"items": list(ranking.items)}
    if ranking.scores is not None:
        columns["scores"] = list(ranking.scores)
    if ranking.texts is not None:
        columns["text"] = list(ranking.texts)
    if ranking.valid is not None:
        columns["valid"] = ranking.valid
    pq.write_table(pa.table(columns), folder / FILE)


def read_ranking(folder: Path) -> Ranking:
    """Read a ranking that `write_ranking` wrote."""
    table = pq.read_table(folder / FILE)
    scores = None
    if "scores" in table.column_names:
        scores = np.array(table["scores"].to_pylist(), dtype=np.float64)
    texts = tuple(table["text"].to_pylist()) if "text" in table.column_names else None
    valid = None
    if "valid" in table.column_names:
        valid = np.array(table["valid"].to_pylist(), dtype=np.bool_)
    items = np.array(table["items"].to_pylist(), dtype=np.int32)
    return Ranking(items=items, scores=scores, texts=texts, valid=valid)
