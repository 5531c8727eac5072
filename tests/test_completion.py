"""What the shell completes, and that no color is forced on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.options import complete_cards, complete_methods, complete_trackers
from bench.config import plugins
from bench.config.request import TRACKERS

COLOR = re.compile(rb"\x1b\[[0-9;]*(3|4|9|10)[0-9][;m]")


@pytest.mark.parametrize(
    ("complete", "start", "name"),
    [
        (complete_methods, "sas", "sasrec"),
        (complete_cards("datasets"), "ml-100", "ml-100k"),
        (complete_cards("models"), "na", "nano"),
        (complete_cards("leaderboards"), "qu", "quick"),
        (complete_cards("suites"), "smo", "smoke"),
        (complete_cards("budgets"), "pap", "paper"),
    ],
)
def test_names_are_completed(complete: Callable[[str], list[str]], start: str, name: str) -> None:
    assert complete(start) == [name]
    assert name in complete("")
    assert complete("no such thing") == []


def test_methods_and_trackers_are_those_there_are() -> None:
    assert complete_methods("") == plugins.method_names()
    assert complete_trackers("") == list(TRACKERS)


def test_own_folders_count_and_a_broken_one_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zz.py").write_text("class Method: ...\n")
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    assert complete_methods("zz") == ["zz"]
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "gone"))
    assert complete_methods("sas") == complete_cards("datasets")("ml") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bench run --method sas", {"sasrec"}),
        ("bench run --dataset ml-100", {"ml-100k"}),
        ("bench run --log-to w", {"wandb"}),
        ("bench expo", {"export"}),
    ],
)
def test_the_shell_is_answered(words: str, expected: set[str]) -> None:
    script = (
        "import atexit, sys; sys.argv[0] = 'bench'\n"
        "heavy = {'torch', 'pandas', 'scipy', 'ray', 'pyarrow', 'numpy'}\n"
        "atexit.register(lambda: print(*heavy & set(sys.modules), file=sys.stderr))\n"
        "from bench.cli import main; main()"
    )
    variables = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | variables | {"COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
    )
    assert set(done.stdout.split()) == expected, done.stderr
    assert done.stderr.split() == []


# --- NO_COLOR (no-color.org) ---------------------------------------------------------------------


PROGRESS = """
from bench.runner.loop import RunProgress
with RunProgress(2) as progress:
    progress.stages(1, "a stage")
    progress.note("a note")
"""


def on_a_terminal(*command: str, no_color: bool) -> bytes:
    """Run a command on a terminal of its own; return all that it wrote there."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if "COLOR" not in key}
    variables = {"TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=clean | variables,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            some = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            some = b""
        if not some:
            break
        output += some
    os.close(ours)
    process.wait(60)
    return output


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "bench.cli", "run", "--help"),
        ("-m", "bench.cli", "run", "--no-such-option"),
        ("-c", PROGRESS),
    ],
    ids=["help", "mistake", "progress"],
)
def test_no_color_is_respected(command: tuple[str, ...]) -> None:
    assert COLOR.search(on_a_terminal(*command, no_color=False))
    without = on_a_terminal(*command, no_color=True)
    assert without
    assert not COLOR.search(without)
