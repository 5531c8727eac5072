"""Answers of external models: an endpoint and its failures, the file, and incomplete answers."""

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
from test_lists import make_prepared

from bench.data import prepared_lists
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.tokenization import Prompt
from bench.models.rerank.external_answers import (
    ATTEMPTS,
    Endpoint,
    NoReplyError,
    find_answers,
    find_endpoint,
    prompt_hash,
)
from bench.models.rerank.qa_files import Questions, load_answers, load_questions, save_questions
from bench.plan.knowledge_stages import ExternalAnswersConfig, collect_external_answers
from bench.plan.language_stages import GenerationConfig
from bench.plan.stage import Stage
from bench.plan.types import ListData
from bench.stages import responses

KEY = "secret-key-4711"
Answer = Callable[[dict[str, Any], int], tuple[int, bytes, dict[str, str]]]


def good(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
    """The answer of a well-behaved server."""
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
    fake = Server()
    monkeypatch.setenv("BENCH_ENDPOINT", fake.url)
    monkeypatch.setenv("BENCH_ENDPOINT_KEY", KEY)
    monkeypatch.setenv("BENCH_ENDPOINT_LIMIT", "1000")
    monkeypatch.setenv("BENCH_RESPONSES", str(tmp_path / "answers.jsonl"))
    without_pauses = partial(Endpoint, pause=lambda seconds: None)
    monkeypatch.setattr("bench.models.rerank.external_answers.Endpoint", without_pauses)
    yield fake
    fake.close()


def client(server: Server, waits: list[float] | None = None, **given: Any) -> Endpoint:
    pauses = waits if waits is not None else []
    return Endpoint(url=server.url, key=KEY, pause=pauses.append, **given)


def ask(endpoint: Endpoint) -> Any:
    return endpoint.ask("Who?", model="gpt-x", decoding={"max_tokens": 7})


# --- the client -----------------------------------------------------------------------------------


def test_request_and_reply(server: Server) -> None:
    reply = ask(client(server))
    assert (reply.text, reply.model, reply.finish_reason) == ("likes 1", "gpt-x-2024", "stop")
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
def test_temporary_failures_are_retried(
    server: Server, bad: tuple[int, bytes, dict[str, str]]
) -> None:
    server.answer = lambda body, number: bad if number < 2 else good(body, number)
    waits: list[float] = []
    assert ask(client(server, waits)).text == "likes 1"
    assert waits == [1.0, 2.0]
    server.answer = lambda body, number: bad
    with pytest.raises(NoReplyError) as caught:
        ask(client(server))
    assert KEY not in str(caught.value)
    assert len(server.seen) == 3 + ATTEMPTS


def test_retry_after_is_respected(server: Server) -> None:
    server.answer = lambda body, number: (
        (429, b"", {"Retry-After": "17"}) if number == 0 else good(body, number)
    )
    waits: list[float] = []
    ask(client(server, waits))
    assert waits == [17.0, 1.0]


def test_a_server_without_an_answer_times_out(server: Server) -> None:
    release = threading.Event()

    def silent(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
        release.wait(5)
        return good(body, number)

    server.answer = silent
    with pytest.raises(NoReplyError, match="no connection"):
        ask(client(server, timeout=0.05))
    release.set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 400, 401, 403, 404])
def test_a_refusal_is_final_and_does_not_leak_the_key(server: Server, status: int) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere"}  # who followed would hand the key on
    server.answer = lambda body, number: (status, f"bad key {KEY}".encode(), elsewhere)
    with pytest.raises(BenchError, match=f"status {status}") as caught:
        ask(client(server))
    assert KEY not in f"{caught.value.message}{caught.value.hint}"
    assert len(server.seen) == 1


def test_only_http_addresses_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ENDPOINT", "file:///etc/passwd")
    with pytest.raises(BenchError, match="not an http address"):
        find_endpoint()
    monkeypatch.delenv("BENCH_ENDPOINT")
    assert find_endpoint() is None


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
    return find_answers(path, {"u1": PROMPT}, dataset="d", kind="user", model="gpt-x")


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
    assert found.answers["u1"].text == "first"
    assert found.rejected == {"foreign_questions": 2, "truncated_lines": 1}
    assert found_in(tmp_path, line(prompt_sha256="0" * 64)).answers == {}
    with pytest.raises(BenchError, match="several models: gpt-x-2024, gpt-x-2025"):
        path = tmp_path / "both.jsonl"
        path.write_text(line() + "\n" + line(id="u2", model="gpt-x-2025") + "\n")
        two = {"u1": PROMPT, "u2": PROMPT}
        find_answers(path, two, dataset="d", kind="user", model="gpt-x")


