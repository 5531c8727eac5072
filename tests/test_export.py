"""TREC files, RecBole's and Every Eval Ever's: written here, read back by their readers or ours."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from board_results import Line, make
from typer.testing import CliRunner

from bench.cli.export import export as command
from bench.config.cards import Nouns
from bench.config.plugins import dataset_card
from bench.data.prepare import prepare
from bench.data.prepared import Prepared
from bench.data.ranking import Ranking
from bench.data.readers import read
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate
from bench.plan.trials import BoardSelection
from bench.report import export as exports
from bench.results.formats.every_eval_ever import VERSION, Source, add_samples, build_record
from bench.results.formats.prepared_data import export_data
from bench.results.formats.trec import (
    NO_ITEM,
    convert_file,
    convert_result,
    format_qrels,
    format_run,
)
from bench.results.run_records import record_boards
from bench.results.schema import CaseTable, DataFacts, Evaluation, Result, find_result, read_cases
from bench.results.score_file import read_ranking, score_ranking

KS = [1, 5, 10]


@pytest.fixture(scope="module")
def data() -> Prepared:
    card = dataset_card("synthetic")
    return prepare(card, {})


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(done.exception, BenchError):
        return 2, f"{done.exception.message} {done.exception.hint}"
    return done.exit_code, done.output


# --- TREC ----------------------------------------------------------------------------------------


def judged(run_path: Path, qrels_path: Path) -> dict[str, float]:
    """Let ir-measures judge two files."""
    ir_measures = pytest.importorskip("ir_measures")
    names = {f"HR@{k}": ir_measures.Success @ k for k in KS}
    names |= {f"NDCG@{k}": ir_measures.nDCG @ k for k in KS}
    found = ir_measures.calc_aggregate(
        list(names.values()),
        ir_measures.read_trec_qrels(str(qrels_path)),
        ir_measures.read_trec_run(str(run_path)),
    )
    return {name: found[measure] for name, measure in names.items()}


def written(folder: Path, texts: tuple[str, str]) -> tuple[Path, Path]:
    paths = (folder / "a.run", folder / "a.qrels")
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def ranked(data: Prepared) -> tuple[Result, CaseTable]:
    """A ranking with places that hold no item, or one for the second time, and its result."""
    samples = list(data.sample_range("test"))
    windows = data.windows(samples)
    rng = np.random.default_rng(3)
    items = np.stack([rng.permutation(len(data.catalog))[:12] for _ in samples]).astype(np.int32)
    items[::3, 2] = windows.targets[::3]
    items[::2, 1] = -1
    items[::5, 4] = items[::5, 0]
    scores = evaluate(
        Ranking(items=items),
        targets=windows.targets,
        histories=windows.histories,
        catalog=data.catalog,
        ks=KS,
    )
    ids = np.array([*data.catalog.ids, None], dtype=object)
    table = CaseTable(
        cases=tuple(map(str, samples)),
        users=tuple(data.user_ids[user] for user in windows.users),
        known=scores.known,
        values=scores.cases,
        masses=scores.masses,
        histories=scores.history_masses,
        items=ids[items],
    )
    result = Result(
        trial="synthetic/mine/0123456789ab/seed-0",
        method="mine",
        dataset="synthetic",
        seed=0,
        model="nano",
        rows={"train": None},
        settings={"beta": 0.1},
        status="ok",
        data=DataFacts(fingerprint=data.fingerprint, counts={"items": 60}),
        evaluations={
            "final": Evaluation(
                metrics=scores.metrics,
                ks=KS,
                num_cases=len(samples),
                num_known=int(scores.known.sum()),
                num_items=len(data.catalog),
                tracked=list(data.catalog.tracked),
            )
        },
        provenance={"llmrec-bench": "0.1.0"},
    )
    return result, table


def test_ir_measures_agrees_with_a_result(data: Prepared, tmp_path: Path) -> None:
    result, table = ranked(data)
    found = judged(*written(tmp_path, convert_result(result, table, data)))
    ours = result.evaluations["final"].metrics
    assert ours["HR@5"] > 0.3
    for name, value in found.items():
        assert value == pytest.approx(ours[name], abs=1e-12), name


def test_ir_measures_agrees_with_a_ranking_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "mine.jsonl"
    rows = [
        {
            "case": case,
            "user": f"u{case}",
            "history": [1],
            "target": int(rng.integers(30)),
            "items": rng.permutation(30)[:10].tolist(),
        }
        for case in range(80)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, said = run("trec", path, "--into", tmp_path / "out")
    assert code == 0, said
    found = judged(tmp_path / "out" / "mine.run", tmp_path / "out" / "mine.qrels")
    ours = score_ranking(read_ranking(path), None, ks=KS)
    assert 0.1 < ours["HR@10"] < 0.9
    for name, value in found.items():
        assert value == pytest.approx(ours[name], abs=1e-12), name


def test_a_place_without_an_item_keeps_its_rank() -> None:
    assert format_run({"7": ["b", None, "b", "a"]}, "m").splitlines() == [
        "7 Q0 b 1 4 m",
        f"7 Q0 {NO_ITEM}2 2 3 m",
        f"7 Q0 {NO_ITEM}3 3 2 m",
        "7 Q0 a 4 1 m",
    ]
    assert format_qrels({"7": "a"}) == "7 0 a 1\n"


@pytest.mark.parametrize("name", ["two words", "", "tab\there", f"{NO_ITEM}1"])
def test_names_that_trec_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(BenchError, match="cannot be a name in a TREC file"):
        format_qrels({"1": name})
    with pytest.raises(BenchError, match="cannot be a name in a TREC file"):
        format_run({"1": [name]}, "m")


def test_other_data_and_re_ranked_lists_are_refused(data: Prepared) -> None:
    result, table = ranked(data)
    with pytest.raises(BenchError, match="on other data"):
        convert_result(result, table, replace(data, history=3))
    lists = result.evaluations["final"].model_copy(update={"metrics": {"MAP@5": 0.5}})
    with pytest.raises(BenchError, match="re-ranked lists"):
        convert_result(result.model_copy(update={"evaluations": {"final": lists}}), table, data)


def test_of_file_takes_cases_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"case": "c", "user": 1, "history": [], "target": 2, "items": [2, 3]}\n')
    assert convert_file(read_ranking(path), "t") == ("c Q0 2 1 2 t\nc Q0 3 2 1 t\n", "c 0 2 1\n")


# --- RecBole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rated", [False, True])
def test_recbole_files_are_read_back_whole(data: Prepared, rated: bool, tmp_path: Path) -> None:
    fields = {"user": "user_id", "item": "item_id", "time": "timestamp", "title": "{title}"}
    if rated:
        stars = np.random.default_rng(0).uniform(0.5, 5, size=len(data.users)).astype(np.float32)
        data = replace(data, ratings=stars)
        fields["rating"] = "rating"
    export_data(data, "recbole", tmp_path, name="own", nouns=Nouns())
    again = read(
        "recbole",
        {"interactions": tmp_path / "own.inter", "items": tmp_path / "own.item"},
        fields | {"categories": "categories"},
    )
    assert again.titles == data.catalog.titles
    assert again.categories == data.catalog.categories
    assert [again.item_ids[item] for item in again.items] == [
        data.catalog.ids[item] for item in data.items
    ]
    assert [again.user_ids[user] for user in again.users] == [
        data.user_ids[user] for user in data.users
    ]
    assert again.times.tolist() == data.times.tolist()
    np.testing.assert_array_equal(again.ratings.astype(np.float32), data.ratings)


# --- Every Eval Ever -----------------------------------------------------------------------------

SAMPLE_FIELDS = {
    "schema_version", "evaluation_id", "model_id", "evaluation_name", "sample_id",
    "interaction_type", "input", "output", "answer_attribution", "evaluation",
}  # fmt: skip
LAB = Source(developer="Some Lab", relationship="first_party", homepage="https://example.org/d")


def check_schema(content: dict[str, Any]) -> None:
    """Hold a record against the project's own schema, where its package is installed."""
    spec = importlib.util.find_spec("every_eval_ever")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pip install every-eval-ever (Python 3.12 or later) to check the schema")
    jsonschema = pytest.importorskip("jsonschema")
    path = Path(next(iter(spec.submodule_search_locations))) / "schemas" / "eval.schema.json"
    schema = json.loads(path.read_text())
    assert schema["version"] == VERSION
    jsonschema.validate(content, schema)


