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
from bench.stats.compare import compare
from bench.stats.inference import SeedValues
from bench.stats.power import detectable_difference
from bench.stats.seed_variance import decompose_variance

NUM = 400


def test_formula():
    rng = np.random.default_rng(0)
    base, ours = rng.random(NUM), rng.random(NUM)
    result = detectable_difference(sample("a", base), sample("b", ours), "NDCG@5")
    error = (ours - base).std(ddof=1) / np.sqrt(NUM)
    quantiles = stats.t.ppf(0.975, NUM - 1) + stats.t.ppf(0.8, NUM - 1)
    assert result.difference == pytest.approx(quantiles * error)
    assert result.relative == pytest.approx(result.difference / base.mean())
    assert (result.num_cases, result.num_units, result.unit) == (NUM, NUM, "case")
    assert (result.num_seeds, result.question, result.seeds_to_halve) == ((1, 1), "models", None)
    assert result.approximations == ()


def test_what_makes_values_vary_is_found_again():
    """Data draws vary by .1, training by .2; the mean of 100 users by .05."""
    rng = np.random.default_rng(12)
    parts = []
    for _ in range(150):
        draws = []
        for draw in rng.normal(0, 0.1, size=4):
            values = rng.normal(0, 0.5, size=(3, 100)) + rng.normal(draw, 0.2, size=(3, 1))
            means = values.mean(axis=1)
            deviations = (values - means[:, None]) / np.sqrt(100 * 99)
            draws.append(SeedValues(values=means, deviations=deviations))
        parts.append(decompose_variance(draws, same_users=False))
    assert np.mean([part.training for part in parts]) == pytest.approx(0.04, rel=0.15)
    assert np.mean([part.users for part in parts]) == pytest.approx(0.0025, rel=0.05)
    assert np.mean([part.data for part in parts]) == pytest.approx(0.01, rel=0.4)
    assert sum(parts[0].shares) == pytest.approx(1)


def method(rng, num_seeds, num_cases, shift=0.0):
    """Users vary by .1, training runs by .05, and both together by .4."""
    own = rng.normal(shift, 0.1, size=num_cases)
    runs = rng.normal(0, 0.05, size=(num_seeds, 1))
    return own + runs + rng.normal(0, 0.4, size=(num_seeds, num_cases))


def test_a_pilot_foretells_the_power_of_more_seeds_and_cases():
    rng = np.random.default_rng(2)
    pilots = [[sample(name, method(rng, 6, 2000)) for name in "ab"] for _ in range(15)]
    results = [detectable_difference(*p, "NDCG@5", num_cases=400, num_seeds=12) for p in pilots]
    called = np.median([result.difference for result in results])
    assert (results[0].num_seeds, results[0].question) == ((12, 12), "methods")
    assert len(results[0].approximations) == 2
    rejected = [
        compare(
            sample("a", method(rng, 12, 400)), sample("b", method(rng, 12, 400, called)), "NDCG@5"
        ).p
        <= 0.05
        for _ in range(200)
    ]
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.12)


def test_seeds_halve_a_difference_until_the_users_limit_it():
    rng = np.random.default_rng(3)
    pair = [sample(name, method(rng, 3, 4000)) for name in "ab"]
    present = detectable_difference(*pair, "NDCG@5")
    halved = present.seeds_to_halve
    assert halved > 3
    more = detectable_difference(*pair, "NDCG@5", num_seeds=halved)
    assert more.difference <= present.difference / 2
    before = detectable_difference(*pair, "NDCG@5", num_seeds=halved - 1)
    assert before.difference > present.difference / 2
    fixed = [sample(name, np.tile(rng.random(200), (3, 1))) for name in "ab"]
    assert detectable_difference(*fixed, "NDCG@5").seeds_to_halve is None


def test_nested_cases_count_as_users():
    rng = np.random.default_rng(3)
    users = [f"u{case // 4}" for case in range(NUM)]
    base, ours = rng.random((2, NUM))
    one, two = (sample(n, v, users=users) for n, v in (("a", base), ("b", ours)))
    result = detectable_difference(one, two, "NDCG@5")
    assert (result.unit, result.num_units) == ("user", NUM / 4)
    twice = detectable_difference(one, two, "NDCG@5", num_cases=2 * NUM)
    assert twice.num_units == 2 * result.num_units
    assert twice.difference == pytest.approx(result.difference / np.sqrt(2), rel=0.02)
    with pytest.raises(BenchError, match="users are the unit"):
        detectable_difference(one, two, "NDCG@5", num_cases=4)


@pytest.mark.parametrize("family", ["DivRatio", "ORRatio", "MGU"])
def test_set_level_metrics_use_the_same_variance(family):
    one, two = zipf("a", 1.0, 1, num_seeds=3), zipf("b", 0.5, 2, num_seeds=3)
    result = detectable_difference(one, two, f"{family}@2")
    test = compare(one, two, f"{family}@2")
    assert result.difference > test.high - test.difference
    more = detectable_difference(one, two, f"{family}@2", num_cases=800, num_seeds=12)
    assert more.difference < result.difference / 1.5
    assert len(more.approximations) == 3


def test_what_cannot_be_computed_is_refused():
    rng = np.random.default_rng(5)
    values = rng.random((2, 50))
    one, two = (sample(name, rng.random(50)) for name in "ab")
    assert detectable_difference(one, two, "NDCG@5", num_seeds=1).num_seeds == (1, 1)
    for first, second, options, message in (
        (sample("a", values), sample("b", values), {}, "0 of 50 cases differ"),
        (one, two, {"num_seeds": 4}, "a single seed of a or b"),
        (sample("a", [0.5]), sample("b", [0.7]), {}, "1 cases"),
        (one, two, {"num_cases": 1}, "at least two test cases"),
    ):
        with pytest.raises(BenchError, match=message):
            detectable_difference(first, second, "NDCG@5", **options)
    same = zipf("a", 1.0, 1)
    assert detectable_difference(same, same, "DivRatio@2").difference is None


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
    assert "with 2 seeds this board can detect a difference of" in done.stdout
    assert "data draw" not in done.stdout
    again = ["run", "--board", "smoke", *methods, "--executor", "inline", "--data-seed", "1"]
    assert call(app, again).exit_code == 0
    both = call(app, ["power", "--metric", "NDCG@5"]).stdout
    assert "NDCG@5: of the variance of one run (median over rows) the data draw is" in both
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
