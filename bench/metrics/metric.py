"""The `Metric` object: all that the benchmark knows about one metric, at any list length k.

Boards, statistics, exports and claims ask this object; nothing else lists metrics by name. Shapes:
C test cases, N labeled lists, L positions, I items, G tracked categories; `...` stands for any
number of leading axes, so that the statistics can evaluate the sets without each user at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.errors import BenchError

Values = NDArray[np.float64]
Labels = NDArray[np.integer]

_FAMILY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedCases:
    """The top-k lists of C test cases, as a per-case metric reads them.

    Attributes:
        ranking: The lists, with the generated texts where the method wrote any.
        ranks: Rank of the target in each list, from 0, shape (C,); -1 where it is absent or not in
            the catalog. Of an item that occurs twice in a list, the first occurrence counts.
        targets: Item that came next, shape (C,); -1 if it is not in the catalog.
        histories: Items seen before, shape (C, H); -1 for padding and items not in the catalog.
        catalog: The items, with their titles and categories.
    """

    ranking: Ranking
    ranks: NDArray[np.int32]
    targets: NDArray[np.integer]
    histories: NDArray[np.integer]
    catalog: Catalog


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemCounts:
    """How often each item occurs in a set of top-k lists, as a set-level metric reads it.

    Attributes:
        counts: Occurrences of each item, shape (..., I); items that never occur may be left out.
        num_lists: Number of lists of each set, shape (...).
        k: Length of the lists.
        num_items: Size of the catalog.
    """

    counts: NDArray[np.integer]
    num_lists: Values
    k: int
    num_items: int

    @property
    def num_slots(self) -> Values:
        """Number of recommendations of each set, shape (...)."""
        return self.k * self.num_lists


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryMass:
    """How much each tracked category is recommended, as a set-level metric reads it.

    An item with c tracked categories contributes 1/c to each of them.

    Attributes:
        recommended: Mass of each category in the lists, shape (..., G).
        history: Mass of each category in the histories of all cases, shape (..., G).
        index: Position of the metric's own category, as in `GU[drama]@5`; 0 for other metrics.
    """

    recommended: Values
    history: Values
    index: int = 0


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric family, or one metric where `k` and `category` are set.

    A family has exactly one kind of scoring function; only `score_cases` and `score_labels`, which
    define a per-case metric for both tasks, may be combined.

    Attributes:
        family: Its name without k, e.g. "NDCG".
        title: Its name in words.
        description: What its value means, in one sentence.
        higher_is_better: Whether a larger value is better.
        score_cases: From `RankedCases` and k (1 without one) to one value per case, shape (C,).
        score_labels: From the labels of re-ranked lists, best position first, shape (N, L), and k
            to one value per list, shape (N,).
        score_counts: From `ItemCounts` to one value per set of lists, shape (...).
        score_masses: From `CategoryMass` to one value per set of lists, shape (...).
        takes_k: Whether a name needs the length of the lists, as in "NDCG@5".
        takes_category: Whether a name needs a tracked category, as in "GU[drama]@5".
        needs_catalog: Whether the value means something only if the catalog is complete.
        needs_texts: Whether it reads the generated texts; rankings without them get no value.
        maximum: Largest possible value; None if it is k, infinity if there is none. The smallest
            value is at least 0.
        k: Length of the lists, from 1.
        category: The tracked category.

    Raises:
        BenchError: If the attributes contradict each other.
    """

    family: str
    title: str
    description: str
    higher_is_better: bool
    score_cases: Callable[[RankedCases, int], Values] | None = None
    score_labels: Callable[[Labels, int], Values] | None = None
    score_counts: Callable[[ItemCounts], Values] | None = None
    score_masses: Callable[[CategoryMass], Values] | None = None
    takes_k: bool = True
    takes_category: bool = False
    needs_catalog: bool = False
    needs_texts: bool = False
    maximum: float | None = 1
    k: int | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        if not _FAMILY.fullmatch(self.family):
            message = f"{self.family!r} cannot be the name of a metric."
            raise BenchError(message, "Use a letter, then letters, digits, - and _.")
        if self.per_case + bool(self.score_counts) + bool(self.score_masses) != 1:
            raise BenchError(
                f"The metric {self.family} needs exactly one kind of scoring function.",
                "Set score_cases (and score_labels), score_counts or score_masses.",
            )
        if not self.per_case and not self.takes_k:
            raise BenchError(f"The set-level metric {self.family} must take a k.")

    @property
    def per_case(self) -> bool:
        """Whether the value is a mean over cases; other metrics exist for sets of lists only."""
        return bool(self.score_cases or self.score_labels)

    @property
    def needs_categories(self) -> bool:
        """Whether it needs a data set with tracked categories."""
        return self.score_masses is not None

    @property
    def of_rankings(self) -> bool:
        """Whether it is defined for rankings of the catalog."""
        return bool(self.score_cases or self.score_counts or self.score_masses)

    @property
    def of_lists(self) -> bool:
        """Whether it is defined for re-ranked lists."""
        return self.score_labels is not None

    @property
    def upper_bound(self) -> float:
        """Largest possible value at this k."""
        return (self.k or 1) if self.maximum is None else self.maximum

    @property
    def name(self) -> str:
        """The name in results and on boards, e.g. `NDCG@5` or `GU[drama]@1`."""
        category = "" if self.category is None else f"[{self.category}]"
        k = "" if self.k is None else f"@{self.k}"
        return f"{self.family}{category}{k}"

    @property
    def pattern(self) -> str:
        """How names of this family are written, e.g. `NDCG@k`."""
        return f"{self.family}{'[category]' * self.takes_category}{'@k' * self.takes_k}"

    def at(self, k: int | None = None, category: str | None = None) -> Metric:
        """Return this family's metric at a list length, and for a category where it takes one.

        Raises:
            BenchError: If k or the category is missing, invalid, or not taken by this family.
        """
        metric = replace(self, k=k, category=category)
        if self.takes_category and not category:
            raise BenchError(
                f"{metric.name!r} names no category.",
                f"Write the category in brackets, e.g. {self.family}[drama]@{k or 1}.",
            )
        if category is not None and not self.takes_category:
            raise BenchError(
                f"{self.family} covers all categories and takes none in brackets: {metric.name!r}.",
                "Only GU has one value per category.",
            )
        if not self.takes_k and k is not None:
            raise BenchError(f"{self.family} takes no k: {metric.name!r}.", f"Write {self.family}.")
        if self.takes_k and k is None:
            message = f"{metric.name!r} does not say how long the lists are."
            raise BenchError(message, f"Add a k, e.g. {metric.name}@5.")
        if k is not None and k < 1:
            raise invalid_k(metric.name)
        return metric


def invalid_k(name: str) -> BenchError:
    """Return the error for a name whose k is not a positive integer."""
    return BenchError(
        f"The k of {name!r} is not a positive integer.", "Write it in digits, e.g. HR@5."
    )
