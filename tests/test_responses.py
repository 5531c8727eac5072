"""Answers from elsewhere: an endpoint with all its moods, a file, and when a row may stand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_lists import made

from bench.data import prepared_lists
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.chat_prompts import Prompt
from bench.models.rerank.endpoint import ATTEMPTS, Endpoint, NoReplyError, endpoint
from bench.models.rerank.qa_files import Asked, read_answers, read_prompts, write_prompts
from bench.models.rerank.recorded_answers import find, prompt_hash
from bench.plan import knowledge_stages as plan
from bench.plan.stage import Stage
from bench.plan.types import Lists
from bench.stages import responses

KEY = "secret-key-4711"
Answer = Callable[[dict[str, Any], int], tuple[int, bytes, dict[str, str]]]


def good(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
    """What a well-behaved server says."""
    content = {
        "model": f"{body['model']}-2024",
        "choices": [
            {
                "message": {"role": "assistant", "content": f" likes {len(body['messages'])} "},
                "finish_reason": "stop",
            }
        ],
    }
    return 200, json.dumps(content).encode(), {}


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up breaks the connection on purpose."""


class Server:
    """A chat-completion server whose answers a test decides."""

    def __init__(self) -> None:
        self.answer: Answer = good
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(outer.seen)
                    outer.seen.append(body)
                    outer.keys.append(self.headers.get("Authorization"))
                assert self.path == "/v1/chat/completions"
                status, content, headers = outer.answer(body, number)
                if status == 0:  # hang up
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *given: object) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    one = Server()
    monkeypatch.setenv("BENCH_ENDPOINT", one.url)
    monkeypatch.setenv("BENCH_ENDPOINT_KEY", KEY)
    monkeypatch.setenv("BENCH_ENDPOINT_LIMIT", "1000")
    monkeypatch.setenv("BENCH_RESPONSES", str(tmp_path / "answers.jsonl"))
    hurried = partial(Endpoint, pause=lambda seconds: None)
    monkeypatch.setattr("bench.models.rerank.endpoint.Endpoint", hurried)
    yield one
    one.close()


def client(server: Server, waits: list[float] | None = None, **given: Any) -> Endpoint:
    pauses = waits if waits is not None else []
    return Endpoint(url=server.url, key=KEY, pause=pauses.append, **given)


def ask(one: Endpoint) -> Any:
    return one.ask("Who?", model="gpt-x", decoding={"max_tokens": 7})


# --- the client -----------------------------------------------------------------------------------


def test_what_is_sent_and_what_comes_back(server: Server) -> None:
    reply = ask(client(server))
    assert (reply.text, reply.model, reply.finish) == ("likes 1", "gpt-x-2024", "stop")
    (body,) = server.seen
    assert body == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "Who?"}],
        "max_tokens": 7,
    }
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in repr(client(server))


@pytest.mark.parametrize(
    "bad",
    [
        (429, b"slow down", {}),
        (503, b"", {}),
        (200, b"<html>", {}),
        (200, b'{"choices": []}', {}),
        (200, b'{"model": "x", "choices": [{"message": {"content": null}}]}', {}),
        (200, b'{"model": "x", "choices": [{"message": {"content": " "}}]}', {}),
        (0, b"", {}),
    ],
)
def test_bad_moods_pass(server: Server, bad: tuple[int, bytes, dict[str, str]]) -> None:
    server.answer = lambda body, number: bad if number < 2 else good(body, number)
    waits: list[float] = []
    assert ask(client(server, waits)).text == "likes 1"
    assert waits == [1.0, 2.0]
    server.answer = lambda body, number: bad
    with pytest.raises(NoReplyError) as caught:
        ask(client(server))
    assert KEY not in str(caught.value)
    assert len(server.seen) == 3 + ATTEMPTS


def test_a_server_says_how_long_to_wait(server: Server) -> None:
    server.answer = lambda body, number: (
        (429, b"", {"Retry-After": "17"}) if number == 0 else good(body, number)
    )
    waits: list[float] = []
    ask(client(server, waits))
    assert waits == [17.0, 1.0]


def test_a_server_that_says_nothing_is_left(server: Server) -> None:
    release = threading.Event()

    def silent(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
        release.wait(5)
        return good(body, number)

    server.answer = silent
    with pytest.raises(NoReplyError, match="no connection"):
        ask(client(server, timeout=0.05))
    release.set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 400, 401, 403, 404])
def test_a_refusal_is_final_and_quotes_nothing(server: Server, status: int) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere"}  # who followed would hand the key on
    server.answer = lambda body, number: (status, f"bad key {KEY}".encode(), elsewhere)
    with pytest.raises(BenchError, match=f"status {status}") as caught:
        ask(client(server))
    assert KEY not in f"{caught.value.message}{caught.value.hint}"
    assert len(server.seen) == 1


def test_only_http_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ENDPOINT", "file:///etc/passwd")
    with pytest.raises(BenchError, match="no http address"):
        endpoint()
    monkeypatch.delenv("BENCH_ENDPOINT")
    assert endpoint() is None


# --- the file -------------------------------------------------------------------------------------

PROMPT = Prompt(opening="Known: ", entries=('"Heat", 5 stars; ',), request="Ask.")


