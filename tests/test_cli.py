"""What a person types and what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.results.schema import Result

SMOKE = ("--suite", "smoke", "--executor", "inline")


def test_list_shows_every_kind(bench: Callable[..., SimpleNamespace]) -> None:
    done = bench("list", "--json")
    content = json.loads(done.out)
    assert set(content) == {
        "methods", "datasets", "models", "boards", "suites", "encoders", "metrics",
    }  # fmt: skip
    assert {"random", "popularity", "sasrec"} <= {line["name"] for line in content["methods"]}
    assert "ml-100k" in bench("list", "datasets").out


def test_show_gives_settings_and_cards(bench: Callable[..., SimpleNamespace]) -> None:
    sasrec = bench("show", "sasrec").out
    assert re.search(r"hidden_size = 64  \(PositiveInt\) \w+", sasrec)
    content = json.loads(bench("show", "quick", "--json").out)
    assert set(content) == {"board", "suite"}
    wrong = bench("show", "sasrek")
    assert (wrong.code, "Did you mean 'sasrec'?" in wrong.err) == (2, True)


def test_run_report_and_run_again(bench: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    first = bench("run", *SMOKE)
    assert first.code == 0, first.err
    assert "SASRec" in first.out
    assert "6 trials ok, 0 failed" in first.out
    assert {path.name for path in (tmp_path / ".bench" / "pages" / "smoke").iterdir()} >= {
        "README.md",
        "index.html",
    }
    again = json.loads(bench("run", *SMOKE, "--json").out)
    assert again["stages"]["run"] == 0
    assert again["trials"] == {"ok": 6, "failed": 0, "skipped": 0}
    content = json.loads(bench("report", "--json").out)
    (board,) = content["boards"]
    assert board["name"] == "smoke"
    assert {row["method"] for row in board["rows"]} == {"Random", "Popularity", "SASRec"}
    assert set(board["rows"][0]["metrics"]["NDCG@5"]) == {"mean", "sd", "n_seeds"}
    assert content == json.loads(bench("report", "--suite", "smoke", "--json").out)
    page = tmp_path / ".bench" / "pages" / "smoke" / "table.json"
    assert json.loads(page.read_text())["boards"] == content["boards"]
    result = next((tmp_path / "results" / "synthetic" / "sasrec").rglob("seed-0.json"))
    assert Result.model_validate_json(result.read_text()).status == "ok"


def test_plan_says_what_is_shared_and_stored(bench: Callable[..., SimpleNamespace]) -> None:
    before = json.loads(bench("plan", "--suite", "smoke", "--json").out)
    assert {stage["state"] for stage in before["stages"]} == {"miss"}
    keys = {stage["key"] for stage in before["stages"]}
    assert all(set(trial["stages"]) <= keys for trial in before["trials"])
    assert all(set(stage["inputs"]) <= keys for stage in before["stages"])
    bench("run", *SMOKE)
    after = json.loads(bench("plan", "--suite", "smoke", "--json").out)
    assert {stage["state"] for stage in after["stages"]} == {"hit"}
    assert "0 must run" in bench("plan", "--suite", "smoke").out


def test_dry_run_prints_settings_and_runs_nothing(
    bench: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    done = bench("run", *SMOKE, "--dry-run", "--set", "sasrec.hidden_size=8")
    assert "hidden_size=8" in done.out
    assert "rows: train 256, valid 64, test 64" in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_board_is_narrowed_or_replaced(bench: Callable[..., SimpleNamespace]) -> None:
    plan = json.loads(bench("plan", "--board", "quick", "--method", "popularity", "--dataset",
                            "synthetic", "--seeds", "1", "--json").out)  # fmt: skip
    (trial,) = plan["trials"]
    assert (trial["method"], trial["dataset"], trial["seed"]) == ("popularity", "synthetic", 0)


def test_a_changed_board_says_so_in_its_title(bench: Callable[..., SimpleNamespace]) -> None:
    done = bench("run", *SMOKE, "--method", "popularity", "--seeds", "1")
    assert "Smoke: generated data, changed: seeds 1; rows Popularity" in done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run",), "Nothing was named to run"),
        (("run", "--suite", "quik"), "Did you mean 'quick'?"),
        (("run", "--board", "quik"), "Did you mean 'quick'?"),
        (("run", "--method", "sasrek", "--dataset", "synthetic"), "Did you mean 'sasrec'?"),
        (("run", "--method", "sasrec", "--dataset", "synthetik"), "Did you mean 'synthetic'?"),
        (("run", *SMOKE, "--set", "sasrec.hiden_size=3"), "Did you mean hidden_size?"),
        (("run", *SMOKE, "--set", "sasrec.hidden_size=x"), "hidden_size = 'x' is not valid"),
        (("run", *SMOKE, "--set", "hiden_size=3"), "no method of this run has such a setting"),
        (("run", *SMOKE, "--data-dir", "nowhere"), "--data-dir nowhere is no folder"),
        (("run", *SMOKE, "--out", "taken"), "--out taken cannot be written"),
        (("run", *SMOKE, "--store", "taken/store"), "--store taken/store cannot be written"),
        (("run", *SMOKE, "--results", "/proc/results"), "--results /proc/results cannot be"),
        (("run", *SMOKE, "--model", "tiny"), "--model is for language models"),
        (("run", *SMOKE, "--model-set", "dtype=float32"), "--model-set is for language models"),
        (("run", "--board", "smoke", "--executor", "inline", "--name", "mine"), "--name is for"),
        (("run", *SMOKE, "--rows", "train=many"), "not a number of rows"),
        (("run", *SMOKE, "--budget", "nanno"), "Did you mean 'nano'?"),
        (("run", *SMOKE, "--scale", "nano"), "--budget"),
        (("run", *SMOKE, "--model", "llama"), "There is no model named"),
        (("run", "--suite", "smoke", "--board", "smoke"), "cannot be given together"),
        (("run", *SMOKE, "--cpus", "2"), "--address and --cpus"),
        (("run", "--suite", "smoke", "--cpus", "2", "--address", "x"), "has its own CPUs"),
        (("report",), "There are no results"),
        (("report", "--seeds", "2"), "need to know which"),
        (("score", "nothing.jsonl"), "nothing.jsonl"),
        (("data", "stats", "synthetik"), "Did you mean 'synthetic'?"),
        (("cache", "rm", "abcd"), "names no artifact"),
        (("check", "nothing.py"), "There is no file"),
        (("new", "method", "Not-A-Name"), "is not a module name"),
    ],
)
def test_wrong_use_gets_one_sentence_and_exit_code_2(
    bench: Callable[..., SimpleNamespace], words: tuple[str, ...], sentence: str
) -> None:
    Path("taken").touch()
    done = bench(*words)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_more_rows_than_there_are_is_refused_only_by_a_strict_board(
    bench: Callable[..., SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    (tmp_path / "exact.toml").write_text(
        'title = "T"\ndatasets = ["synthetic"]\nmetrics = ["HR@5"]\nseeds = 1\nbudget = "smoke"\n'
        'strict = true\nrows = [{ method = "popularity" }]\n'
    )
    options = ("run", "--board", "exact", "--executor", "inline")
    assert bench(*options).code == 0
    done = bench(*options, "--rows", "train=1000000")
    assert done.code == 1
    assert "1,000,000" in done.out.replace("1000000", "1,000,000")


def test_data_stats_and_cache(bench: Callable[..., SimpleNamespace]) -> None:
    contents = json.loads(bench("data", "stats", "synthetic", "--json").out)["synthetic"]
    assert contents["counts"]["users"] > 0
    (entry,) = json.loads(bench("cache", "ls", "--json").out)
    assert entry["kind"] == "prepare"
    assert "Deleted 1 artifacts" in bench("cache", "rm", entry["key"][:8], "--yes").out
    assert json.loads(bench("cache", "ls", "--json").out) == []


def test_score_of_test_vector_r(bench: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    cases = [
        {"case": 1, "user": 1, "history": ["A", "B"], "target": "B", "items": ["B", "A"]},
        {"case": 2, "user": 2, "history": ["C", "Z"], "target": "E", "items": ["A", "D"]},
        {"case": 3, "user": 3, "history": ["D", "E"], "target": "A", "items": ["E", "A"]},
        {"case": 4, "user": 4, "history": ["B", "B"], "target": "Y", "items": ["A", "B"]},
    ]
    groups = {"A": ["g1"], "B": ["g1", "g2"], "C": ["g2"], "D": [], "E": ["g3"]}
    items = [{"id": name, "title": name, "categories": kinds} for name, kinds in groups.items()]
    for name, lines in (("ranking", cases), ("catalog", items)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    done = bench("score", "ranking.jsonl", "--format", "ranking", "--catalog", "catalog.jsonl",
                 "--k", "1", "--k", "2", "--json")  # fmt: skip
    values = json.loads(done.out)
    expected = {
        "HR@1": 0.25, "HR@2": 0.5, "NDCG@1": 0.25, "NDCG@2": 0.407732,
        "DivRatio@1": 1.0, "DivRatio@2": 0.666667, "ORRatio@1": 1.0, "ORRatio@2": 0.833333,
        "MGU@1": 0.166667, "MGU@2": 0.211111, "DGU@1": 0.416667, "DGU@2": 0.6,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_a_method_in_40_lines_appears_passes_and_runs(
    bench: Callable[..., SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("new", "method", "follower", "--into", "plug")
    assert "exists already" in bench("new", "method", "follower", "--into", "plug").err
    checked = bench("check", "plug/follower.py")
    assert (checked.code, "FAIL" in checked.out) == (0, False)
    monkeypatch.setenv("BENCH_PATH", "plug")
    assert "follower" in bench("list", "methods").out
    done = bench("run", "--method", "follower", "--dataset", "synthetic", "--budget", "smoke",
                 "--seeds", "1")  # fmt: skip
    assert done.code == 0, done.err
    assert "follower" in done.out


def test_schema_is_a_json_schema(bench: Callable[..., SimpleNamespace]) -> None:
    schema = json.loads(bench("schema").out)
    assert schema["properties"]["schema_version"]["const"] == 3
