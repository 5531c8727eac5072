"""One side of a comparison: a sample, its recorded metrics, and the files they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.results.load import FINAL, stack_seeds
from bench.results.schema import CaseTable, Evaluation, Result, is_whole, read_cases, read_result
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values

NUM_DIGITS = 12
# Sums of a million values in another order stay well below; any digit that a person edits is above.
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """A method as it was measured on one data set.

    Attributes:
        sample: Its cases, values and lists.
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
    """List the results of a folder `<dataset>/<method>/<hash>`, in the order of the seeds.

    Raises:
        BenchError: If the folder holds none.
    """
    paths = sorted(folder.glob("seed-*.json"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise BenchError(
            f"{folder} holds no results.",
            "Give the folder of one method's seeds: <results>/<dataset>/<method>/<hash>.",
        )
    return paths


def read_system(name: str, paths: Sequence[Path], positions: dict[str, int]) -> System:
    """Read the seeds of one method; those that failed are left out, and a note says so.

    Args:
        name: What to call it.
        paths: One JSON a seed; a seed without one counts as not run.
        positions: Position of each item id, shared by all systems that are compared; grows.

    Raises:
        BenchError: If a file is torn, edited or of another schema version, the files beside it are
            not its own, the seeds were measured on different data, or none ended well.
    """
    good: list[tuple[Path, Result]] = []
    notes = []
    for path in paths:
        if not path.is_file():
            notes.append(f"{name}: {path.stem} was not run.")
            continue
        result = read_result(path)
        if result.status == "ok":
            good.append((path, result))
        else:
            notes.append(f"{name}: {path.stem} is left out, it {result.status}: {result.reason}")
    if not good:
        raise BenchError(
            f"No seed of {name} has a result that ended well. {' '.join(notes)}".strip(),
            "`bench run` does what is missing; other settings have other results.",
        )
    _require_same_data(good)
    facts = [_facts(path, result) for path, result in good]
    seeds = [result.seed for _, result in good]
    first = good[0][1]
    assert first.data is not None
    tables = [_cases(path, result) for path, result in good]
    return System(
        sample=stack_seeds(name, [result for _, result in good], tables, positions),
        dataset=first.dataset,
        fingerprint=first.data.fingerprint,
        recorded={seed: one.metrics for seed, one in zip(seeds, facts, strict=True)},
        paths={result.seed: str(path) for path, result in good},
        targets={},
        notes=tuple(notes),
    )


def require_comparable(a: System, b: System) -> None:
    """Refuse two systems that were measured on different data.

    Raises:
        BenchError: If data sets, fingerprints or, between files, the targets of cases differ.
    """
    if a.dataset and b.dataset and a.dataset != b.dataset:
        raise BenchError(
            f"{a.name} was measured on {a.dataset}, {b.name} on {b.dataset}.",
            "Compare methods on one data set.",
        )
    if a.fingerprint and b.fingerprint and a.fingerprint != b.fingerprint:
        raise _other_data(next(iter(a.paths.values())), a.fingerprint,
                          next(iter(b.paths.values())), b.fingerprint)  # fmt: skip
    moved = [case for case in a.targets if case in b.targets and a.targets[case] != b.targets[case]]
    if moved:
        raise BenchError(
            f"{a.name} and {b.name} disagree about the target of {len(moved)} cases, the first of "
            f"them {moved[0]}.",
            "Both files must hold the same test set.",
        )


def _require_same_data(good: Sequence[tuple[Path, Result]]) -> None:
    first_path, first = good[0]
    for path, result in good:
        if result.data is None or FINAL not in result.evaluations:
            raise BenchError(f"{path} says ok but holds no metrics.", "Run it again.")
        assert first.data is not None
        if result.data.fingerprint != first.data.fingerprint:
            raise _other_data(
                str(first_path), first.data.fingerprint, str(path), result.data.fingerprint
            )


def _other_data(one: str, mine: str, other: str, theirs: str) -> BenchError:
    return BenchError(
        f"{one} and {other} were measured on different data (fingerprints {mine[:NUM_DIGITS]} "
        f"and {theirs[:NUM_DIGITS]}).",
        "Run both on the same data.",
    )


def _facts(path: Path, result: Result) -> Evaluation:
    facts = result.evaluations[FINAL]
    # A folder that was moved keeps its seeds' names, not the path that the trial's id stands for.
    here = result.model_copy(update={"trial": path.stem})
    if result.files and not is_whole(here, path.parent):
        raise BenchError(
            f"The files beside {path} are not those that were written with it.",
            "They were edited, or copied in part: copy the whole folder, or run this trial again.",
        )
    return facts


def _cases(path: Path, result: Result) -> CaseTable:
    table = read_cases(path.parent, path.stem)
    stated = result.evaluations[FINAL].num_cases
    if len(table.cases) != stated or len(table.items) != stated:
        raise BenchError(
            f"{path} says {stated} cases, but the files beside it hold {len(table.cases)} and "
            f"{len(table.items)} lines.",
            "They were edited, or belong to another run: run this trial again.",
        )
    return table
