"""Hostile input: whatever is in a file or on the command line, the answer is a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from board_results import Line, make
from conftest import Bench
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.cli.output import plain_output
from bench.config import plugins
from bench.config.cards import DatasetCard, Source
from bench.config.toml import check_card, read_toml
from bench.errors import BenchError, mask_secrets, printable, strip_controls
from bench.results.load import load_results
from bench.results.run_records import BOARDS, BoardRecord, plan_requested, read_last_run
from bench.runner.offline.manifest import MANIFEST, read_manifest

SECRET = "h0rse"
ADDRESSES = (
    f"https://me:{SECRET}@example.org/x.zip",
    f"https://{SECRET}@example.org/x.zip",
    f"https://me:a@{SECRET}@example.org/x.zip",
    f"https://example.org/x?id=3&X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}%2Fus",
    f"https://example.org/x?sv=1&sig={SECRET}&se=2",
    f"https://example.org/x?access_token={SECRET}",
)


# --- secrets in addresses -------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_of_addresses_are_masked_wherever_they_could_appear(address: str) -> None:
    source = Source(url=address)
    error = BenchError(f"Cannot fetch {address}.", f"Try {address}")
    texts = [
        mask_secrets(f"See {address}, please."),
        *(repr(source), str(source), source.model_dump_json(), str(source.model_dump())),
        *(str(error), error.message, error.hint, printable(ValueError(address))),
    ]
    assert not [text for text in texts if SECRET in text]
    assert source.url == address
    assert "example.org" in texts[0]


def test_addresses_without_secrets_stay() -> None:
    for address in ("https://example.org/x?id=3&export=download", "me@example.org", "a://b/c@d"):
        assert mask_secrets(address) == address


def test_a_failed_download_shows_no_secret(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PATH", ".")
    monkeypatch.setenv("BENCH_CACHE", "cache")
    for number, address in enumerate(ADDRESSES):
        Path(f"own{number}.toml").write_text(CARD.replace("ADDRESS", address))
    names = [f"own{number}" for number in range(len(ADDRESSES))]
    run = ("--method", "random", *(word for name in names for word in ("--dataset", name)))
    outputs = [bench("run", *run, "--offline", "--executor", "inline")]
    outputs += [bench("show", name) for name in names] + [bench("data", "list", "--json")]
    outputs += [bench("assets", "ls", *run), bench("data", "stats", names[0], "--offline")]
    assert not [done for done in outputs if SECRET in done.out + done.err]
    written = [path for path in Path().rglob("*") if path.is_file() and path.suffix != ".toml"]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


CARD = """title = "Own"
description = "D"
license = "L"
citation = "C"
reader = "recbole"
[files.interactions]
name = "own.inter"
sources = [{ url = "ADDRESS" }]
[files.items]
name = "own.item"
[fields]
user = "u"
item = "i"
time = "t"
title = "{x}"
[split]
history = 2
min_history = 1
"""


# --- terminals ------------------------------------------------------------------------------------

ESCAPES = (
    "\x1b[31m",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil\x1b\\\\",
    "\x9b1m",
    "\x07",
)


@given(st.lists(st.sampled_from([*ESCAPES, "a", "é", "\n", "\ud83d", "\u202e"])))
def test_no_control_character_is_left(parts: list[str]) -> None:
    text = strip_controls("".join(parts))
    assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    text.encode()
    assert text.replace("\\ud83d", "").count("a") == parts.count("a")


def test_escapes_of_cards_reach_no_terminal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PATH", ".")
    title = "Evil\\u001b[31m\\u001b]0;owned\\u0007"
    Path("own.toml").write_text(CARD.replace('"Own"', f'"{title}"').replace("ADDRESS", "https://x"))
    Path("bad.toml").write_text(f'reader = "x"\n"{title}" = 1\n')
    run = ("--method", "random", "--dataset", "own")
    for words in (
        ("list",), ("list", "datasets"), ("show", "own"), ("data", "list"), ("show", "bad"),
        ("assets", "ls", *run), ("run", *run, "--dry-run"), ("run", *run, "--executor", "inline"),
    ):  # fmt: skip
        done = bench(*words)
        assert "\x1b" not in done.out + done.err, words
        assert "\x07" not in done.out + done.err, words


def test_json_stays_one_document_whatever_is_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli.options import print_json

    with plain_output(only_document=True):
        print("a plug-in")
        os.write(1, b"a library")
        print_json({"a": 1})
        sys.stdout.write("more")
    out, err = capfd.readouterr()
    assert json.loads(out) == {"a": 1}
    assert all(text in err for text in ("a plug-in", "a library", "more"))


PRINTING = """
import os
from dataclasses import dataclass
print("at import")
@dataclass(frozen=True, kw_only=True)
class Method:
    \"\"\"Prints.\"\"\"
    def plan(self, data, model, seed):
        print("in plan")
        raise ValueError("no plan")
