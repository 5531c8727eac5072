"""A file of answers of external models; answers of an endpoint are appended to it.

A line is a JSON object with these keys:

    dataset, kind ("user" or "item"), id     whom or what the question is about
    prompt_version, prompt_sha256            the exact question
    model                                    the model, as named by the server
    decoding, text, finish_reason, date      how, what, why it ends, when

Lines without a matching question are ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.data.assets import cache_folder
from bench.errors import BenchError
from bench.models.lm.chat_prompts import VERSION, Prompt
from bench.models.rerank.endpoint import Reply

FILE_VARIABLE = "BENCH_RESPONSES"
_append_lock = Lock()


class RecordedAnswer(BaseModel):
    """One answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    kind: str
    id: str
    prompt_version: int
    prompt_sha256: str
    model: str
    decoding: dict[str, Any]
    text: str
    finish_reason: str
    date: str


@dataclass(frozen=True, kw_only=True)
class MatchingAnswers:
    """Answers to some questions.

    Attributes:
        answers: By id of the user or item.
        rejected: Number of lines that were rejected, by reason.
    """

    answers: dict[str, RecordedAnswer]
    rejected: dict[str, int]


def responses_file() -> Path:
    """Return the file that the environment names, or the default one in the cache."""
    name = os.environ.get(FILE_VARIABLE, "")
    return Path(name) if name else cache_folder() / "responses.jsonl"


def prompt_hash(prompt: Prompt) -> str:
    """Return the sha256 of exactly what is sent."""
    return hashlib.sha256(prompt.text.encode()).hexdigest()


def find_answers(
    path: Path, prompts: Mapping[str, Prompt], *, dataset: str, kind: str, model: str
) -> MatchingAnswers:
    """Read the answers to some questions, by id of the user or item; the file may not exist yet.

    Lines about another data set, kind or model, of which `model` is a prefix, are ignored. Answers
    to another question about the same user or item, and truncated lines, are rejected and counted.
    Of several answers to a question the first is used.

    Raises:
        BenchError: The answers are by several models.
    """
    answers: dict[str, RecordedAnswer] = {}
    rejected = {"foreign_questions": 0, "truncated_lines": 0}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            answer = RecordedAnswer.model_validate_json(text)
        except ValidationError:
            rejected["truncated_lines"] += bool(text.strip())
            continue
        if (answer.dataset, answer.kind) != (dataset, kind) or not answer.model.startswith(model):
            continue
        prompt = prompts.get(answer.id)
        if prompt is None or answer.prompt_sha256 != prompt_hash(prompt):
            rejected["foreign_questions"] += 1
        elif answer.text.strip():
            answers.setdefault(answer.id, answer)
    models = sorted({answer.model for answer in answers.values()})
    if len(models) > 1:
        raise BenchError(
            f"{path} contains answers of several models: {', '.join(models)}.",
            "Set writer to the full name of one of them.",
        )
    return MatchingAnswers(answers=answers, rejected=rejected)


def record_reply(
    reply: Reply,
    prompt: Prompt,
    path: Path,
    *,
    dataset: str,
    kind: str,
    subject_id: str,
    decoding: Mapping[str, Any],
) -> None:
    """Append a reply to the file; safe to call from several threads."""
    answer = RecordedAnswer(
        dataset=dataset,
        kind=kind,
        id=subject_id,
        prompt_version=VERSION,
        prompt_sha256=prompt_hash(prompt),
        model=reply.model,
        decoding=dict(decoding),
        text=reply.text,
        finish_reason=reply.finish_reason,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    content = (json.dumps(answer.model_dump(), ensure_ascii=False) + "\n").encode()
    with _append_lock:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
