"""Checks of a board's evaluation: metrics per stratum of the test cases, and the floor."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.data.case_strata import DEFINITIONS, STRATA
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.cells import clip_interval
from bench.report.format import format_count, format_interval, format_p, format_signed, format_value
from bench.report.table import Block, FloorVerdict, Interval, Lead, Row, Stratification
from bench.stats.compare import compare_with_reference
from bench.stats.contrasts import DIFFERENCE, AlignedSamples, Estimate
from bench.stats.corrections import ALPHA
from bench.stats.samples import Sample

MIN_CASES = 10
"""Strata with fewer test cases are left out of tests."""

CERTAINTY = {"undecided": ", but not significantly", "not tested": ", which could not be tested"}


def stratify(
    block: Block, metric: str, samples: Mapping[str, Sample | BenchError]
) -> tuple[Stratification, ...]:
    """Compute a mean over cases per stratum, by kinds that divide the cases into two or more."""
    tables = []
    for kind in STRATA:
        usable = {
            name: sample
            for name, sample in samples.items()
            if isinstance(sample, Sample) and metric in sample.values and kind in sample.strata
        }
        table = _stratify_by(kind, block, metric, usable)
        tables += [table] if table else []
    return tuple(tables)


def _stratify_by(
    kind: str, block: Block, metric: str, samples: Mapping[str, Sample]
) -> Stratification | None:
    parts: dict[str, dict[str, Sample]] = {}
    for label in STRATA[kind]:
        for name, sample in samples.items():
            cases = np.flatnonzero(sample.strata[kind] == label)
            if len(cases):
                parts.setdefault(label, {})[name] = sample.select_cases(cases)
    if len(parts) < 2:
        return None
    return Stratification(
        kind=kind,
        definition=DEFINITIONS[kind],
        metric=metric,
        counts={label: len(next(iter(part.values())).cases) for label, part in parts.items()},
        rows=tuple(
            (name, tuple(_estimate_value(part[name], metric) for part in parts.values()))
            for name in samples
        ),
        reversals=_find_reversals(block, metric, samples, parts),
    )


def _find_reversals(
    block: Block,
    metric: str,
    samples: Mapping[str, Sample],
    parts: Mapping[str, Mapping[str, Sample]],
) -> tuple[str, ...]:
    """Name rows that beat the best row in a stratum (Bonferroni), or in all strata (Simpson)."""
    best = _find_best([row for row in block.rows if row.ranked and row.name in samples], metric)
    if best is None:
        return ()
    sign = 1 if get_metric(metric).higher_is_better else -1
    others = [name for name in samples if name != best.name]
    tested = [label for label, part in parts.items() if len(part[best.name].cases) >= MIN_CASES]
    num_tests, sentences = len(others) * len(tested), []
    for other in others:
        overall = _estimate([samples[best.name], samples[other]], metric)
        if sign * overall.value >= 0:
            continue
        changes = {
            label: _estimate([part[best.name], part[other]], metric)
            for label, part in parts.items()
        }
        if all(sign * change.value > 0 for change in changes.values()):
            sentences.append(
                f"{best.name} is better than {other} over all cases, but worse in every stratum "
                "(Simpson's paradox)."
            )
        for label in tested:
            change = changes[label]
            p = _correct(change, num_tests)
            if sign * change.value > 0 and p is not None and p <= ALPHA:
                sentences.append(
                    f"{best.name} has the best {metric} over all cases, but {other} is better on "
                    f"the {label} ones: {_describe(change)}, or {format_p(p)} after Bonferroni "
                    f"over {num_tests} tests."
                )
    return tuple(sentences)


def find_lead(block: Block, metric: str, samples: Mapping[str, Sample | BenchError]) -> Lead:
    """Find the best ranked row, and compare it with the other ranked rows and with the floor.

    Args:
        block: With values.
        metric: A mean over cases.
        samples: Per-case results by row.
    """
    readable = {name: each for name, each in samples.items() if isinstance(each, Sample)}
    ranked = [row for row in block.rows if row.ranked and row.name in readable]
    best = _find_best(ranked, metric)
    lead = _compare_with_floor(block, metric, best, readable)
    if best is None:
        return lead
    lead = replace(lead, row=best.name, mean=best.cell(metric).mean)
    rivals = [readable[row.name] for row in ranked if row.name != best.name]
    if lead.without_hit or not rivals:
        return replace(lead, num_others=len(rivals))
    tests = []
    with contextlib.suppress(BenchError):  # rows on other test cases
        tests = compare_with_reference(readable[best.name], rivals, metric)
    return replace(
        lead,
        num_others=len(rivals),
        num_tested=sum(test.question == "methods" for test in tests),
        num_beaten=sum(test.significant for test in tests),
        decisive=_count_decisive_users([readable[best.name], *rivals], metric),
    )


def _compare_with_floor(
    block: Block, metric: str, best: Row | None, samples: Mapping[str, Sample]
) -> Lead:
    """Say in one sentence whether the best ranked row beats the best row of the floor."""
    floors = [row for row in block.rows if row.floor]
    if not floors:
        text = (
            "No row of this board is a floor (bench run --floor itemknn adds one), so nothing "
            "shows whether its rows beat item-ID models on all training rows."
        )
        return Lead(metric=metric, floor="no floor", floor_text=text)
    floor = _find_best([row for row in floors if row.name in samples], metric)
    if best is None or floor is None:
        text = "The floor cannot be compared yet: one side has no result."
        return Lead(metric=metric, floor="no result", floor_text=text)
    lead = Lead(
        metric=metric,
        mean=best.cell(metric).mean,
        floor="not tested",
        floor_row=floor.name,
        floor_mean=floor.cell(metric).mean,
        floor_text="",
    )
    pair = [samples[floor.name], samples[best.name]]
    try:
        change = _estimate(pair, metric)
    except BenchError as error:
        text = f"{best.name} cannot be compared with the floor: {error.message}"
        return replace(lead, floor_text=text)
    is_better = (change.value > 0) == get_metric(metric).higher_is_better
    # Of the rows on the better side, the best was chosen.
    tested = [row.name for row in block.rows if (row.ranked if is_better else row.floor)]
    p = _correct(change, len(tested))
    corrected = f", or {format_p(p)} after Bonferroni over {len(tested)} rows"
    side: FloorVerdict = "undecided"
    if p is None:
        side = "not tested"
    elif p <= ALPHA:
        side = "above" if is_better else "below"
    values = [format_value(row.cell(metric).mean) for row in (best, floor)]
    subject = f"{best.name}, the best ranked row ({metric} {values[0]}),"
    position = "above" if is_better else "below" if change.value else "level with"
    verb = f"is {'significantly ' * (side in ('above', 'below'))}{position} the floor,"
    if lead.without_hit:
        subject, verb = f"No ranked row has a hit ({metric} {values[0]});", "the floor is"
    text = (
        f"{subject} {verb} {floor.name} on all training rows ({values[1]})"
        f"{CERTAINTY.get(side, '')}: "
        + _describe(change).rstrip(".")
        + (f"{corrected}." if p and len(tested) > 1 else ".")
    )
    return replace(lead, floor=side, floor_text=text)


def _count_decisive_users(samples: Sequence[Sample], metric: str) -> str | None:
    """Say how few users decide that the first row is the best; "" if none do."""
    try:
        aligned = AlignedSamples.align(samples, metric)
    except BenchError:
        return None
    counts = {
        sample.name: count
        for index, sample in enumerate(samples[1:], start=1)
        if (count := aligned.count_decisive_units(index)) is not None
    }
    if not counts:
        return ""
    rival = min(counts, key=lambda name: counts[name])
    num, total = counts[rival], aligned.units.num
    users = f"{format_count(num, aligned.units.kind)} of {total:,} ({100 * num / total:.1f} %)"
    return f"without {users}, {rival} would have it"


def _find_best(rows: Sequence[Row], metric: str) -> Row | None:
    sign = 1 if get_metric(metric).higher_is_better else -1
    means = [(sign * mean, row) for row in rows if (mean := row.cell(metric).mean) is not None]
    return max(means, key=lambda pair: pair[0])[1] if means else None


def _estimate(
    samples: Sequence[Sample], metric: str, coefficients: Sequence[int] = DIFFERENCE
) -> Estimate:
    return AlignedSamples.align(samples, metric).estimate(coefficients)


def _estimate_value(sample: Sample, metric: str) -> Interval:
    """Estimate a value; its interval ends where the metric does."""
    mean = _estimate([sample], metric, (1,))
    ends = clip_interval(metric, *mean.ends) if mean.ends else (None, None)
    return Interval(mean.value, *ends)


def _correct(change: Estimate, num_tests: int) -> float | None:
    """Return the p of a difference after Bonferroni; None without one."""
    return None if change.answer is None else min(1.0, change.answer.p * num_tests)


def _describe(change: Estimate) -> str:
    if change.answer is None:
        return f"{format_signed(change.value)}. {change.refusal}"
    over = "over users and seeds" if change.methods else "over users, for these models"
    interval = format_interval(change.answer.low, change.answer.high)
    p = format_p(change.answer.p)
    return (
        f"{format_signed(change.value)}, 95 % interval {interval} {over}, "
        f"p {p if p.startswith('<') else f'= {p}'}"
    )
