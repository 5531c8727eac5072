from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from bench import cli
from bench.runner.executors import set_thread_environment

set_thread_environment()
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script's background jobs ignore Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The same under nohup; this process goes on when its terminal is closed, its children do not.
    signal.signal(signal.SIGHUP, lambda number, frame: None)


Bench = Callable[..., SimpleNamespace]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: more of them only wait for each other in networks this small."""
    from bench.models.lm.devices import compute_threads  # not every test needs torch

    with compute_threads(1):
        yield


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Run a command line in an empty folder, in this process; code, out and err come back."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> SimpleNamespace:
        monkeypatch.setattr("sys.argv", ["bench", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=left.value.code or 0, out=out, err=err)

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real raw files; its tests are skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BENCH_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: set BENCH_TEST_DATA to the folder that holds ml-100k/")
    return folder
