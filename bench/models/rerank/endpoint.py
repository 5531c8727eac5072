"""A client of chat-completion endpoints that follow OpenAI's protocol.

Address and key are read from the environment when a request is made; they are in no plan, no result
and no message. Only the question is sent: titles, stars and, for MovieLens-1M, gender, age and
occupation of a user without a name.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError

URL, KEY, LIMIT = "BENCH_ENDPOINT", "BENCH_ENDPOINT_KEY", "BENCH_ENDPOINT_LIMIT"
ATTEMPTS = 6
TIMEOUT = 120.0
MAX_PAUSE = 60.0
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


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
