"""A comparison as a table, as JSON and as one sentence for a paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from bench.report.compare.pairwise import Line, MeanSd, Report
from bench.report.format import (
    arrow,
    count,
    interval,
    listed,
    number,
    p_value,
    percent,
    signed,
    verdict,
)
from bench.stats.compare import NUM_RESAMPLES
from bench.stats.intervals import BY_JACKKNIFE

NO_PROOF = "Undecided is no proof of equality."


def as_text(report: Report) -> str:
    """Write a report for the terminal."""
    where = f" on {report.dataset}" if report.dataset else ""
    notes = "\n".join(f"Note: {note}" for note in report.notes)
    parts = [
        f"{report.a} against {report.b}{where}, {count(report.num_cases, 'test case')}. "
        f"Differences are {report.a} − {report.b}.",
        _tests(report),
        f"p (Holm) is corrected over the family of this table ({count(len(report.lines), 'metric')}"
        f"); intervals are 95 % and not corrected. {NO_PROOF}",
        _seeds(report),
        sentence(report),
        notes,
    ]
    return "\n\n".join(part for part in parts if part)


def as_json(report: Report) -> dict[str, Any]:
    """Write a report as plain values; None where a number does not exist."""
    return {
        "a": report.a,
        "b": report.b,
        "difference": "a - b",
        "dataset": report.dataset or None,
        "num_cases": report.num_cases,
        "family": {
            "correction": "holm",
            "size": len(report.lines),
            "metrics": [line.test.metric for line in report.lines],
        },
        "metrics": {line.test.metric: _line_json(line) for line in report.lines},
        "sentence": sentence(report),
        "notes": list(report.notes),
    }


def sentence(report: Report) -> str:
    """Say what was found, on what and how, in one sentence."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for line in report.lines:
        groups[verdict(line.test)].append(_finding(line))
    words = {
        "better": f"is significantly better than {report.b} in",
        "worse": f"is significantly worse than {report.b} in",
        "undecided": f"does not differ significantly from {report.b} in",
    }
    found = [f"{words[kind]} {listed(texts)}" for kind, texts in groups.items() if texts]
    sizes = f"{count(report.num_cases, 'test case')}{_of_users(report)}; {_num_seeds(report)}"
    opening = f"On {report.dataset} ({sizes})" if report.dataset else f"Over {sizes}"
    return f"{opening}, {report.a} {'; it '.join(found)} ({_method(report)})."


def _of_users(report: Report) -> str:
    # Set-level metrics may run over fewer users, those with known targets.
    users = [line.test.num_units for line in report.lines if line.test.unit == "user"]
    return f" of {count(max(users), 'user')}" if users else ""


def _finding(line: Line) -> str:
    test = line.test
    return (
        f"{test.metric} ({signed(test.difference)}, 95 % CI {interval(test.low, test.high)}, "
        f"p {_equals(test.p_adjusted)})"
    )


def _equals(p: float | None) -> str:
    text = p_value(p)
    return f"{text[0]} {text[1:]}" if text.startswith("<") else f"= {text}"


def _num_seeds(report: Report) -> str:
    mine, theirs = report.lines[0].a[2], report.lines[0].b[2]
    if mine == theirs:
        return count(mine, "seed") + (" each" if mine > 1 else "")
    return f"{count(mine, 'seed')} of {report.a}, {theirs} of {report.b}"


def _method(report: Report) -> str:
    tests = [line.test for line in report.lines]
    kinds = listed(list(dict.fromkeys(test.test.replace(" ", "-") for test in tests)))
    units = listed(list(dict.fromkeys(f"{test.unit}s" for test in tests)))
    size = f" over {count(len(tests), 'metric')}" if len(tests) > 1 else ""
    corrected = f"p-values corrected by Holm{size}" if size else "a single test"
    return (
        f"two-sided {kinds} randomization over {units} at the seeds given, {NUM_RESAMPLES:,} "
        f"resamples, {corrected}, intervals by {listed(_intervals(report.lines))}"
    )


def _intervals(lines: Sequence[Line]) -> list[str]:
    names = {
        "paired t" if line.test.test == "sign-flip"
        else "delete-20 % jackknife" if line.test.metric.split("@")[0] in BY_JACKKNIFE
        else "percentile bootstrap"
        for line in lines
    }  # fmt: skip
    return sorted(names)


def _tests(report: Report) -> str:
    rows = []
    for line in report.lines:
        test = line.test
        rows.append(
            (
                f"{test.metric} {arrow(test.metric)}",
                signed(test.difference),
                interval(test.low, test.high),
                percent(test.relative),
                p_value(test.p),
                p_value(test.p_adjusted),
                number(test.d_z, digits=3),
                f"{test.test}, {count(test.num_units, test.unit)}",
                verdict(test),
            )
        )
    headers = (
        "metric", "difference", "95 % interval", "relative", "p", "p (Holm)", "d_z",
        "test, units", "verdict",
    )  # fmt: skip
    return tabulate(rows, headers=headers, disable_numparse=True)


def _seeds(report: Report) -> str:
    rows = [
        (line.test.metric, _mean_sd(line.a), _mean_sd(line.b), line.between_seeds.text)
        for line in report.lines
    ]
    headers = ("seeds apart", report.a, report.b, "between seeds")
    return tabulate(rows, headers=headers, disable_numparse=True)


def _mean_sd(values: MeanSd) -> str:
    mean, deviation, num = values
    spread = "" if deviation is None else f" ± {number(deviation)}"
    return f"{number(mean)}{spread} ({count(num, 'seed')})"


def _line_json(line: Line) -> dict[str, Any]:
    content = dataclasses.asdict(line.test)
    for name in ("metric", "reference", "other"):
        del content[name]
    content["significant"] = line.test.significant
    content["verdict"] = verdict(line.test)
    content["seeds"] = {
        side: {"mean": mean, "sd": deviation, "n": num}
        for side, (mean, deviation, num) in (("a", line.a), ("b", line.b))
    }
    content["seeds"]["test"] = dataclasses.asdict(line.between_seeds)
    return content
