"""Answers of external models: a client of chat-completion endpoints, and the file of answers.

Endpoints follow OpenAI's protocol. Address and key are read from the environment when a request is
made; they are in no plan, no result and no message. Only the question is sent: titles, stars and,
for MovieLens-1M, gender, age and occupation of a user without a name.

A line of the file is a JSON object with these keys:

    dataset, kind ("user" or "item"), id     whom or what the question is about
    prompt_version, prompt_sha256            the exact question
    model                                    the model, as named by the server
    decoding, text, finish_reason, date      decoding settings, answer, why it ended, when

Lines without a matching question are ignored.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.data.assets import cache_folder
from bench.errors import BenchError
from bench.models.lm.tokenization import QUESTION_VERSION, Prompt

URL, KEY, LIMIT = "BENCH_ENDPOINT", "BENCH_ENDPOINT_KEY", "BENCH_ENDPOINT_LIMIT"
ATTEMPTS = 6
TIMEOUT = 120.0
MAX_PAUSE = 60.0
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

FILE_VARIABLE = "BENCH_RESPONSES"
_append_lock = Lock()


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as a refusal: following it would send the key to another address."""

    def redirect_request(self, *_args: object) -> None:
        """Follow no redirect."""


OPENER = urllib.request.build_opener(NoRedirects)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An endpoint's answer.

    Attributes:
        text: The answer.
        model: The model, as named by the endpoint.
        finish_reason: Why the answer ends, e.g. "stop" or "length".
    """

    text: str
    model: str
    finish_reason: str


class NoReplyError(Exception):
    """All attempts failed; the message is the reason of the last one."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A chat-completion endpoint.

    Attributes:
        url: Address up to "/chat/completions".
        key: Bearer token, empty for none; never shown.
        pause: Waits for a number of seconds.
        timeout: Seconds per attempt.
    """

    url: str
    key: str = ""
    pause: Callable[[float], None] = time.sleep
    timeout: float = TIMEOUT

    def __repr__(self) -> str:
        """Hide the key, and the address, which may contain one."""
        return "Endpoint(...)"

    def ask(self, text: str, *, model: str, decoding: Mapping[str, Any]) -> Reply:
        """Send a question, with retries after exponentially growing pauses.

        `decoding` holds further fields of the request, e.g. "max_tokens".

        Raises:
            NoReplyError: All attempts failed.
            BenchError: The endpoint refuses the request for good.
        """
        body = {"model": model, "messages": [{"role": "user", "content": text}], **decoding}
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(min(2.0 ** (attempt - 1), MAX_PAUSE))
            try:
                return self._send(json.dumps(body).encode())
            except urllib.error.HTTPError as error:
                if error.code not in RETRYABLE:
                    # The body of a refusal may quote the key.
                    raise BenchError(
                        f"The endpoint refuses requests with status {error.code}.",
                        f"Check ${URL}, ${KEY} and the model {model!r}.",
                    ) from None
                reason = f"status {error.code}"
                retry_after = error.headers.get("Retry-After", "")
                if retry_after.isdigit():
                    self.pause(min(float(retry_after), MAX_PAUSE))
            except (OSError, http.client.HTTPException) as error:
                reason = f"no connection ({type(error).__name__})"
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                reason = "malformed answer"
        raise NoReplyError(reason)

    def _send(self, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(  # noqa: S310 (http and https only, see find_endpoint)
            f"{self.url}/chat/completions", data=body, headers=headers
        )
        with OPENER.open(request, timeout=self.timeout) as response:
            content = json.loads(response.read())
        choice = content["choices"][0]
        text = choice["message"]["content"].strip()
        if not text:
            raise ValueError("the answer is empty")
        finish_reason = str(choice.get("finish_reason"))
        return Reply(text=text, model=str(content["model"]), finish_reason=finish_reason)


def find_endpoint() -> Endpoint | None:
    """Return the endpoint that the environment names; None without one.

    Raises:
        BenchError: The address is not an http address.
    """
    url = os.environ.get(URL, "").rstrip("/")
    if not url:
        return None
    if not url.startswith(("https://", "http://")):
        raise BenchError(f"${URL} is not an http address.", "E.g. https://api.openai.com/v1")
    return Endpoint(url=url, key=os.environ.get(KEY, ""))


def check_request_limit(num: int) -> None:
    """Refuse to send more questions than the environment allows.

    Raises:
        BenchError: No limit is set, or a lower one.
    """
    limit = os.environ.get(LIMIT, "")
    if not limit.isdigit() or int(limit) < num:
        raise BenchError(
            f"{num} questions would be sent to the endpoint, with titles and stars and, for "
            f"MovieLens-1M, gender, age and occupation; {LIMIT} is {limit or 'not set'}.",
            f"Set {LIMIT} to the maximum number of requests that you want to pay for.",
        )


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
        prompt_version=QUESTION_VERSION,
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
