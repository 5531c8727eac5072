"""How numbers, statuses and marks are written, the same in every rendering."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import get_args

from bench.metrics.registry import get_metric
from bench.models.progress import format_seconds as format_seconds
from bench.report.claims.verdict import ReproducedVerdict
from bench.report.table import (
    Block,
    Cell,
    ClaimLine,
    Completeness,
    Gain,
    Row,
    Stratification,
)
from bench.results.outcomes import Outcome
from bench.stats.compare import Comparison
from bench.stats.corrections import ALPHA
from bench.stats.descriptions import QUESTIONS, SIGNIFICANT, join_words

DIGITS = 4
MAX_DIGITS = 30  # an end of 1e-12 may be one rounding error from 0
MINUS = "\N{MINUS SIGN}"
NO_VALUE = "–"
STALE, STALE_LEGEND = "‡", "stale, made by another version of a stage"
VERSION_UNKNOWN = (
    "These results predate version tracking and may not match the current code."
)  # fmt: skip
PUBLISHED_VERDICTS = {"figure": "only plotted", "run": "not printed"}
_URLS = re.compile(r" \([^()]*https?://[^()]*\)")
_PREFIXES = re.compile(r"^(needs a stage that failed|not run): ")


def format_value(value: float | None, *, digits: int = DIGITS) -> str:
    """Write a value with four decimals, as the papers do; `0.04127` becomes "0.0413"."""
    return NO_VALUE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def format_signed(value: float | None, *, digits: int = DIGITS) -> str:
    """Write a difference with its sign."""
    return NO_VALUE if value is None else f"{value:+.{digits}f}".replace("-", MINUS)


def format_percent(value: float | None) -> str:
    """Write a relative difference; a reference close to 0 makes it huge, so digits shrink."""
    if value is None:
        return NO_VALUE
    digits = 1 if abs(value) < 10 else 0
    return f"{100 * value:+,.{digits}f} %".replace("-", MINUS)


def format_p(p: float | None) -> str:
    """Write a p-value without its leading zero: "<.001", ".012", "1".

    One just above .05 gets the digits that show it: ".0503".
    """
    if p is None:
        return NO_VALUE
    if p < 0.001:
        return "<.001"
    if p >= 0.9995:
        return "1"
    digits = next(digits for digits in range(3, 20) if p <= ALPHA or round(p, digits) > ALPHA)
    return f"{p:.{digits}f}".removeprefix("0")


def format_interval(low: float | None, high: float | None, *, digits: int = DIGITS) -> str:
    """Write the interval of a difference, with signs; an end close to 0 gets more digits."""
    if low is None or high is None:
        return NO_VALUE
    nearest = min(abs(low), abs(high))
    while digits < MAX_DIGITS and 0 < nearest < 0.5 * 10**-digits:
        digits += 1
    return f"[{format_signed(low, digits=digits)}, {format_signed(high, digits=digits)}]"


def format_range(low: float | None, high: float | None) -> str:
    """Write the interval of a value, without signs."""
    if low is None or high is None:
        return NO_VALUE
    return f"[{format_value(low)}, {format_value(high)}]"


def format_count(number: int, noun: str) -> str:
    """Write a number with its noun: "1 seed", "1,000 test cases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_catalog(num_items: int, num_ids: int | None) -> str:
    """Write the size of a catalog: "40 items", or "38 titles of 40 items" if some share a title."""
    if num_ids in (None, num_items):
        return format_count(num_items, "item")
    return f"{format_count(num_items, 'title')} of {format_count(num_ids or 0, 'item')}"


def single_line(text: str, limit: int = 0) -> str:
    """Put a foreign text on one line without control characters; cut it at `limit` if given."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    line = " ".join(visible.split())
    return line if not limit or len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def shorten_reason(reason: str, limit: int = 160) -> str:
    """Shorten an error reason: drop URLs in parentheses and prefixes such as "not run: "."""
    line = _URLS.sub("", single_line(reason))
    return single_line(_PREFIXES.sub("", line), limit)


def direction_arrow(metric: str) -> str:
    """Return an arrow to the better side of a metric."""
    return "↑" if get_metric(metric).higher_is_better else "↓"


def describe_direction(metric: str) -> str:
    """Say which side of a metric is the better one."""
    return "higher is better" if get_metric(metric).higher_is_better else "lower is better"


def describe_marks(cell: Cell) -> str:
    """Spell out the marks of a cell, for screen readers and details."""
    parts = []
    if cell.best:
        parts.append("best")
    if cell.second:
        parts.append("second")
    if cell.tied:
        parts.append("not significantly different from the best")
    if cell.significant and cell.comparison is not None:
        side = "better" if cell.comparison.better else "worse"
        parts.append(f"significantly {side} than {cell.comparison.reference}")
    if cell.comparison is not None and cell.comparison.equivalent:
        parts.append(f"equivalent to {cell.comparison.reference}")
    if cell.stale:
        parts.append("stale")
    return ", ".join(parts)


def mark_significance(test: Comparison | None) -> str:
    """Return † for a significantly better row, †− for a significantly worse one."""
    return "" if test is None or not test.significant else "†" if test.better else "†−"


def describe_significance(reference: str) -> str:
    """Say what † and †− mean, for a legend."""
    return f"significantly better than {reference}; †−: worse ({SIGNIFICANT})"


def name_family(rows: Sequence[Row]) -> str:
    """Return ", " and the heading of the rows' group if they are tested apart from all others."""
    return f", {single_line(rows[0].group)}" if rows[0].apart else ""


