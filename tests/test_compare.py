"""Two methods side by side: from boards, from folders of results, from files made elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from board_results import CATALOG, NUM_ITEMS, Line, write
from typer.testing import CliRunner

from bench.cli import compare as command
from bench.cli import run as runs
from bench.config.cards import Rows
from bench.errors import BenchError
from bench.metrics.registry import DEFAULT_METRICS
from bench.plan.trials import Trial
from bench.report.compare.pairwise import (
    choose_metrics,
    compare_systems,
    format_report,
    report_to_json,
    write_sentence,
)
from bench.report.compare.systems import System, list_seeds, read_system
from bench.results.schema import find_result
from bench.stats.corrections import holm
from bench.stats.descriptions import ONE_RUN

app = typer.Typer(pretty_exceptions_enable=False)
app.command("compare")(command.compare)
app.command("run")(runs.run)


def call(*words: str) -> str:
    """Run a command line; a user's mistake is raised as it is."""
    done = CliRunner().invoke(app, ["compare", *words])
    if isinstance(done.exception, BenchError):
        raise done.exception
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.stdout


def trial(name, seed, dataset="synthetic"):
    return Trial(
        method=name.lower(), dataset=dataset, seed=seed, model=None, rows=Rows(test=1000),
        data_seed=0, settings={"row": name},
    )  # fmt: skip


def made(folder: Path, line: Line, *, seeds=3, dataset="synthetic") -> Path:
    """Make up the results of one method; returns their folder."""
    for seed in range(seeds):
        write(folder, trial(line.name, seed, dataset), line)
    return (folder / f"{trial(line.name, 0, dataset).id}.json").parent


def system(folder: Path, name: str = "a", positions=None) -> System:
    return read_system(name, list_seeds(folder), {} if positions is None else positions)


def pair(one: Path, two: Path) -> tuple[System, System]:
    positions: dict[str, int] = {}
    return system(one, "A", positions), system(two, "B", positions)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return made(tmp_path, Line("Good", 0.6))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made(tmp_path, Line("Base", 0.05))


def change(path: Path, **columns: object) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        name = name.replace("_at_", "@")
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, path)


def restate(path: Path, **metrics: float) -> None:
    content = json.loads(path.read_text())
    stated = content["evaluations"]["final"]["metrics"]
    stated |= {name.replace("_at_", "@"): value for name, value in metrics.items()}
    path.write_text(json.dumps(content))


def test_difference_is_a_minus_b_and_the_family_is_what_is_printed(good, base):
    report = compare_systems(*pair(good, base), ["HR@5", "NDCG@5", "DivRatio@1"])
    assert [line.test.metric for line in report.metrics] == ["HR@5", "NDCG@5", "DivRatio@1"]
    tests = [line.test for line in report.metrics]
    assert [test.p_adjusted for test in tests] == holm([test.p for test in tests])
    assert {test.family_size for test in tests} == {3}
    hits = report.metrics[0]
    assert hits.test.difference == pytest.approx(hits.a[0] - hits.b[0])
    assert hits.test.difference > 0.3
    assert hits.test.significant
    assert hits.test.better
    assert hits.a[2] == hits.b[2] == 3
    assert hits.test.question == "methods"
    assert hits.test.models.p < 0.001
    text = format_report(report)
    assert "Differences are A − B." in text
    assert "family of this table (3 metrics)" in text
    assert write_sentence(report) in text
    content = json.loads(json.dumps(report_to_json(report), allow_nan=False))
    assert content["family"]["correction"] == "holm"
    assert content["metrics"]["HR@5"]["d_z"] > 0
    assert content["metrics"]["DivRatio@1"]["d_z"] is None


def test_the_sentence_holds_what_a_paper_needs(good, base):
    text = write_sentence(compare_systems(*pair(good, base), ["HR@5"]))
    assert text.startswith("On synthetic (60 test cases; 3 seeds each), A is significantly better")
    assert text.count("HR@5 (+0.") == 1
    assert "95 % CI [+0." in text
    assert "these methods: over users and training seeds" in text
    assert "], p = .00" in text
    assert "a single test" in text
    assert text.endswith(").")


def test_identical_systems_are_not_testable(good):
    report = compare_systems(*pair(good, good), ["HR@5", "DivRatio@5", "MGU@5"])
    for line in report.metrics:
        assert (line.test.difference, line.test.better) == (0, None)
        assert line.test.p in (None, 1)
    assert "HR@5 (+0.0000, not testable)" in write_sentence(report)
    assert "HR@5: Too few for an interval: 0 of 60 cases differ" in report.notes[0]


