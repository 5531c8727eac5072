"""Questions and answers on disk.

    prompts.parquet   a line a question: `place` of the user or item, the parts of it, its `hash`
    answers.parquet   a line a question: its `hash`, `texts`, and whether each was `finished`

Both are in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.models.lm.chat_prompts import Prompt

PROMPTS, ANSWERS = "prompts.parquet", "answers.parquet"
AGAIN = "Remove that folder from the store and run again."


@dataclass(frozen=True, kw_only=True)
class Asked:
    """N questions about users or items.

    Attributes:
        places: Numbers of the users or items, shape (N,).
        prompts: The questions.
    """

    places: NDArray[np.int64]
    prompts: tuple[Prompt, ...]

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What was answered to N questions.

    Attributes:
        texts: The answers to each, in the order drawn, equally many.
        finished: Whether each was ended by its writer.
    """

    texts: tuple[tuple[str, ...], ...]
    finished: tuple[tuple[bool, ...], ...]


def write_prompts(asked: Asked, folder: Path) -> None:
    """Write questions into an existing folder."""
    columns = {
        "place": asked.places,
        "opening": pa.array([prompt.opening for prompt in asked.prompts], pa.string()),
        "entries": pa.array([prompt.entries for prompt in asked.prompts], pa.list_(pa.string())),
        "request": pa.array([prompt.request for prompt in asked.prompts], pa.string()),
        "hash": pa.array([prompt.hash for prompt in asked.prompts], pa.string()),
    }
    pq.write_table(pa.table(columns), folder / PROMPTS)


def read_prompts(folder: Path) -> Asked:
    """Read what `write_prompts` wrote.

    Raises:
        BenchError: The folder holds no questions.
    """
    try:
        table = pq.read_table(folder / PROMPTS)
        parts = [table[name].to_pylist() for name in ("opening", "entries", "request")]
        places = table["place"].to_numpy().astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} holds no questions: {error}.", AGAIN) from error
    prompts = [
        Prompt(opening=opening, entries=tuple(entries), request=request)
        for opening, entries, request in zip(*parts, strict=True)
    ]
    return Asked(places=places, prompts=tuple(prompts))


def write_answers(asked: Asked, answered: Answered, folder: Path) -> None:
    """Write answers into an existing folder, each under its question's hash."""
    columns = {
        "hash": pa.array([prompt.hash for prompt in asked.prompts], pa.string()),
        "texts": pa.array(answered.texts, pa.list_(pa.string())),
        "finished": pa.array(answered.finished, pa.list_(pa.bool_())),
    }
    pq.write_table(pa.table(columns), folder / ANSWERS)


def read_answers(folder: Path, asked: Asked) -> Answered:
    """Read what `write_answers` wrote.

    Raises:
        BenchError: The folder holds no answers, or those to other questions.
    """
    try:
        table = pq.read_table(folder / ANSWERS)
        texts, finished = (table[name].to_pylist() for name in ("texts", "finished"))
        hashes: Sequence[str] = table["hash"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} holds no answers: {error}.", AGAIN) from error
    if hashes != [prompt.hash for prompt in asked.prompts]:
        raise BenchError(f"{folder} holds answers to other questions.", AGAIN)
    return Answered(texts=tuple(map(tuple, texts)), finished=tuple(map(tuple, finished)))
