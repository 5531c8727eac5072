"""Overhead of the harness: a grid of 1,000 cells whose stages have next to nothing to do.

Every cell is a trial of its own (`random` on generated data, 8 test cases), with two stages, their
artifacts and a result, on Ray with two CPUs. The naive way starts a Python process a cell; it is
timed on a few cells and scaled up.

    python benchmarks/grid.py [CELLS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.config.cards import BoardCard, BoardRow, RowCounts
from bench.plan.trials import Board, BoardSelection, Trial, board_trials
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.ray_executor import RayExecutor
from bench.runner.store import Store

NAIVE_CELLS = 5


def grid(num_cells: int) -> list[Trial]:
    card = BoardCard(
        title="Grid",
        datasets=("synthetic",),
        rows=(BoardRow(method="random"),),
        metrics=("HR@5",),
        seeds=num_cells,
        budget="smoke",
    )
    board = Board(name="grid", card=card)
    selection = BoardSelection(boards=(board,), rows=RowCounts(train=8, valid=8, test=8))
    return [trial for _, trial in board_trials(board, selection)]


def naive_seconds(folder: Path) -> float:
    """Time a cell in a process of its own, the data prepared before."""
    run(grid(1), options=_options(folder), executor=InlineExecutor)
    started = time.perf_counter()
    for seed in range(1, 1 + NAIVE_CELLS):
        script = (
            "import sys; sys.path.insert(0, 'benchmarks'); from pathlib import Path\n"
            "import grid; from bench.runner.executors import InlineExecutor\n"
            f"options = grid._options(Path({str(folder)!r}))\n"
            f"grid.run(grid.grid({seed + 1})[{seed}:], options=options, executor=InlineExecutor)"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
    return (time.perf_counter() - started) / NAIVE_CELLS


def _options(folder: Path) -> RunOptions:
    return RunOptions(store=Store(folder / "store"), results=folder / "results", quiet=True)


def main(num_cells: int) -> None:
    with tempfile.TemporaryDirectory() as workspace:
        started = time.perf_counter()
        trials = grid(num_cells)
        planned = time.perf_counter()
        options = _options(Path(workspace) / "harness")
        summary = run(trials, options=options, executor=lambda: RayExecutor(num_cpus=2))
        ended = time.perf_counter()
        assert len(summary.ok) == num_cells
        again = run(trials, options=options, executor=lambda: RayExecutor(num_cpus=2))
        assert again.stages_run == 0
        alone = naive_seconds(Path(workspace) / "naive")
    seconds = ended - started
    print(
        f"{alone * num_cells / seconds:.0f} times as quick: {num_cells} cells in {seconds:.1f} s "
        f"({summary.stages_run} stages; {planned - started:.1f} s of it planning); "
        f"a process each takes {alone * num_cells:.0f} s (scaled up from {NAIVE_CELLS} cells). "
        f"A second run: {again.seconds:.2f} s."
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
