"""Results of a folder, loaded once: every report reads a `ResultSet`, never the files.

Only results on equal data are compared. Data are equal when their fingerprints are: another edition
of one raw file changes every number, and a page would show that as a difference between methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.data.ranking import LIST_ENDS
from bench.errors import BenchError
from bench.results.schema import FINAL as FINAL
from bench.results.schema import (
    CaseTable,
    Result,
    SchemaVersionError,
    check_tables,
    read_cases,
    read_result,
)
from bench.stats.samples import Sample

if TYPE_CHECKING:
    import pandas as pd

PATTERN = "seed-*.json"

Key = TypeVar("Key")


class ResultSet:
    """Results of one folder by trial id, `<dataset>/<method>/<hash>/seed-<n>`.

    Attributes:
        results: Readable results by trial id, ordered by data set, method, settings and seed.
        unreadable: Why a file cannot be used, by the trial id that its path states.
    """

    def __init__(
        self, folder: Path, results: Mapping[str, Result], unreadable: Mapping[str, BenchError]
    ) -> None:
        self.folder = folder
        self.results = results
        self.unreadable = unreadable
        self._samples: dict[tuple[str, ...], Sample | BenchError] = {}
        self._item_codes: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        """Return the number of readable results."""
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        """Iterate over the readable results."""
        return iter(self.results.values())

    def get(self, trial: str) -> Result | None:
        """Return a trial's result; None where it has none that can be read."""
        return self.results.get(trial)

    def cases(self, trial: str) -> CaseTable:
        """Read the per-case values and the ranking of a trial that succeeded; see `read_cases`."""
        return read_cases(self.folder, trial)

    def sample(self, name: str, trials: Sequence[str]) -> Sample:
        """Stack the successful trials of one row, one per seed, as the statistics take them.

        Each row is read once.

        Raises:
            BenchError: If a file is missing or torn, or the seeds were measured on different cases.
        """
        key = (name, *trials)
        if key not in self._samples:
            results = [self.results[trial] for trial in trials]
            codes = self._item_codes.setdefault(results[0].dataset, {})
            try:
                tables = [self.cases(trial) for trial in trials]
                self._samples[key] = stack_seeds(name, results, tables, codes)
            except BenchError as error:
                self._samples[key] = error
        sample = self._samples[key]
        if isinstance(sample, BenchError):
            raise sample
        return sample

    def to_pandas(self) -> pd.DataFrame:
        """Return all metrics as a long table, one row per trial × ranking × metric.

        Columns: trial, dataset, method, model, seed, status, reason, ranking ("final" or the name
        of a checkpoint), metric, value, and one column `settings.<path>` per setting. A trial
        without metrics has one row whose ranking, metric and value are missing.
        """
        import pandas as pd  # imported here: half a second that most commands do not need

        rows = []
        for result in self.results.values():
            fields = ("trial", "dataset", "method", "model", "seed", "status", "reason")
            identity = {name: getattr(result, name) for name in fields}
            settings = {f"settings.{path}": value for path, value in result.settings.items()}
            values: list[tuple[str | None, str | None, float | None]] = [
                (ranking, metric, value)
                for ranking, evaluation in result.evaluations.items()
                for metric, value in evaluation.metrics.items()
            ]
            for ranking, metric, value in values or [(None, None, None)]:
                rows.append(
                    identity | {"ranking": ranking, "metric": metric, "value": value} | settings
                )
        return pd.DataFrame(rows)


def load_results(folder: Path | str) -> ResultSet:
    """Read and check all results of a folder, as `bench run --results` writes it; it may not exist.

    A file that is torn or not where its trial belongs is listed in `unreadable`, so that one bad
    file does not hide the others.

    Raises:
        BenchError: If a result has another schema version than this program.
    """
    folder = Path(folder)
    results: dict[str, Result] = {}
    unreadable: dict[str, BenchError] = {}
    for path in sorted(folder.rglob(PATTERN), key=_natural_order):
        trial = path.relative_to(folder).with_suffix("").as_posix()
        try:
            result = read_result(path)
            if result.trial != trial:
                raise BenchError(
                    f"{path} is the result of another trial: {result.trial}.",
                    "Results are stored at <dataset>/<method>/<hash>/seed-<n>.json: move it there.",
                )
            if result.status == "ok" and result.files:
                check_tables(result, folder)
            results[trial] = result
        except SchemaVersionError as error:
            raise BenchError(
                f"The results in {folder} have another schema version: {error.message}",
                "Move the folder away and run again; finished stages are reused.",
            ) from error
        except BenchError as error:
            unreadable[trial] = error
    return ResultSet(folder, results, unreadable)


