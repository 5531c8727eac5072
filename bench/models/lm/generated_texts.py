"""Generated titles on disk: `texts.parquet`, one line per row, best text first."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError

FILE = "texts.parquet"


def write_texts(
    texts: Sequence[Sequence[str]], scores: Sequence[Sequence[float]], folder: Path
) -> None:
    """Write each row's texts, best first, and their summed log-probabilities."""
    columns = {
        "texts": pa.array(texts, pa.list_(pa.string())),
        "scores": pa.array(scores, pa.list_(pa.float64())),
    }
    pq.write_table(pa.table(columns), folder / FILE)


def read_texts(folder: Path, *, rows: Sized) -> list[list[str]]:
    """Read the texts that `write_texts` wrote for these rows.

    Raises:
        BenchError: The folder has no texts, or texts of another number of rows.
    """
    try:
        texts: list[list[str]] = pq.read_table(folder / FILE)["texts"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{folder} has no readable generated texts: {error}.",
            "Remove that folder from the store and run again.",
        ) from error
    if len(texts) != len(rows):
        raise BenchError(
            f"{folder} holds texts of {len(texts)} rows, and {len(rows)} are ranked.",
            "Generate for the same rows.",
        )
    return texts
