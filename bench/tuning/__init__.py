"""Tuning a method's settings on the validation split, with Ray Tune."""

from __future__ import annotations

import math
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.request import SEARCHES, ExecutionOptions

if TYPE_CHECKING:
    from bench.runner.ray_process import RayOptions
    from bench.tuning.report import TuneResult
    from bench.tuning.search import SearchSetup
    from bench.tuning.space import Space


def tune(
    setup: SearchSetup,
    options: ExecutionOptions | None = None,
    *,
    space: Path | Space | None = None,
    searches: Path | str = SEARCHES,
) -> TuneResult:
    """Tune hyper-parameters on the validation split; calling it again resumes the search.

    The search space, or its TOML file, is the method's own by default. `searches` is the folder of
    the results on validation and of Tune's state.

    Raises:
        BenchError: If the setup or the space is not valid.
    """
    from bench.errors import BenchError
    from bench.plan.backbones import find_model_paths, name_model
    from bench.runner.loop import RunOptions
    from bench.runner.store import Store
    from bench.tuning.search import plan_search
    from bench.tuning.space import Space, load_space

    options = options or ExecutionOptions()
    if options.address is not None and options.num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")
    if setup.model is not None:
        setup = replace(setup, model=name_model(setup.model, offline=options.offline))
    if not isinstance(space, Space):
        space = load_space(setup.method, space)
    search = plan_search(setup, space)
    folder = Path(searches) / search.id
    run_options = RunOptions(
        store=Store(options.store.absolute()),
        results=(folder / "results").absolute(),
        data_dir=setup.data_dir and setup.data_dir.absolute(),
        model_paths=find_model_paths(setup.model_paths, [setup.model]),
        offline=options.offline,
        time_limit=options.time_limit,
    )
    connection: RayOptions = {"address": options.address, "num_cpus": options.num_cpus}
    return _run_search(connection, search, run_options, folder.absolute())


def _run_search(connection: RayOptions, *args: Any) -> TuneResult:
    """Run a search in its own process; a Ray that was started for it is restarted if it dies."""
    from bench.runner.executors import ExecutorLostError
    from bench.runner.ray_executor import MAX_RESTARTS
    from bench.runner.ray_process import CALL_SECONDS, RayProcess

    num_restarts = MAX_RESTARTS if connection["address"] is None else 0
    while True:
        process = None
        try:
            process = RayProcess("bench.tuning.run:SearchSession", **connection)
            try:
                result: TuneResult = process.call("run_search", *args, seconds=math.inf)
            except KeyboardInterrupt as stop:
                process.interrupt()
                try:
                    result = process.receive(CALL_SECONDS)
                except ExecutorLostError:
                    raise stop from None  # it had not begun
                return result.stop(getattr(stop, "number", signal.SIGINT))
            return result
        except ExecutorLostError as error:
            if not num_restarts:
                raise
            num_restarts -= 1
            print(f"{error.message} Starting it again.", file=sys.stderr)
        finally:
            if process is not None:
                process.end()
