"""How often tests of equal methods reject, and how often 95 % intervals hold the true difference.

Methods are simulated whose expected difference is known: A, methods equal to A in expectation (one
has the same favorite items, one others), and a different one. Every training run has its own
strength or taste, so runs of a method differ. Each repetition draws users, runs and lists anew and
is judged by `bench.stats` as on a board: with one run a side about the trained models (drawn
without differences between runs), with more about the methods. Means over cases depend on the hit
rate, set-level metrics on the exponent of a Zipf law. Prints what docs/statistics.md summarizes.

    python benchmarks/coverage.py [--repetitions N] [--metrics HR@5,MGU@5] [--only 1000/nested/0.02]
        [--seed N]
    python benchmarks/coverage.py --checks          # floor, strata, equivalence, adaptive seeds
    python benchmarks/coverage.py --runs RESULTS    # A/A test: runs of one method

Legend: S seeds, C cases, U users, I items, K length of lists, G categories.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

# BLAS reads its number of threads when numpy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from numpy.typing import NDArray

from bench.metrics.registry import get_metric
from bench.report.adaptive_seeds import MAX_SEEDS, decide, list_looks
from bench.results.load import load_results
from bench.stats.contrasts import DIFFERENCE, AlignedSamples
from bench.stats.corrections import ALPHA
from bench.stats.inference import ROUNDING, SeedValues, Variance
from bench.stats.samples import Sample, Units

CASE_METRICS = ("HR@5", "NDCG@5", "MAP@5")
SET_METRICS = ("DivRatio@5", "ORRatio@5", "MGU@5", "DGU@5", "Gini@5")
NUM_SEEDS = (1, 2, 3, 5)
NUM_RUNS = 1 + max(NUM_SEEDS)
HIT_RATES, EXPONENTS = (0.005, 0.02, 0.1), (1.2, 1.6, 2.0)
NUM_ITEMS, NUM_GENRES, K = 300, 6, 5
CASES_PER_USER = 3
EQUAL, EQUAL_OTHERS, DIFFERENT = 1, 2, 3
CHUNK = 25
# Standard deviations between runs: of the logarithm of the strength, and of an item's popularity.
STRENGTH, TASTE = 0.1, 0.1
MIN_ANSWERED = 0.2


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row of the table: `level` is the hit rate or the exponent."""

    users: int
    nested: bool
    per_case: bool
    level: float

    @property
    def name(self) -> str:
        """What `--only` calls it, e.g. "1000/nested/0.02"."""
        return f"{self.users}/{'nested' if self.nested else 'flat'}/{self.level:g}"

    @property
    def num_cases(self) -> int:
        """Number of test cases."""
        return self.users * (CASES_PER_USER if self.nested else 1)

    @property
    def units(self) -> Units:
        """Users, with one or three cases each."""
        size = CASES_PER_USER if self.nested else 1
        return Units(
            kind="user" if self.nested else "case",
            of_case=np.repeat(np.arange(self.users), size),
            sizes=np.full(self.users, size),
        )


def make_sample(scenario: Scenario, **content: object) -> Sample:
    """Make a sample of all runs; ids are not read, since all methods share the units."""
    num_cases = scenario.num_cases
    ids = tuple(map(str, range(num_cases)))
    defaults: dict[str, object] = {
        "values": {},
        "masses": {},
        "items": np.zeros((NUM_RUNS, num_cases, 0), dtype=np.int32),
        "histories": np.zeros((num_cases, 0)),
        "tracked": (),
    }
    sample = Sample(
        name="",
        seeds=tuple(range(NUM_RUNS)),
        cases=ids,
        users=ids,
        known=np.ones(num_cases, dtype=np.bool_),
        num_items=NUM_ITEMS,
        **(defaults | content),  # type: ignore[arg-type]
    )
    sample.__dict__["units"] = scenario.units
    return sample


