"""Samples of rows: in the order drawn, smaller ones are the first rows of larger ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data import prepared
from bench.hashing import Job
from bench.plan.item_stages import SampleConfig
from bench.stages import sample

ROWS = np.arange(100, 1000, 9)


def drawn(folder: Path, num: int, seed: int) -> tuple[NDArray[np.int64], dict[str, object]]:
    source, out = folder / "rows", folder / f"{num}-{seed}"
    if not source.is_dir():
        source.mkdir()
        prepared.write_rows(ROWS, source)
    out.mkdir()
    job = Job(out=out)
    sample.run(job, SampleConfig(num=num, seed=seed), {"rows": source})
    return prepared.load_rows(out), dict(job.metadata)


def test_a_smaller_draw_begins_a_larger_one(tmp_path: Path) -> None:
    few, metadata = drawn(tmp_path, 10, seed=0)
    many, _ = drawn(tmp_path, 64, seed=0)
    assert metadata == {"rows": 10, "available": 100}
    np.testing.assert_array_equal(few, many[:10])
    assert len(set(many.tolist())) == 64
    assert set(many.tolist()) <= set(ROWS.tolist())
    assert few.tolist() != sorted(few.tolist())


def test_more_than_there_are_is_all(tmp_path: Path) -> None:
    rows, metadata = drawn(tmp_path, 101, seed=0)
    assert metadata == {"rows": 100, "available": 100}
    assert sorted(rows.tolist()) == ROWS.tolist()


def test_a_seed_decides(tmp_path: Path) -> None:
    first, _ = drawn(tmp_path / "", 20, seed=0)
    other, _ = drawn(tmp_path, 20, seed=1)
    assert first.tolist() != other.tolist()
    (tmp_path / "again").mkdir()
    again, _ = drawn(tmp_path / "again", 20, seed=0)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("place", [0, 19])
def test_every_row_has_the_same_chance_at_every_place(tmp_path: Path, place: int) -> None:
    counts = np.zeros(100)
    for seed in range(400):
        rows, _ = drawn(tmp_path, 20, seed=seed)
        counts[np.searchsorted(ROWS, rows[place])] += 1
    # 99 degrees of freedom: above 148.2 once in a thousand fair draws.
    assert ((counts - 4) ** 2 / 4).sum() < 148.2
