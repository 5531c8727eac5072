"""Generated titles on disk: `texts.parquet`, one line per row, best text first."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError

FILE = "texts.parquet"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts generated for N rows.

    Attributes:
        texts: The texts of each row, best first, at least one.
        scores: Their summed log-probabilities.
    """

    texts: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        assert len(self.texts) == len(self.scores), "one list of scores per row"
        for texts, scores in zip(self.texts, self.scores, strict=True):
            assert texts, "every row has a text"
            assert len(texts) == len(scores), "one score per text"

    def __len__(self) -> int:
        return len(self.texts)


def write_texts(generated: Texts, folder: Path) -> None:
    """Write texts and scores into an existing folder."""
    columns = {
        "texts": pa.array(generated.texts, pa.list_(pa.string())),
        "scores": pa.array(generated.scores, pa.list_(pa.float64())),
    }
    pq.write_table(pa.table(columns), folder / FILE)


def read_texts(folder: Path, *, rows: Sized) -> Texts:
    """Read what `write_texts` wrote.

    Args:
        folder: The artifact.
        rows: The rows that the texts were generated for; the numbers must match.

    Raises:
        BenchError: The folder has no texts, or texts of another number of rows.
    """
    try:
        table = pq.read_table(folder / FILE, columns=["texts", "scores"])
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{folder} has no readable generated texts: {error}.",
            "Remove that folder from the store and run again.",
        ) from error
    if table.num_rows != len(rows):
        raise BenchError(
            f"{folder} holds texts of {table.num_rows} rows, and {len(rows)} are ranked.",
            "Generate for the same rows.",
        )
    return Texts(
        texts=tuple(map(tuple, table["texts"].to_pylist())),
        scores=tuple(map(tuple, table["scores"].to_pylist())),
    )