def draw_hits(scenario: Scenario, rng: np.random.Generator) -> list[Sample]:
    """Draw A, two equal methods and one with 1.6 times its hit rate; users differ in difficulty.

    Half of the hits of a method are the same in all of its runs.
    """
    num_cases = scenario.num_cases
    ease = np.repeat(rng.exponential(size=scenario.users), num_cases // scenario.users)
    samples = []
    for factor in (1.0, 1.0, 1.0, 1.6):
        strength = np.exp(STRENGTH * rng.normal(size=(NUM_RUNS, 1)) - STRENGTH**2 / 2)
        strength[0] = 1
        shared = np.broadcast_to(rng.random(num_cases), (NUM_RUNS, num_cases))
        own = rng.random((NUM_RUNS, num_cases))
        chance = np.where(own < 0.5, shared, rng.random((NUM_RUNS, num_cases)))
        hit = chance < scenario.level * factor * strength * ease
        ranks = rng.integers(1, K + 1, size=hit.shape)
        values = {"HR@5": hit * 1.0, "NDCG@5": hit / np.log2(ranks + 1), "MAP@5": hit / ranks}
        samples.append(make_sample(scenario, values=values))
    return samples


def draw_noise(rng: np.random.Generator, num_users: int, size: int) -> NDArray[np.float32]:
    """Draw what a list depends on besides popularity; cases of one user are similar."""
    noise = rng.standard_exponential((num_users, size, NUM_ITEMS), dtype=np.float32)
    return noise if size == 1 else (noise + 3 * noise[:, :1]) / 4


def rank_smallest(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Find the K smallest of each row, some times as fast as a partition."""
    columns = []
    for _ in range(K):
        columns.append(values.argmin(axis=1))
        values[np.arange(len(values)), columns[-1]] = np.inf
    return np.stack(columns, axis=1)


def draw_lists(scenario: Scenario, rng: np.random.Generator) -> list[Sample]:
    """Draw A, equal methods with the same and with other favorite items, and a flatter one.

    Items of other favorites are exchanged within groups of one item per genre, so that genres are
    exchanged alike, and histories do not prefer any genre. For half of the users each run draws
    its own noise.
    """
    num_cases, size = scenario.num_cases, scenario.num_cases // scenario.users
    mass = rng.dirichlet(np.full(NUM_GENRES, 0.7), size=scenario.users)
    histories = np.repeat(10 * mass, size, axis=0)
    rank = np.arange(NUM_ITEMS, dtype=np.int32)
    others = rank // NUM_GENRES * NUM_GENRES + (rank + NUM_GENRES // 2) % NUM_GENRES
    samples = []
    for order, change in ((rank, 0.0), (rank, 0.0), (others, 0.0), (rank, -0.3)):
        exponent = scenario.level + change
        shared = draw_noise(rng, scenario.users, size)
        lists = []
        for run in range(NUM_RUNS):
            taste = rng.normal(scale=TASTE if run else 0, size=NUM_ITEMS)
            popularity = np.exp(taste - exponent * np.log(rank + 1)).astype(np.float32)
            noise = shared.copy()
            changed = rng.random(scenario.users) < 0.5
            noise[changed] = draw_noise(rng, int(changed.sum()), size)
            noise /= popularity
            lists.append(order[rank_smallest(noise.reshape(num_cases, NUM_ITEMS))])
        items = np.stack(lists)
        masses = np.eye(NUM_GENRES)[items % NUM_GENRES].sum(axis=2)
        samples.append(
            make_sample(
                scenario,
                items=items,
                masses={K: masses},
                histories=histories,
                tracked=tuple(f"genre {number}" for number in range(NUM_GENRES)),
            )
        )
    return samples


def judge(scenario: Scenario, seed: Sequence[int], metrics: Sequence[str]) -> NDArray[np.float64]:
    """Judge one repetition, shape (metrics, numbers of seeds, other methods, 2).

    The last axis holds the difference from A and the half-width of its interval; NaN if refused.
    """
    rng = np.random.default_rng(seed)
    samples = (draw_hits if scenario.per_case else draw_lists)(scenario, rng)
    answers = np.full((len(metrics), len(NUM_SEEDS), len(samples) - 1, 2), np.nan)
    for row, name in enumerate(metrics):
        metric = get_metric(name)
        methods = AlignedSamples(samples=samples, metric=metric).methods
        for column, num_seeds in enumerate(NUM_SEEDS):
            runs = np.arange(1) if num_seeds == 1 else np.arange(1, 1 + num_seeds)
            parts = [
                SeedValues(values=method.values[runs], deviations=method.deviations[runs])
                for method in methods
            ]
            for other in range(1, len(samples)):
                pair = [parts[0], parts[other]]
                value = pair[1].mean - pair[0].mean
                answers[row, column, other - 1, 0] = value
                if metric.per_case and refuse(samples[0], samples[other], name, runs, runs):
                    continue
                margin = Variance.combine(DIFFERENCE, pair).margin(ALPHA, seeds=num_seeds > 1)
                if margin > ROUNDING:
                    answers[row, column, other - 1, 1] = margin
    return answers


def take_runs(sample: Sample, metric: str, runs: NDArray[np.intp]) -> Sample:
    """Take some runs of a method on one mean over cases."""
    part = replace(
        sample,
        seeds=tuple(range(len(runs))),
        values={metric: sample.values[metric][runs]},
        items=sample.items[runs],
        masses={},
    )
    part.__dict__["units"] = sample.units
    return part


def refuse(a: Sample, b: Sample, metric: str, *runs: NDArray[np.intp]) -> bool:
    """Tell whether too few units differ between runs of A and of B, by the rule of the boards."""
    pair = [take_runs(sample, metric, chosen) for sample, chosen in zip((a, b), runs, strict=True)]
    return bool(AlignedSamples(samples=pair, metric=get_metric(metric)).refuse(DIFFERENCE))


def run_chunk(task: tuple[int, Scenario, int, tuple[str, ...], int]) -> NDArray[np.float64]:
    index, scenario, chunk, metrics, seed = task
    return np.stack(
        [judge(scenario, (index, chunk, number, seed), metrics) for number in range(CHUNK)]
    )


def list_scenarios(metrics: Sequence[str]) -> Iterator[tuple[Scenario, tuple[str, ...]]]:
    for per_case, levels, names in (
        (True, HIT_RATES, CASE_METRICS),
        (False, EXPONENTS, SET_METRICS),
    ):
        chosen = tuple(name for name in names if name in metrics)
        for users, nested, level in product((15, 100, 1000), (False, True), levels):
            if chosen:
                yield Scenario(users=users, nested=nested, per_case=per_case, level=level), chosen


def count_repetitions(scenario: Scenario, repetitions: int) -> int:
    """Lists of many users take long."""
    slow = not scenario.per_case and scenario.users > 100
    return max(CHUNK, repetitions // (3 if slow else 1))


def summarize(answers: NDArray[np.float64], *, per_case: bool) -> str:
    """Summarize one metric of one scenario: rejections of equal methods / coverage, in %.

    Args:
        answers: Shape (repetitions, numbers of seeds, other methods, 2).
        per_case: Whether the two equal methods have the same favorite items, too.

    Returns:
        One number per number of runs: the share of equal methods that are marked, of the two equal
        methods the larger one, and the share of intervals that hold the true difference.
    """
    rejections = [(0, 1)] if per_case else [(0,), (1,)]
    texts: list[list[str]] = [[], []]
    for column in range(len(NUM_SEEDS)):
        differences, margins = answers[:, column, :, 0], answers[:, column, :, 1]
        truth = float(differences[:, 2].mean())

        def miss(others: tuple[int, ...], value: float) -> float:
            """Compute the share of intervals that miss a value; NaN where most are refused."""
            margin = margins[:, others]  # noqa: B023
            answered = np.isfinite(margin)
            if answered.mean() < MIN_ANSWERED:
                return float("nan")
            misses = np.abs(differences[:, others] - value) > margin  # noqa: B023
            return float(100 * misses[answered].mean())

        numbers = (max(miss(others, 0.0) for others in rejections), 100 - miss((2,), truth))
        for line, number in zip(texts, numbers, strict=True):
            line.append("–" if np.isnan(number) else f"{number:.1f}")
    return " / ".join(" ".join(line) for line in texts)


def simulate(repetitions: int, metrics: Sequence[str], only: Sequence[str], seed: int) -> None:
    """Print the table."""
    started = time.perf_counter()
    scenarios = list(list_scenarios(metrics))
    tasks = [
        (index, scenario, chunk, names, seed)
        for index, (scenario, names) in enumerate(scenarios)
        if not only or scenario.name in only
        for chunk in range(count_repetitions(scenario, repetitions) // CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run_chunk, tasks))
    for per_case in (True, False):
        names = [name for name in (CASE_METRICS if per_case else SET_METRICS) if name in metrics]
        if not names:
            continue
        head = ["users", "nested", "hit rate" if per_case else "Zipf", *names]
        print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|")
        for index, (scenario, _) in enumerate(scenarios):
            if scenario.per_case != per_case or (only and scenario.name not in only):
                continue
            answers = np.concatenate(
                [r for r, task in zip(results, tasks, strict=True) if task[0] == index]
            )
            level = f"{100 * scenario.level:g} %" if per_case else f"{scenario.level:g}"
            cells = [f"{scenario.users:,}", "yes" if scenario.nested else "no", level]
            cells += [summarize(answers[:, row], per_case=per_case) for row in range(len(names))]
            print(f"| {' | '.join(cells)} |")
        print()
    print(f"{time.perf_counter() - started:.0f} s.", file=sys.stderr)


# --- the tests around the table -----------------------------------------------------------------

NUM_USERS = 200
SPREADS = (0.0, 1.0, 5.0)
BOUND = 0.5


def draw_methods(
    rng: np.random.Generator, num_methods: int, num_seeds: int, spread: float
) -> list[SeedValues]:
    """Draw equal methods: users differ, and users and runs together, each with variance 1.

    Args:
        rng: Random numbers.
        num_methods: How many.
        num_seeds: Runs of each.
        spread: Standard deviation between runs, in standard errors over the users of one run.
    """
    methods = []
    for _ in range(num_methods):
        values = rng.normal(size=NUM_USERS) + rng.normal(size=(num_seeds, NUM_USERS))
        values += spread * np.sqrt(2 / NUM_USERS) * rng.normal(size=(num_seeds, 1))
        means = values.mean(axis=1)
        scale = np.sqrt(NUM_USERS * (NUM_USERS - 1))
        methods.append(SeedValues(values=means, deviations=(values - means[:, None]) / scale))
    return methods


def test_pair(
    pair: Sequence[SeedValues], change: float, num_seeds: int
) -> tuple[float, float, float]:
    """Return the difference, p and p of equivalence of the first seeds of two methods."""
    parts = [
        SeedValues(values=m.values[:num_seeds], deviations=m.deviations[:num_seeds]) for m in pair
    ]
    value = parts[1].mean - parts[0].mean + change
    variance = Variance.combine(DIFFERENCE, parts)
    answer = variance.infer(value, seeds=True)
    within = variance.test_equivalence(value, BOUND, seeds=True)
    return value, answer.p if answer else 1.0, 1.0 if within is None else within


def simulate_adaptive(rng: np.random.Generator, spread: float, change: float) -> tuple[bool, ...]:
    """Add seeds until one comparison is decided, as `bench run --until-decided`.

    Returns:
        Whether it was decided to be within the bound, or beyond, and † where it stopped.
    """
    looks = list_looks(2, MAX_SEEDS)
    pair = draw_methods(rng, 2, MAX_SEEDS, spread)
    for num_seeds in looks:
        _, p, p_equivalent = test_pair(pair, change, num_seeds)
        within = decide(p_equivalent, len(looks))
        if within is not None:
            break
    return within is True, within is False, p <= ALPHA


def simulate_floor(
    rng: np.random.Generator, spread: float, num_ranked: int, num_floor: int
) -> bool:
    """Tell whether the best of equal ranked rows differs from the best of equal floor rows."""
    methods = draw_methods(rng, num_ranked + num_floor, 3, spread)
    floor, best = (
        max(rows, key=lambda m: m.mean) for rows in (methods[:num_floor], methods[num_floor:])
    )
    value, p, _ = test_pair([floor, best], 0.0, 3)
    return p * (num_ranked if value > 0 else num_floor) <= ALPHA


def simulate_stratum(rng: np.random.Generator, scenario: Scenario, num_seeds: int) -> bool | None:
    """Tell whether the interval of a hit rate misses the true one; None if it is refused."""
    (sample, *_) = draw_hits(scenario, rng)
    runs = np.arange(1) if num_seeds == 1 else np.arange(1, 1 + num_seeds)
    part = take_runs(sample, "HR@5", runs)
    ends = AlignedSamples(samples=[part], metric=get_metric("HR@5")).estimate((1,)).ends
    return None if ends is None else not ends[0] <= scenario.level <= ends[1]


def simulate_checks(repetitions: int) -> None:
    """Print how often the tests around the table err."""
    rng = np.random.default_rng(0)

    def rate(errors: Sequence[bool | None]) -> str:
        answered = [error for error in errors if error is not None]
        few = len(answered) < MIN_ANSWERED * len(errors)
        return "refused" if few else f"{100 * np.mean(answered):.1f} %"

    print("| test | error | spread 0 | 1 | 5 |\n| --- | --- | --- | --- | --- |")
    for num_seeds in NUM_SEEDS[1:]:
        cells = [
            rate(
                [
                    test_pair(draw_methods(rng, 2, num_seeds, spread), BOUND, num_seeds)[2] <= ALPHA
                    for _ in range(repetitions)
                ]
            )
            for spread in SPREADS
        ]
        print(
            f"| equivalence, {num_seeds} runs a side | difference = bound | {' | '.join(cells)} |"
        )
    for change in (BOUND, 0.0):
        answers = [
            np.array([simulate_adaptive(rng, spread, change) for _ in range(repetitions)])
            for spread in SPREADS
        ]
        for index, name in enumerate(("within", "beyond", "†")):
            cells = [f"{100 * answer[:, index].mean():.1f} %" for answer in answers]
            print(f"| adaptive seeds | difference = {change:g}: {name} | {' | '.join(cells)} |")
    for num_ranked, num_floor in ((1, 1), (5, 1), (5, 4), (10, 2)):
        cells = [
            rate([simulate_floor(rng, s, num_ranked, num_floor) for _ in range(repetitions)])
            for s in SPREADS
        ]
        print(f"| floor, {num_ranked} against {num_floor} rows | all equal | {' | '.join(cells)} |")
    print("\n| stratum of | hit rate | 1 run | 2 | 3 | 5 |\n| --- | --- | --- | --- | --- | --- |")
    for users, level in product((100, 1000), HIT_RATES):
        scenario = Scenario(users=users, nested=False, per_case=True, level=level)
        cells = [
            rate([simulate_stratum(rng, scenario, s) for _ in range(repetitions)])
            for s in NUM_SEEDS
        ]
        print(f"| {users:,} cases | {100 * level:g} % | {' | '.join(cells)} |")


def test_runs(folder: Path) -> None:
    """Compare disjoint groups of runs of one method, 2 and 3 a side: the share marked at .05."""
    results = load_results(folder)
    trials = [result.trial for result in results if result.status == "ok"]
    whole = results.sample("runs", trials)
    names = [name for name in next(iter(results)).evaluations["final"].metrics if "[" not in name]
    rng = np.random.default_rng(0)
    print(f"{len(trials)} runs; share of pairs with p ≤ .05: methods (trained models only)")
    for name in names:
        metric = get_metric(name)
        methods = AlignedSamples(samples=[whole], metric=metric).methods[0]
        texts = []
        for size in (2, 3):
            marked = []
            for _ in range(1000):
                order = rng.permutation(len(trials))
                groups = [order[:size], order[size : 2 * size]]
                pair = [
                    SeedValues(values=methods.values[g], deviations=methods.deviations[g])
                    for g in groups
                ]
                if metric.per_case and refuse(whole, whole, name, *groups):
                    continue
                value = pair[1].mean - pair[0].mean
                variance = Variance.combine(DIFFERENCE, pair)
                margins = [variance.margin(ALPHA, seeds=seeds) for seeds in (True, False)]
                marked.append([abs(value) > max(ROUNDING, margin) for margin in margins])
            if len(marked) < 1000 * MIN_ANSWERED:
                texts.append(f"{size} a side refused")
                continue
            rates = 100 * np.mean(marked, axis=0)
            texts.append(f"{size} a side {rates[0]:4.1f} % ({rates[1]:4.1f} %)")
        print(f"  {name:14} {'; '.join(texts)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--metrics", default=",".join((*CASE_METRICS, *SET_METRICS)))
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checks", action="store_true")
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    if options.runs:
        test_runs(options.runs)
    elif options.checks:
        simulate_checks(options.repetitions)
    else:
        only = options.only.split(",") if options.only else []
        simulate(options.repetitions, options.metrics.split(","), only, options.seed)
