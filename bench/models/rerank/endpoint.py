"""A client of chat-completion endpoints that speak OpenAI's protocol.

Address and key come from the environment, at the moment of asking; they are in no plan, no result
and no message. What is sent is the question alone: titles, stars and, for MovieLens-1M, gender, age
and occupation of a user without a name.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError

URL, KEY, LIMIT = "BENCH_ENDPOINT", "BENCH_ENDPOINT_KEY", "BENCH_ENDPOINT_LIMIT"
ATTEMPTS = 6
SECONDS = 120.0
LONGEST_PAUSE = 60.0
TRIED_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as a refusal: to follow it would hand the key on to another address."""

    def redirect_request(self, *_args: object) -> None:
        """Follow nothing."""


OPENER = urllib.request.build_opener(NoRedirects)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an endpoint answered.

    Attributes:
        text: The answer.
        model: The model, as the endpoint calls it.
        finish: Why the answer ends, e.g. "stop" or "length".
    """

    text: str
    model: str
    finish: str


class NoReplyError(Exception):
    """No usable answer came after all attempts; the message says what the last one gave."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where questions go.

    Attributes:
        url: Up to and without "/chat/completions".
        key: Sent as a bearer token, if there is one; never shown.
        pause: How to wait so many seconds.
        timeout: Seconds for one attempt.
    """

    url: str
    key: str = ""
    pause: Callable[[float], None] = time.sleep
    timeout: float = SECONDS

    def __repr__(self) -> str:
        """Leave the key out, and the address, which may hold one."""
        return "Endpoint(...)"

    def ask(self, text: str, *, model: str, decoding: dict[str, Any]) -> Reply:
        """Send a question, again and again after pauses that grow, until an answer comes.

        Args:
            text: The question.
            model: The model that is asked for.
            decoding: Further fields of the request, e.g. "max_tokens".

        Raises:
            NoReplyError: None came.
            BenchError: The endpoint refuses such requests as a matter of principle.
        """
        body = {"model": model, "messages": [{"role": "user", "content": text}], **decoding}
        last = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(min(2.0 ** (attempt - 1), LONGEST_PAUSE))
            try:
                return self._reply(json.dumps(body).encode())
            except urllib.error.HTTPError as error:
                if error.code not in TRIED_AGAIN:
                    # The body of a refusal may quote the key.
                    raise BenchError(
                        f"The endpoint refuses questions with status {error.code}.",
                        f"Check ${URL}, ${KEY} and the model {model!r}.",
                    ) from None
                last = f"status {error.code}"
                self._wait_as_told(error)
            except (OSError, http.client.HTTPException) as error:
                last = f"no connection ({type(error).__name__})"
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                last = "an answer of another form"
        raise NoReplyError(last)

    def _reply(self, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(  # noqa: S310 (http and https only, see endpoint())
            f"{self.url}/chat/completions", data=body, headers=headers
        )
        with OPENER.open(request, timeout=self.timeout) as response:
            content = json.loads(response.read())
        choice = content["choices"][0]
        text = choice["message"]["content"].strip()
        if not text:
            raise ValueError("an empty answer")
        return Reply(
            text=text, model=str(content["model"]), finish=str(choice.get("finish_reason"))
        )

    def _wait_as_told(self, error: urllib.error.HTTPError) -> None:
        told = error.headers.get("Retry-After", "")
        if told.isdigit():
            self.pause(min(float(told), LONGEST_PAUSE))


def endpoint() -> Endpoint | None:
    """Return the endpoint that the environment names; None where it names none.

    Raises:
        BenchError: The address is no http address.
    """
    url = os.environ.get(URL, "").rstrip("/")
    if not url:
        return None
    if not url.startswith(("https://", "http://")):
        raise BenchError(f"${URL} is no http address.", "E.g. https://api.openai.com/v1")
    return Endpoint(url=url, key=os.environ.get(KEY, ""))


def limit(num: int) -> None:
    """Refuse to send more questions than the environment allows.

    Raises:
        BenchError: No number is set, or a smaller one.
    """
    allowed = os.environ.get(LIMIT, "")
    if not allowed.isdigit() or int(allowed) < num:
        raise BenchError(
            f"{num} questions would be sent to the endpoint, with titles and stars and, for "
            f"MovieLens-1M, gender, age and occupation; {allowed or 'no number'} is allowed.",
            f"Set {LIMIT} to the most requests that you want to pay for.",
        )