def test_one_seed_has_no_deviation(tmp_path):
    one = made(tmp_path, Line("Good", 0.6), seeds=1)
    two = made(tmp_path, Line("Base", 0.1), seeds=1)
    report = compare_systems(*pair(one, two), ["HR@5"])
    assert report.metrics[0].a[1] is None
    assert report.notes == (f"HR@5: {ONE_RUN}",)
    assert "is a significantly better model than that of B" in write_sentence(report)
    assert "; 1 seed)" in write_sentence(report)
    assert "±" not in format_report(report)


def test_other_numbers_of_seeds_are_said(tmp_path):
    one = made(tmp_path, Line("Good", 0.6, reasons={1: "out of memory"}))
    two = made(tmp_path, Line("Base", 0.1))
    report = compare_systems(*pair(one, two), ["HR@5", "DivRatio@1"])
    assert report.notes == ("A: seed-1 is left out, it failed: out of memory",)
    assert "2 seeds of A, 3 of B" in write_sentence(report)


def test_one_case_decides_nothing():
    a, b = (_single(name, value) for name, value in (("A", 1.0), ("B", 0.0)))
    report = compare_systems(a, b, ["HR@5"])
    (line,) = report.metrics
    assert (line.test.difference, line.test.p, line.test.low) == (1, None, None)
    assert "HR@5 (+1.0000, not testable)" in write_sentence(report)


def _single(name, value):
    from test_stats_compare import sample

    return System(
        sample=sample(name, [value], metric="HR@5"),
        dataset="d",
        fingerprint="",
        recorded={0: {"HR@5": value}},
        paths={0: name},
        targets={},
    )


# Bad input


def test_other_cases_are_refused_with_their_ids(tmp_path, base):
    fewer = made(tmp_path, Line("Good", 0.6, num_cases=57))
    with pytest.raises(BenchError, match=r"A lacks 3 of 60 cases of B: 57, 58, 59\."):
        compare_systems(*pair(fewer, base), ["HR@5"])


def test_missing_numbers_are_refused(good, base):
    values = pq.read_table(good / "seed-1.cases.parquet")["HR@5"].to_pylist()
    values[7] = float("nan")
    change(good / "seed-1.cases.parquet", HR_at_5=values)
    with pytest.raises(BenchError, match=r"HR@5 of A is not a finite number for 1 of 60 .*: 7\."):
        compare_systems(*pair(good, base), ["HR@5"])


@pytest.mark.parametrize("metric", ["HR@5", "DivRatio@1", "MGU@5"])
def test_a_metric_edited_by_hand_is_refused(good, base, metric):
    restate(good / "seed-1.json", **{metric.replace("@", "_at_"): 0.9})
    report = compare_systems(*pair(good, base), ["NDCG@5"])
    assert len(report.metrics) == 1
    with pytest.raises(BenchError, match=rf"seed-1.json says {metric} = 0.9, but its cases give"):
        compare_systems(*pair(good, base), [metric])
    with pytest.raises(BenchError, match=r"seed-1.json says"):
        compare_systems(*pair(base, good), [metric])


def test_edited_cases_are_refused(good, base):
    ones = np.ones(60)
    change(good / "seed-0.cases.parquet", HR_at_5=ones)
    with pytest.raises(BenchError, match=r"seed-0.json says HR@5"):
        compare_systems(*pair(good, base), ["HR@5"])


def test_files_that_are_not_those_of_the_result_are_refused(good):
    path = good / "seed-0.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"files": {"cases": "0" * 64, "ranking": "0" * 64}}))
    with pytest.raises(BenchError, match="not those that were written with it"):
        system(good)


def test_cut_files_are_refused(good):
    path = good / "seed-0.cases.parquet"
    pq.write_table(pq.read_table(path).slice(0, 50), path)
    with pytest.raises(BenchError, match="says 60 cases, but the files next to it have 50 and 60"):
        system(good)
    path.unlink()
    with pytest.raises(BenchError, match="cannot be read"):
        system(good)


def test_another_schema_version_is_refused(good):
    path = good / "seed-2.json"
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 9'))
    with pytest.raises(BenchError, match=r"seed-2.json is not a result of schema version 3"):
        system(good)


