"""Results made up on disk, for tests of boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.config.cards import BoardCard, BoardRow, Rows
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.files import write_atomic
from bench.metrics.evaluate import evaluate
from bench.plan.trials import Board, Trial
from bench.report.assemble import assemble
from bench.report.table import Block, BoardTable, Row
from bench.results.load import load_results
from bench.results.schema import DataFacts, Evaluation, Result

METRICS = ("DivRatio@1", "DivRatio@5", "ORRatio@1", "MGU@5", "HR@5", "NDCG@5")
NUM_CASES = 60
NUM_ITEMS = 40
CATALOG = Catalog(
    ids=tuple(f"i{number}" for number in range(NUM_ITEMS)),
    titles=tuple(f"Item {number}" for number in range(NUM_ITEMS)),
    categories=tuple((("drama", "comedy", "war")[number % 3],) for number in range(NUM_ITEMS)),
    tracked=("drama", "comedy", "war"),
)


@dataclass
class Line:
    """A row to be made up: how often it hits, and what happens to each of its seeds."""

    name: str
    skill: float = 0.0
    ranked: bool = True
    method: str = "popularity"
    reasons: Mapping[int, str] = field(default_factory=dict)
    unrun: Sequence[int] = ()
    fingerprint: str = "f" * 64
    num_cases: int = NUM_CASES
    catalog: Catalog = CATALOG


def make(
    folder: Path,
    lines: Sequence[Line],
    *,
    title: str = "A board",
    metrics: Sequence[str] = METRICS,
    datasets: Sequence[str] = ("synthetic",),
    reference: str = "",
    seeds: int = 3,
    budget: str = "paper",
    groups: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Board, list[tuple[BoardRow, Trial]]]:
    rows = tuple(
        BoardRow(method=line.method, label=line.name, ranked=line.ranked) for line in lines
    )
    card = BoardCard(
        title=title,
        datasets=tuple(datasets),
        rows=rows,
        metrics=tuple(metrics),
        seeds=seeds,
        budget=budget,
        reference=reference,
        groups=groups or {},
    )
    cells = []
    for line, row in zip(lines, rows, strict=True):
        for dataset in datasets:
            for seed in range(seeds):
                trial = Trial(
                    method=line.method,
                    dataset=dataset,
                    seed=seed,
                    model=None,
                    rows=Rows(test=500 if budget == "nano" else 1000),
                    data_seed=0,
                    settings={"row": line.name},
                )
                cells.append((row, trial))
                write(folder, trial, line)
    return Board(name="demo", card=card), cells


def write(folder: Path, trial: Trial, line: Line) -> None:
    if trial.seed in line.unrun:
        return
    identity = {
        "trial": trial.id,
        "method": trial.method,
        "dataset": trial.dataset,
        "seed": trial.seed,
        "model": trial.model,
        "rows": trial.rows.model_dump(),
        "settings": dict(trial.settings),
    }
    if trial.seed in line.reasons:
        write_unsealed(Result(**identity, status="failed", reason=line.reasons[trial.seed]), folder)
        return
    evaluation, cases, ranking = rankings(trial, line)
    result = Result(
        **identity,
        status="ok",
        data=DataFacts(fingerprint=line.fingerprint, counts={}),
        evaluations={"final": evaluation},
        provenance={"host": "a-machine"},
    )
    write_unsealed(result, folder)
    pq.write_table(cases, folder / f"{trial.id}.cases.parquet")
    pq.write_table(ranking, folder / f"{trial.id}.ranking.parquet")


def write_unsealed(result: Result, folder: Path) -> None:
    """Write a result without a checksum, so that tests can edit it."""
    path = folder / f"{result.trial}.json"
    write_atomic(path, result.model_dump_json(indent=1).encode())


def rankings(trial: Trial, line: Line) -> tuple[Evaluation, pa.Table, pa.Table]:
    """Lists that put the target first with the row's skill, and favor few items otherwise."""
    num = line.num_cases
    data = np.random.default_rng(7)
    targets = data.integers(0, NUM_ITEMS, size=num)
    targets[0] = -1
    histories = data.integers(0, NUM_ITEMS, size=(num, 4))
    rng = np.random.default_rng([trial.seed, int(1000 * line.skill), len(line.name)])
    weights = 1 / (1 + np.arange(NUM_ITEMS)) ** (2 - line.skill)
    items = np.stack(
        [
            rng.choice(NUM_ITEMS, size=6, replace=False, p=weights / weights.sum())
            for _ in range(num)
        ]
    ).astype(np.int32)
    hit = (rng.random(num) < line.skill) & (targets >= 0)
    items[hit, 0] = targets[hit]
    items[1, 5] = -1
    scores = evaluate(
        Ranking(items=items), targets=targets, histories=histories, catalog=line.catalog,
        ks=[1, 5],
    )  # fmt: skip
    evaluation = Evaluation(
        metrics=scores.metrics,
        ks=[1, 5],
        num_cases=num,
        num_known=int(scores.known.sum()),
        num_items=NUM_ITEMS,
        tracked=list(line.catalog.tracked),
    )
    ids = [str(case) for case in range(num)]
    masses = {
        f"mass@{k}": pa.array(mass.tolist(), pa.list_(pa.float64()))
        for k, mass in scores.masses.items()
    }
    cases = pa.table(
        {
            "case": ids,
            "user": [f"u{case}" for case in ids],
            "known": scores.known,
            "rank": scores.ranks,
            **scores.cases,
            **masses,
            "history": pa.array(scores.history_masses.tolist(), pa.list_(pa.float64())),
        }
    )
    names = [[None if item < 0 else f"i{item}" for item in row] for row in items]
    ranking = pa.table({"case": ids, "items": pa.array(names, pa.list_(pa.string()))})
    return evaluation, cases, ranking


def full_board(folder: Path) -> BoardTable:
    """Two data sets; one row failed, one has two of three seeds, one is not ranked."""
    lines = [
        Line("Base", 0.05),
        Line("Oracle", 1.0, ranked=False),
        Line("Good", 0.6),
        Line("Better", 0.8, reasons={1: "worker died: <script>alert(1)</script> | *x*"}),
        Line("Broken", reasons=dict.fromkeys(range(3), "CUDA out of memory")),
        Line("Later", unrun=range(3)),
    ]
    made = make(folder, lines, title="A <script> & board", datasets=("synthetic", "ml-100k"))
    return assemble_from(*made, folder)


def assemble_from(
    board: Board, row_trials: list[tuple[BoardRow, Trial]], folder: Path, **options: Any
) -> BoardTable:
    """Assemble a board's table from a folder of results."""
    return assemble(board, row_trials, load_results(folder), **options)


def row(table: BoardTable, name: str, dataset: int = 0) -> Row:
    return next(one for one in table.datasets[dataset].rows if one.name == name)


def names(block: Block, metric: str, mark: str) -> list[str]:
    return [one.name for one in block.rows if getattr(one.cell(metric), mark)]
