"""SASRec's network in row form and its files: specs/llm-methods.md 2.1, numbers of (g)."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.seqrec.rows import bce_row_loss, network_rows, save
from bench.models.seqrec.sasrec import SASRec, Sizes, load, scorer
from bench.stages import sasrec as stage

NUM_ITEMS = 12
LENGTH = 5
SIZES = Sizes(num_items=NUM_ITEMS, length=LENGTH, hidden=16, blocks=2, heads=2, dropout=0.1)


def histories_of_all_lengths(num: int) -> NDArray[np.int32]:
    numbers = np.random.default_rng(0)
    items = numbers.integers(NUM_ITEMS, size=(num, LENGTH), dtype=np.int32)
    lengths = np.arange(num)[:, None] % LENGTH + 1
    return np.where(np.arange(LENGTH) < lengths, items, np.int32(-1))


def catalog(num_items: int = NUM_ITEMS) -> Catalog:
    names = tuple(str(item) for item in range(num_items))
    return Catalog(ids=names, titles=names, categories=((),) * num_items)


def network(sizes: Sizes = SIZES) -> SASRec:
    """An untrained network whose every weight matters."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model = SASRec(sizes)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def test_row_loss_is_half_the_sequence_loss():
    loss = bce_row_loss(torch.tensor([1.0, -0.5]), torch.tensor([0.2, -1.0]))
    assert loss.item() == pytest.approx(0.599685, abs=1e-6)
    assert 2 * loss.item() == pytest.approx(1.199370, abs=1e-6)


def test_row_loss_at_zero_scores_is_ln_2():
    assert bce_row_loss(torch.zeros(7), torch.zeros(7)).item() == pytest.approx(math.log(2))


def test_rows_are_padded_with_the_id_after_the_last_item():
    items, lengths = network_rows(np.array([[4, 2, -1], [-1, -1, -1]], dtype=np.int32), SIZES)
    assert items.tolist() == [[4, 2, NUM_ITEMS], [NUM_ITEMS] * 3]
    assert lengths.tolist() == [2, 1]


@pytest.mark.parametrize("last", range(LENGTH))
def test_no_state_sees_a_later_place(last):
    model = network()
    items = torch.arange(LENGTH).repeat(2, 1)
    items[1, last + 1 :] = torch.tensor([NUM_ITEMS, 7, 8, 9])[: LENGTH - last - 1]
    one, other = model(items, torch.full((2,), last + 1))
    torch.testing.assert_close(one, other)
    cut = model(items[:1, : last + 1], torch.tensor([last + 1]))[0]
    torch.testing.assert_close(cut, one)


@pytest.mark.parametrize("place", range(LENGTH))
def test_the_state_sees_every_place_before(place):
    items = torch.arange(LENGTH).repeat(2, 1)
    items[1, place] = 9
    one, other = network()(items, torch.full((2,), LENGTH))
    assert (one - other).abs().max() > 1e-3


def test_padding_changes_neither_the_loss_nor_its_gradient():
    model = network()
    items, lengths = network_rows(histories_of_all_lengths(40), SIZES)
    padded = items == NUM_ITEMS
    assert padded.any()
    found = []
    for filled in (items, torch.where(padded, 5, items)):
        model.zero_grad()
        states = model(filled, lengths)
        ones = torch.ones(len(items), dtype=torch.int64)
        loss = bce_row_loss(model.logits(states, ones), model.logits(states, 2 * ones))
        loss.backward()
        found.append((loss.detach(), model.items.weight.grad.clone()))
    torch.testing.assert_close(found[0], found[1])


def test_one_place_asked_alone_is_that_place_among_all():
    block = network().blocks[0]
    inputs = torch.randn(3, LENGTH, 16, generator=torch.Generator().manual_seed(0))
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    everywhere = block(inputs, inputs, causal)
    alone = block(inputs[:, 2:3], inputs, causal[2:3].expand(3, 1, LENGTH))
    torch.testing.assert_close(alone, everywhere[:, 2:3])


def test_logits_are_the_output_layer_at_chosen_items():
    model = network()
    states = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([0, 3, 3, 11, 5, 1])
    everything = model.output(states)
    torch.testing.assert_close(model.logits(states, chosen), everything[torch.arange(6), chosen])


def test_items_start_small_and_positions_do_not():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = SASRec(replace(SIZES, hidden=512))
    assert model.items.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.positions.std().item() == pytest.approx(1.0, rel=0.05)


