"""Statistics of a block, written into its cells, and the published numbers compared with ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias

from bench.errors import BenchError
from bench.report.cells import clip_interval
from bench.report.table import Block, Row
from bench.results.load import ResultSet
from bench.stats.samples import Sample

StatisticsCache: TypeAlias = MutableMapping[Any, Any]
"""Statistics by what they were computed from; see `kept.StoredStatistics`."""

AVERAGED = "Means over rounds are not tested: values per test case are those of the last round."

Samples: TypeAlias = Mapping[str, Sample | BenchError]


def add_statistics(
    block: Block,
    metrics: Sequence[str],
    results: ResultSet,
    cache: StatisticsCache | None = None,
    *,
    intervals: Collection[str] = (),
) -> Block:
    """Add comparisons with references, ties with the best, gains, and the reproduction of a paper.

    Args:
        block: With values, marks and published numbers.
        metrics: Its columns.
        results: The results behind the block.
        cache: Kept between calls, so that only what changed is tested again.
        intervals: Rows whose means get an interval.
    """
    # Imported here: a report of values does not wait for scipy.
    from bench.report.block_tests import compare_block, estimate_gains, estimate_means
    from bench.report.checks import choose_metric, compare_with_floor, stratify
    from bench.stats.reproduction import reproduce

    def compute(key: tuple[Any, ...], rows: Sequence[Row], function: Any) -> Any:
        return _compute_once((*key, block.fingerprint), rows, function, results, cache)

    tests: dict[tuple[str, str], Any] = {}
    for (reference, members), (column, metric) in product(block.families, enumerate(metrics)):
        # A group that is apart has its reference in another group.
        base = [row for row in block.rows if row.name == reference and row not in members]
        family = [*base, *members]
        ranked = tuple(sorted(row.name for row in members if row.ranked))
        verdicts = compute(
            ("verdicts", metric, reference, ranked),
            [row for row in family if row.cells[column].mean is not None],
            lambda samples, metric=metric, reference=reference, ranked=ranked: compare_block(
                metric, reference=reference, samples=samples, ranked=ranked
            ),
        )
        names = {row.name for row in members}
        tests |= {(name, metric): test for name, test in verdicts.items() if name in names}
    published = {
        (row.name, cell.metric): cell.published.value
        for row in block.rows
        for cell in row.cells
        if cell.published is not None and not row.apart
    }
    reproduction = None
    if published:
        reproduction = compute(
            ("reproduction", tuple(published.items())),
            [row for row in block.rows if row.successful],
            lambda samples: reproduce(
                published, [sample for sample in samples.values() if isinstance(sample, Sample)]
            ),
        )
    rows = tuple(
        _add_tests(row, [tests.get((row.name, metric)) for metric in metrics]) for row in block.rows
    )
    for row in rows:
        if row.gain_name:
            pair = [each for each in rows if each.name in (row.compared_with, row.name)]
            gains = compute(
                ("gains", row.name, row.compared_with, tuple(metrics)),
                [each for each in pair if each.successful],
                lambda samples, row=row: estimate_gains(
                    samples, row.compared_with, row.name, metrics
                ),
            )
            rows = tuple(_add_gains(row, gains) if each is row else each for each in rows)
    for row in rows:
        if row.name in intervals and row.successful:
            means = compute(
                ("means", row.name, tuple(metrics)),
                [row],
                lambda samples, row=row: estimate_means(samples[row.name], metrics),
            )
            rows = tuple(_add_intervals(row, means) if each is row else each for each in rows)
    block = replace(block, rows=rows, reproduction=reproduction)
    main = choose_metric(metrics)
    successful = [row for row in rows if row.successful]
    if main is None or not successful:
        return block
    floor, strata = compute(
        ("checks", main, tuple((row.name, row.ranked, row.floor) for row in rows)),
        successful,
        lambda samples: (
            compare_with_floor(block, main, samples),
            stratify(block, main, samples),
        ),
    )
    return replace(block, floor=floor, strata=strata)


def _add_tests(row: Row, tests: Sequence[Any]) -> Row:
    cells = [
        cell
        if test is None
        else replace(
            cell,
            tied=test.tied and not cell.best,
            comparison=test.comparison,
            refusal=test.refusal,
        )
        for cell, test in zip(row.cells, tests, strict=True)
    ]
    return replace(row, cells=tuple(cells))


def _add_gains(row: Row, gains: Mapping[str, Any]) -> Row:
    cells = []
    for cell in row.cells:
        estimate = gains.get(cell.metric)
        if cell.gain is not None and estimate is not None:
            low, high = estimate.ends or (None, None)
            gain = replace(cell.gain, change=estimate.value, low=low, high=high)
            cell = replace(cell, gain=gain)
        cells.append(cell)
    return replace(row, cells=tuple(cells))


def _add_intervals(row: Row, means: Mapping[str, Any]) -> Row:
    from bench.stats.seed_variance import estimate_over_seeds

    ends = {metric: mean.ends for metric, mean in means.items()}
    if any(len(outcome.rounds) > 1 for outcome in row.successful):  # no values per test case
        values = {cell.metric: [value for _, value in cell.values] for cell in row.cells}
        ends = {
            metric: estimate_over_seeds(seeds).ends for metric, seeds in values.items() if seeds
        }
    clipped = {
        metric: clip_interval(metric, *interval) for metric, interval in ends.items() if interval
    }
    cells = [replace(cell, interval=clipped.get(cell.metric)) for cell in row.cells]
    return replace(row, cells=tuple(cells))


def _compute_once(
    key: tuple[Any, ...],
    rows: Sequence[Row],
    function: Callable[[Samples], Any],
    results: ResultSet,
    cache: StatisticsCache | None,
) -> Any:
    """Apply a function to the samples of rows, or return what it gave for equal files."""
    files = tuple(
        (row.name, outcome.seed, outcome.rounds, outcome.checksums)
        for row in rows
        for outcome in row.successful
    )
    if cache is None or not all(checksums for *_, checksums in files):
        return function(_read_samples(rows, results))
    if (*key, files) not in cache:
        cache[*key, files] = function(_read_samples(rows, results))
    return cache[*key, files]


def _read_samples(rows: Sequence[Row], results: ResultSet) -> Samples:
    """Read the sample of each row, or why there is none."""
    samples: dict[str, Sample | BenchError] = {}
    for row in rows:
        if any(len(outcome.rounds) > 1 for outcome in row.successful):
            samples[row.name] = BenchError(AVERAGED)
            continue
        try:
            samples[row.name] = results.sample(
                row.name, [outcome.trial for outcome in row.successful]
            )
        except BenchError as error:
            samples[row.name] = error
    return samples
