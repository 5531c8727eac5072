"""How numbers, statuses and marks are put into words, the same in every rendering."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.metrics.registry import get_metric
from bench.report.table import Block, BoardTable, Cell, ClaimLine, Completeness, Row
from bench.results.load import Outcome

if TYPE_CHECKING:
    from bench.stats.compare import Comparison

DIGITS = 4
MINUS = "\N{MINUS SIGN}"
NO_VALUE = "–"
UNDATED = "A stage behind it has no recorded version, so nobody can tell whether it is stale."
_ADDRESSES = re.compile(r" \([^()]*https?://[^()]*\)")
_HARBINGERS = re.compile(r"^(needs a stage that failed|not run): ")
STALE, STALE_LEGEND = "‡", "stale, made by another version of a stage"


def number(value: float | None, *, digits: int = DIGITS) -> str:
    """Write a value with four decimals, as the papers do; `0.04127` becomes "0.0413"."""
    return NO_VALUE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, *, digits: int = DIGITS) -> str:
    """Write a difference with its sign."""
    return NO_VALUE if value is None else f"{value:+.{digits}f}".replace("-", MINUS)


def percent(value: float | None) -> str:
    """Write a relative difference; a reference close to 0 makes it huge, so digits shrink."""
    if value is None:
        return NO_VALUE
    digits = 1 if abs(value) < 10 else 0
    return f"{100 * value:+,.{digits}f} %".replace("-", MINUS)


def p_value(p: float | None) -> str:
    """Write a p-value without its leading zero: "<.001", ".012", "1"."""
    if p is None:
        return NO_VALUE
    if p < 0.001:
        return "<.001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def interval(low: float | None, high: float | None, *, digits: int = DIGITS) -> str:
    """Write the ends of an interval in brackets."""
    if low is None or high is None:
        return NO_VALUE
    return f"[{signed(low, digits=digits)}, {signed(high, digits=digits)}]"


def span(low: float | None, high: float | None) -> str:
    """Write the ends of a value's own interval, which needs no signs."""
    return NO_VALUE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def count(number: int, noun: str) -> str:
    """Write a number with its noun: "1 seed", "1,000 test cases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def one_line(text: str, limit: int = 0) -> str:
    """Bring a foreign text into one line without control characters; cut it at `limit` if given."""
    kept = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    line = " ".join(kept.split())
    return line if not limit or len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def brief(reason: str, limit: int = 160) -> str:
    """Shorten a reason to what tells: no addresses in brackets, and no words about other words."""
    line = _ADDRESSES.sub("", one_line(reason))
    return one_line(_HARBINGERS.sub("", line), limit)


def arrow(metric: str) -> str:
    """Point to the better side of a metric."""
    return "↑" if get_metric(metric).higher_is_better else "↓"


def direction(metric: str) -> str:
    """Say which side of a metric is the better one."""
    return "higher is better" if get_metric(metric).higher_is_better else "lower is better"


def standing(cell: Cell) -> str:
    """Say in words what the marks of a cell mean, for those who do not see them."""
    parts = []
    if cell.best:
        parts.append("best")
    if cell.second:
        parts.append("second")
    if cell.tied:
        parts.append("tied with the best")
    if cell.significant and cell.comparison is not None:
        side = "better" if cell.comparison.better else "worse"
        parts.append(f"significantly {side} than {cell.comparison.reference}")
    if cell.stale:
        parts.append("stale")
    return ", ".join(parts)


def seeds_word(row: Row) -> str:
    """Say how many seeds of a row ended well where some did not: "2/3 seeds"."""
    return f"{row.num_ok}/{len(row.outcomes)} seeds" if row.status == "partial" else ""


def cell_seeds(row: Row, cell: Cell) -> str:
    """The same of a cell, where it has other seeds than its row."""
    if cell.mean is None or cell.n_seeds == row.num_ok:
        return ""
    return f"{cell.n_seeds}/{cell.expected_seeds}"


def gap(row: Row) -> tuple[str, str] | None:
    """Return status and reason of a row without any value, told once instead of in each cell."""
    if any(cell.mean is not None for cell in row.cells):
        return None
    told = dict.fromkeys((cell.status, cell.reason) for cell in row.cells)
    if len(told) != 1:
        return None
    status, reason = next(iter(told))
    return ("out of memory" if row.out_of_memory else status), reason


def published(cell: Cell) -> str:
    """Write the paper's number, and how far ours lies from it: "paper .0413 (+0.0012)"."""
    if cell.published is None:
        return ""
    apart = cell.from_published
    near = "" if apart is None else f" ({signed(apart)})"
    return f"paper {number(cell.published.value)}{near}"


