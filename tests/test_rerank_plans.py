"""Re-ranking as a task: cards, subsets of users, plans that share stages, boards, results."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_lists import RULES, make_prepared, raw_data

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, ListCard, Rows
from bench.config.toml import check_card
from bench.data import prepared_lists
from bench.data.candidate_lists import limit_users, make_lists
from bench.data.readers import read
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.encode.grounding import VECTORS_FILE
from bench.models.rerank.vectors import read_text_vectors
from bench.plan.graph import build_graph
from bench.plan.rerank_stages import LIST_KS, CandidateListsConfig, EvaluateListsConfig, list_data
from bench.plan.stage import Stage
from bench.plan.trials import Board, Trial, board_trials
from bench.report.claims.cards import load_claims as claims
from bench.results.schema import find_result, read_cases
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.store import Store
from bench.stages import evaluate_lists as evaluation
from bench.stages import pretrain

BOARDS = ("dpo4rec-table1", "dpo4rec-fig4", "dpo4rec-fig5")


def board(*rows: BoardRow, **changes: object) -> Board:
    content = {
        "title": "T",
        "datasets": ("synthetic-rated",),
        "rows": rows,
        "metrics": ("MAP@5",),
        "seeds": 1,
        "model": "tiny",
        "budget": "smoke",
    }
    return Board(name="t", card=BoardCard(**content | changes))


def plan(one: Board) -> dict[str, Trial]:
    return {row.name: trial for row, trial in board_trials(one)}


def test_a_backbone_from_nothing_never_reads_users_of_test_lists() -> None:
    rows = [BoardRow(method="dpo4rec"), BoardRow(method="bigrec")]
    graphs = [build_graph([trial]) for trial in plan(board(*rows, model="nano")).values()]
    inputs = [
        set(stage.inputs)
        for graph in graphs
        for stage in graph.stages.values()
        if stage.kind == "pretrain"
    ]
    assert inputs == [{"backbone", "data", "lists"}, {"backbone", "data"}]


def test_pretraining_leaves_the_users_of_valid_and_test_lists_out(tmp_path: Path) -> None:
    lists = make_prepared()
    prepared_lists.write(lists, tmp_path)
    held_out = pretrain._held_out_users(tmp_path)
    parts = dict(zip(lists.user_ids, lists.parts, strict=True))
    assert held_out == {
        name for name, part in parts.items() if prepared_lists.PARTS[part] != "train"
    }
    assert held_out < set(parts)
    assert pretrain._held_out_users(None) == frozenset()


def test_a_fraction_of_the_items_may_have_no_text(tmp_path: Path) -> None:
    lists = make_prepared()
    vectors = np.ones((len(lists.item_ids), 3), dtype=np.float32)
    listed = np.unique(lists.items)
    vectors[listed[: len(listed) // 4]] = 0
    np.save(tmp_path / VECTORS_FILE, vectors)
    metadata: dict[str, Plain] = {}
    read_text_vectors(lists, metadata, users=None, items=tmp_path, max_empty_fraction=0.25)
    assert metadata == {"items_without_a_vector": len(listed) // 4}
    with pytest.raises(BenchError, match="text is empty"):
        read_text_vectors(lists, {}, users=None, items=tmp_path, max_empty_fraction=0.005)


# --- cards and raw files --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cap", "above", "minima", "attributes"),
    [
        ("ml-1m", 30, 3, (0, 5), (False, (0,))),
        ("amazon-2018-books", 15, 4, (60, 40), (True, (1,))),
        ("amazon-2018-all-beauty", 15, 4, (0, 0), (True, (1,))),
        ("amazon-2018-gift-cards", 15, 4, (5, 5), (True, (1,))),
    ],
)
def test_cards_hold_kars_rules(
    name: str,
    cap: int,
    above: float,
    minima: tuple[int, int],
    attributes: tuple[bool, tuple[int, ...]],
) -> None:
    rules = plugins.dataset_card(name).lists
    assert rules is not None
    assert (rules.cap, rules.positive_above) == (cap, above)
    assert (rules.min_user, rules.min_item) == minima
    assert (rules.brand, rules.category_places) == attributes
    assert rules.by_day == (name == "ml-1m")


def test_lists_are_no_part_of_the_prepared_datas_key() -> None:
    card = plugins.dataset_card("ml-1m")
    without = card.model_copy(update={"lists": None})
    assert card.preparation() == without.preparation()
    with pytest.raises(BenchError, match="cap"):
        check_card({"cap": 0, "positive_above": 3}, ListCard, "the card")


def test_brands_come_with_the_metadata_and_asins_stand_in_for_it(tmp_path: Path) -> None:
    reviews, products = tmp_path / "reviews.json.gz", tmp_path / "meta.json.gz"
    with gzip.open(reviews, "wt") as file:
        for user, asin in (("u1", "A1"), ("u2", "A2"), ("u3", "A1"), ("u1", "A3")):
            line = {"reviewerID": user, "asin": asin, "overall": 5, "unixReviewTime": 9}
            file.write(json.dumps(line) + "\n")
    with gzip.open(products, "wt") as file:
        file.write(json.dumps({"asin": "A1", "title": "Soap", "brand": "Acme"}) + "\n")
        file.write(json.dumps({"asin": "A2", "title": "Oil"}) + "\n")
    both = read("amazon", {"interactions": reviews, "items": products}, {"release": "2018"})
    assert (both.titles, both.brands) == (("Soap", "Oil"), ("Acme", ""))
    alone = read("amazon", {"interactions": reviews}, {"release": "2018", "titles": "asin"})
    assert alone.titles == alone.item_ids == ("A1", "A2", "A3")
    assert (alone.brands, alone.rejected, len(alone.items)) == ((), {}, 4)
    with pytest.raises(BenchError, match="takes no file in the role 'items'"):
        read(
            "amazon",
            {"interactions": reviews, "items": products},
            {"release": "2018", "titles": "asin"},
        )


def test_profiles_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    paths = {}
    for role, text in (
        ("interactions", "1::7::5::100\n"),
        ("items", "7::Heat (1995)::Crime\n"),
        ("users", "1::F::25::12::0\n2::M::56::16::0\n"),
    ):
        paths[role] = tmp_path / role
        paths[role].write_text(text)
    written = {"format": "dat", "encoding": "utf-8"}
    raw = read("movielens", paths, {**written, "profiles": True})
    assert raw.profiles == {"1": ("F", 25, 12), "2": ("M", 56, 16)}
    with pytest.raises(BenchError, match="needs a file in the role 'users'"):
        read(
            "movielens",
            {role: paths[role] for role in ("interactions", "items")},
            {**written, "profiles": True},
        )
    with pytest.raises(BenchError, match="takes no file in the role 'users'"):
        read("movielens", paths, written)


def test_an_optional_file_is_left_out_if_only_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    name, rows = "amazon-2018-all-beauty", Rows(train=3)
    card = plugins.dataset_card(name)

    def compose() -> tuple[CandidateListsConfig, bool, tuple[str, ...]]:
        lists, notes = list_data(name, card, rows=rows, data_seed=0, data_dir=tmp_path)
        assert lists is not None
        assert isinstance(lists.stage.config, CandidateListsConfig)
        return lists.stage.config, lists.described, notes

    config, described, notes = compose()  # both files are missing and will be downloaded
    assert (described, notes) == (True, ())
    assert set(config.checksums) == {"interactions", "items"}
    assert config.max_users == {"train": 3, "valid": None, "test": None}
    (tmp_path / "All_Beauty_5.json.gz").write_bytes(b"local")
    config, described, notes = compose()
    assert not described
    assert set(config.checksums) == {"interactions"}
    assert "meta_All_Beauty.json.gz not found locally" in notes[0]
    synthetic = plugins.dataset_card("synthetic")
    assert list_data("synthetic", synthetic, rows=rows, data_seed=0, data_dir=None) == (None, ())


# --- subsets of users -----------------------------------------------------------------------------


def test_a_part_of_the_users_keeps_all_of_their_lists() -> None:
    complete = make_prepared()
    assert limit_users(complete, dict.fromkeys(prepared_lists.PARTS), seed=0) is complete
    most = {"train": 5, "valid": 2, "test": 100}
    part = limit_users(complete, most, seed=0)
    assert [int((part.parts == n).sum()) for n in range(3)] == [5, 2, 4]
    index_of = {name: number for number, name in enumerate(complete.user_ids)}
    rows = np.flatnonzero(np.isin(complete.users, [index_of[name] for name in part.user_ids]))
    assert np.array_equal(part.items, complete.items[rows])
    assert np.array_equal(part.labels, complete.labels[rows])
    for user, name in enumerate(part.user_ids):
        for one, other in zip(part.history(user), complete.history(index_of[name]), strict=True):
            assert np.array_equal(one, other)
    assert [part.user_ids[user] for user in part.users] == [
        complete.user_ids[user] for user in complete.users[rows]
    ]
    assert part.counts["kept train users"] == 5
    fewer = limit_users(complete, {**most, "train": 3}, seed=0)
    assert set(fewer.user_ids) < set(part.user_ids)


def test_brands_and_profiles_are_kept_in_files(tmp_path: Path) -> None:
    raw = raw_data()
    raw = dataclasses.replace(
        raw,
        brands=tuple(f"brand {n}" for n in range(len(raw.item_ids))),
        profiles={user: ("F", 25, n % 21) for n, user in enumerate(raw.user_ids)},
    )
    complete = make_lists(raw, RULES, fields=[raw.brands], valid_share=0.25, seed=0)
    some = limit_users(complete, {"train": 5, "valid": 2, "test": 2}, seed=0)
    prepared_lists.write(some, tmp_path)
    again = prepared_lists.read(tmp_path)
    assert (again.brands, again.profiles) == (some.brands, some.profiles)
    assert again.fingerprint == some.fingerprint != dataclasses.replace(some, brands=()).fingerprint
    by_id = {name: n % 21 for n, name in enumerate(raw.user_ids)}
    assert [one[2] for one in again.profiles] == [by_id[name] for name in again.user_ids]
    lacking = dataclasses.replace(raw, profiles={"u1": ("F", 25, 1)})
    with pytest.raises(BenchError, match="no profile of user"):
        make_lists(lacking, RULES, fields=[raw.brands], valid_share=0.25, seed=0)


# --- evaluation -----------------------------------------------------------------------------------


def test_the_result_holds_the_metrics_list_by_list(tmp_path: Path) -> None:
    source, rows = make_prepared(), make_prepared().rows("test")
    for name in ("lists", "scores", "out"):
        (tmp_path / name).mkdir()
    prepared_lists.write(source, tmp_path / "lists")
    numbers = np.random.default_rng(0)
    scores = numbers.integers(0, 4, (len(rows), 10)).astype(float)
    prepared_lists.write_scores(rows, scores, tmp_path / "scores")
    job = Job(out=tmp_path / "out")
    inputs = {name: tmp_path / name for name in ("lists", "scores")}
    evaluation.run(job, EvaluateListsConfig(ks=LIST_KS, part="test"), inputs)
    content = json.loads((job.out / "evaluation.json").read_text())
    expected = evaluate_lists(scores, source.labels[rows], ks=LIST_KS)
    assert content["evaluation"]["metrics"] == expected.metrics
    assert content["evaluation"]["num_cases"] == len(rows)
    cases = pq.read_table(job.out / "cases.parquet").to_pydict()
    assert len(set(cases["case"])) == len(rows)
    for name, value in expected.metrics.items():
        assert np.mean(cases[name]) == pytest.approx(value)
    ranking = pq.read_table(job.out / "ranking.parquet").to_pydict()
    for row, items, rank in zip(range(len(rows)), ranking["items"], cases["rank"], strict=True):
        order = sorted(range(10), key=lambda place: (-scores[row, place], place))
        assert items == [source.item_ids[source.items[rows[row], place]] for place in order]
        labels = [source.labels[rows[row], place] for place in order]
        assert rank == (labels.index(1) if 1 in labels else -1)


# --- plans ----------------------------------------------------------------------------------------


def test_backbones_share_lists_texts_and_vectors() -> None:
    rows = [
        BoardRow(
            method=method, label=f"{backbone} {method}", settings={"reranker.backbone": backbone}
        )
        for backbone in ("dlcm", "prm", "setrank")
        for method in ("kar", "dpo4rec")
    ]
    with_one_reward_model = [
        row.model_copy(update={"settings": {**row.settings, "rewards.backbone": "prm"}})
        if row.method == "dpo4rec"
        else row
        for row in rows
    ]

    def count_kinds(chosen: list[BoardRow]) -> dict[str, int]:
        trials = plan(board(*chosen))
        assert not any(trial.problem for trial in trials.values())
        return Counter(stage.kind for stage in build_graph(trials.values()).stages.values())

    # Texts: of items, of users for KAR, several of users, of users after DPO by backbone.
    assert count_kinds(rows) == {
        "lists": 1, "prepare": 1, "build": 1, "questions": 3, "generate": 6, "text_vectors": 6,
        "reward_pairs": 3, "preference": 3, "rerank": 6, "evaluate_lists": 6,
    }  # fmt: skip
    counts = count_kinds(with_one_reward_model)
    assert counts["preference"] == 1
    assert counts["generate"] == counts["text_vectors"] == 4


def test_dpo4rec_without_rounds_is_kar() -> None:
    setrank = {"reranker.backbone": "setrank"}
    trials = plan(
        board(
            BoardRow(method="kar", settings=setrank),
            BoardRow(method="dpo4rec", settings={**setrank, "num_dpo_rounds": 0}),
            BoardRow(
                method="dpo4rec",
                label="rounds",
                settings={**setrank, "evaluate_rounds": True, "num_dpo_rounds": 2},
            ),
        )
    )
    keys = {name: trial.evaluations["final"].key for name, trial in trials.items()}
    assert keys["kar"] == keys["dpo4rec"] != keys["rounds"]
    assert list(trials["rounds"].evaluations) == ["final", "round-0", "round-1"]
    assert trials["rounds"].evaluations["round-0"].key == keys["kar"]


def stages_before(stage: Stage) -> list[Stage]:
    return [stage, *(each for given in stage.inputs.values() for each in stages_before(given))]


def test_test_users_are_asked_about_only_after_dpo() -> None:
    trial = plan(board(BoardRow(method="dpo4rec", settings={"num_dpo_rounds": 2})))["dpo4rec"]
    stages = [s for s in stages_before(trial.evaluations["final"]) if s.kind == "reward_pairs"]
    assert stages
    for stage in stages:
        assert stage.inputs["prompts"].args["parts"] == ["train", "valid"]
        assert stage.inputs["users"].inputs["prompts"] is stage.inputs["prompts"]


def test_rewards_do_not_depend_on_settings_of_the_final_evaluation() -> None:
    """Selection on test, the text to score with and shuffling do not enter their keys."""
    kinds = []
    for settings in (
        {},
        {"reranker.select_on": "test"},
        {"reranker.scoring_text": "mean"},
        {"reranker.shuffle_user_texts": True},
    ):
        trial = plan(board(BoardRow(method="dpo4rec", settings=settings)))["dpo4rec"]
        assert not trial.problem
        stages = stages_before(trial.evaluations["final"])
        kinds.append({stage.key for stage in stages if stage.kind == "reward_pairs"})
    assert kinds[0] == kinds[1] == kinds[2] == kinds[3]


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("kar", {"reranker.backbone": "lstm"}, "reranker.backbone"),
        ("dpo4rec", {"num_samples": 1}, "num_samples"),
        ("kar", {"reranker.setrank_loss": "softmax"}, "no effect on prm"),
        ("setrank", {"reranker.setrank_loss": "hinge"}, "reranker.setrank_loss"),
        ("listorder", {"by": "price"}, "by = 'price'"),
        ("prm", {"reranker.select_on": "train"}, "reranker.select_on"),
    ],
)
def test_settings_that_are_not_valid_are_refused(
    method: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        plan(board(BoardRow(method=method, settings=settings)))


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("dpo4rec", {"knowledge.texts": "items"}, "texts about users"),
        (
            "kar",
            {"knowledge.texts": "items", "reranker.shuffle_user_texts": True},
            "needs texts about users",
        ),
        ("prm", {"reranker.scoring_text": "mean"}, "no effect without texts"),
    ],
)
def test_settings_that_exclude_each_other_are_a_trials_problem(
    method: str, settings: dict[str, object], message: str
) -> None:
    assert message in plan(board(BoardRow(method=method, settings=settings)))[method].problem


def test_a_data_set_without_lists_is_a_trials_problem() -> None:
    trial = plan(board(BoardRow(method="prm"), datasets=("synthetic",)))["prm"]
    assert trial.problem.startswith("synthetic has no candidate lists")
    published = plan(board(BoardRow(method="prm", settings={"as_published": True})))["prm"]
    assert published.settings["reranker.select_on"] == "test"


def test_external_texts_need_an_endpoint_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_ENDPOINT", "BENCH_RESPONSES"):
        monkeypatch.delenv(name, raising=False)
    one = board(BoardRow(method="kar", settings={"writer": "gpt-x"}), model=None)
    assert plan(one)["kar"].problem.startswith("not run: neither an endpoint nor a file")
    monkeypatch.setenv("BENCH_ENDPOINT", "http://localhost:1/v1")
    monkeypatch.setenv("BENCH_ENDPOINT_KEY", "secret-key")
    trial = plan(one)["kar"]
    assert not trial.problem
    for stage in stages_before(trial.evaluations["final"]):
        assert "secret-key" not in json.dumps(stage.args)
        assert "localhost" not in json.dumps(stage.args)


# --- boards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_boards_have_the_rows_that_claims_name(name: str) -> None:
    book, card = claims("dpo4rec"), plugins.board_card(name)
    labels = {row.name for row in card.rows}
    asked = {
        row
        for claim in book.claims
        if claim.boards[0] == name
        for check in claim.checks
        for cell in book.expand_cells(check)
        for row in cell.rows
    }
    assert asked <= labels
    assert set(card.datasets) <= set(book.datasets.values())
    assert name in plugins.suite_card("paper-tables").boards


def test_table_1_has_every_printed_row() -> None:
    book, card = claims("dpo4rec"), plugins.board_card("dpo4rec-table1")
    printed = {name for name, row in book.rows.items() if row.table}
    assert len(printed) == 18
    assert {row.name for row in card.rows} == printed | {"Random", "Popularity", "Oracle"}
    models = {row.name: row.model for row in card.rows if row.method == "dpo4rec"}
    assert models["PRM+DPO4Rec-Yi"] == "yi-6b-chat"
    assert models["PRM+DPO4Rec-Llama"] is None
    assert card.model == "llama-3.1-8b-instruct"


def test_a_row_with_a_model_of_its_own_stands_beside_the_boards_model_only() -> None:
    card = plugins.board_card("dpo4rec-table1").model_copy(
        update={"datasets": ("synthetic-rated",), "seeds": 1}
    )
    trials = plan(Board(name="dpo4rec-table1", card=card))
    assert trials["PRM+DPO4Rec-Mistral"].model == "mistral-7b-instruct"
    assert trials["PRM+DPO4Rec-Llama"].model == trials["PRM+KAR"].model == card.model
    assert len({trial.id for trial in trials.values()}) == len(trials)
    assert not trials["PRM+DPO4Rec-Mistral"].problem
    other = card.model_copy(update={"model": "tiny"})
    trials = plan(Board(name="dpo4rec-table1", card=other))
    assert trials["PRM+DPO4Rec-Mistral"].problem.startswith("Skipped: this row needs mistral-7b")
    assert not trials["PRM+DPO4Rec-Llama"].problem


def test_plain_rows_run_from_cards_to_results(tmp_path: Path) -> None:
    orders = [
        BoardRow(method="listorder", label=by, settings={"by": by})
        for by in ("given", "popularity", "oracle")
    ]
    trials = plan(board(*orders, BoardRow(method="prm")))
    options = RunOptions(store=Store(tmp_path / "store"), results=tmp_path / "results", quiet=True)
    assert len(run(list(trials.values()), options=options, executor=InlineExecutor).ok) == 4
    results = {name: find_result(tmp_path / "results", trial.id) for name, trial in trials.items()}
    metrics = {
        name: result.evaluations["final"].metrics for name, result in results.items() if result
    }
    assert metrics["given"]["MAP@5"] < metrics["oracle"]["MAP@5"]
    assert metrics["oracle"]["MAP@5"] == metrics["oracle"]["ListCap"] == metrics["prm"]["ListCap"]
    tables = [read_cases(tmp_path / "results", one.id) for one in trials.values()]
    assert len({table.cases for table in tables}) == 1
    assert tables[0].items.shape == (len(tables[0].cases), 10)
