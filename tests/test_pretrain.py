"""Models built from nothing and pretrained: same bytes, whole titles, no trace of the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.data.prompts import quotable
from bench.errors import BenchError
from bench.hashing import Job, Plain, checksum
from bench.models.lm.backbone import read_tokenizer
from bench.models.lm.tokenization import Tokenizer, encode_prompts, encode_responses
from bench.models.lm.tuned_model import load
from bench.plan.backbones import BuildConfig, PretrainConfig
from bench.stages import build as build_stage
from bench.stages import pretrain as pretrain_stage
from bench.stages.build import build_model
from bench.stages.pretrain import encode_histories, pretrain, training_histories

pytestmark = pytest.mark.usefixtures("one_thread")

NOUNS = ("movie", "movies")
WORDS, YEARS = ("Red", "of Ice"), (60, 71, 82)
TITLES = (*(f"Sea {word} (19{year})" for word in WORDS for year in YEARS), 'The "Burbs"')
ARCHITECTURE = {"layers": 2, "width": 16, "heads": 2, "intermediate": 24, "vocabulary": 330}
FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def make(
    folder: Path,
    titles: Sequence[str] = TITLES,
    nouns: Sequence[str] = NOUNS,
    seed: int = 0,
    **changes: int,
) -> tuple[dict[str, Plain], dict[str, str]]:
    folder.mkdir(parents=True)
    architecture = {**ARCHITECTURE, **changes}
    metadata = build_model(
        folder, titles=titles, nouns=nouns, architecture=architecture, context=96, seed=seed
    )
    return metadata, {path.name: checksum(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "backbone"
    make(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(backbone: Path) -> Tokenizer:
    return read_tokenizer(backbone)


# --- built -------------------------------------------------------------------------------------


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    metadata, first = make(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.keys() == FILES
    assert make(tmp_path / "second") == (metadata, first)

    def differing(**changes: int | Sequence[str]) -> set[str]:
        _, files = make(tmp_path / str(changes), **changes)  # type: ignore[arg-type]
        return {name for name in files if files[name] != first[name]}

    assert differing(seed=1) == {"model.safetensors"}
    assert "tokenizer.json" in differing(nouns=("gadget", "gadgets"))
    assert differing(layers=1) == {"config.json", "model.safetensors"}


def test_sizes_by_hand(tmp_path: Path) -> None:
    metadata, _ = make(tmp_path / "a")
    layer = 4 * 16 * 16 + 3 * 16 * 24 + 2 * 16
    assert metadata == {"vocabulary": 330, "parameters": 330 * 16 + 2 * layer + 16}
    # 256 bytes, 3 special tokens, and what little two titles give.
    metadata, _ = make(tmp_path / "b", titles=("A", "B"), vocabulary=4096)
    assert 259 < metadata["vocabulary"] < 500
    model = load(tmp_path / "b", tuning={"kind": "full"}, dtype="float32").model
    assert model.config.vocab_size == metadata["vocabulary"]


def test_the_tokenizer_knows_the_titles_and_the_template(tmp_path: Path) -> None:
    titles = [f"The {name} ({year})" for name in ("Heron", "Otter") for year in range(1950, 1990)]
    make(tmp_path / "a", titles=titles, vocabulary=1000)
    tokenizer = read_tokenizer(tmp_path / "a")
    ((ids,), _) = encode_prompts(tokenizer, [[]], nouns=NOUNS, max_length=96)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    words = tokenizer.convert_ids_to_tokens(ids)
    assert {"Ġperson", "Ġmovies", "Ġrecommend", "###"} <= set(words)
    (answer,) = encode_responses(tokenizer, ["The Otter (1960)"], eos=True)
    quote = tokenizer.convert_tokens_to_ids('"')
    assert [answer[0], *answer[-2:]] == [quote, quote, tokenizer.eos_token_id]
    assert "ĠOtter" in tokenizer.convert_ids_to_tokens(answer)
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert len(special) == 3


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12).filter(str.strip), min_size=1, max_size=4))
def test_titles_come_back_and_a_history_is_the_sum_of_its_titles(
    tokenizer: Tokenizer, titles: list[str]
) -> None:
    """So it does not matter that responses are tokenized apart from the histories."""
    apart = encode_responses(tokenizer, titles, eos=False)
    comma = tokenizer(", ", add_special_tokens=False)["input_ids"]
    joined = [*apart[0], *(token for ids in apart[1:] for token in [*comma, *ids])]
    text = ", ".join(f'"{quotable(title)}"' for title in titles)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == joined
    assert tokenizer.decode(joined) == text


# --- texts -------------------------------------------------------------------------------------


def test_texts_hold_whole_titles_and_as_many_as_fit(tokenizer: Tokenizer) -> None:
    histories = [list(TITLES), list(TITLES[:1]), [], list(TITLES[::-1])]
    lengths = [len(ids) for ids in encode_responses(tokenizer, TITLES, eos=False)]
    for tokens in (max(lengths) + 2, 40, 70, 1000):
        written = encode_histories(tokenizer, histories, max_tokens=tokens)
        assert max(map(len, written)) <= tokens
        assert {ids[0] for ids in written} == {tokenizer.bos_token_id}
        assert {ids[-1] for ids in written} == {tokenizer.eos_token_id}
        plain = [tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
        expected = ", ".join(f'"{quotable(title)}"' for titles in histories for title in titles)
        assert ", ".join(plain) == expected
        assert all(text.count('"') % 2 == 0 and text[0] == text[-1] == '"' for text in plain)
    assert len(encode_histories(tokenizer, histories, max_tokens=1000)) == 3
    comma = len(tokenizer(", ", add_special_tokens=False)["input_ids"])
    two = lengths[0] + comma + lengths[1] + 2
    assert [len(t) for t in encode_histories(tokenizer, [TITLES[:2]], max_tokens=two)] == [two]
    apart = [lengths[0] + 2, lengths[1] + 2]
    assert [len(t) for t in encode_histories(tokenizer, [TITLES[:2]], max_tokens=two - 1)] == apart


def test_only_a_title_that_does_not_fit_alone_is_cut(tokenizer: Tokenizer) -> None:
    (ids,) = encode_responses(tokenizer, ["Sea " * 50], eos=False)
    written = encode_histories(tokenizer, [["A", "Sea " * 50, "B"]], max_tokens=20)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert [tokenizer.decode(t, skip_special_tokens=True) for t in written][::2] == ['"A"', '"B"']
    assert written[1] == [begin, *ids[:18], end]


# --- histories ---------------------------------------------------------------------------------


def data(items: Sequence[int] = (0, 1, 2, 3, 4, 5, 0, 6, 2)) -> Prepared:
    """Users of 6, 2 and 1 interactions; the first three samples train, then one each.

    Samples are (history → target) by places: 0-1→2, 6→7, 1-2→3, then 2-3→4 and 3-4→5.
    """
    return Prepared(
        catalog=Catalog(
            ids=tuple(f"i{n}" for n in range(len(TITLES))),
            titles=TITLES,
            categories=((),) * len(TITLES),
            tracked=(),
        ),
        user_ids=("a", "b", "c"),
        users=np.array([0, 0, 0, 0, 0, 0, 1, 1, 2], dtype=np.int32),
        items=np.array(items, dtype=np.int32),
        ratings=np.full(9, np.nan, dtype=np.float32),
        times=np.array([1, 2, 3, 4, 5, 6, 2, 3, 9]),
        start=np.array([0, 6, 1, 2, 3]),
        target=np.array([2, 7, 3, 4, 5]),
        boundaries=(3, 4),
        history=2,
    )


def test_histories_of_the_training_period_only() -> None:
    places = [[TITLES.index(title) for title in titles] for titles in training_histories(data())]
    assert places == [[0, 1, 2, 3], [0, 6]]
    without = dataclasses.replace(data(), boundaries=(0, 1))
    assert list(training_histories(without)) == []


def test_users_can_be_left_out() -> None:
    (titles,) = training_histories(data(), {"a", "nobody"})
    assert [TITLES.index(title) for title in titles] == [0, 6]


def run(
    folder: Path, source: Prepared, backbone: Path, *, divisor: int = 1, seed: int = 0
) -> dict[str, Plain]:
    for name in ("data", "out"):
        (folder / name).mkdir(parents=True)
    prepared.write(source, folder / "data")
    config = PretrainConfig(
        num_train_epochs=2, learning_rate=0.01, batch_size=4, max_length=20, seed=seed
    )
    job = Job(out=folder / "out", micro_batch_divisor=divisor)
    pretrain_stage.run(job, config, {"backbone": backbone, "data": folder / "data"})
    return dict(job.metadata)


def test_validation_and_test_leave_no_trace(backbone: Path, tmp_path: Path) -> None:
    run(tmp_path / "a", data(), backbone)
    weights = tmp_path / "a" / "out" / "model.safetensors"
    for name, items in {
        "held out": (0, 1, 2, 3, 5, 4, 0, 6, 1),
        "trained on": (0, 1, 2, 6, 4, 5, 0, 6, 2),
    }.items():
        run(tmp_path / name, data(items), backbone)
        other = tmp_path / name / "out" / "model.safetensors"
        assert (checksum(other) == checksum(weights)) == (name == "held out")


# --- pretrained --------------------------------------------------------------------------------


def test_the_stage_leaves_a_backbone(backbone: Path, tmp_path: Path) -> None:
    built = Job(out=tmp_path / "built")
    built.out.mkdir()
    (tmp_path / "data").mkdir()
    prepared.write(data(), tmp_path / "data")
    config = BuildConfig(architecture=ARCHITECTURE, context=96, nouns=NOUNS, seed=0)
    build_stage.run(built, config, {"data": tmp_path / "data"})
    for name in FILES:
        assert checksum(built.out / name) == checksum(backbone / name)
    metadata = run(tmp_path / "a", data(), backbone)
    out = tmp_path / "a" / "out"
    assert {path.name for path in out.iterdir()} == FILES
    same = {name for name in FILES if checksum(out / name) == checksum(backbone / name)}
    assert same == FILES - {"model.safetensors"}
    written = encode_histories(read_tokenizer(out), list(training_histories(data())), max_tokens=20)
    assert metadata["rows"] == len(written)
    assert metadata["tokens"] == sum(map(len, written))
    assert metadata["steps"] == 2 * -(-len(written) // 4)
    assert len(metadata["loss_by_epoch"]) == 2
    load(out, tuning={"kind": "full"}, dtype="float32")


def test_pretraining_is_repeatable_and_seeded(backbone: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    metadata = run(tmp_path / "a", data(), backbone)
    assert run(tmp_path / "b", data(), backbone) == metadata
    run(tmp_path / "c", data(), backbone, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (
        checksum(tmp_path / name / "out" / "model.safetensors") for name in ("a", "b", "c")
    )
    assert first == again != other


def test_micro_batches_change_nothing_but_rounding(backbone: Path, tmp_path: Path) -> None:
    """Texts of unlike length in a batch: its mean is over tokens, not over micro-batches."""
    whole = run(tmp_path / "a", data(), backbone)
    parts = run(tmp_path / "b", data(), backbone, divisor=4)
    assert parts["loss_by_epoch"] == pytest.approx(whole["loss_by_epoch"], abs=1e-4)
    assert parts["steps"] == whole["steps"]


def test_the_loss_is_the_mean_over_predicted_tokens(backbone: Path) -> None:
    model = load(backbone, tuning={"kind": "full"}, dtype="float32")
    written = encode_histories(model.tokenizer, [TITLES, TITLES[:1]], max_tokens=64)
    log_likelihoods = []
    for ids in written:
        with torch.no_grad():
            scores_LV = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        log_likelihoods += [scores_LV[place, ids[place + 1]] for place in range(len(ids) - 1)]
    config = PretrainConfig(num_train_epochs=60, learning_rate=0.01, batch_size=8, warmup_steps=0)
    metadata = pretrain(model, written, config)
    losses = metadata["loss_by_epoch"]
    assert losses[0] == pytest.approx(-float(torch.stack(log_likelihoods).mean()), abs=1e-4)
    assert losses[-1] < 0.3 * losses[0]
    assert not model.model.training


def test_nothing_to_pretrain_on(backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to pretrain on"):
        run(tmp_path, dataclasses.replace(data(), boundaries=(0, 1)), backbone)


def test_a_rate_that_is_too_high_is_noticed(backbone: Path) -> None:
    model = load(backbone, tuning={"kind": "full"}, dtype="float32")
    written = encode_histories(model.tokenizer, [TITLES], max_tokens=64)
    config = PretrainConfig(num_train_epochs=8, learning_rate=1e30, batch_size=1, warmup_steps=0)
    with pytest.raises(BenchError, match=r"In step \d+ the .* is (nan|inf)"):
        pretrain(model, written, config)