"""


def test_a_plug_in_that_prints_does_not_spoil_json(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PATH", ".")
    Path("printing.py").write_text(PRINTING)
    run = ("--method", "printing", "--dataset", "synthetic", "--json")
    inline = ("--executor", "inline", "--keep-going")
    for words in (("plan", *run), ("run", *run, *inline), ("list", "--json")):
        assert json.loads(bench(*words).out)


# --- addresses on pages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "homepage",
    ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "//x", "ftp://x", " https://x",
     "https://me:secret@x", "https://", "file:///etc/passwd"],
)  # fmt: skip
def test_only_web_pages_are_homepages(homepage: str) -> None:
    content = tomllib.loads(CARD.replace("ADDRESS", "https://x"))
    with pytest.raises(BenchError, match="homepage"):
        check_card({**content, "homepage": homepage}, DatasetCard, "own")
    assert check_card({**content, "homepage": "https://example.org"}, DatasetCard, "own")


# --- fuzzing: nothing but a BenchError ------------------------------------------------------------

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NASTY = st.sampled_from(
    [b"", b"null", b"NaN", b"1e999", b"9" * 5000, b"[" * 20_000, b"{}", b"[]", b"\xff", b"\x00",
     b'"', b"-1", b"true", b'"\\ud83d"', b'"../../x"', b'"' + b"x" * 5000 + b'"', b"\n", b"= ="]
)  # fmt: skip


def damage(content: bytes) -> st.SearchStrategy[bytes]:
    """Cut pieces out of a file and put others in."""
    index = st.integers(0, len(content))
    edits = st.lists(st.tuples(index, index, NASTY), max_size=3)

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        damaged = content
        for start, end, piece in edits:
            damaged = damaged[: min(start, end)] + piece + damaged[min(start, end) + len(piece) :]
        return damaged

    return st.one_of(edits.map(apply), NASTY)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("results")
    board, cells = make(folder, [Line("Base", 0.2), Line("Good", 0.6)], seeds=1)
    record = BoardRecord(name="demo", card=board.card, settings=(), rows={})  # type: ignore[arg-type]
    (folder / BOARDS).mkdir()
    path = folder / BOARDS / "demo.json"
    path.write_text(record.model_dump_json())
    result = folder / f"{cells[0][1].id}.json"
    return SimpleNamespace(
        folder=folder, record=path, result=result, sound=result.read_bytes(), text=path.read_bytes()
    )


@SLOW
@given(data=st.data())
def test_any_result_is_read_or_named(board: SimpleNamespace, data: Any) -> None:
    board.result.write_bytes(data.draw(damage(board.sound)))
    with contextlib.suppress(BenchError):
        assert len(load_results(board.folder)) >= 1
    board.result.write_bytes(board.sound)


@SLOW
@given(data=st.data())
def test_any_record_of_a_board_is_read_or_named(board: SimpleNamespace, data: Any) -> None:
    from bench.config.request import RunRequest

    board.record.write_bytes(data.draw(damage(board.text)))
    with contextlib.suppress(BenchError):
        plan_requested(RunRequest(), board.folder)
    board.record.write_bytes(board.text)


@SLOW
@given(
    content=st.one_of(NASTY, damage(b'{"folder": "/x", "request": {"seeds": 1}, "execution": {}}'))
)
def test_any_record_of_a_run_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last-run.json").write_bytes(content)
    with contextlib.suppress(BenchError):
        read_last_run(tmp_path)


MANIFEST_TEXT = (
    b'{"version": 2, "created_by": "x", "python": "3.11", "system": "x", "options": {}, "files": '
    b'[{"section": "store", "path": "a/b/c", "size": 1, "sha256": "' + b"0" * 64 + b'", '
    b'"owner": "o", "license": "l"}], "notes": []}'
)


@SLOW
@given(content=damage(MANIFEST_TEXT))
def test_any_manifest_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with contextlib.suppress(BenchError):
        read_manifest(tmp_path)


CARDS = {kind: next(iter(plugins.card_paths(kind).values())).read_bytes() for kind in plugins.CARDS}


@SLOW
@given(kind=st.sampled_from(sorted(CARDS)), data=st.data())
def test_any_card_is_read_or_refused(tmp_path: Path, kind: str, data: Any) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(data.draw(damage(CARDS[kind])))
    with contextlib.suppress(BenchError):
        check_card(read_toml(path), plugins.CARDS[kind], "card")


VALUES = st.one_of(
    st.sampled_from(
        ["", "-1", "0", "inf", "nan", "1e999", "9" * 30, "9" * 5000, "x" * 5000, "../x",
         "/dev/null", "/etc/passwd", "a/b", "a=b", "a.b.c=1", "dropout=inf",
         "dropout=" + "[" * 5000, "train=²", "train=" + "9" * 5000, "\udcff", "\x1b[31m", "\n",
         "random", "synthetic", "tiny"]
    ),
    st.text(max_size=8),
)  # fmt: skip
OPTIONS = ("--method", "--dataset", "--set", "--seeds", "--rows", "--budget", "--model", "--file",
           "--board", "--suite", "--store", "--data-dir", "--model-path", "--timings")  # fmt: skip


@SLOW
@given(options=st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), max_size=4))
@example(options=[("--method", "random")])
@example(options=[("--seeds", "99999999999")])
@example(options=[("--store", "x" * 5000)])
@example(options=[("--file", "items=" + "x" * 5000)])
def test_any_command_line_ends_with_a_sentence(
    bench: Bench, options: list[tuple[str, str]]
) -> None:
    base = ("plan", "--method", "random", "--dataset", "synthetic", "--rows", "test=2")
    values = [f"{name}={value}" for name, value in options]
    done = bench(*base, *values)
    assert done.code in (0, 2), done
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "command", ["report", "status", "plan", "explain", "claims", "power", "retry", "export"]
)
@pytest.mark.parametrize("folder", ["x" * 5000, "/dev/null", "/etc/passwd", "loop"])
def test_any_folder_ends_with_a_sentence(bench: Bench, command: str, folder: str) -> None:
    Path("loop").symlink_to("loop")
    options = ("--store", folder) if command == "plan" else ("--results", folder)
    words = (
        ("--method", "random", "--dataset", "synthetic") if command in ("plan", "explain") else ()
    )
    done = bench(command, *options, *words)
    assert done.code in (0, 2), done


def test_a_deleted_working_folder_is_a_sentence(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = bench("run", "--method", "random", "--dataset", "synthetic", "--executor", "inline")
    assert (done.code, "working folder no longer exists" in done.err) == (2, True)