def test_other_data_are_refused(tmp_path, good):
    other = made(tmp_path, Line("Base", 0.1, fingerprint="0" * 64))
    with pytest.raises(BenchError, match=r"good.*different data \(fingerprints f{12} and 0{12}\)"):
        compare_systems(*pair(good, other), ["HR@5"])
    elsewhere = made(tmp_path, Line("Base", 0.1), dataset="ml-100k")
    with pytest.raises(BenchError, match="A was measured on synthetic, B on ml-100k"):
        compare_systems(*pair(good, elsewhere), ["HR@5"])
    write(tmp_path, trial("Good", 1), Line("Good", 0.6, fingerprint="1" * 64))
    with pytest.raises(BenchError, match=r"seed-0.json and .*seed-1.json were measured on diff"):
        system(good)


def test_nothing_that_ended_well_is_refused(tmp_path):
    folder = made(tmp_path, Line("Bad", reasons=dict.fromkeys(range(3), "CUDA out of memory")))
    with pytest.raises(BenchError, match=r"No seed of a has a successful result.*CUDA"):
        system(folder)
    with pytest.raises(BenchError, match="has no results"):
        list_seeds(tmp_path)


def test_metrics_that_one_side_lacks(good, base):
    a, b = pair(good, base)
    lacking = {seed: {k: v for k, v in one.items() if k != "HR@5"}
               for seed, one in b.recorded.items()}  # fmt: skip
    b = replace(b, recorded=lacking)
    kept = choose_metrics(a, b, requested=(), default=("HR@5", "NDCG@5"))
    assert kept == (("NDCG@5",), ("HR@5",))
    with pytest.raises(BenchError, match=r"metric of B named 'HR@5'"):
        choose_metrics(a, b, requested=("HR@5",), default=())
    with pytest.raises(BenchError, match="share none of the metrics"):
        choose_metrics(a, b, requested=(), default=("HR@5",))


