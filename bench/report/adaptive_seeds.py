"""More seeds until every row is decided: within a bound of its reference, or beyond it.

A look is a run with some number of seeds. Looking K times tests K times, so each look has the level
.05 / K per row (Bonferroni): the chance of a wrong decision at any look is at most .05 per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.format import single_line
from bench.report.table import BoardTable
from bench.stats.corrections import ALPHA

GROWTH = 1.5
MAX_SEEDS = 10


def list_looks(first: int, max_seeds: int) -> list[int]:
    """List the numbers of seeds to look at: each half as many again, up to the maximum."""
    looks = [first]
    while looks[-1] < max_seeds:
        looks.append(min(max_seeds, max(looks[-1] + 1, int(GROWTH * looks[-1]))))
    return looks


def decide(p_equivalent: float | None, num_looks: int) -> bool | None:
    """Decide by the p of equivalence, at one of several looks; None if neither side is shown."""
    if p_equivalent is None:
        return None
    level = ALPHA / num_looks
    return True if p_equivalent <= level else False if 1 - p_equivalent <= level else None


def decide_rows(tables: Sequence[BoardTable], num_looks: int) -> Iterator[tuple[str, bool | None]]:
    """Decide every row that was tested for equivalence; each with its sentence."""
    for table in tables:
        for block in table.datasets:
            for row in block.rows:
                for test in row.comparisons:
                    if test.bound is None or test.question != "methods":
                        continue
                    within = decide(test.p_equivalent, num_looks)
                    verdict = {True: "less than", False: "more than", None: "less or more than"}
                    yield (
                        f"{single_line(row.name)} on {block.title}: {test.metric} differs from "
                        f"that of {single_line(test.reference)} by {verdict[within]} "
                        f"{test.bound:g}{' (undecided)' if within is None else ''}.",
                        within,
                    )
