"""Power: the formula against simulation, and what is asked of other cases and seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy import stats
from test_stats_compare import sample
from test_stats_sets import zipf
from typer.testing import CliRunner

from bench.cli import power as command
from bench.cli import run as runs
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.stats.compare import compare
from bench.stats.intervals import set_interval
from bench.stats.paired import paired_t
from bench.stats.power import detectable_difference
from bench.stats.set_metrics import sum_units

NUM = 400


def test_formula():
    rng = np.random.default_rng(0)
    base, ours = rng.random(NUM), rng.random(NUM)
    result = detectable_difference(sample("a", base), sample("b", ours), "NDCG@5")
    error = (ours - base).std(ddof=1) / np.sqrt(NUM)
    assert result.error == pytest.approx(error)
    quantiles = stats.t.ppf(0.975, NUM - 1) + stats.t.ppf(0.8, NUM - 1)
    assert result.difference == pytest.approx(quantiles * error)
    assert result.relative == pytest.approx(result.difference / base.mean())
    assert (result.num_cases, result.num_units, result.unit, result.num_seeds) == (
        NUM,
        NUM,
        "case",
        1,
    )
    assert result.basis == "paired t"
    assert result.approximations == ()


def test_simulated_power_is_80_percent():
    rng = np.random.default_rng(1)
    spread = 0.3
    pilot = rng.normal(0, spread, size=5000)
    result = detectable_difference(
        sample("a", np.zeros(5000)), sample("b", pilot), "NDCG@5", num_cases=150
    )
    sizes = np.ones(150, dtype=np.intp)
    rejected = [
        paired_t(rng.normal(result.difference, spread, size=150), sizes).p <= 0.05
        for _ in range(1500)
    ]
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.035)


def test_simulated_power_with_more_seeds():
    """A pilot of 3 seeds foretells the power of 8: only the part within cases is averaged out."""
    rng = np.random.default_rng(2)

    def method(num_seeds, num_cases, shift=0.0):
        own = rng.normal(shift, 0.1, size=num_cases)
        return own + rng.normal(0, 0.4, size=(num_seeds, num_cases))

    pilot = [sample(name, method(3, 3000)) for name in "ab"]
    result = detectable_difference(*pilot, "NDCG@5", num_cases=100, num_seeds=8)
    assert result.error == pytest.approx(np.sqrt(2 * (0.1**2 + 0.4**2 / 8) / 100), rel=0.1)
    assert result.num_seeds == 8
    assert len(result.approximations) == 2
    sizes = np.ones(100, dtype=np.intp)
    rejected = [
        paired_t(
            method(8, 100, result.difference).mean(axis=0) - method(8, 100).mean(axis=0), sizes
        ).p
        <= 0.05
        for _ in range(600)
    ]
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.06)
    assert (
        detectable_difference(*pilot, "NDCG@5", num_seeds=3).error
        == detectable_difference(*pilot, "NDCG@5").error
    )


@pytest.mark.parametrize(
    ("metric", "exponent", "low", "high"),
    # The jackknife is wide, so that for DivRatio the true power at that difference is higher.
    [("ORRatio@1", 1.24, 0.65, 0.92), ("DivRatio@1", 1.49, 0.85, 1.0)],
)
def test_simulated_power_of_set_level_metrics(metric, exponent, low, high):
    """Methods as far apart as is called detectable, judged by the label swap."""
    pairs = [
        (zipf("a", 1.0, seed, k=1), zipf("b", exponent, 10_000 + seed, k=1)) for seed in range(60)
    ]
    tests = [compare(*pair, metric, num_resamples=199) for pair in pairs]
    called = np.mean([detectable_difference(*pair, metric).difference for pair in pairs[:8]])
    assert abs(np.mean([test.difference for test in tests])) == pytest.approx(called, rel=0.1)
    assert low <= np.mean([test.p <= 0.05 for test in tests]) <= high


def test_nested_cases_count_as_users():
    rng = np.random.default_rng(3)
    users = [f"u{case // 4}" for case in range(NUM)]
    base, ours = rng.random((2, NUM))
    one, two = (sample(n, v, users=users) for n, v in (("a", base), ("b", ours)))
    result = detectable_difference(one, two, "NDCG@5")
    units = one.units
    expected = paired_t(np.bincount(units.of_case, weights=ours - base), units.sizes)
    reach = stats.t.ppf(0.975, units.num - 1) * result.error
    assert result.unit == "user"
    assert expected.high - expected.value == pytest.approx(reach)
    twice = detectable_difference(one, two, "NDCG@5", num_cases=2 * NUM)
    assert twice.num_units == 2 * result.num_units
    assert twice.error == pytest.approx(result.error / np.sqrt(2))
    with pytest.raises(BenchError, match="users are the unit"):
        detectable_difference(one, two, "NDCG@5", num_cases=4)


@pytest.mark.parametrize(
    ("family", "basis"), [("DivRatio", "jackknife"), ("ORRatio", "bootstrap"), ("MGU", "bootstrap")]
)
def test_set_level_metrics_use_the_interval(family, basis):
    metric = get_metric(f"{family}@2")
    one, two = zipf("a", 1.0, 1, num_seeds=2), zipf("b", 0.5, 2, num_seeds=2)
    result = detectable_difference(one, two, metric.name)
    base, changed = sum_units([one, two], metric, one.units)
    low, high = set_interval(metric, lambda w: changed.mean(w) - base.mean(w), base)
    assert result.basis == basis
    assert result.error == pytest.approx((high - low) / 2 / stats.norm.ppf(0.975))
    assert result.difference == pytest.approx(2.8016 * result.error, rel=1e-4)
    assert "set-level" in result.approximations[0]
    more = detectable_difference(one, two, metric.name, num_cases=800, num_seeds=6)
    assert more.error < result.error / 2
    assert len(more.approximations) - len(result.approximations) == (
        3 if basis == "jackknife" else 2
    )


def test_identical_systems_have_no_smallest_difference():
    values = np.random.default_rng(4).random((2, 50))
    result = detectable_difference(sample("a", values), sample("b", values), "NDCG@5")
    assert (result.error, result.difference, result.relative) == (0, None, None)
    same = zipf("a", 1.0, 1)
    assert detectable_difference(same, same, "DivRatio@2").difference is None


def test_one_seed_says_nothing_about_more():
    rng = np.random.default_rng(5)
    one, two = (sample(name, rng.random(50)) for name in "ab")
    assert detectable_difference(one, two, "NDCG@5", num_seeds=1).num_seeds == 1
    with pytest.raises(BenchError, match="a single seed of a"):
        detectable_difference(one, two, "NDCG@5", num_seeds=4)
    with pytest.raises(BenchError, match="a single seed of a and b"):
        detectable_difference(zipf("a", 1.0, 1), zipf("b", 1.0, 2), "DivRatio@2", num_seeds=4)


def test_one_case_says_nothing():
    with pytest.raises(BenchError, match="share a single case"):
        detectable_difference(sample("a", [0.0]), sample("b", [1.0]), "NDCG@5")
    with pytest.raises(BenchError, match="two test cases"):
        detectable_difference(
            sample("a", [0.0, 1.0]), sample("b", [1.0, 1.0]), "NDCG@5", num_cases=1
        )


def test_other_numbers_of_seeds_per_method():
    rng = np.random.default_rng(6)
    one, two = sample("a", rng.random((2, 50))), sample("b", rng.random((3, 50)))
    assert detectable_difference(one, two, "NDCG@5").num_seeds is None
    assert detectable_difference(one, two, "NDCG@5", num_seeds=4).num_seeds == 4


# The command

app = typer.Typer(pretty_exceptions_enable=False)
app.command("power")(command.power)
app.command("run")(runs.run)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke
    methods = ("--method", "popularity", "--method", "random")
    assert call(app, ["run", "--board", "smoke", *methods, "--executor", "inline"]).exit_code == 0
    done = call(app, ["power"])
    assert done.exit_code == 0, done.output
    assert "80 % power" in done.stdout
    assert "Approximate (DivRatio@1" in done.stdout
    asked = ["power", "--metric", "NDCG@5", "--cases", "5000", "--json"]
    (block,) = json.loads(call(app, asked).stdout)
    (result,) = block["comparisons"]
    assert (result["other"], result["num_cases"], block["reference"]) == (
        "Random",
        5000,
        "Popularity",
    )
    assert call(app, [*asked, "--method", "nobody"]).exception.message.startswith("There is no row")
    (block,) = json.loads(call(app, ["power", "--metric", "HR@3", "--json"]).stdout)
    assert block["comparisons"] == []
    assert "There is no metric of" in block["left_out"][0]
    for path in (tmp_path / "results").glob("*/popularity/*/*.json"):
        path.unlink()
    (block,) = json.loads(call(app, asked).stdout)
    assert block["comparisons"] == []
    assert "No seed of Popularity" in block["left_out"][0]
