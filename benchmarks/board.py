"""How long a suite takes to render from 1,000 results, and how large a page is.

Results of six boards are made up and written: SPRec's Table 1 with 8 methods x 4 data sets x
8 metrics x 5 seeds, published numbers, claims, checkpoints and training curves among them, and five
others. The first rendering computes their statistics and keeps them in a store; the second reads
them there as another process would, and renders everything again.

    python benchmarks/board.py [FOLDER]     # FOLDER keeps results and pages for a look
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.config.cards import BoardCard, BoardRow, Rows
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.hashing import checksum, digest
from bench.metrics.evaluate import Scores, evaluate
from bench.plan.trials import Board, Trial
from bench.report.boards import assemble_boards
from bench.report.render import pages
from bench.report.stats_cache import StoredStatistics
from bench.results.load import load_results
from bench.results.schema import (
    Cost,
    DataFacts,
    Evaluation,
    Result,
    StageRecord,
    table_path,
    write_result,
)

METRICS = (
    "DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "MGU@1", "MGU@5", "HR@5", "NDCG@5",
)  # fmt: skip
ROWS = ("SASRec", "BIGRec", "RW", "D3", "DMPO", "SDPO", "RosePO", "SPRec")
PAPER_DATA = ("ml-10m", "goodreads-sprec", "amazon-2018-cds-and-vinyl", "steam")
NUM_CASES, NUM_ITEMS, NUM_SEEDS, NUM_STEPS = 200, 400, 5, 256
GENRES = tuple(f"genre {number}" for number in range(10))
LIMIT_SECONDS, LIMIT_MIB, LIMIT_PAGE = 20.0, 1024, 2_000_000
CHECKPOINTS = [f"{number}-{kind}" for number in range(1, 6) for kind in ("sft", "dpo")]


def boards() -> list[Board]:
    """Plan six boards: 160 + 4 x 200 + 40 trials."""
    others = [(f"other-{n}", tuple(f"data-{d}" for d in range(5))) for n in range(4)]
    named = [("sprec-table1", PAPER_DATA), *others, ("small", ("data-0",))]
    return [
        Board(
            name=name,
            card=BoardCard(
                title=f"Made-up results: {name}",
                description="Random lists in the shape of a board; no method was run.",
                datasets=datasets,
                rows=tuple(
                    BoardRow(method=row.lower(), label=row, ranked=row != "SASRec") for row in ROWS
                ),
                metrics=METRICS,
                seeds=NUM_SEEDS,
                model="llama-3.2-1b-instruct",
                reference="BIGRec",
            ),
        )
        for name, datasets in named
    ]


def cells(board: Board) -> list[tuple[BoardRow, Trial]]:
    return [
        (
            row,
            Trial(
                method=row.method,
                dataset=dataset,
                seed=seed,
                model=board.card.model,
                rows=Rows(),
                data_seed=0,
                settings={"board": board.name, "learning_rate": 2e-5, "epochs": 4},
            ),
        )
        for row in board.card.rows
        for dataset in board.card.datasets
        for seed in range(board.card.seeds)
    ]


def scored(rng: np.random.Generator, dataset: str, skill: float) -> tuple[Scores, Any]:
    """Make up the lists of a method that hits with `skill` and favors popular items."""
    catalog = Catalog(
        ids=tuple(str(item) for item in range(NUM_ITEMS)),
        titles=tuple(str(item) for item in range(NUM_ITEMS)),
        categories=tuple((GENRES[item % len(GENRES)],) for item in range(NUM_ITEMS)),
        tracked=GENRES,
    )
    data = np.random.default_rng(len(dataset))
    targets = data.integers(0, NUM_ITEMS, size=NUM_CASES)
    histories = data.integers(0, NUM_ITEMS, size=(NUM_CASES, 10))
    popular = np.arange(1, NUM_ITEMS + 1) ** -(1.3 - 3 * skill)
    order = rng.gumbel(size=(NUM_CASES, NUM_ITEMS)) + np.log(popular)
    lists = np.argsort(-order, axis=1)[:, :5].astype(np.int32)
    hit = rng.random(NUM_CASES) < skill
    lists[hit, 0] = targets[hit]
    found = evaluate(
        Ranking(items=lists), targets=targets, histories=histories, catalog=catalog, ks=[1, 5]
    )
    return found, lists


def write(folder: Path, row: BoardRow, trial: Trial, place: int) -> None:
    """Write one result with its tables; language models have checkpoints and curves."""
    rng = np.random.default_rng([place, trial.seed, len(trial.dataset)])
    skill = 0.02 + 0.012 * place
    found, lists = scored(rng, trial.dataset, skill)
    cases = [str(case) for case in range(NUM_CASES)]
    masses = {
        f"mass@{k}": pa.array(mass.tolist(), pa.list_(pa.float64()))
        for k, mass in found.masses.items()
    }
    tables = {
        "cases": pa.table(
            {
                "case": cases,
                "user": cases,
                "known": found.known,
                "rank": found.ranks,
                **found.cases,
                **masses,
                "history": pa.array(found.history_masses.tolist(), pa.list_(pa.float64())),
            }
        ),
        "ranking": pa.table(
            {
                "case": cases,
                "items": pa.array(
                    [[str(item) for item in one] for one in lists], pa.list_(pa.string())
                ),
            }
        ),
    }
    for name, table in tables.items():
        path = table_path(folder, trial.id, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    is_lm = row.name != "SASRec"
    drift = {
        name: {key: value * (1 + 0.03 * at) for key, value in found.metrics.items()}
        for at, name in enumerate(CHECKPOINTS if row.name == "SPRec" else [])
    }
    stages = works(trial, row.name, rng) if is_lm else works(trial, "", rng)
    write_result(
        Result(
            trial=trial.id,
            method=trial.method,
            dataset=trial.dataset,
            seed=trial.seed,
            model=trial.model,
            rows=trial.rows.model_dump(),
            settings=dict(trial.settings),
            status="ok",
            data=DataFacts(fingerprint=digest(trial.dataset), counts={"items": NUM_ITEMS}),
            evaluations={
                name: Evaluation(
                    metrics=metrics,
                    ks=[1, 5],
                    num_cases=NUM_CASES,
                    num_known=NUM_CASES,
                    num_items=NUM_ITEMS,
                    tracked=list(GENRES),
                )
                for name, metrics in {"final": found.metrics, **drift}.items()
            },
            stages=stages,
            files={
                name: checksum(table_path(folder, trial.id, name)) for name in ("cases", "ranking")
            },
            cost=Cost(
                seconds_from_scratch=sum(one.seconds for one in stages),
                seconds_own=sum(one.seconds for one in stages if not one.shared),
            ),
            provenance={"host": "a-machine", "python": "3.11", "torch": "2.11", "device": "cpu"},
        ),
        folder,
    )


def works(trial: Trial, row: str, rng: np.random.Generator) -> list[StageRecord]:
    """Make up stages: the data and the first fine-tuning are shared, preferences are not."""

    def work(kind: str, *key: str, metadata: dict[str, Any], seconds: float) -> StageRecord:
        return StageRecord(
            key=digest([kind, trial.dataset, *key]),
            kind=kind,
            seconds=seconds,
            peak_memory_mib=2500.0 if kind == "preference" else 1400.0,
            shared=len(key) < 2,
            metadata=metadata,
        )

    falling = 2.5 * np.exp(-np.arange(NUM_STEPS) / 90)

    def curve(base: np.ndarray) -> list[float]:
        return [round(float(value), 6) for value in base + rng.normal(0, 0.06, NUM_STEPS)]

    stages = [work("prepare", metadata={"counts": 3}, seconds=40.0)]
    if not row:
        return [
            *stages,
            work("sasrec", str(trial.seed), metadata={"losses": curve(falling)}, seconds=90),
        ]
    sft = {"loss_by_step": curve(falling + 1), "steps": NUM_STEPS}
    stages.append(work("sft", str(trial.seed), metadata=sft, seconds=700.0))
    for number in range({"SPRec": 5, "DMPO": 1, "SDPO": 1, "RosePO": 1}.get(row, 0)):
        rising = np.linspace(0, 2, NUM_STEPS)
        metadata = {
            "loss_by_step": curve(0.7 - rising / 5),
            "chosen_by_step": curve(-9 - rising / 2),
            "rejected_by_step": curve(-9 - 4 * rising),
            "margin_by_step": curve(rising),
            "accuracy_by_step": curve(0.5 + rising / 6),
        }
        key = (str(trial.seed), row, str(number))
        stages.append(work("preference", *key, metadata=metadata, seconds=300.0))
    generated = {"tokens_per_second": 812.5}
    return [*stages, work("generate", str(trial.seed), row, metadata=generated, seconds=60.0)]


def render(planned: list[Any], results: Path, out: Path, cache: StoredStatistics) -> float:
    """Load, assemble and write all boards; returns the seconds that it took."""
    start = time.perf_counter()
    stored = load_results(results)
    tables = assemble_boards(planned, stored, cache)
    for table in tables:
        pages.render(table, out, stored)
    pages.render_index(out)
    return time.perf_counter() - start


def main(folder: Path) -> None:
    planned = [(board, cells(board)) for board in boards()]
    results, out = folder / "results", folder / "pages"
    for _, row_trials in planned:
        for row, trial in row_trials:
            write(results, row, trial, ROWS.index(row.name))
    num = sum(len(row_trials) for _, row_trials in planned)
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    first = render(planned, results, out, StoredStatistics(store))
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.*"))}
    seconds = render(planned, results, out, StoredStatistics(store))
    assert before == {path: path.read_bytes() for path in sorted(out.rglob("*.*"))}, "same bytes"
    page = (out / "sprec-table1" / "index.html").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{first / seconds:.1f} times as quick: {num:,} results of {len(planned)} boards rendered "
        f"in {seconds:.1f} s with statistics kept, {first:.1f} s without; peak {peak:.0f} MiB. "
        f"The page of 8 methods x 4 data sets x 8 metrics x 5 seeds has {page / 1e6:.2f} MB."
    )
    assert seconds < LIMIT_SECONDS, f"{seconds:.1f} s"
    assert peak < LIMIT_MIB, f"{peak:.0f} MiB"
    assert page < LIMIT_PAGE, f"{page} bytes"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
