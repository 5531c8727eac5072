"""Questions and answers on disk.

    prompts.parquet   one row per question: `index` of the user or item, its parts, its `hash`
    answers.parquet   one row per question: its `hash`, `texts`, and whether each is `finished`

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
from bench.models.lm.tokenization import Prompt

QUESTIONS_FILE, ANSWERS_FILE = "prompts.parquet", "answers.parquet"
REMOVE_FOLDER = "Remove that folder from the store and run again."


@dataclass(frozen=True, kw_only=True)
class Questions:
    """N questions about users or items.

    Attributes:
        indices: Indices of the users or items, shape (N,).
        prompts: The questions.
    """

    indices: NDArray[np.int64]
    prompts: tuple[Prompt, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def hashes(self) -> list[str]:
        """Hash of each question."""
        return [prompt.hash for prompt in self.prompts]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers to N questions.

    Attributes:
        texts: The answers to each question, in the order sampled, the same number for all.
        finished: Whether the model ended each answer, instead of reaching the token limit.
    """

    texts: tuple[tuple[str, ...], ...]
    finished: tuple[tuple[bool, ...], ...]


def save_questions(questions: Questions, folder: Path) -> None:
    """Write questions into an existing folder."""
    prompts = questions.prompts
    columns = {
        "index": questions.indices,
        "opening": pa.array([prompt.opening for prompt in prompts], pa.string()),
        "entries": pa.array([prompt.entries for prompt in prompts], pa.list_(pa.string())),
        "request": pa.array([prompt.request for prompt in prompts], pa.string()),
        "hash": pa.array(questions.hashes, pa.string()),
    }
    pq.write_table(pa.table(columns), folder / QUESTIONS_FILE)


def load_questions(folder: Path) -> Questions:
    """Read what `save_questions` wrote.

    Raises:
        BenchError: The folder has no questions.
    """
    try:
        table = pq.read_table(folder / QUESTIONS_FILE)
        parts = [table[name].to_pylist() for name in ("opening", "entries", "request")]
        indices = table["index"].to_numpy().astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} has no questions: {error}.", REMOVE_FOLDER) from error
    prompts = [
        Prompt(opening=opening, entries=tuple(entries), request=request)
        for opening, entries, request in zip(*parts, strict=True)
    ]
    return Questions(indices=indices, prompts=tuple(prompts))


def save_answers(questions: Questions, answers: Answers, folder: Path) -> None:
    """Write answers into an existing folder, with the hashes of their questions."""
    columns = {
        "hash": pa.array(questions.hashes, pa.string()),
        "texts": pa.array(answers.texts, pa.list_(pa.string())),
        "finished": pa.array(answers.finished, pa.list_(pa.bool_())),
    }
    pq.write_table(pa.table(columns), folder / ANSWERS_FILE)


def load_answers(folder: Path, questions: Questions) -> Answers:
    """Read what `save_answers` wrote.

    Raises:
        BenchError: The folder has no answers, or answers to other questions.
    """
    try:
        table = pq.read_table(folder / ANSWERS_FILE)
        texts, finished = (table[name].to_pylist() for name in ("texts", "finished"))
        hashes: Sequence[str] = table["hash"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} has no answers: {error}.", REMOVE_FOLDER) from error
    if hashes != questions.hashes:
        raise BenchError(f"{folder} has answers to other questions.", REMOVE_FOLDER)
    return Answers(texts=tuple(map(tuple, texts)), finished=tuple(map(tuple, finished)))