def test_the_output_layer_is_not_tied_to_the_items():
    model = network()
    assert model.items.weight.shape == (NUM_ITEMS + 1, 16)
    assert model.output.weight.shape == (NUM_ITEMS, 16)
    assert model.output.weight.data_ptr() != model.items.weight.data_ptr()


def test_a_saved_model_scores_as_before(tmp_path):
    model = network()
    save(model, tmp_path)
    loaded = load(tmp_path)
    assert loaded.sizes == SIZES
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    histories = histories_of_all_lengths(30)
    scored = scorer(tmp_path, catalog(), batch=7)(histories)
    assert scored.shape == (30, NUM_ITEMS)
    assert scored.dtype == np.float32
    with torch.inference_mode():
        wanted = model.output(model(*network_rows(histories, SIZES))).numpy()
    np.testing.assert_allclose(scored, wanted, rtol=1e-5, atol=1e-5)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_an_empty_history_and_a_shorter_width_are_scored(tmp_path):
    save(network(), tmp_path)
    score = scorer(tmp_path, catalog())
    assert np.isfinite(score(np.full((2, LENGTH), -1, dtype=np.int32))).all()
    padded, narrow = np.array([[3, 1, -1, -1, -1]]), np.array([[3, 1]])
    np.testing.assert_allclose(score(narrow), score(padded), atol=1e-5)
    assert score(np.empty((0, LENGTH), dtype=np.int32)).shape == (0, NUM_ITEMS)


@pytest.mark.parametrize(
    ("histories", "complaint"),
    [
        ([[0] * (LENGTH + 1)], "do not fit"),
        ([[0, NUM_ITEMS]], "names item 12"),
        ([[-1, 3]], "after its padding"),
    ],
)
def test_histories_that_do_not_fit_are_refused(tmp_path, histories, complaint):
    save(network(), tmp_path)
    with pytest.raises(BenchError, match=complaint):
        scorer(tmp_path, catalog())(np.array(histories, dtype=np.int32))


def test_a_wrong_catalog_or_folder_is_refused(tmp_path):
    with pytest.raises(BenchError, match="holds no SASRec"):
        load(tmp_path)
    save(network(), tmp_path)
    with pytest.raises(BenchError, match="catalog has 11"):
        scorer(tmp_path, catalog(11))


@pytest.mark.parametrize(
    "change",
    [{"num_items": 1}, {"length": 0}, {"heads": 3}, {"blocks": 0}, {"dropout": 1.0}],
)
def test_sizes_out_of_range_are_refused(change):
    with pytest.raises(BenchError):
        replace(SIZES, **change)


def write_prepared(folder: Path) -> None:
    """Ten users who count up; of their 90 samples, 60 train, 15 validate."""
    places = np.arange(10 * 10)
    target = places[places % 10 > 0]
    source = prepared.Prepared(
        catalog=catalog(),
        user_ids=tuple("abcdefghij"),
        users=(places // 10).astype(np.int32),
        items=(places * 7 % NUM_ITEMS).astype(np.int32),
        ratings=np.ones(len(places), dtype=np.float32),
        times=places,
        start=np.maximum(target - LENGTH, target // 10 * 10),
        target=target,
        boundaries=(60, 75),
        history=LENGTH,
    )
    for name in ("data", "train", "valid"):
        (folder / name).mkdir()
    prepared.write(source, folder / "data")
    for split in ("train", "valid"):
        prepared.write_rows(np.array(source.sample_range(split)), folder / split)


@pytest.mark.parametrize("with_valid", [True, False])
def test_the_stage_saves_what_the_scorer_loads(tmp_path, with_valid):
    write_prepared(tmp_path)
    job = Job(out=tmp_path / "out", micro_batch_divisor=2)
    job.out.mkdir()
    before = torch.get_num_threads()
    stage.run(
        job,
        data=tmp_path / "data",
        train=tmp_path / "train",
        valid=tmp_path / "valid" if with_valid else None,
        hidden=8,
        blocks=1,
        heads=1,
        dropout=0.1,
        learning_rate=1e-3,
        weight_decay=1e-5,
        batch=32,
        epochs=2,
        patience=2,
        position_std=1.0,
        threads=1,
        seed=0,
    )
    assert torch.get_num_threads() == before
    assert job.facts["train_rows"] == 60
    assert job.facts["valid_rows"] == (15 if with_valid else 0)
    histories = histories_of_all_lengths(90)
    assert scorer(job.out, catalog())(histories).shape == (90, NUM_ITEMS)
