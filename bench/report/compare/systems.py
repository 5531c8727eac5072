"""One side of a comparison: a sample, its recorded metrics, and the files they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, unknown
from bench.results.load import FINAL, stack_seeds
from bench.results.schema import CaseTable, Result, is_intact, read_cases, read_result
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values

NUM_DIGITS = 12
# Sums of a million values in another order stay well below; any digit that a person edits is above.
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """A method as it was measured on one data set.

    Attributes:
        dataset: Name of the data set; "" if a file does not say.
        fingerprint: Of the prepared data; "" likewise.
        recorded: By seed, the metric values that its result states.
        paths: By seed, the file of that result.
        targets: By case, the item that came next; empty for results, which do not hold it.
        notes: What a reader of the comparison should know, e.g. a seed that failed.
    """

    sample: Sample
    dataset: str
    fingerprint: str
    recorded: Mapping[int, Mapping[str, float]]
    paths: Mapping[int, str]
    targets: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the comparison."""
        return self.sample.name

    def has(self, metric: str) -> bool:
        """Return whether every seed has a value of this metric."""
        return all(metric in metrics for metrics in self.recorded.values())

    def require(self, metric: str) -> None:
        """Refuse a metric that a seed does not have."""
        if not self.has(metric):
            available = next(iter(self.recorded.values()))
            raise unknown(f"metric of {self.name}", metric, available)

    def check(self, metric: str) -> None:
        """Refuse a metric whose recorded value is not that of its cases.

        A result holds each metric twice: as a number, which tables print, and as the per-case
        values or lists that statistics are computed from.

        Raises:
            BenchError: If a recorded value differs by more than 1e-9, or is not a finite number.
        """
        for seed, value in compute_seed_values(self.sample, metric).items():
            recorded = self.recorded[seed][metric]
            if not abs(recorded - value) <= TOLERANCE:
                raise BenchError(
                    f"{self.paths[seed]} says {metric} = {recorded:.6g}, but its cases give "
                    f"{value:.6g}.",
                    "One of the two files was edited or belongs to another run: run this trial "
                    "again.",
                )


def list_seeds(folder: Path) -> list[Path]:
    """List the results of a folder `<dataset>/<method>/<hash>`, in the order of the seeds."""
    paths = sorted(folder.glob("seed-*.json"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise BenchError(
            f"{folder} has no results.",
            "Give the folder of one method's seeds: <results>/<dataset>/<method>/<hash>.",
        )
    return paths


def read_system(name: str, paths: Sequence[Path], positions: dict[str, int]) -> System:
    """Read the seeds of one method; failed seeds are left out with a note.

    Args:
        name: Its name in the comparison.
        paths: One JSON per seed; a seed without a file counts as not run.
        positions: Index of each item id, shared by all methods that are compared; grows.

    Raises:
        BenchError: If a file is torn, edited or of another schema version, the files next to it are
            not its own, the seeds were measured on different data, or none succeeded.
    """
    results: dict[Path, Result] = {}
    notes = []
    for path in paths:
        if not path.is_file():
            notes.append(f"{name}: {path.stem} was not run.")
            continue
        result = read_result(path)
        if result.status == "ok":
            results[path] = result
        else:
            notes.append(f"{name}: {path.stem} is left out, it {result.status}: {result.reason}")
    if not results:
        raise BenchError(
            f"No seed of {name} has a successful result. {' '.join(notes)}".strip(),
            "`bench run` computes what is missing; other settings have other results.",
        )
    fingerprints = {str(p): _read_fingerprint(p, result) for p, result in results.items()}
    first, fingerprint = next(iter(fingerprints.items()))
    for other_path, other in fingerprints.items():
        if other != fingerprint:
            raise _different_data(first, fingerprint, other_path, other)
    tables = [_read_cases(path, result) for path, result in results.items()]
    return System(
        sample=stack_seeds(name, list(results.values()), tables, positions),
        dataset=next(iter(results.values())).dataset,
        fingerprint=fingerprint,
        recorded={result.seed: result.evaluations[FINAL].metrics for result in results.values()},
        paths={result.seed: str(path) for path, result in results.items()},
        targets={},
        notes=tuple(notes),
    )


def require_comparable(a: System, b: System) -> None:
    """Refuse systems whose data set, fingerprint or, between files, targets of cases differ."""
    if a.dataset and b.dataset and a.dataset != b.dataset:
        raise BenchError(
            f"{a.name} was measured on {a.dataset}, {b.name} on {b.dataset}.",
            "Compare methods on one data set.",
        )
    if a.fingerprint and b.fingerprint and a.fingerprint != b.fingerprint:
        path_a, path_b = (next(iter(system.paths.values())) for system in (a, b))
        raise _different_data(path_a, a.fingerprint, path_b, b.fingerprint)
    changed = [case for case, target in a.targets.items() if b.targets.get(case, target) != target]
    if changed:
        raise BenchError(
            f"{a.name} and {b.name} disagree about the target of {len(changed)} cases, the first "
            f"of them {changed[0]}.",
            "Both files must hold the same test set.",
        )


def _different_data(path: str, fingerprint: str, other: str, other_fingerprint: str) -> BenchError:
    return BenchError(
        f"{path} and {other} were measured on different data (fingerprints "
        f"{fingerprint[:NUM_DIGITS]} and {other_fingerprint[:NUM_DIGITS]}).",
        "Run both on the same data.",
    )


def _read_fingerprint(path: Path, result: Result) -> str:
    if result.data is None or FINAL not in result.evaluations:
        raise BenchError(f"{path} has the status ok but no metrics.", "Run it again.")
    return result.data.fingerprint


def _read_cases(path: Path, result: Result) -> CaseTable:
    # A folder that was moved has its seeds' names, but not the path that is the trial's id.
    moved = result.model_copy(update={"trial": path.stem})
    if result.files and not is_intact(moved, path.parent):
        raise BenchError(
            f"The files next to {path} are not those that were written with it.",
            "They were edited, or copied in part: copy the whole folder, or run this trial again.",
        )
    table = read_cases(path.parent, path.stem)
    num_cases = result.evaluations[FINAL].num_cases
    if len(table.cases) != num_cases or len(table.items) != num_cases:
        raise BenchError(
            f"{path} says {num_cases} cases, but the files next to it have {len(table.cases)} and "
            f"{len(table.items)} rows.",
            "They were edited, or belong to another run: run this trial again.",
        )
    return table
