"""The per-case results of one method on one data set, and the checks that make two comparable.

Two methods are compared on the same cases or not at all: a case that one of them lacks is an error,
never dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown

MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of analysis, which are left out one by one.

    Attributes:
        kind: "user" if some user has several cases, otherwise "case".
        of_case: Unit of each case, shape (C,), in [0, num). Units are numbered in the order of
            their ids, so that no result depends on the order of the cases.
    """

    kind: Literal["case", "user"]
    of_case: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @property
    def num(self) -> int:
        """Number of units U."""
        return len(self.sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One method on one data set: all its S seeds on the same C cases.

    Attributes:
        cases: Case ids, length C, all different.
        values: Per-case metrics by name ("NDCG@5"), each of shape (S, C).
        items: Recommended items, best first, shape (S, C, D); -1 is a recommendation that is not in
            the catalog, -2 marks the end of a list.
        known: Cases whose target is in the catalog, shape (C,); set-level metrics use only these.
        masses: Category mass of the top-k lists by k, each of shape (S, C, G).
        histories: Category mass of each case's history, shape (C, G).
        strata: Stratum of each case, shape (C,), by what divides them; may be empty.

    Raises:
        BenchError: If there are no cases or a case id occurs twice.
    """

    name: str
    seeds: tuple[int, ...]
    cases: tuple[str, ...]
    users: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    items: NDArray[np.int32]
    known: NDArray[np.bool_]
    masses: Mapping[int, NDArray[np.float64]]
    histories: NDArray[np.float64]
    tracked: tuple[str, ...]
    num_items: int
    strata: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.cases))
        assert shape[0] == len(set(self.seeds)) > 0, "seeds are distinct, at least one"
        assert len(self.users) == len(self.known) == shape[1], "one user and one flag per case"
        assert self.items.shape[:2] == shape, "items are (S, C, D)"
        assert all(values.shape == shape for values in self.values.values()), "values are (S, C)"
        assert self.histories.shape == (shape[1], len(self.tracked)), "histories are (C, G)"
        for mass in self.masses.values():
            assert mass.shape == (*shape, len(self.tracked)), "masses are (S, C, G)"
        if not self.cases:
            raise BenchError(f"{self.name} has no test cases.")
        if len(set(self.cases)) < shape[1]:
            repeated = [case for case, count in Counter(self.cases).items() if count > 1]
            raise BenchError(f"{self.name} has cases that occur twice: {_join(repeated)}.")

    def select_cases(self, indices: NDArray[np.intp]) -> Sample:
        """Return the sample with the cases at these indices, shape (C',), in this order."""
        return replace(
            self,
            cases=tuple(self.cases[index] for index in indices),
            users=tuple(self.users[index] for index in indices),
            values={name: values[:, indices] for name, values in self.values.items()},
            items=self.items[:, indices],
            known=self.known[indices],
            masses={k: mass[:, indices] for k, mass in self.masses.items()},
            histories=self.histories[indices],
            strata={name: labels[indices] for name, labels in self.strata.items()},
        )

    @cached_property
    def units(self) -> Units:
        """The units of analysis: users if cases are nested in users, otherwise cases."""
        nested = len(set(self.users)) < len(self.users)
        _, of_case, sizes = np.unique(
            np.asarray(self.users if nested else self.cases),
            return_inverse=True,
            return_counts=True,
        )
        return Units(kind="user" if nested else "case", of_case=of_case, sizes=sizes)


def get_case_values(sample: Sample, metric: str) -> NDArray[np.float64]:
    """Return the values of a per-case metric, one per seed and case, shape (S, C), all finite.

    Raises:
        BenchError: If the sample lacks the metric, or a value is not a finite number.
    """
    if metric not in sample.values:
        raise unknown(f"per-case metric of {sample.name}", metric, sample.values)
    values = sample.values[metric]
    require_finite(sample, metric, values)
    return values


def require_finite(sample: Sample, label: str, values: NDArray[np.float64]) -> None:
    """Refuse values, shape (S, C, ...), that would turn a whole comparison into NaN.

    Raises:
        BenchError: If a value is NaN or infinite; the message names its cases.
    """
    invalid = ~np.isfinite(values)
    if not invalid.any():
        return
    rows = invalid.any(axis=(0, *range(2, invalid.ndim)))
    cases = [sample.cases[row] for row in np.flatnonzero(rows)]
    raise BenchError(
        f"{label} of {sample.name} is not a finite number for {len(cases)} of "
        f"{len(sample.cases)} cases: {_join(cases)}.",
        "A missing value is not 0: find out why the metric failed on these cases.",
    )


def align_cases(first: Sample, *others: Sample) -> list[Sample]:
    """Bring the cases of all methods into the order of the first.

    Raises:
        BenchError: If two methods do not have the same cases, or a case has another user.
    """
    return [first, *(_reorder_cases(first, other) for other in others)]


def _reorder_cases(a: Sample, b: Sample) -> Sample:
    problems = [
        f"{shorter.name} lacks {len(missing)} of {len(longer.cases)} cases of {longer.name}: "
        f"{_join(missing)}."
        for longer, shorter in ((a, b), (b, a))
        if (missing := sorted(set(longer.cases) - set(shorter.cases)))
    ]
    if problems:
        hint = "Methods are compared on the same cases only: run both on the same test set."
        raise BenchError(" ".join(problems), hint)
    index = {case: row for row, case in enumerate(b.cases)}
    b = b.select_cases(np.array([index[case] for case in a.cases], dtype=np.intp))
    differing = [a.cases[row] for row, user in enumerate(a.users) if b.users[row] != user]
    if differing:
        raise BenchError(f"{a.name} and {b.name} disagree about the user of {_join(differing)}.")
    return b


def align_lists(*samples: Sample) -> list[Sample]:
    """Align for set-level metrics.

    Raises:
        BenchError: If `align_cases` refuses, or two methods were measured with different catalogs,
            categories or histories.
    """
    first, *others = aligned = align_cases(*samples)
    for other in others:
        names = f"{first.name} and {other.name}"
        if first.num_items != other.num_items or not np.array_equal(first.known, other.known):
            raise BenchError(f"{names} were measured with different catalogs.")
        if first.tracked != other.tracked or not np.allclose(first.histories, other.histories):
            raise BenchError(f"{names} differ in tracked categories or histories.")
    return aligned


def _join(ids: Sequence[object]) -> str:
    text = ", ".join(str(name) for name in ids[:MAX_NAMED])
    return text if len(ids) <= MAX_NAMED else f"{text} and {len(ids) - MAX_NAMED} more"