def _natural_order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), len(path.name), path.name  # seed-10 after seed-9


def most_common_fingerprint(results: Iterable[Result]) -> str:
    """Return the fingerprint of the data that most results were measured on; "" without any."""
    counts = Counter(result.data.fingerprint for result in results if result.data is not None)
    return counts.most_common(1)[0][0] if counts else ""


def stack_seeds(
    name: str, results: Sequence[Result], tables: Sequence[CaseTable], item_codes: dict[str, int]
) -> Sample:
    """Stack the seeds of one row in the order of the first seed's cases.

    `item_codes` are the codes of item ids, shared by all samples of a data set; new ids are added.

    Raises:
        BenchError: If two seeds differ in cases, catalog or tracked categories.
    """
    first = tables[0]
    evaluations = [result.evaluations[FINAL] for result in results]
    catalogs = {(evaluation.num_items, tuple(evaluation.tracked)) for evaluation in evaluations}
    orders = [_case_order(name, first, table) for table in tables]
    if len(catalogs) > 1:
        raise BenchError(f"The seeds of {name} differ in catalog or tracked categories.")
    return Sample(
        name=name,
        seeds=tuple(result.seed for result in results),
        cases=first.cases,
        users=first.users,
        values=_stack_arrays([table.values for table in tables], orders),
        masses=_stack_arrays([table.masses for table in tables], orders),
        items=_encode_items(tables, orders, item_codes),
        known=first.known,
        histories=first.histories,
        tracked=tuple(evaluations[0].tracked),
        num_items=evaluations[0].num_items,
        strata=first.strata,
    )


def _case_order(name: str, first: CaseTable, table: CaseTable) -> NDArray[np.intp]:
    """Find each case of the first seed in another seed's table, shape (C,)."""
    row_of = {case: row for row, case in enumerate(table.cases)}
    if row_of.keys() != set(first.cases) or len(table.cases) != len(first.cases):
        message = f"The seeds of {name} were measured on different test cases."
        raise BenchError(message, "Run all seeds on the same test cases.")
    return np.array([row_of[case] for case in first.cases], dtype=np.intp)


def _stack_arrays(
    tables: Sequence[Mapping[Key, NDArray[np.float64]]], orders: Sequence[NDArray[np.intp]]
) -> dict[Key, NDArray[np.float64]]:
    """Stack what every seed has; a metric that one seed lacks has no mean over seeds."""
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return {
        key: np.stack([table[key][order] for table, order in zip(tables, orders, strict=True)])
        for key in shared
    }


def _encode_items(
    tables: Sequence[CaseTable], orders: Sequence[NDArray[np.intp]], item_codes: dict[str, int]
) -> NDArray[np.int32]:
    """Replace item ids by codes, shape (S, C, D); -1 for no item, `LIST_ENDS` after a list."""
    import pandas as pd  # imported here: see `to_pandas`

    ragged = [
        [list(items) for items in table.items[order]]
        for table, order in zip(tables, orders, strict=True)
    ]
    depth = max((len(items) for lists in ragged for items in lists), default=0)
    encoded = np.full((len(tables), len(orders[0]), depth), LIST_ENDS, dtype=np.int32)
    lengths = np.array([[len(items) for items in lists] for lists in ragged], dtype=np.intp)
    flat = np.array([id_ for lists in ragged for items in lists for id_ in items], dtype=object)
    local, ids = pd.factorize(flat)  # None becomes -1
    codes = np.array([*(item_codes.setdefault(id_, len(item_codes)) for id_ in ids), -1])
    encoded[np.arange(depth) < lengths[..., None]] = codes[local]
    return encoded