# --- the stage ------------------------------------------------------------------------------------


def plan_answers() -> Stage:
    return collect_external_answers(
        ListData(stage=Stage(kind="lists")),
        Stage(kind="questions"),
        "users",
        dataset="d",
        writer="gpt-x",
        generation=GenerationConfig(max_new_tokens=7, temperature=0.5, top_p=0.9),
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    source = make_prepared()
    prepared_lists.write(source, tmp_path)
    prompts = [Prompt(request=f"Who is {name}?") for name in source.user_ids]
    questions = Questions(indices=np.arange(len(prompts)), prompts=tuple(prompts))
    save_questions(questions, tmp_path)
    return tmp_path


def run_stage(artifacts: Path, stage: Stage) -> Job:
    job = Job(out=artifacts)
    config = stage.config
    assert isinstance(config, ExternalAnswersConfig)
    responses.run(job, config, {"lists": artifacts, "prompts": artifacts})
    return job


def test_an_endpoint_is_asked_once_and_the_file_serves_later(
    server: Server, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run_stage(artifacts, plan_answers())
    assert len(server.seen) == job.metadata["answered"] == 40
    assert job.metadata["models"] == ["gpt-x-2024"]
    questions = load_questions(artifacts)
    assert set(load_answers(artifacts, questions).texts) == {("likes 1",)}
    assert set(load_answers(artifacts, questions).finished) == {(True,)}
    assert server.seen[0]["temperature"] == 0.5
    run_stage(artifacts, plan_answers())
    assert len(server.seen) == 40
    monkeypatch.delenv("BENCH_ENDPOINT")
    from_file = plan_answers()
    assert from_file.args["file_checksum"]
    run_stage(artifacts, from_file)
    written = (artifacts / "answers.jsonl").read_text()
    for text in (written, json.dumps(job.metadata), json.dumps(from_file.args)):
        assert KEY not in text
        assert server.url not in text
    (artifacts / "answers.jsonl").write_text(written + "\n")
    with pytest.raises(BenchError, match="changed during the run"):
        run_stage(artifacts, from_file)


def test_incomplete_answers_are_an_error_until_the_next_run(
    server: Server, artifacts: Path
) -> None:
    def fail_twice(body: dict[str, Any], number: int) -> tuple[int, bytes, dict[str, str]]:
        lost = body["messages"][0]["content"] in ("Who is u3?", "Who is u7?")
        return (500, b"", {}) if lost else good(body, number)

    server.answer = fail_twice
    with pytest.raises(BenchError) as caught:
        run_stage(artifacts, plan_answers())
    assert caught.value.message.startswith("partial (95.0 %): 38 of 40 questions about users")
    assert "status 500: 2" in caught.value.message
    before = len(server.seen)
    server.answer = good
    run_stage(artifacts, plan_answers())
    assert len(server.seen) == before + 2


def test_an_endpoint_that_is_down_is_given_up(server: Server, artifacts: Path) -> None:
    server.answer = lambda body, number: (503, b"", {})
    with pytest.raises(BenchError, match=r"partial \(0.0 %\).*not asked"):
        run_stage(artifacts, plan_answers())
    assert len(server.seen) < 40 * ATTEMPTS


def test_no_more_questions_are_sent_than_allowed(
    server: Server, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for allowed in ("", "39", "many"):
        monkeypatch.setenv("BENCH_ENDPOINT_LIMIT", allowed)
        with pytest.raises(BenchError, match="40 questions would be sent") as caught:
            run_stage(artifacts, plan_answers())
        assert "BENCH_ENDPOINT_LIMIT" in caught.value.hint
    assert not server.seen


def test_a_missing_file_is_reported_when_planning(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_ENDPOINT", raising=False)
    monkeypatch.setenv("BENCH_RESPONSES", str(artifacts / "nothing.jsonl"))
    with pytest.raises(BenchError, match="not run: BENCH_RESPONSES"):
        plan_answers()
