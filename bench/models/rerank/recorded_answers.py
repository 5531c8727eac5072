"""A file of answers from elsewhere; what an endpoint answers is added to it.

A line is a JSON object of these keys:

    dataset, kind ("user" or "item"), id     whom the question is about
    prompt_version, prompt_sha256            which question it was, to the last character
    model                                    who answered, as the server called it
    decoding, text, finish_reason, date      how, what, why it ends, when

More lines than there are questions do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.data.assets import cache_folder
from bench.errors import BenchError
from bench.models.lm.chat_prompts import VERSION, Prompt
from bench.models.rerank.endpoint import Reply

FILE = "BENCH_RESPONSES"
_writing = Lock()


class Line(BaseModel):
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
class Found:
    """Answers that fit.

    Attributes:
        lines: By the id of the user or item.
        counts: Lines that were left out, by reason.
    """

    lines: dict[str, Line]
    counts: dict[str, int] = field(default_factory=dict)


def responses_file() -> Path | None:
    """Return the file that the environment names; None where it names none."""
    named = os.environ.get(FILE, "")
    return Path(named) if named else None


def default_file() -> Path:
    """Return where answers go if no file is named."""
    return cache_folder() / "responses.jsonl"


def prompt_hash(prompt: Prompt) -> str:
    """Return the sha256 of exactly what is sent."""
    return hashlib.sha256(prompt.text.encode()).hexdigest()


def find(
    path: Path, prompts: Mapping[str, Prompt], *, dataset: str, kind: str, model: str
) -> Found:
    """Read the answers to some questions.

    A line about another data set, kind or model is of no concern here. One about the right user or
    item that answers another question is left out and counted, and so is one that is torn. Of
    several answers to a question the first counts.

    Args:
        path: The file; it may not exist yet.
        prompts: Questions by the id of the user or item.
        dataset: Name of the data set's card.
        kind: "user" or "item".
        model: How the model's name begins.

    Raises:
        BenchError: The answers are by several models.
    """
    found: dict[str, Line] = {}
    counts = {"foreign_questions": 0, "torn_lines": 0}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = Line.model_validate_json(text)
        except ValidationError:
            counts["torn_lines"] += bool(text.strip())
            continue
        if (line.dataset, line.kind) != (dataset, kind) or not line.model.startswith(model):
            continue
        prompt = prompts.get(line.id)
        if prompt is None or line.prompt_sha256 != prompt_hash(prompt):
            counts["foreign_questions"] += 1
        elif line.text.strip():
            found.setdefault(line.id, line)
    _refuse_several(found.values(), path)
    return Found(lines=found, counts=counts)


def line_of(
    reply: Reply, prompt: Prompt, *, dataset: str, kind: str, id_: str, decoding: dict[str, Any]
) -> Line:
    """Put down a reply."""
    return Line(
        dataset=dataset,
        kind=kind,
        id=id_,
        prompt_version=VERSION,
        prompt_sha256=prompt_hash(prompt),
        model=reply.model,
        decoding=decoding,
        text=reply.text,
        finish_reason=reply.finish,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def append(line: Line, path: Path) -> None:
    """Add a line, whole, whichever thread does."""
    content = (json.dumps(line.model_dump(), ensure_ascii=False) + "\n").encode()
    with _writing:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)


def _refuse_several(lines: Iterable[Line], path: Path) -> None:
    models = sorted({line.model for line in lines})
    if len(models) > 1:
        raise BenchError(
            f"{path} holds answers of several models: {', '.join(models)}.",
            "Name the one that is meant in full as the setting `writer`.",
        )
