"""How the trials of a row ended, and whether their results are those of the current code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from bench.errors import BenchError
from bench.hashing import digest
from bench.metrics.rerank import CLICK, LIST_CAP
from bench.plan.code_versions import Version, recorded_versions
from bench.plan.trials import Trial
from bench.results.load import FINAL, ResultSet
from bench.results.schema import Result

NUM_HASH_DIGITS = 12

SeedStatus = Literal["ok", "failed", "skipped", "not run"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one trial of a row ended.

    Attributes:
        trial: Its id, which is also the path of its result.
        reason: Why there are no values; empty where there are.
        rounds: Checkpoints that `metrics` are means over instead; empty for the final ranking.
        checkpoints: Name and metrics of each earlier ranking, in training order.
        out_of_memory: Whether it has no values because memory ran out.
        checksums: Of the files that statistics read; equal checksums mean equal statistics.
        stale: Which stage kinds have another version now; empty where none has.
        version_unknown: Whether a stage has no recorded version.
    """

    seed: int
    trial: str
    status: SeedStatus
    reason: str
    metrics: tuple[tuple[str, float], ...] = ()
    rounds: tuple[str, ...] = ()
    checkpoints: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    out_of_memory: bool = False
    checksums: tuple[str, ...] = ()
    stale: str = ""
    version_unknown: bool = False

    def value(self, metric: str) -> float | None:
        """Return the value of a metric; None where it has none."""
        return dict(self.metrics).get(metric)


def trial_outcome(
    trial: Trial, results: ResultSet, fingerprint: str, *, num_rounds: int = 1
) -> Outcome:
    """Return how a trial ended; values measured on other data than the fingerprint's are not used.

    With `num_rounds`, values are means over the last step of this many last rounds.
    """
    result = results.get(trial.id)
    status, reason = _status_and_reason(trial, results, fingerprint)
    outcome = Outcome(seed=trial.seed, trial=trial.id, status=status, reason=reason)
    if status != "ok" or result is None:
        last_attempts = [] if result is None else result.attempts[-1:]
        failures = [attempt.failure for attempt in last_attempts]
        return replace(outcome, out_of_memory="out of memory" in failures)
    values = {
        ranking: tuple(sorted(evaluation.metrics.items()))
        for ranking, evaluation in result.evaluations.items()
    }
    metrics, rounds = values.pop(FINAL), tuple[str, ...]()
    if num_rounds > 1 and values:
        step = [*values][-1].partition("-")[2]
        rounds = tuple(name for name in values if name.partition("-")[2] == step)[-num_rounds:]
        averaged = [dict(values[name]) for name in rounds]
        metrics = tuple(
            (name, fmean(each[name] for each in averaged))
            for name, _ in metrics
            if all(name in each for each in averaged)
        )
    return replace(
        outcome,
        metrics=metrics,
        rounds=rounds,
        checkpoints=tuple(values.items()),
        checksums=_list_checksums(result),
        stale=staleness(result) or _plugin_staleness(trial, result),
        version_unknown=any(stage.version is None for stage in result.stages),
    )


def _list_checksums(result: Result) -> tuple[str, ...]:
    """Return checksums of all that statistics read; none where the files have none."""
    files = [checksum for _, checksum in sorted(result.files.items())]
    evaluations = {name: each.model_dump() for name, each in result.evaluations.items()}
    return (*files, digest(evaluations)) if files else ()


def _plugin_staleness(trial: Trial, result: Result) -> str:
    """Say which plug-ins of a result have other code now; "" where none has."""
    if not trial.evaluations:  # it can no longer be planned
        return ""
    changed = [
        name for name, code in trial.plugins.items() if result.plugins.get(name, code) != code
    ]
    return f"Made by other code of {', '.join(changed)}. Run it again." if changed else ""


def ambiguous_outcome(seed: int, trials: Sequence[Trial]) -> Outcome:
    """Refuse a seed of a row that several trials fill: nobody could tell whose value it shows."""
    names = " and ".join(trial.id for trial in trials)
    reason = f"{len(trials)} trials fill this cell, {names}; render the boards separately."
    return Outcome(seed=seed, trial=trials[0].id, status="failed", reason=reason)


def _status_and_reason(
    trial: Trial, results: ResultSet, fingerprint: str
) -> tuple[SeedStatus, str]:
    if (error := results.unreadable.get(trial.id)) is not None:
        return "failed", f"{error.message} {error.hint}".strip()
    result = results.get(trial.id)
    if result is None:
        return ("failed", trial.problem.strip()) if trial.problem else ("not run", "No result yet.")
    if result.status != "ok":
        return result.status, result.reason or "No reason was recorded."
    if FINAL not in result.evaluations or result.data is None:
        return "failed", "The result says ok but has no metrics; run it again."
    if result.data.fingerprint != fingerprint and not shares_test_lists(
        result, fingerprint, results
    ):
        return "skipped", (
            "Not compared: measured on other data (fingerprint "
            f"{result.data.fingerprint[:NUM_HASH_DIGITS]}, this table "
            f"{fingerprint[:NUM_HASH_DIGITS]}). Run it again on the same data."
        )
    return "ok", ""


def shares_test_lists(result: Result, fingerprint: str, results: ResultSet) -> bool:
    """Whether a result differs from those of a fingerprint in the training users alone.

    The fingerprint of candidate lists covers all parts, and a row of the floor keeps all training
    users. It is compared with the capped rows because its test lists are theirs.
    """
    others = (each for each in results if each.dataset == result.dataset and each.status == "ok")
    other = next(
        (each for each in others if each.data and each.data.fingerprint == fingerprint), None
    )
    if other is None or result.rows == other.rows:
        return False
    if any(LIST_CAP.family not in each.evaluations[FINAL].metrics for each in (result, other)):
        return False  # no result of re-ranking
    try:
        return _describe_lists(result, results) == _describe_lists(other, results)
    except BenchError:  # a table is missing
        return False


def _describe_lists(result: Result, results: ResultSet) -> set[tuple[object, ...]]:
    """Return the user, the items and the number of positives of each test list."""
    table = results.cases(result.trial)
    positives = table.values[CLICK.at(max(result.evaluations[FINAL].ks)).name]
    items = (tuple(sorted(row)) for row in table.items.tolist())
    return set(zip(table.cases, table.users, items, positives.tolist(), strict=True))


def staleness(result: Result, current: Mapping[str, Version] | None = None) -> str:
    """Say which stage kinds of a result have other versions in the current code (or in `current`).

    Returns:
        A sentence, or "" where every recorded version is the current one.
    """
    current = recorded_versions() if current is None else current
    oldest: dict[str, int] = {}
    for stage in result.stages:
        if stage.version is not None:
            oldest[stage.kind] = min(stage.version, oldest.get(stage.kind, stage.version))
    changed = [
        f"{kind} {version} → {current[kind].version if kind in current else 'removed'}"
        for kind, version in oldest.items()
        if kind not in current or current[kind].version != version
    ]
    if not changed:
        return ""
    return f"Made by another version of its stages: {', '.join(changed)}. Run it again."
