"""What one method did on one data set, and the checks that make two of them comparable.

Two methods are compared on the same cases or not at all: a case that one of them lacks is an error
to be mended, never a row to be dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown

NUM_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Units:
    """The things that are drawn, flipped and swapped: cases, or users where cases are nested.

    Attributes:
        kind: "user" where some user has several cases, otherwise "case".
        of_case: Unit of each case, shape (C,), in [0, num). Units are numbered in the order of
            their ids, so that a result does not depend on the order of the rows.
        sizes: Number of cases of each unit, shape (U,).
    """

    kind: Literal["case", "user"]
    of_case: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @property
    def num(self) -> int:
        """Number of units U."""
        return len(self.sizes)

    def each_once(self) -> NDArray[np.int32]:
        """Weigh every unit alike, shape (U, 1): the data as observed."""
        return np.ones((self.num, 1), dtype=np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One method on one data set: all its S seeds on the same C cases.

    Attributes:
        name: The method's row, as shown to the reader.
        seeds: The seeds, length S.
        cases: Case ids, length C, no two alike.
        users: The user of each case, length C.
        values: Per-case metrics by name ("NDCG@5"), each of shape (S, C).
        items: Recommended item positions, best first, shape (S, C, D); -1 is a text that names no
            item, -2 says that the list has ended.
        known: Cases whose target is in the catalog, shape (C,); set-level metrics run over these.
        masses: Category mass of the top-k lists by k, each of shape (S, C, G).
        history_mass: Category mass of the histories of all cases, shape (G,).
        tracked: Names of the G tracked categories.
        num_items: Size of the catalog.

    Raises:
        BenchError: If a case id occurs twice.
    """

    name: str
    seeds: tuple[int, ...]
    cases: tuple[str, ...]
    users: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    items: NDArray[np.int32]
    known: NDArray[np.bool_]
    masses: Mapping[int, NDArray[np.float64]]
    history_mass: NDArray[np.float64]
    tracked: tuple[str, ...]
    num_items: int

    def __post_init__(self) -> None:
        grid = (len(self.seeds), len(self.cases))
        assert grid[0] == len(set(self.seeds)) > 0, "seeds are distinct, and there is one"
        assert len(self.users) == len(self.known) == grid[1], "one user and one flag per case"
        assert self.items.shape[:2] == grid, "items are (S, C, D)"
        assert all(values.shape == grid for values in self.values.values()), "values are (S, C)"
        for mass in self.masses.values():
            assert mass.shape == (*grid, len(self.tracked)), "masses are (S, C, G)"
        if not self.cases:
            raise BenchError(f"{self.name} has no cases at all.")
        if len(set(self.cases)) < grid[1]:
            twice = [case for case, times in Counter(self.cases).items() if times > 1]
            raise BenchError(f"{self.name} has cases that occur twice: {_listed(twice)}.")

    def take(self, cases: NDArray[np.intp]) -> Sample:
        """Keep the cases at these positions, in this order.

        Args:
            cases: Positions in [0, C), shape (C',).
        """
        return replace(
            self,
            cases=tuple(self.cases[case] for case in cases),
            users=tuple(self.users[case] for case in cases),
            values={name: values[:, cases] for name, values in self.values.items()},
            items=self.items[:, cases],
            known=self.known[cases],
            masses={k: mass[:, cases] for k, mass in self.masses.items()},
        )

    def take_seeds(self, seeds: Sequence[int]) -> Sample:
        """Keep these seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            seeds=tuple(seeds),
            values={name: values[rows] for name, values in self.values.items()},
            items=self.items[rows],
            masses={k: mass[rows] for k, mass in self.masses.items()},
        )

    def units(self) -> Units:
        """Say what the unit of analysis is: the user where cases are nested in users."""
        nested = len(set(self.users)) < len(self.users)
        _, of_case, sizes = np.unique(
            np.asarray(self.users if nested else self.cases),
            return_inverse=True,
            return_counts=True,
        )
        return Units(kind="user" if nested else "case", of_case=of_case, sizes=sizes)


def per_case(sample: Sample, metric: str) -> NDArray[np.float64]:
    """Look up the values of a per-case metric.

    Returns:
        One value per seed and case, shape (S, C), all finite.

    Raises:
        BenchError: If the sample lacks the metric, or a value is not a finite number.
    """
    if metric not in sample.values:
        raise unknown(f"per-case metric of {sample.name}", metric, sample.values)
    values = sample.values[metric]
    require_finite(sample, metric, values)
    return values


def require_finite(sample: Sample, what: str, values: NDArray[np.float64]) -> None:
    """Refuse numbers that would silently turn a whole comparison into NaN.

    Args:
        sample: Where the values come from.
        what: Their name in the message.
        values: Shape (S, C, ...).

    Raises:
        BenchError: If a value is NaN or infinite; the message names its cases.
    """
    broken = ~np.isfinite(values)
    if not broken.any():
        return
    rows = broken.any(axis=(0, *range(2, broken.ndim)))
    cases = [sample.cases[row] for row in np.flatnonzero(rows)]
    raise BenchError(
        f"{what} of {sample.name} is not a finite number for {len(cases)} of "
        f"{len(sample.cases)} cases: {_listed(cases)}.",
        "A value that is missing is no zero: find out why the metric failed on these cases.",
    )


def align(a: Sample, b: Sample) -> tuple[Sample, Sample]:
    """Bring b's cases into a's order.

    Raises:
        BenchError: If the two do not have the same cases, or a case has another user.
    """
    lacking = [
        f"{lacks.name} lacks {len(ids)} of {len(has.cases)} cases of {has.name}: {_listed(ids)}."
        for has, lacks in ((a, b), (b, a))
        if (ids := sorted(set(has.cases) - set(lacks.cases)))
    ]
    if lacking:
        raise BenchError(
            " ".join(lacking),
            "Methods are compared on the same cases only: run both on the same test set.",
        )
    position = {case: row for row, case in enumerate(b.cases)}
    b = b.take(np.array([position[case] for case in a.cases], dtype=np.intp))
    moved = [a.cases[row] for row, user in enumerate(a.users) if b.users[row] != user]
    if moved:
        raise BenchError(f"{a.name} and {b.name} disagree about the user of {_listed(moved)}.")
    return a, b


def align_lists(a: Sample, b: Sample) -> tuple[Sample, Sample]:
    """Align for set-level metrics: same cases in the same order, known targets, common seeds.

    A set-level metric has no value per case that could be averaged over seeds first, so list i of
    one method faces list i of the other within one seed.

    Raises:
        BenchError: If `align` refuses, the two were measured against different catalogs,
            categories or histories, no seed is common, or no target is known.
    """
    a, b = align(a, b)
    if a.num_items != b.num_items or not np.array_equal(a.known, b.known):
        raise BenchError(f"{a.name} and {b.name} were measured against different catalogs.")
    if a.tracked != b.tracked or not np.allclose(a.history_mass, b.history_mass):
        raise BenchError(f"{a.name} and {b.name} differ in tracked categories or histories.")
    seeds = [seed for seed in a.seeds if seed in b.seeds]
    if not seeds:
        raise BenchError(
            f"{a.name} (seeds {_listed(a.seeds)}) and {b.name} (seeds {_listed(b.seeds)}) "
            "have no seed in common.",
            "Set-level metrics are compared seed by seed: run both with the same seeds.",
        )
    return known_only(a.take_seeds(seeds)), known_only(b.take_seeds(seeds))


def known_only(sample: Sample) -> Sample:
    """Keep the cases whose target is in the catalog.

    Raises:
        BenchError: If there is none.
    """
    if not sample.known.any():
        raise BenchError(f"No target of {sample.name} is in the catalog.")
    return sample.take(np.flatnonzero(sample.known))


def _listed(ids: Sequence[object]) -> str:
    shown = ", ".join(str(one) for one in ids[:NUM_LISTED])
    return shown if len(ids) <= NUM_LISTED else f"{shown} and {len(ids) - NUM_LISTED} more"
