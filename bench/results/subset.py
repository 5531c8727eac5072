"""Results on some of the test cases, with every metric recomputed from the stored rankings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import BenchError, unknown
from bench.results.load import FINAL, ResultSet
from bench.results.schema import Result
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values

EXCLUDED = {
    "ties": ("ties", "tied", "targets that have the timestamp of the last history item"),
    "cold": ("popularity", "cold", "targets that are not in training"),
    "seen": ("transition", "seen", "transitions that are in training"),
}
"""What can be excluded: what divides the cases, the stratum, and the stratum in words."""


class ResultSubset(ResultSet):
    """Results without the test cases of one stratum, a key of `EXCLUDED`.

    Checkpoints and files are left out: nothing that was computed on all cases is kept.

    Raises:
        BenchError: If there is no such stratum.
    """

    def __init__(self, results: ResultSet, exclude: str) -> None:
        if exclude not in EXCLUDED:
            raise unknown("stratum", exclude, EXCLUDED)
        super().__init__(results.folder, results.results, results.unreadable)
        self._all, self._exclude = results, exclude
        self.results = {
            trial: result if result.status != "ok" else self._recompute(result)
            for trial, result in results.results.items()
        }

    def sample(self, name: str, trials: Sequence[str]) -> Sample:
        """Stack the seeds of one row; see `ResultSet.sample`."""
        sample = self._all.sample(name, trials)
        kind, label, _ = EXCLUDED[self._exclude]
        if kind not in sample.strata:
            message = f"The results of {name} do not say which cases are {label}."
            raise BenchError(message, "Run the same command again; only evaluations are repeated.")
        stays = np.flatnonzero(sample.strata[kind] != label)
        if not len(stays):
            raise BenchError(f"No test case of {name} is left without the {label} ones.")
        return sample.select_cases(stays)

    def _recompute(self, result: Result) -> Result:
        """Recompute the final metrics; a result that cannot be is one of a failed trial."""
        evaluation = result.evaluations.get(FINAL)
        try:
            sample = self.sample(result.method, [result.trial])
            assert evaluation is not None, "a successful trial has a final evaluation"
            metrics = {
                name: compute_seed_values(sample, name)[result.seed] for name in evaluation.metrics
            }
        except BenchError as error:
            return result.model_copy(update={"status": "failed", "reason": error.message})
        counts = {"num_cases": len(sample.cases), "num_known": int(sample.known.sum())}
        final = evaluation.model_copy(update={"metrics": metrics, **counts})
        return result.model_copy(update={"evaluations": {FINAL: final}, "files": {}})