# The command


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the smoke suite."""
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, ["run", "--suite", "smoke", "--executor", "inline"])
    assert done.exit_code == 0, done.output
    return folder / "results"


def test_rows_of_a_board_that_was_run(smoke):
    content = json.loads(call("SASRec", "popularity", "--results", str(smoke), "--json"))
    assert (content["a"], content["b"], content["dataset"]) == ("SASRec", "Popularity", "synthetic")
    card = json.loads((smoke / "boards" / "smoke.json").read_text())["card"]
    assert content["family"]["metrics"] == card["metrics"]
    sasrec = next((smoke / "synthetic" / "sasrec").iterdir())
    assert find_result(smoke, f"synthetic/sasrec/{sasrec.name}/seed-0") is not None
    mixed = json.loads(
        call(str(sasrec), "Popularity", "--results", str(smoke), "--metric", "HR@5", "--json")
    )
    assert mixed["a"] == "sasrec"
    assert mixed["metrics"]["HR@5"]["difference"] == content["metrics"]["HR@5"]["difference"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("SASRek", "Popularity"), "There is no row or method"),
        (("SASRec", "Popularity", "--board", "quick"), "There is no board in"),
        (("SASRec", "Popularity", "--dataset", "ml-1m"), "There is no data set in"),
        (("SASRec", "Popularity", "--metric", "HR@3"), "There is no metric of SASRec"),
        (("SASRec", "Popularity", "--metric", "HR"), "does not say how long"),
        (("SASRec", "Popularity", "--catalog", "c.csv"), "are for ranking files"),
        (("./a.jsonl", "./b.jsonl", "--board", "smoke"), "two paths were given"),
        (("a.jsonl", "b.jsonl", "--category", "x"), "--category needs --catalog"),
        (("./nothing", "SASRec"), "nothing has no results"),
    ],
)
def test_wrong_use_is_refused(smoke, words, sentence):
    with pytest.raises(BenchError, match=sentence):
        call(*words, "--results", str(smoke))


def test_a_row_on_two_boards_must_be_chosen(smoke, tmp_path):
    import shutil

    both = tmp_path / "results"
    shutil.copytree(smoke, both)
    record = json.loads((both / "boards" / "smoke.json").read_text())
    (both / "boards" / "again.json").write_text(json.dumps(record | {"name": "again"}))
    with pytest.raises(BenchError, match="again on synthetic, smoke on synthetic"):
        call("SASRec", "Popularity", "--results", str(both))
    assert "HR@5" in call("SASRec", "Popularity", "--results", str(both), "--board", "again",
                          "--metric", "HR@5")  # fmt: skip


# Files made elsewhere


def ranking(path: Path, *, skill=0.5, num=40, shift=0, targets=7) -> str:
    rng, data = np.random.default_rng(shift), np.random.default_rng(targets)
    with path.open("w") as file:
        for case in range(num):
            target, history = int(data.integers(30)), data.integers(30, size=4).tolist()
            items = rng.permutation(30)[:5].tolist()
            if rng.random() < skill and target not in items:
                items[0] = target
            line = {"case": case, "user": f"u{case}", "history": history, "target": target,
                    "items": items}  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return str(path)


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    path = tmp_path / "items.csv"
    lines = [f"{item},Item {item},{('war', 'drama')[item % 2]}" for item in range(30)]
    path.write_text("\n".join(["id,title,categories", *lines]))
    return str(path)


def test_two_ranking_files(tmp_path, catalog):
    ours = ranking(tmp_path / "ours.jsonl", skill=0.9)
    theirs = ranking(tmp_path / "theirs.jsonl", skill=0.1, shift=1)
    content = json.loads(call(ours, theirs, "--catalog", catalog, "--json"))
    assert (content["a"], content["b"], content["dataset"]) == ("ours", "theirs", None)
    assert content["metrics"]["HR@5"]["verdict"] == "better model"
    assert "MGU@5" in content["metrics"]
    without = call(ours, theirs)
    assert "left out: MGU@1, MGU@5" in without
    assert "a file without a data fingerprint" in without
    plain = json.loads(call(ours, theirs, "--json"))
    assert plain["metrics"]["HR@5"]["p"] == content["metrics"]["HR@5"]["p"]
    assert plain["notes"][-1].endswith("left out: MGU@1, MGU@5.")
    assert "Coverage@1" in call(ours, theirs, "--catalog", catalog, "--metric", "Coverage@1")
    with pytest.raises(BenchError, match="no metric of ours named 'Coverage@1'"):
        call(ours, theirs, "--metric", "Coverage@1")
    with pytest.raises(BenchError, match=r"ours.jsonl: .*fewer than k=9"):
        call(ours, theirs, "--metric", "HR@9")


def test_ranking_files_of_other_cases_or_targets_are_refused(tmp_path):
    ours = ranking(tmp_path / "ours.jsonl")
    with pytest.raises(BenchError, match=r"short lacks 2 of 40 cases of ours: 38, 39"):
        call(ours, ranking(tmp_path / "short.jsonl", num=38))
    with pytest.raises(BenchError, match="disagree about the target"):
        call(ours, ranking(tmp_path / "moved.jsonl", targets=8))


def test_a_ranking_file_against_results(tmp_path, good, catalog):
    """The lists of seed 0, as a file, are those of seed 0: every difference is 0."""
    made_up = np.random.default_rng(7)  # as in board_results.rankings
    targets = made_up.integers(0, NUM_ITEMS, size=60)
    histories = made_up.integers(0, NUM_ITEMS, size=(60, 4))
    lists = pq.read_table(good / "seed-0.ranking.parquet")["items"].to_pylist()
    path, items = tmp_path / "again.jsonl", tmp_path / "own.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(
                {
                    "case": case,
                    "user": f"u{case}",
                    "history": [f"i{item}" for item in histories[case]],
                    "target": f"i{targets[case]}" if case else "gone",
                    "items": [item or "?" for item in row],
                }
            )
            for case, row in enumerate(lists)
        )
    )
    items.write_text(
        "\n".join(
            json.dumps({"id": id_, "title": id_, "categories": kinds})
            for id_, kinds in zip(CATALOG.ids, CATALOG.categories, strict=True)
        )
    )
    (good / "seed-1.json").unlink()
    (good / "seed-2.json").unlink()
    content = json.loads(call(str(path), str(good), "--catalog", str(items), "--json"))
    assert set(content["metrics"]) == set(DEFAULT_METRICS)
    assert {line["difference"] for line in content["metrics"].values()} == {0}
    with pytest.raises(BenchError, match="its catalog must be known"):
        call(str(path), str(good))
    with pytest.raises(BenchError, match="There is no category named 'comedy'"):
        call(str(path), str(good), "--catalog", catalog)