def seconds(value: float) -> str:
    """Write a duration: "< 0.1 s", "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if 0 < value < 0.05:
        return "< 0.1 s"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def completeness(done: Completeness) -> str:
    """Say how much of a board is there: "17 of 18 trials (1 failed)"."""
    rest = [
        f"{number:,} {word}"
        for number, word in (
            (done.failed, "failed"),
            (done.skipped, "skipped"),
            (done.not_run, "not run"),
            (done.stale, "stale"),
        )
        if number
    ]
    return f"{done.ok:,} of {count(done.total, 'trial')}" + (
        f" ({', '.join(rest)})" if rest else ""
    )


def why_missing(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Group seeds that have no value, or a stale one: ("failed, seeds 0 and 2", reason)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.stale:
            groups.setdefault(("stale", outcome.stale), []).append(str(outcome.seed))
        elif outcome.status != "ok":
            groups.setdefault((outcome.status, outcome.reason), []).append(str(outcome.seed))
    return [
        (f"{status}, seed{'' if len(seeds) == 1 else 's'} {listed(seeds)}", one_line(reason))
        for (status, reason), seeds in groups.items()
    ]


def any_stale(table: BoardTable) -> bool:
    """Tell whether a board shows a value that is older than the program."""
    return any(row.stale for block in table.datasets for row in block.rows)


def problems(block: Block) -> list[tuple[str, str, str]]:
    """List what a block lacks and why: row, what is missing, reason; equal refusals only once.

    Rows that lack the same for the same reason share a line. Stale values are among it, and those
    of which nobody can tell.
    """
    found = []
    for row in block.rows:
        found += [(row.name, what, why) for what, why in why_missing(row.outcomes)]
        gaps: dict[str, list[str]] = {}
        for cell in row.cells:
            if row.num_ok and cell.n_seeds < row.num_ok:
                gaps.setdefault(cell.reason, []).append(cell.metric)
            elif cell.refusal:
                gaps.setdefault(cell.refusal, []).append(cell.metric)
        found += [(row.name, listed(metrics), one_line(why)) for why, metrics in gaps.items()]
    undated = [row.name for row in block.rows if any(one.undated for one in row.outcomes)]
    together: dict[tuple[str, str], dict[str, None]] = {}
    for name, what, why in found:
        together.setdefault((what, why), {})[name] = None
    lines = [(listed([*names]), what, why) for (what, why), names in together.items()]
    if undated:
        whose = "All rows" if len(undated) == len(block.rows) > 1 else listed(undated)
        lines.append((whose, "age unknown", UNDATED))
    return lines


def verdict(test: Comparison) -> str:
    """Say on which side of the reference a row is, as far as the test can tell."""
    if not test.significant:
        return "undecided"
    return "better" if test.better else "worse"


def summary(tests: Sequence[Comparison]) -> str:
    """Count the verdicts of a family: "2 better, 1 undecided"."""
    words = [verdict(test) for test in tests]
    counts = [(words.count(word), word) for word in ("better", "worse", "undecided")]
    return ", ".join(f"{number} {word}" for number, word in counts if number)


def how_tested(test: Comparison) -> str:
    """Say how p was obtained, over how many units."""
    how = test.test.replace(" ", "-")
    return f"Two-sided {how} randomization over {count(test.num_units, test.unit)}."


def main_metric(table: BoardTable) -> str:
    """Choose the metric for the figure of differences: the first NDCG, or the first of all."""
    chosen = [name for name in table.metrics if get_metric(name).family == "NDCG"]
    return (chosen or list(table.metrics))[0]


def verdict_counts(claims: Sequence[ClaimLine]) -> str:
    """Count our verdicts on claims, the decided ones first: "3 holds, 1 undecided, 20 not run"."""
    words = [line.ours for line in claims]
    order = ("holds", "fails", "undecided", "shown", "not run")
    return ", ".join(f"{words.count(word)} {word}" for word in order if word in words)


def state(table: BoardTable) -> tuple[str, str, str]:
    """Sum a board up for the list of boards: its data sets, number of rows, completeness."""
    rows = {row.name for block in table.datasets for row in block.rows}
    titles = listed([one_line(block.title) for block in table.datasets])
    return titles, str(len(rows)), completeness(table.completeness)
