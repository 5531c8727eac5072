"""Statistics of a block, written into its cells, and the published numbers compared with ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
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
    statistics = _Statistics(block=block, metrics=metrics, results=results, cache=cache)
    tests = statistics.test_families(bounds or {})
    with_best = {
        (row.name, metric)
        for _, members in block.families
        for column, metric in enumerate(metrics)
        if any(row.cells[column].best for row in members)
        for row in members
    }
    rows = []
    for row in block.rows:
        gains = statistics.estimate_gains(row)
        ends = statistics.find_ends(row) if row.name in intervals and row.successful else {}
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
    block = replace(block, rows=tuple(rows), reproduction=statistics.reproduce())
    main = choose_main_metric(metrics)
    successful = [row for row in rows if row.successful]
    if not get_metric(main).per_case or not successful:
        return block
    lead, strata = statistics.compute(
        ("checks", main, tuple((row.name, row.ranked, row.floor) for row in rows)),
        successful,
        lambda samples: (find_lead(block, main, samples), stratify(block, main, samples)),
    )
    return replace(block, lead=lead, strata=strata)


@dataclass(frozen=True, kw_only=True)
class _Statistics:
    """Statistics of the rows of a block, read from the cache where it has them."""

    block: Block
    metrics: Sequence[str]
    results: ResultSet
    cache: StatisticsCache | None

    def compute(
        self, question: tuple[Any, ...], rows: Sequence[Row], function: Callable[[Samples], Any]
    ) -> Any:
        """Apply a function to the samples of rows, or return what it gave for equal files."""
        files = tuple(
            (row.name, outcome.seed, outcome.rounds, outcome.checksums)
            for row in rows
            for outcome in row.successful
        )
        key = (*question, self.block.fingerprint, files)
        has_checksums = all(checksums for *_, checksums in files)
        cache = self.cache if self.cache is not None and has_checksums else {}
        if key not in cache:
            cache[key] = function({row.name: self._read_sample(row) for row in rows})
        return cache[key]

    def _read_sample(self, row: Row) -> Sample | BenchError:
        """Read the sample of a row, or why there is none."""
        if any(len(outcome.rounds) > 1 for outcome in row.successful):
            return BenchError(AVERAGED)
        try:
            return self.results.sample(row.name, [outcome.trial for outcome in row.successful])
        except BenchError as error:
            return error

    def test_families(self, bounds: Mapping[str, float]) -> dict[tuple[str, str], RowTest]:
        """Test every row against its reference, by row and metric."""
        tests: dict[tuple[str, str], RowTest] = {}
        columns = enumerate(self.metrics)
        for (reference, members), (column, metric) in product(self.block.families, columns):
            # A group that is apart has its reference in another group.
            base = [r for r in self.block.rows if r.name == reference and r not in members]
            ranked = tuple(sorted(row.name for row in members if row.ranked))
            bound = bounds.get(metric)
            verdicts = self.compute(
                ("verdicts", metric, reference, ranked, bound),
                [row for row in (*base, *members) if row.cells[column].mean is not None],
                partial(compare_block, metric, reference=reference, ranked=ranked, bound=bound),
            )
            names = {row.name for row in members}
            tests |= {(name, metric): test for name, test in verdicts.items() if name in names}
        return tests

    def reproduce(self) -> Any:
        """Compare with the paper's numbers; None where it prints none."""
        published = {
            (row.name, cell.metric): cell.published.value
            for row in self.block.rows
            for cell in row.cells
            if cell.published is not None and not row.apart
        }
        if not published:
            return None
        return self.compute(
            ("reproduction", tuple(published.items())),
            [row for row in self.block.rows if row.successful],
            lambda samples: reproduce(
                published, [sample for sample in samples.values() if isinstance(sample, Sample)]
            ),
        )

    def estimate_gains(self, row: Row) -> Mapping[str, Estimate]:
        """Estimate the relative changes that a row shows, by metric."""
        if not row.gain_name:
            return {}
        pair = [each for each in self.block.rows if each.name in (row.compared_with, row.name)]
        gains: Mapping[str, Estimate] = self.compute(
            ("gains", row.name, row.compared_with, tuple(self.metrics)),
            [each for each in pair if each.successful],
            lambda samples: estimate_gains(samples, row.compared_with, row.name, self.metrics),
        )
        return gains

    def find_ends(self, row: Row) -> Mapping[str, tuple[float, float] | None]:
        """Estimate the intervals of a row's means; means over rounds vary between seeds only."""
        if any(len(outcome.rounds) > 1 for outcome in row.successful):
            values = {cell.metric: [value for _, value in cell.values] for cell in row.cells}
            return {
                metric: estimate_over_seeds(seeds).ends for metric, seeds in values.items() if seeds
            }
        means = self.compute(
            ("means", row.name, tuple(self.metrics)),
            [row],
            lambda samples: estimate_means(samples[row.name], self.metrics),
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
