"""Tuning a method's settings on the validation split, with Ray Tune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.request import SEARCHES, ExecutionOptions

if TYPE_CHECKING:
    from bench.tuning.report import TuneResult
    from bench.tuning.search import SearchSetup


def tune(
    setup: SearchSetup,
    options: ExecutionOptions | None = None,
    *,
    space: Path | None = None,
    searches: Path | str = SEARCHES,
) -> TuneResult:
    """Tune hyper-parameters on the validation split; calling it again resumes the search.

    Args:
        setup: Method, data set, budget, metric and number of configurations.
        options: Where to compute, read and write; results of searches are in `searches`.
        space: TOML file of the search space; None for the method's own space.
        searches: Folder of the results on validation and of Tune's state.

    Raises:
        BenchError: If the setup or the space is not valid.
    """
    from bench.errors import BenchError
    from bench.plan.backbones import find_model_paths
    from bench.plan.inferred_cards import name_model
    from bench.runner.loop import RunOptions
    from bench.runner.store import Store
    from bench.tuning.search import plan_search
    from bench.tuning.space import load_space

    options = options or ExecutionOptions()
    if options.address is not None and options.num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")
    if setup.model is not None:
        setup = replace(setup, model=name_model(setup.model, offline=options.offline))
    search = plan_search(setup, load_space(setup.method, space))
    folder = Path(searches) / search.id
    run_options = RunOptions(
        store=Store(options.store.absolute()),
        results=(folder / "results").absolute(),
        data_dir=setup.data_dir and setup.data_dir.absolute(),
        model_paths=find_model_paths(setup.model_paths, [setup.model]),
        offline=options.offline,
        time_limit=options.time_limit,
    )
    from bench.tuning.run import run_search  # Ray Tune, seconds that a mistake should not cost

    return run_search(
        search,
        run_options,
        folder=folder,
        address=options.address,
        num_cpus=options.num_cpus,
    )
