"""Nothing leaks, nothing hostile reaches a page, and strangers stay out of our Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.runner.worker import describe_environment

SECRETS = {
    "BENCH_ENDPOINT_KEY": "sk-h0rse-endpoint",
    "HF_TOKEN": "hf_h0rse-hub",
    "OPENAI_API_KEY": "sk-h0rse-openai",
    "WANDB_API_KEY": "h0rse-wandb",
    "AWS_SECRET_ACCESS_KEY": "h0rse-aws",
    "PIP_INDEX_URL": "https://me:h0rse-index@example.org/simple",
}
TITLES = (
    '<script>alert("h")</script>',
    "<img src=x onerror=alert(1)>",
    r"\input{/etc/passwd} & 5%",
)
CARD = """title = "<b>Own</b>"
description = "D"
license = "<i>L</i>"
citation = "C"
reader = "recbole"
[files]
interactions = { name = "own.inter" }
items = { name = "own.item" }
[fields]
user = "u"
item = "i"
time = "t"
title = "{x}"
[split]
history = 2
min_history = 1
"""
FAILING = '''
from dataclasses import dataclass
from bench.api import Plan, rank


def fit(train, catalog):
    raise ValueError("told to fail")


@dataclass(frozen=True, kw_only=True)
class Method:
    """Fails, with a traceback."""
    def plan(self, data, model, seed):
        return Plan(ranking=rank(data.test, scorer="failing:fit", train=data.train, settings={}))
'''


@pytest.fixture(scope="module", params=["inline", pytest.param("ray", marks=pytest.mark.slow)])
def ran(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A run over hostile titles, with keys in the environment; one method fails with a trace."""
    # Not tmp_path: Ray's sockets lie below, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="b") as place:
        folder = Path(place)
        (folder / "own.toml").write_text(CARD)
        (folder / "failing.py").write_text(FAILING)
        items = "\n".join(
            ["i:token\tx:token_seq", *(f"{i}\t{TITLES[i % 3]} {i}" for i in range(30))]
        )
        lines = [f"{u}\t{(u + t) % 30}\t{100 * t + u}" for u in range(20) for t in range(8)]
        (folder / "own.item").write_text(items + "\n")
        (folder / "own.inter").write_text("\n".join(["u:token\ti:token\tt:float", *lines]) + "\n")
        command = [
            *(sys.executable, "-m", "bench.cli", "run", "--method", "popularity"),
            *("--method", "failing", "--dataset", "own", "--data-dir", place, "--seeds", "1"),
            *("--budget", "smoke", "--executor", request.param),
        ]
        environment = os.environ | SECRETS | {"BENCH_PATH": place, "RAY_TMPDIR": place}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        (folder / "said.txt").write_text(done.stdout + done.stderr)
        assert done.returncode == 1, done.stderr
        yield folder


def written(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes().decode("utf-8", "replace") for path in files}


def test_no_key_of_the_environment_is_written_down(ran: Path) -> None:
    texts = written(ran)
    kinds = {path.suffix for path in texts}
    assert {".html", ".json", ".parquet", ".txt"} <= kinds
    traces = [text for text in texts.values() if "Traceback" in text]
    assert any("told to fail" in text for text in traces)
    leaks = [str(path) for path, text in texts.items() if "h0rse" in text]
    assert not leaks


def test_titles_and_cards_are_text_on_every_page(ran: Path) -> None:
    pages = [path for path in ran.rglob("*") if path.suffix in (".html", ".md", ".tex")]
    assert len(pages) >= 4
    for path in pages:
        text = path.read_text()
        for evil in ("<img src=x", "<b>Own", "<i>L", "alert("):
            assert evil not in text, path
        if path.suffix == ".tex":
            assert r"\input" not in text


def test_results_hold_no_titles(ran: Path) -> None:
    for path, text in written(ran / "results").items():
        assert "passwd" not in text, path
        assert "onerror" not in text, path


def test_the_environment_is_recorded_by_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRETS["HF_TOKEN"])
    describe_environment.cache_clear()
    packages = {
        "llmrec-bench", "numpy", "pyarrow", "ray", "torch", "transformers", "trl", "peft",
    }  # fmt: skip
    assert set(describe_environment()) <= packages | {"python", "system", "host", "cpus"}
    assert not {name: value for name, value in describe_environment().items() if "h0rse" in value}


# --- Ray ----------------------------------------------------------------------------------------


def test_ray_starts_without_dashboard_and_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runner import ray_slots as ours

    asked: dict[str, Any] = {}
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(ours.ray, "init", lambda **given: asked.update(given))
    monkeypatch.setattr(ours.ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(ours.ray, "nodes", list)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    ours.SlotExecutor()
    assert asked["include_dashboard"] is False
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "h0rse" not in str(asked)


STRANGER = """
import os, ray
try:
    ray.init(address=os.environ["THERE"], logging_level="ERROR")
except Exception as error:
    print("REFUSED", type(error).__name__)
else:
    print("INSIDE")
"""


@pytest.mark.slow
def test_a_stranger_without_the_token_cannot_join_our_ray(tmp_path: Path) -> None:
    """Ray's own services listen on all interfaces; whoever may submit a task may run anything."""
    import ray

    from bench.runner.ray_session import RaySession

    session = RaySession(address=None, num_cpus=1)
    try:
        there = ray.get_runtime_context().gcs_address
        for token, word in (("0" * 64, "REFUSED"), (None, "INSIDE")):
            environment = os.environ | {"THERE": there, "RAY_AUTH_MODE": "token"}
            environment |= {"RAY_AUTH_TOKEN": token} if token else {}
            done = subprocess.run(
                [sys.executable, "-c", STRANGER], env=environment, capture_output=True, text=True
            )
            assert word in done.stdout, done.stderr[-2000:]
    finally:
        session.close()
