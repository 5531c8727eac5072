from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bench.runner.executors import be_patient

be_patient()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script's background jobs ignore Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real raw files; its tests are skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BENCH_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: set BENCH_TEST_DATA to the folder that holds ml-100k/")
    return folder
