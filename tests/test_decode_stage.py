"""The stage `decode` and its constructor: a small catalog, a tiny Llama, every setting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from constrained_models import each_alone
from stage_runs import make_config, run_stage
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.ranking import LIST_ENDS, Ranking
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate
from bench.metrics.titles import Cases, merge_titles
from bench.models.lm.devices import compute_threads
from bench.models.lm.tokenization import encode_prompts, encode_responses, history_titles
from bench.models.lm.tuned_model import load
from bench.models.seqrec.checkpoint import load_scorer, save
from bench.models.seqrec.networks import SASRec
from bench.plan.item_stages import SASRecConfig
from bench.plan.language_stages import DecodingConfig, beam_search_rank
from bench.plan.stage import Stage
from bench.plan.types import Model, Nouns, Policy, Rows
from bench.results.ranking_file import read_ranking

pytestmark = pytest.mark.usefixtures("one_thread")

TITLES = (
    "Red Tree",
    "Red Sea",
    "red tree",
    "Blue Sea",
    "Red Tree",
    "Green",
    "Blue",
    "Blue Sea (2)",
)
NUM_ITEMS, LENGTH = len(TITLES), 3
NOUNS = Nouns("film", "films")
SETTINGS: dict[str, Any] = {"num_beams": 4, "max_num_beams": 64, "nouns": NOUNS}


def letters() -> PreTrainedTokenizerFast:
    known = [chr(number) for number in range(32, 127)]
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "\n": 3}
    words |= {letter: number for number, letter in enumerate(known, start=4)}
    built = Tokenizer(WordLevel(words, "<unk>"))
    built.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=built, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def write_backbone(folder: Path) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = LlamaConfig(
            vocab_size=99,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=512,
            initializer_range=0.6,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        )
        model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    letters().save_pretrained(folder)
    return model


def write_data(folder: Path) -> prepared.Prepared:
    """Users who count through the items; of their 24 samples, 12 train and 6 are cases."""
    places = np.arange(6 * 5)
    target = places[places % 5 > 0]
    catalog = Catalog(
        ids=tuple(map(str, range(NUM_ITEMS))), titles=TITLES, categories=((),) * NUM_ITEMS
    )
    source = prepared.Prepared(
        catalog=catalog,
        user_ids=tuple("abcdef"),
        users=(places // 5).astype(np.int32),
        items=(places * 3 % NUM_ITEMS).astype(np.int32),
        ratings=np.ones(len(places), dtype=np.float32),
        times=places,
        start=np.maximum(target - LENGTH, target // 5 * 5),
        target=target,
        boundaries=(12, 18),
        history=LENGTH,
    )
    for name in ("data", "train", "cases"):
        (folder / name).mkdir()
    prepared.write(source, folder / "data")
    prepared.write_rows(np.arange(5), folder / "train")
    prepared.write_rows(np.arange(18, 24), folder / "cases")
    return source


@dataclass(frozen=True)
class World:
    folder: Path
    source: prepared.Prepared
    model: LlamaForCausalLM

    def decoded(self, **changed: Any) -> tuple[Ranking, dict[str, Any]]:
        out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        inputs = {name: self.folder / name for name in ("data", "cases", "train", "backbone")}
        if "candidates" in changed:
            changed["candidates"] = self.folder / changed["candidates"]
        job = run_stage("decode", DecodingConfig, out, **{**SETTINGS, **inputs, **changed})
        json.dumps(job.metadata, allow_nan=False)
        return read_ranking(out), dict(job.metadata)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("decode")
    (folder / "backbone").mkdir()
    return World(folder, write_data(folder), write_backbone(folder / "backbone"))


def brute_scores(model: Any, source: prepared.Prepared) -> np.ndarray:
    """Sums of log-probabilities of all items for the six cases, each computed alone."""
    tokenizer = letters()
    histories = history_titles(source.windows(np.arange(18, 24)), source.catalog)
    prompts, _ = encode_prompts(tokenizer, histories, nouns=NOUNS, max_length=400)
    return each_alone(model, prompts, encode_responses(tokenizer, TITLES, eos=True))


@pytest.fixture(scope="module")
def brute(world: World) -> np.ndarray:
    with compute_threads(1):
        return brute_scores(world.model, world.source)


def test_the_ranking_is_that_of_brute_force(world: World, brute: np.ndarray) -> None:
    found, metadata = world.decoded()
    assert found.items.shape == (6, NUM_ITEMS)
    assert (found.items[:, 4:] == LIST_ENDS).all()
    expected = np.argsort(-brute.round(3), axis=1, kind="stable")[:, :4]
    assert found.items[:, :4].tolist() == expected.tolist()
    assert found.scores is not None
    rows = np.arange(6)[:, None]
    np.testing.assert_allclose(found.scores[:, :4], brute[rows, expected], atol=1e-3)
    assert (metadata["cases"], metadata["titles"], metadata["certified"]) == (6, 7, 1)
    assert sum(metadata["widths"].values()) == 6


def test_items_of_one_title_follow_each_other(world: World) -> None:
    found, _ = world.decoded(num_beams=8)
    assert (np.sort(found.items) == np.arange(NUM_ITEMS)).all()
    for row in found.items.tolist():
        assert row.index(4) == row.index(0) + 1


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"length_penalty": 1.0},
        {"temperature": 2.0},
        {"igd_alpha": 0.4},
        {"igd_alpha": 0.4, "entropy": "conditional", "prior": "uniform"},
        {"candidates": "train"},
        {"append_eos": False},
        {"divisor": 512},
    ],
)
def test_certified_beams_equal_all_items(world: World, changed: dict[str, Any]) -> None:
    beams, metadata = world.decoded(**changed)
    everything, audit = world.decoded(**changed, search="exhaustive")
    assert metadata["certified"] == audit["certified"] == 1
    assert (beams.items == everything.items).all()
    np.testing.assert_allclose(beams.scores, everything.scores, atol=1e-3)
    assert metadata["entropy_by_step_found"] == audit["entropy_by_step_found"]


def test_settings_matter(world: World) -> None:
    plain = world.decoded()[0].scores
    for changed in ({"length_penalty": 1.0}, {"temperature": 2.0}, {"igd_alpha": 0.4}):
        assert not np.allclose(world.decoded(**changed)[0].scores, plain, equal_nan=True)


def test_one_search_reports_how_sure_it_is(world: World) -> None:
    _, metadata = world.decoded(num_beams=1, max_num_beams=1)
    assert metadata["certified"] < 1
    assert metadata["widths"] == {"1": 6}


def test_a_hit_is_a_title_though_the_target_is_its_other_item(world: World) -> None:
    """A decoder writes "Red Tree"; of its two items, 0 comes first and 4 is the target."""
    found, _ = world.decoded(num_beams=1, max_num_beams=1)
    first = found.items[:, 0]
    targets = np.where(first == 0, 4, first)
    histories = np.array([[0, 4, 1]] * 6)
    cases = Cases(found, targets, histories, world.source.catalog)
    by_title = evaluate(**merge_titles(cases)._asdict(), ks=[1])
    assert by_title.metrics["HR@1"] == 1
    assert (first == 0).any()
    by_item = evaluate(**cases._asdict(), ks=[1]).metrics["HR@1"]
    assert by_item == (first != 0).mean() < 1


def test_only_candidates_are_decoded(world: World) -> None:
    trained = set(world.source.windows(np.arange(5)).targets.tolist())
    assert len(trained) < NUM_ITEMS - 1
    found, metadata = world.decoded(num_beams=8, candidates="train")
    expected = {item for item in range(NUM_ITEMS) if item in trained}
    assert set(found.items[found.items >= 0].tolist()) == expected
    assert metadata["titles"] == len({TITLES[item] for item in trained})


def test_the_assistant_is_mixed_in(world: World, brute: np.ndarray) -> None:
    oracle = world.folder / "oracle"
    oracle.mkdir(exist_ok=True)
    config = SASRecConfig(hidden_size=4)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        network = SASRec(config, num_items=NUM_ITEMS, max_length=LENGTH)
        torch.nn.init.normal_(network.output.weight, std=2.0)
    save(network, oracle)
    scorer = load_scorer(oracle, world.source.catalog)
    scores = scorer(world.source.windows(np.arange(18, 24)).histories).astype(np.float64)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    shares[:, 0] = shares[:, 4] = shares[:, 0] + shares[:, 4]  # one title, one probability
    mixed = 0.3 * brute + 0.7 * np.log(shares)
    found, _ = world.decoded(oracle=oracle, model_weight=0.3, num_beams=8)
    assert found.scores is not None
    rows = np.arange(6)[:, None]
    np.testing.assert_allclose(found.scores, mixed[rows, found.items], atol=1e-3)
    alone, _ = world.decoded(oracle=oracle, model_weight=1.0, num_beams=8)
    np.testing.assert_allclose(alone.scores, world.decoded(num_beams=8)[0].scores, atol=1e-9)
    with pytest.raises(BenchError, match="same search"):
        world.decoded(oracle=oracle, model_weight=0.3, igd_alpha=0.1)


def test_an_adapter_is_used_and_taken_off_again(world: World, brute: np.ndarray) -> None:
    tuning = {
        "kind": "lora",
        "rank": 2,
        "alpha": 4,
        "dropout": 0.1,
        "targets": ["q_proj", "v_proj"],
    }
    fresh = load(world.folder / "backbone", tuning=tuning, dtype="float32", seed=0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(2)
        for name, weight in fresh.model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    start = world.folder / "adapter"
    start.mkdir()
    fresh.save(start)
    adapted = brute_scores(fresh.model, world.source)
    assert np.abs(adapted - brute).max() > 0.1
    rows = np.arange(6)[:, None]
    for search in ("beam", "exhaustive"):
        found, _ = world.decoded(
            tuning=tuning, start=start, num_beams=8, max_num_beams=8, search=search
        )
        np.testing.assert_allclose(found.scores, adapted[rows, found.items], atol=1e-3)
        untuned, _ = world.decoded(tuning=tuning, num_beams=8, max_num_beams=8, search=search)
        np.testing.assert_allclose(untuned.scores, brute[rows, untuned.items], atol=1e-3)


def test_facts_of_the_titles(world: World) -> None:
    _, metadata = world.decoded(num_beams=8)
    # All eight items are listed for everyone: three begin with "red", as does "red tree".
    assert metadata["first_word_top"] == pytest.approx(4 / 8)
    assert metadata["first_word_repeated"] == pytest.approx(1 - 3 / 48)
    assert 0 < metadata["zero_gain_share"] < 1
    longest = max(map(len, TITLES)) + 3
    assert len(metadata["entropy_by_step_found"]) == longest
    assert metadata["entropy_by_step_found"][0] == metadata["entropy_by_step_true"][0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"search": "beams"}, "search = 'beams'"),
        ({"prior": "popular"}, "prior = 'popular'"),
        ({"entropy": "shannon"}, "entropy = 'shannon'"),
        ({"igd_alpha": 1.5}, "igd_alpha = 1.5"),
        ({"num_beams": 0}, "num_beams = 0"),
        ({"depth": 0}, "depth = 0"),
        ({"context": 15}, "longest title"),
    ],
)
def test_settings_that_are_refused(world: World, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        world.decoded(**changed)


def test_depth_cuts_the_list(world: World) -> None:
    found, _ = world.decoded(depth=2)
    assert found.items.tolist() == world.decoded()[0].items[:, :2].tolist()


def planned() -> tuple[Policy, Rows, Rows]:
    data = Stage(kind="prepare")
    model = Model(
        name="m", backbone=Stage(kind="build", inputs={"data": data}), tuning={"kind": "full"}
    )
    policy = Policy(model=model, weights=Stage(kind="sft"), append_eos=False)
    nouns = Nouns("film", "films")
    rows = [
        Rows(data=data, stage=Stage(kind="draw", config=make_config(n=n)), nouns=nouns)
        for n in range(2)
    ]
    return policy, rows[0], rows[1]


def test_the_plan_fills_in_what_the_stage_needs_of_the_model() -> None:
    policy, cases, train = planned()
    ranking = beam_search_rank(policy, cases, train, DecodingConfig())
    assert ranking.config == DecodingConfig(
        max_num_beams=10, nouns=NOUNS, model=policy.model.spec, append_eos=False
    )
    assert set(ranking.inputs) == {"data", "cases", "train", "backbone", "start"}
    untuned = beam_search_rank(policy.model, cases, train, DecodingConfig())
    assert set(untuned.inputs) == {"data", "cases", "train", "backbone"}
    with pytest.raises(BenchError, match="widens no beams"):
        config = DecodingConfig(search="exhaustive", max_num_beams=20)
        beam_search_rank(policy, cases, train, config)


def test_without_weight_sasrec_is_no_input() -> None:
    policy, cases, train = planned()
    oracle = Stage(kind="sasrec")
    plain = beam_search_rank(policy, cases, train, DecodingConfig())
    assert beam_search_rank(policy, cases, train, DecodingConfig(), oracle=oracle).key == plain.key
    config = DecodingConfig(model_weight=0.9)
    mixed = beam_search_rank(policy, cases, train, config, oracle=oracle)
    assert mixed.inputs["oracle"] is oracle
    with pytest.raises(AssertionError):
        beam_search_rank(policy, cases, train, config)
