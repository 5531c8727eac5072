"""A coverage-guided fuzzer over every reader, for $BENCH_FUZZ_SECONDS (10) each.

    pip install atheris
    BENCH_FUZZ_SECONDS=600 pytest tests/test_fuzz.py

atheris is in no extra: it has wheels for few versions of Python. Without it these tests skip.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.data.readers import READERS
from bench.data.released_splits import RELEASED_SPLITS

HERE = Path(__file__).parent
FORMS = (
    "recbole", "amazon-2014", "amazon-2018", "goodreads", "movielens-dat", "movielens-latin",
    "movielens-csv", "steam-users", "steam-flat", "sprec-samples", "d3-samples",
    "d3-windows", "bigrec-samples", "sdpo-samples",
)  # fmt: skip


def test_every_reader_of_files_is_fuzzed() -> None:
    generated = {"synthetic"}
    for reader in {*READERS, *RELEASED_SPLITS} - generated:
        assert any(form.startswith(reader) for form in FORMS)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_nothing_but_a_bench_error_comes_out(form: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "atheris", reason="atheris is not installed or not for this Python", exc_type=ImportError
    )
    seconds = int(os.environ.get("BENCH_FUZZ_SECONDS", "10"))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    options = (
        f"-max_total_time={seconds}",
        "-timeout=30",
        "-max_len=4096",
        "-len_control=0",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={tmp_path}/",
        "-seed=1",
        "-print_final_stats=1",
    )
    done = subprocess.run(
        [sys.executable, "fuzz_readers.py", form, str(corpus), *options],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=seconds + 300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    executed = re.search(r"number_of_executed_units: (\d+)", said)
    assert executed, said[-4000:]
    assert int(executed[1]) > 100