def mark_symbols(cell: Cell) -> str:
    """Return the marks after a value: † better, †− worse, ≡ equivalent, ≈ tied, ‡ stale."""
    equivalent = cell.comparison is not None and cell.comparison.equivalent
    marks = (
        mark_significance(cell.comparison),
        "≡" if equivalent else "",
        "≈" if cell.tied else "",
    )
    return "".join(marks) + (STALE if cell.stale else "")


def row_notes(row: Row) -> list[str]:
    """List what a reader must know about a row: reference, not ranked, pretrained, seeds."""
    notes = ["reference" if row.reference else "", "" if row.ranked else "not ranked"]
    notes.append("pretrained on other text" if row.external else "")
    return [note for note in (*notes, row_seeds(row)) if note]


def row_seeds(row: Row) -> str:
    """Say how many seeds of a row succeeded where some did not: "2/3 seeds"."""
    if row.status != "partial":
        return ""
    return f"{len(row.successful)}/{len(row.outcomes)} seeds"


def cell_seeds(row: Row, cell: Cell) -> str:
    """Say the same of a cell, where it has other seeds than its row: "1/3"."""
    if cell.mean is None or cell.num_seeds == len(row.successful):
        return ""
    return f"{cell.num_seeds}/{cell.expected_seeds}"


def missing_row(row: Row) -> tuple[str, str] | None:
    """Return status and reason of a row without any value, said once instead of in each cell."""
    if any(cell.mean is not None for cell in row.cells):
        return None
    reasons = dict.fromkeys((cell.status, cell.reason) for cell in row.cells)
    if len(reasons) != 1:
        return None
    status, reason = next(iter(reasons))
    return ("out of memory" if row.out_of_memory else status), reason


def format_published(cell: Cell) -> str:
    """Write the paper's number and our difference from it: "paper 0.0413 (+0.0012)"."""
    if cell.published is None:
        return ""
    difference = cell.difference_from_published
    text = f"paper {format_value(cell.published.value)}"
    return text if difference is None else f"{text} ({format_signed(difference)})"


def format_gain(gain: Gain) -> str:
    """Write a relative change, with its interval if it has one: "+41.3 % [+30.0, +52.1] %"."""
    interval = format_percent_interval(gain.low, gain.high)
    return f"{format_percent(gain.change)} {interval}".strip()


def format_percent_interval(low: float | None, high: float | None) -> str:
    """Write the interval of a relative change: "[+30.0, +52.1] %"; "" without one."""
    if low is None or high is None:
        return ""
    return f"{format_interval(100 * low, 100 * high, digits=1)} %"


def format_published_gain(gain: Gain) -> str:
    """Write the paper's relative change: "paper +41.3 %", or "" where it prints none."""
    if gain.published is None:
        return ""
    return f"paper {format_percent(gain.published.value / 100)}"


def format_completeness(counts: Completeness) -> str:
    """Say how many trials of a board have results: "17 of 18 trials (1 failed)"."""
    names = ("failed", "skipped", "not_run", "stale")
    others = [
        f"{number:,} {name.replace('_', ' ')}"
        for name in names
        if (number := getattr(counts, name))
    ]
    text = f"{counts.ok:,} of {format_count(counts.total, 'trial')}"
    return f"{text} ({', '.join(others)})" if others else text


