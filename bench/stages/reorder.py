"""Shuffle the histories of the test cases: does a ranking use their order?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from bench.data import prepared
from bench.hashing import Job, derive_seed
from bench.plan.item_stages import ReorderConfig


def run(job: Job, config: ReorderConfig, inputs: Mapping[str, Path]) -> None:
    """Write prepared data with other histories, and the share of test cases that changed."""
    source = prepared.load(inputs["data"])
    data = shuffle_histories(source, config.within, config.seed)
    prepared.write(data, job.out)
    cases = source.sample_range("test")
    before, after = source.windows(cases).histories, data.windows(cases).histories
    job.metadata["changed"] = float((before != after).any(axis=1).mean()) if len(cases) else 0.0


def shuffle_histories(
    source: prepared.Prepared, within: Literal["ties", "all"], seed: int
) -> prepared.Prepared:
    """Give each test case a copy of its interactions, its history (or ties in time) shuffled.

    Test cases share interactions, so the copies follow the user's own interactions. Samples keep
    their numbers; training samples, catalog and splits do not change.
    """
    cases = np.array(source.sample_range("test"), dtype=np.int64)
    start, target = source.start[cases], source.target[cases]
    lengths = target - start + 1
    case = np.repeat(np.arange(len(cases)), lengths)
    first = np.cumsum(lengths) - lengths
    copied = start[case] + np.arange(len(case)) - first[case]
    noise = np.random.default_rng(derive_seed("reorder", seed)).random(len(case))
    fixed = source.times[copied] if within == "ties" else np.zeros(len(case))
    copied = copied[np.lexsort((noise, fixed, copied == target[case], case))]
    joined = np.concatenate([np.arange(len(source.users)), copied])
    order = np.argsort(source.users[joined], kind="stable")
    index = np.empty_like(order)
    index[order] = np.arange(len(order))
    starts, targets = index[source.start], index[source.target]
    starts[cases] = index[len(source.users) + first]
    targets[cases] = starts[cases] + lengths - 1
    columns = ("users", "items", "ratings", "times")
    values = {name: getattr(source, name)[joined][order] for name in columns}
    return replace(source, **values, start=starts, target=targets)