def line(**changes: Any) -> str:
    content = {
        "dataset": "d",
        "kind": "user",
        "id": "u1",
        "prompt_version": 1,
        "prompt_sha256": prompt_hash(PROMPT),
        "model": "gpt-x-2024",
        "decoding": {},
        "text": "Likes crime.",
        "finish_reason": "stop",
        "date": "2026-01-01T00:00:00+00:00",
    }
    return json.dumps(content | changes)


def found_in(folder: Path, *lines: str) -> Any:
    path = folder / "some.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return find(path, {"u1": PROMPT}, dataset="d", kind="user", model="gpt-x")


def test_answers_to_other_questions_are_rejected(tmp_path: Path) -> None:
    found = found_in(
        tmp_path,
        line(prompt_sha256="0" * 64),
        line(id="stranger"),
        line(dataset="other"),
        line(kind="item"),
        line(model="llama"),
        line(text=" "),
        line()[:40],
        line(text="first"),
        line(text="second"),
    )
    assert found.lines["u1"].text == "first"
    assert found.counts == {"foreign_questions": 2, "torn_lines": 1}
    assert found_in(tmp_path, line(prompt_sha256="0" * 64)).lines == {}
    with pytest.raises(BenchError, match="several models: gpt-x-2024, gpt-x-2025"):
        path = tmp_path / "both.jsonl"
        path.write_text(line() + "\n" + line(id="u2", model="gpt-x-2025") + "\n")
        two = {"u1": PROMPT, "u2": PROMPT}
        find(path, two, dataset="d", kind="user", model="gpt-x")


# --- the stage ------------------------------------------------------------------------------------


def stage_for(world: Path, about: str = "users") -> Stage:
    return plan.responses(
        Lists(stage=Stage(kind="lists")),
        Stage(kind="questions"),
        about=about,
        dataset="d",
        writer="gpt-x",
        max_new_tokens=7,
        temperature=0.5,
        top_p=0.9,
    )


@pytest.fixture
def world(tmp_path: Path) -> Path:
    source = made()
    prepared_lists.write(source, tmp_path)
    prompts = [Prompt(request=f"Who is {name}?") for name in source.user_ids]
    write_prompts(Asked(places=np.arange(len(prompts)), prompts=tuple(prompts)), tmp_path)
    return tmp_path


def ran(world: Path, stage: Stage) -> Job:
    job = Job(out=world)
    args = json.loads(json.dumps(stage.args))
    responses.run(job, **args, lists=world, prompts=world)
    return job


def test_an_endpoint_is_asked_once_and_the_file_serves_later(
    server: Server, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ran(world, stage_for(world))
    assert len(server.seen) == job.facts["answered"] == 40
    assert job.facts["models"] == ["gpt-x-2024"]
    asked = read_prompts(world)
    assert set(read_answers(world, asked).texts) == {("likes 1",)}
    assert set(read_answers(world, asked).finished) == {(True,)}
    assert server.seen[0]["temperature"] == 0.5
    ran(world, stage_for(world))
    assert len(server.seen) == 40
    monkeypatch.delenv("BENCH_ENDPOINT")
    from_file = stage_for(world)
    assert from_file.args["file"]
    ran(world, from_file)
    written = (world / "answers.jsonl").read_text()
    for text in (written, json.dumps(job.facts), json.dumps(from_file.args)):
        assert KEY not in text
        assert server.url not in text
    (world / "answers.jsonl").write_text(written + "\n")
    with pytest.raises(BenchError, match="changed during the run"):
        ran(world, from_file)


def test_a_row_of_which_too_much_is_missing_is_partial(server: Server, world: Path) -> None:
    def moody(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
        lost = body["messages"][0]["content"] in ("Who is u3?", "Who is u7?")
        return (500, b"", {}) if lost else good(body, number)

    server.answer = moody
    with pytest.raises(BenchError) as caught:
        ran(world, stage_for(world))
    assert caught.value.message.startswith("partial (95.0 %): 38 of 40 questions about users")
    assert "status 500: 2" in caught.value.message
    before = len(server.seen)
    server.answer = good
    ran(world, stage_for(world))
    assert len(server.seen) == before + 2


def test_an_endpoint_that_is_down_is_soon_left_alone(server: Server, world: Path) -> None:
    server.answer = lambda body, number: (503, b"", {})
    with pytest.raises(BenchError, match=r"partial \(0.0 %\).*not asked any more"):
        ran(world, stage_for(world))
    assert len(server.seen) < 40 * ATTEMPTS


def test_nothing_is_sent_beyond_what_is_allowed(
    server: Server, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for allowed in ("", "39", "many"):
        monkeypatch.setenv("BENCH_ENDPOINT_LIMIT", allowed)
        with pytest.raises(BenchError, match="40 questions would be sent") as caught:
            ran(world, stage_for(world))
        assert "BENCH_ENDPOINT_LIMIT" in caught.value.hint
    assert not server.seen


def test_a_file_that_is_missing_is_told_when_the_plan_is_made(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_ENDPOINT", raising=False)
    monkeypatch.setenv("BENCH_RESPONSES", str(world / "nothing.jsonl"))
    with pytest.raises(BenchError, match="not run: BENCH_RESPONSES"):
        stage_for(world)