def group_missing(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Group seeds without a value or with a stale one: ("failed, seeds 0 and 2", reason)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.stale:
            groups.setdefault(("stale", outcome.stale), []).append(str(outcome.seed))
        elif outcome.status != "ok":
            groups.setdefault((outcome.status, outcome.reason), []).append(str(outcome.seed))
    return [
        (f"{status}, seed{'' if len(seeds) == 1 else 's'} {join_words(seeds)}", single_line(reason))
        for (status, reason), seeds in groups.items()
    ]


def list_problems(block: Block) -> list[tuple[str, str, str]]:
    """List what a block lacks: rows, what is missing, reason; stale values are included.

    Rows that lack the same for the same reason share an entry.
    """
    problems = []
    for row in block.rows:
        problems += [(row.name, what, why) for what, why in group_missing(row.outcomes)]
        reasons: dict[str, list[str]] = {}
        for cell in row.cells:
            if row.successful and cell.num_seeds < len(row.successful):
                reasons.setdefault(cell.reason, []).append(cell.metric)
            elif cell.refusal:
                reasons.setdefault(cell.refusal, []).append(cell.metric)
        problems += [
            (row.name, join_words(metrics), single_line(why)) for why, metrics in reasons.items()
        ]
    rows_of: dict[tuple[str, str], dict[str, None]] = {}
    for name, what, why in problems:
        rows_of.setdefault((what, why), {})[name] = None
    entries = [(join_words([*names]), what, why) for (what, why), names in rows_of.items()]
    unknown = [
        row.name for row in block.rows if any(outcome.version_unknown for outcome in row.outcomes)
    ]
    if unknown:
        names = "All rows" if len(unknown) == len(block.rows) > 1 else join_words(unknown)
        entries.append((names, "version unknown", VERSION_UNKNOWN))
    return entries


def comparison_verdict(test: Comparison) -> str:
    """Say on which side of the reference a row is, as far as the test can tell."""
    if not test.significant:
        return "undecided"
    return "better" if test.better else "worse"


def count_words(words: Sequence[str], order: Sequence[str]) -> str:
    """Count words in a fixed order: "2 better, 1 undecided"."""
    return ", ".join(f"{words.count(word)} {word}" for word in order if word in words)


def count_tests(tests: Sequence[Comparison]) -> str:
    """Count the verdicts of a family: "2 better, 1 undecided"."""
    return count_words(
        [comparison_verdict(test) for test in tests], ("better", "worse", "undecided")
    )


def count_claims(claims: Sequence[ClaimLine]) -> str:
    """Count our verdicts on claims: "3 holds, 1 undecided, 20 not run"."""
    verdicts = [line.verdict for line in claims]
    return count_words(verdicts, get_args(ReproducedVerdict))


def published_verdict(claim: ClaimLine) -> str:
    """Write a claim's verdict in the paper's numbers: "partly (6 of 8)", "only plotted"."""
    verdict = PUBLISHED_VERDICTS.get(claim.published_verdict, claim.published_verdict)
    return f"{verdict} ({claim.published_count})" if claim.published_count else verdict


def describe_test(test: Comparison) -> str:
    """Say which question was answered, over how many units and training runs."""
    about = QUESTIONS[test.question] if test.question else "not tested"
    runs = " and ".join(f"{number}" for number in test.num_seeds)
    units = format_count(test.num_units, test.unit)
    return f"{about.capitalize()} ({units}; {runs} training runs)."


def format_models(test: Comparison) -> str:
    """Write the answer about the trained models: interval and p over users alone."""
    if test.models is None:
        return NO_VALUE
    return f"{format_interval(test.models.low, test.models.high)}, p {format_p(test.models.p)}"


def format_equivalence(test: Comparison) -> str:
    """Write the test of equivalence: "within ±0.005: p .012 (Holm: .024)"."""
    if test.p_equivalent is None:
        return NO_VALUE
    return (
        f"within ±{test.bound:g}: p {format_p(test.p_equivalent)} "
        f"(Holm: {format_p(test.p_equivalent_adjusted)})"
    )


def format_strata(table: Stratification) -> list[list[str]]:
    """Format a stratification: a line of headings with numbers of cases, then one per row."""
    heads = [f"{label} ({format_count(num, 'case')})" for label, num in table.counts.items()]
    lines = [[table.metric, *heads]]
    for name, intervals in table.rows:
        texts = [[format_value(number) for number in interval] for interval in intervals]
        lines.append([single_line(name), *(f"{v} [{low}, {high}]" for v, low, high in texts)])
    return lines


def choose_main_metric(metrics: Sequence[str]) -> str:
    """Choose the metric of figures and checks: the first NDCG, else the first mean over cases."""
    ndcg = [name for name in metrics if get_metric(name).family == "NDCG"]
    return next(iter((*ndcg, *(name for name in metrics if get_metric(name).per_case), *metrics)))


def format_mean(mean: float | None, deviation: float | None) -> str:
    """Write a mean over seeds with its standard deviation, if it has one: "0.0413 ± 0.0012"."""
    return format_value(mean) + ("" if deviation is None else f" ± {format_value(deviation)}")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0]
