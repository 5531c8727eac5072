"""Statistics of a block, written into its cells, and the published numbers compared with ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.block_tests import RowTest, compare_block, estimate_gains, estimate_means
from bench.report.cells import clip_interval
from bench.report.checks import find_lead, stratify
from bench.report.format import choose_main_metric
from bench.report.table import Block, Cell, Row
from bench.results.load import ResultSet
from bench.stats.contrasts import Estimate
from bench.stats.reproduction import reproduce
from bench.stats.samples import Sample
from bench.stats.seed_variance import estimate_over_seeds

StatisticsCache: TypeAlias = MutableMapping[Any, Any]
"""Statistics by what they were computed from; see `stats_cache.StoredStatistics`."""

AVERAGED = "Means over rounds are not tested: values per test case are those of the last round."

Samples: TypeAlias = Mapping[str, Sample | BenchError]
Compute: TypeAlias = Callable[[tuple[Any, ...], Sequence[Row], Callable[[Samples], Any]], Any]
"""Applies a function to the samples of rows, or returns what the key's question gave before."""


def add_statistics(
    block: Block,
    metrics: Sequence[str],
    results: ResultSet,
    cache: StatisticsCache | None = None,
    *,
    intervals: Collection[str] = (),
    bounds: Mapping[str, float] | None = None,
) -> Block:
    """Add comparisons with references, ties with the best, gains, and the reproduction of a paper.

    Args:
        block: With values, marks and published numbers.
        metrics: Its columns.
        results: The results behind the block.
        cache: Kept between calls, so that only what changed is tested again.
        intervals: Rows whose means get an interval.
        bounds: By metric, up to which difference rows count as equivalent.
    """

    def compute(key: tuple[Any, ...], rows: Sequence[Row], function: Any) -> Any:
        return _compute_once((*key, block.fingerprint), rows, function, results, cache)

    tests = _test_families(block, metrics, bounds or {}, compute)
    with_best = {
        (row.name, metric)
        for _, members in block.families
        for column, metric in enumerate(metrics)
        if any(row.cells[column].best for row in members)
        for row in members
    }
    rows = []
    for row in block.rows:
        gains = _estimate_gains(block, row, metrics, compute)
        ends = _find_ends(row, metrics, compute) if row.name in intervals and row.successful else {}
        cells = [
            replace(
                _add_test(
                    _add_gain(cell, gains),
                    tests.get((row.name, cell.metric)),
                    has_best=(row.name, cell.metric) in with_best,
                ),
                interval=(each := ends.get(cell.metric)) and clip_interval(cell.metric, *each),
            )
            for cell in row.cells
        ]
        rows.append(replace(row, cells=tuple(cells)))
    block = replace(block, rows=tuple(rows), reproduction=_reproduce(block, compute))
    main = choose_main_metric(metrics)
    successful = [row for row in rows if row.successful]
    if not get_metric(main).per_case or not successful:
        return block
    lead, strata = compute(
        ("checks", main, tuple((row.name, row.ranked, row.floor) for row in rows)),
        successful,
        lambda samples: (find_lead(block, main, samples), stratify(block, main, samples)),
    )
    return replace(block, lead=lead, strata=strata)


def _test_families(
    block: Block, metrics: Sequence[str], bounds: Mapping[str, float], compute: Compute
) -> dict[tuple[str, str], RowTest]:
    """Test every row against its reference, by row and metric."""
    tests: dict[tuple[str, str], RowTest] = {}
    for (reference, members), (column, metric) in product(block.families, enumerate(metrics)):
        # A group that is apart has its reference in another group.
        base = [row for row in block.rows if row.name == reference and row not in members]
        ranked = tuple(sorted(row.name for row in members if row.ranked))
        verdicts = compute(
            ("verdicts", metric, reference, ranked, bounds.get(metric)),
            [row for row in (*base, *members) if row.cells[column].mean is not None],
            partial(
                compare_block,
                metric,
                reference=reference,
                ranked=ranked,
                bound=bounds.get(metric),
            ),
        )
        names = {row.name for row in members}
        tests |= {(name, metric): test for name, test in verdicts.items() if name in names}
    return tests


def _reproduce(block: Block, compute: Compute) -> Any:
    """Compare with the paper's numbers; None where it prints none."""
    published = {
        (row.name, cell.metric): cell.published.value
        for row in block.rows
        for cell in row.cells
        if cell.published is not None and not row.apart
    }
    if not published:
        return None
    return compute(
        ("reproduction", tuple(published.items())),
        [row for row in block.rows if row.successful],
        lambda samples: reproduce(
            published, [sample for sample in samples.values() if isinstance(sample, Sample)]
        ),
    )


def _estimate_gains(
    block: Block, row: Row, metrics: Sequence[str], compute: Compute
) -> Mapping[str, Estimate]:
    """Estimate the relative changes that a row shows, by metric."""
    if not row.gain_name:
        return {}
    pair = [each for each in block.rows if each.name in (row.compared_with, row.name)]
    gains: Mapping[str, Estimate] = compute(
        ("gains", row.name, row.compared_with, tuple(metrics)),
        [each for each in pair if each.successful],
        lambda samples: estimate_gains(samples, row.compared_with, row.name, metrics),
    )
    return gains


def _find_ends(
    row: Row, metrics: Sequence[str], compute: Compute
) -> Mapping[str, tuple[float, float] | None]:
    """Estimate the intervals of a row's means; means over rounds vary between seeds only."""
    if any(len(outcome.rounds) > 1 for outcome in row.successful):
        values = {cell.metric: [value for _, value in cell.values] for cell in row.cells}
        return {
            metric: estimate_over_seeds(seeds).ends for metric, seeds in values.items() if seeds
        }
    means = compute(
        ("means", row.name, tuple(metrics)),
        [row],
        lambda samples: estimate_means(samples[row.name], metrics),
    )
    return {metric: mean.ends for metric, mean in means.items()}


def _add_test(cell: Cell, test: RowTest | None, *, has_best: bool) -> Cell:
    if test is None:
        return cell
    tied = test.tied and has_best and not cell.best
    return replace(cell, tied=tied, comparison=test.comparison, refusal=test.refusal)


def _add_gain(cell: Cell, gains: Mapping[str, Estimate]) -> Cell:
    estimate = gains.get(cell.metric)
    if cell.gain is None or estimate is None:
        return cell
    low, high = estimate.ends or (None, None)
    return replace(cell, gain=replace(cell.gain, change=estimate.value, low=low, high=high))


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