def test_a_record_fits_the_projects_own_schema(data: Prepared) -> None:
    check_schema(build_record(*ranked(data), LAB, 1_700_000_000.5)[1])
    check_schema(build_record(*ranked(data), replace(LAB, homepage=None), 1_700_000_000.5)[1])


def test_a_record_says_what_was_measured(data: Prepared) -> None:
    result, table = ranked(data)
    path, content = build_record(result, table, LAB, 1_700_000_000.5)
    assert path.parts[:4] == ("data", "llmrec-bench", "some-lab", "mine-nano-0123456789ab")
    assert content["model_info"]["id"] == "some-lab/mine-nano-0123456789ab"
    assert content["evaluation_id"].startswith("llmrec-bench.synthetic/some-lab/mine-nano-")
    assert (path, content) == build_record(result, table, LAB, 1_700_000_000.5)
    lines = {line["metric_config"]["metric_name"]: line for line in content["evaluation_results"]}
    scores = {name: line["score_details"]["score"] for name, line in lines.items()}
    assert scores == result.evaluations["final"].metrics
    for name, line in lines.items():
        metric = line["metric_config"]
        assert metric["min_score"] <= scores[name] <= metric["max_score"], name
    spread = lines["HR@5"]["score_details"]["uncertainty"]
    assert spread["num_samples"] == len(table.cases)
    mean = scores["HR@5"]
    bernoulli = mean * (1 - mean) * len(table.cases) / (len(table.cases) - 1)
    assert spread["standard_deviation"] == pytest.approx(bernoulli**0.5)
    assert "uncertainty" not in lines["DGU@5"]["score_details"]
    assert lines["DGU@5"]["metric_config"]["lower_is_better"] is True
    assert lines["NDCG@5"]["source_data"]["url"] == ["https://example.org/d"]
    assert lines["NDCG@5"]["generation_config"]["additional_details"]["beta"] == "0.1"


