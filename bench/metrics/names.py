"""The names of the metrics, frozen: boards, results and tests of significance refer to them.

Of rankings of the catalog: `HR@k`, `NDCG@k`, `DivRatio@k`, `ORRatio@k`, `MGU@k`, `DGU@k`,
`GU[category]@k`, `Coverage@k`, `Gini@k` and `Hallucination`. Of re-ranked lists: `MAP@k` (KAR's,
over the hits), `MAPstd@k` (over all positives), `NDCG@k`, `CLICK@k` (positives) and `ListCap` (the
share of lists with any). This file imports no numpy: a listing of boards only needs the names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import BenchError, unknown

FAMILIES = (
    "HR",
    "NDCG",
    "DivRatio",
    "ORRatio",
    "MGU",
    "DGU",
    "GU",
    "Coverage",
    "Gini",
    "Hallucination",
    "MAP",
    "MAPstd",
    "CLICK",
    "ListCap",
)
OF_LISTS = frozenset({"MAP", "MAPstd", "CLICK", "ListCap"})
HIGHER_IS_BETTER = frozenset({"HR", "NDCG", "DivRatio", "Coverage"}) | OF_LISTS
PER_CASE = frozenset({"HR", "NDCG", "Hallucination"}) | OF_LISTS
WITHOUT_K = {
    "Hallucination": "Hallucination looks at the first recommendation only and takes no k",
    "ListCap": "ListCap counts lists that have a positive and takes no k",
}

_SHAPE = re.compile(
    r"(?P<family>[^\[\]@]+)(\[(?P<category>.*)\])?(@(?P<k>[^\[\]@]*))?", flags=re.DOTALL
)
_WHOLE = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; `Metric(family="GU", category="drama", k=5).name` is `GU[drama]@5`.

    Attributes:
        family: One of `FAMILIES`.
        k: Length of the lists, from 1; None for the families `WITHOUT_K`.
        category: The tracked category of GU; None for every other family.

    Raises:
        BenchError: The three do not fit together.
    """

    family: str
    k: int | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise _stranger(self.name)
        self._check_category()
        self._check_k()

    def _check_category(self) -> None:
        if self.family == "GU" and not self.category:
            raise BenchError(
                f"{self.name!r} names no category.",
                f"Write the category in brackets, e.g. GU[drama]@{self.k or 1}.",
            )
        if self.family != "GU" and self.category is not None:
            raise BenchError(
                f"{self.family} covers all categories and takes none in brackets: {self.name!r}.",
                "Only GU is asked for a single category.",
            )

    def _check_k(self) -> None:
        if self.family in WITHOUT_K:
            if self.k is not None:
                raise BenchError(
                    f"{WITHOUT_K[self.family]}: {self.name!r}.", f"Write {self.family}."
                )
        elif self.k is None:
            raise BenchError(
                f"{self.name!r} does not say how long the lists are.",
                f"Add a k, e.g. {self.name}@5.",
            )
        elif self.k < 1:
            raise _bad_k(self.name)

    @property
    def name(self) -> str:
        """The frozen name, e.g. `NDCG@5`."""
        category = "" if self.category is None else f"[{self.category}]"
        k = "" if self.k is None else f"@{self.k}"
        return f"{self.family}{category}{k}"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one."""
        return self.family in HIGHER_IS_BETTER

    @property
    def per_case(self) -> bool:
        """Whether the value is a mean over cases; the others exist for whole sets of lists."""
        return self.family in PER_CASE


def parse(name: str) -> Metric:
    """Read a metric's name; `parse(metric.name) == metric` for every metric.

    Args:
        name: A name as it is written on a board, e.g. `HR@5` or `GU[drama]@1`.

    Raises:
        BenchError: The name is no metric's; the hint has the nearest one.
    """
    shape = _SHAPE.fullmatch(name)
    if shape is None or shape["family"] not in FAMILIES:
        raise _stranger(name)
    if shape["k"] is not None and not _WHOLE.fullmatch(shape["k"]):
        raise _bad_k(name)
    return Metric(
        family=shape["family"],
        k=None if shape["k"] is None else int(shape["k"]),
        category=shape["category"],
    )


def _bad_k(name: str) -> BenchError:
    return BenchError(
        f"The k of {name!r} is not a whole number from 1.", "Write it in digits, e.g. HR@5."
    )


def _stranger(name: str) -> BenchError:
    """The error for an unknown name; its suggestions keep the k that was asked."""
    k = name.rpartition("@")[2]
    suffix = f"@{k}" if _WHOLE.fullmatch(k) else "@k"
    known = [
        family if family in WITHOUT_K
        else f"GU[category]{suffix}" if family == "GU"
        else f"{family}{suffix}"
        for family in FAMILIES
    ]  # fmt: skip
    # Nearness is judged letter by letter, upper and lower case apart: `ndcg@5` would be far off.
    same = [choice for choice in known if choice.casefold() == name.casefold()]
    return unknown("metric", name, same or known)
