"""A benchmark harness for LLM-based recommenders: the Python API.

The command `bench` parses its options, calls these functions and prints what they return:

    >>> import bench
    >>> request = bench.RunRequest(suite="smoke", seeds=1)
    >>> bench.run(request)                                  # doctest: +SKIP
    >>> bench.load_results("results").to_pandas()           # doctest: +SKIP

Importing `bench` loads nothing else: a name is imported from its module when it is first used. As
`bench.plan` and `bench.report` are packages, those functions are `plan_run` and `report_boards`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.config.plugins import Listed
    from bench.config.plugins import list_methods as list_methods
    from bench.config.request import DataOptions as DataOptions
    from bench.config.request import ExecutionOptions as ExecutionOptions
    from bench.config.request import RunRequest as RunRequest
    from bench.errors import BenchError as BenchError
    from bench.report.boards import publish as publish
    from bench.report.boards import report_boards as report_boards
    from bench.report.claims.judge import claims as claims
    from bench.report.compare.operands import compare as compare
    from bench.report.compare.power import power as power
    from bench.report.export import export as export
    from bench.report.run_boards import retry as retry
    from bench.report.run_boards import run as run
    from bench.report.submission import check_submission as check_submission
    from bench.report.submission import submit as submit
    from bench.results.load import load_results as load_results
    from bench.results.merge import merge as merge
    from bench.results.score import score as score
    from bench.runner.explain import explain as explain
    from bench.runner.prepared_data import prepare as prepare
    from bench.runner.prepared_data import verify as verify
    from bench.runner.probe import probe as probe
    from bench.runner.run_directory import cancel as cancel
    from bench.runner.run_plan import plan_run as plan_run
    from bench.tuning import tune as tune

MODULES = {
    "bench.config.plugins": ("list_methods",),
    "bench.config.request": ("DataOptions", "ExecutionOptions", "RunRequest"),
    "bench.errors": ("BenchError",),
    "bench.report.boards": ("publish", "report_boards"),
    "bench.report.claims.judge": ("claims",),
    "bench.report.compare.operands": ("compare",),
    "bench.report.compare.power": ("power",),
    "bench.report.export": ("export",),
    "bench.report.run_boards": ("retry", "run"),
    "bench.report.submission": ("check_submission", "submit"),
    "bench.results.load": ("load_results",),
    "bench.results.merge": ("merge",),
    "bench.results.score": ("score",),
    "bench.runner.run_directory": ("cancel",),
    "bench.runner.explain": ("explain",),
    "bench.runner.prepared_data": ("prepare", "verify"),
    "bench.runner.probe": ("probe",),
    "bench.runner.run_plan": ("plan_run",),
    "bench.tuning": ("tune",),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name of the API from its module."""
    if name not in MODULE_OF:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(MODULE_OF[name]), name)


def __dir__() -> list[str]:
    """List the names of the API."""
    return sorted({*globals(), *MODULE_OF})


def list_datasets() -> list[Listed]:
    """List the cards of data sets with their titles; one that is not valid has an `error`."""
    return _list_cards("datasets")


def list_models() -> list[Listed]:
    """List the cards of backbones; see `list_datasets`."""
    return _list_cards("models")


def list_boards() -> list[Listed]:
    """List boards; see `list_datasets`."""
    return _list_cards("leaderboards")


def list_suites() -> list[Listed]:
    """List suites of boards; see `list_datasets`."""
    return _list_cards("suites")


def list_encoders() -> list[Listed]:
    """List the cards of sentence encoders; see `list_datasets`."""
    return _list_cards("encoders")


def list_metrics() -> list[Listed]:
    """List the families of metrics, such as "NDCG@k", with what each measures."""
    from bench.config.plugins import Listed
    from bench.metrics import registry

    broken = registry.broken_plugins().items()
    return [
        *(Listed(name=each.pattern, summary=each.title) for each in registry.list_metrics()),
        *(Listed(name=module, error=error.message) for module, error in broken),
    ]


def _list_cards(kind: str) -> list[Listed]:
    from bench.config import plugins

    return plugins.list_cards(kind)