def test_samples_are_one_line_per_case_and_metric(data: Prepared) -> None:
    result, table = ranked(data)
    path, content = build_record(result, table, LAB, 1_700_000_000.5)
    where, text = add_samples(path, content, table)
    lines = [json.loads(line) for line in text.splitlines()]
    details = content["detailed_evaluation_results"]
    assert where.name == f"{path.stem}_samples.jsonl"
    assert details["file_path"] == str(where)
    assert details["checksum"] == hashlib.sha256(text.encode()).hexdigest()
    assert details["total_rows"] == len(lines) == len(table.cases) * len(table.values)
    records = {each["evaluation_result_id"]: each for each in content["evaluation_results"]}
    scores: dict[str, list[float]] = {}
    for line in lines:
        assert (line["evaluation_id"], line["model_id"]) == (
            content["evaluation_id"], content["model_info"]["id"],
        )  # fmt: skip
        assert line.keys() >= SAMPLE_FIELDS
        scores.setdefault(line["evaluation_result_id"], []).append(line["evaluation"]["score"])
    for name, values in scores.items():
        expected = records[name]["score_details"]["score"]
        assert np.mean(values) == pytest.approx(expected, abs=1e-12)
    titles = [title for title in data.catalog.titles if len(title) > 6]
    assert not any(title in text for title in titles)


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a board with one row and two seeds, one of which failed; and its record."""
    folder = tmp_path / "results"
    board, _ = make(folder, [Line("Base", 0.5, reasons={1: "lost"})], seeds=2, budget="nano")
    record_boards(BoardSelection(boards=(board,)), folder)
    return folder


def test_records_of_a_board(results: Path, tmp_path: Path, monkeypatch: Any) -> None:
    board, cells = make(results, [Line("Base", 0.5, reasons={1: "lost"})], seeds=2, budget="nano")
    monkeypatch.setattr(exports, "plan_boards", lambda selection, lenient: [(board, cells)])
    who = ("--by", "Some Lab", "--relationship", "third_party")
    code, said = run("every-eval-ever", "demo", "--into", tmp_path, "--results", results, *who)
    assert code == 0, said
    assert "1 of 2 trials have no values" in said
    (path,) = (tmp_path / "data").glob("*/*/*/*.json")
    content = json.loads(path.read_text())
    assert content["source_metadata"]["evaluator_relationship"] == "third_party"
    trial = cells[0][1].id
    found = find_result(results, trial)
    assert found is not None
    expected = found.evaluations["final"].metrics["NDCG@5"]
    assert expected == pytest.approx(read_cases(results, trial).values["NDCG@5"].mean())
    assert expected in [one["score_details"]["score"] for one in content["evaluation_results"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["d3", "synthetic"], "needs a folder"),
        (["d3", "--into", "x"], "needs a data set"),
        (["every-eval-ever", "--into", "x"], "names the evaluator"),
        (["every-eval-ever", "--into", "x", "--by", "…"], "names the evaluator"),
        (["trec", "--into", "x", "--by", "me"], "are for every-eval-ever"),
        (["mlflow", "--file", "items=x"], "cannot be used with mlflow"),
        (
            ["trec", "a.jsonl", "--into", "x", "--file", "items=x"],
            "cannot be used with ranking files",
        ),
        (["tensorboard", "dem", "--into", "x"], "Did you mean 'demo'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], said: str, results: Path
) -> None:
    code, output = run(*arguments, "--results", results)
    assert code == 2
    assert said in output


@pytest.mark.slow
def test_results_to_tensorboard(results: Path, tmp_path: Path, monkeypatch: Any) -> None:
    board, cells = make(results, [Line("Base", 0.5, reasons={1: "lost"})], seeds=2, budget="nano")
    monkeypatch.setattr(exports, "plan_boards", lambda selection, lenient: [(board, cells)])
    code, said = run("tensorboard", "--into", tmp_path / "runs", "--results", results)
    assert (code, said) == (0, "2 trials are in tensorboard.\n")
    for _, trial in cells:
        assert list((tmp_path / "runs" / trial.id).glob("events.out.tfevents.*"))


def test_a_prepared_set_by_the_command(tmp_path: Path) -> None:
    code, said = run("recbole", "synthetic", "--into", tmp_path, "--store", tmp_path / "store")
    assert code == 0, said
    assert (tmp_path / "synthetic.inter").read_text().startswith("user_id:token\titem_id:token\t")
