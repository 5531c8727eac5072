"""Item-ID networks in row form and their files: worked numbers, padding, causality, stages."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rounding import rounding_tolerance
from torch import Tensor

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.seqrec.checkpoint import load, load_scorer, save
from bench.models.seqrec.networks import GRU4Rec, RowNetwork, SASRec, bce_losses
from bench.plan.item_stages import GRU4RecConfig, ItemModelConfig, SASRecConfig
from bench.stages import gru4rec as gru4rec_stage
from bench.stages import sasrec as sasrec_stage

NUM_ITEMS, LENGTH, HIDDEN = 12, 5, 16
SASREC = SASRecConfig(hidden_size=HIDDEN, num_layers=2, num_heads=2)
GRU4REC = GRU4RecConfig(hidden_size=HIDDEN, num_layers=2)
CONFIGS = [pytest.param(SASREC, id="sasrec"), pytest.param(GRU4REC, id="gru4rec")]
# For comparisons in float64, where rounding is far below any difference that matters.
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def histories_of_all_lengths(num: int) -> NDArray[np.int32]:
    generator = np.random.default_rng(0)
    items = generator.integers(NUM_ITEMS, size=(num, LENGTH), dtype=np.int32)
    lengths = np.arange(num)[:, None] % LENGTH + 1
    return np.where(np.arange(LENGTH) < lengths, items, np.int32(-1))


def catalog(num_items: int = NUM_ITEMS) -> Catalog:
    names = tuple(str(item) for item in range(num_items))
    return Catalog(ids=names, titles=names, categories=((),) * num_items)


def network(config: ItemModelConfig = SASREC, *, std: float = 0.5) -> RowNetwork:
    """An untrained float64 network in which every weight has an effect."""
    network_class = SASRec if isinstance(config, SASRecConfig) else GRU4Rec
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model = network_class(config, num_items=NUM_ITEMS, max_length=LENGTH)  # type: ignore[arg-type]
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=std)
    return model.eval().double()


def random_states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# --- loss and rows --------------------------------------------------------------------------------


def test_row_loss_is_half_the_sequence_loss() -> None:
    loss = bce_losses(torch.tensor([1.0, -0.5]), torch.tensor([0.2, -1.0])).mean()
    assert loss.item() == pytest.approx(0.599685, abs=1e-6)
    assert 2 * loss.item() == pytest.approx(1.199370, abs=1e-6)
    assert bce_losses(torch.zeros(7), torch.zeros(7)).tolist() == pytest.approx([math.log(2)] * 7)


def test_histories_are_padded_with_the_id_after_the_last_item() -> None:
    items, lengths = network().encode_histories(np.array([[4, 2, -1], [-1, -1, -1]]))
    assert items.tolist() == [[4, 2, NUM_ITEMS], [NUM_ITEMS] * 3]
    assert lengths.tolist() == [2, 1]


# --- what a state depends on ----------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("last", range(LENGTH))
def test_a_state_ignores_later_positions(config: ItemModelConfig, last: int) -> None:
    model = network(config)
    items = torch.arange(LENGTH).repeat(2, 1)
    items[1, last + 1 :] = torch.tensor([NUM_ITEMS, 7, 8, 9])[: LENGTH - last - 1]
    first, second = model(items, torch.full((2,), last + 1))
    torch.testing.assert_close(first, second, **EXACT)
    truncated = model(items[:1, : last + 1], torch.tensor([last + 1]))[0]
    torch.testing.assert_close(truncated, first, **EXACT)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("position", range(LENGTH))
def test_a_state_depends_on_every_earlier_position(config: ItemModelConfig, position: int) -> None:
    items = torch.arange(LENGTH).repeat(2, 1)
    items[1, position] = 9
    first, second = network(config)(items, torch.full((2,), LENGTH))
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("config", CONFIGS)
def test_sequence_form_has_the_states_of_row_form_at_every_item(config: ItemModelConfig) -> None:
    model = network(config)
    items, lengths = model.encode_histories(histories_of_all_lengths(40))
    at_last = model.encode(items)[torch.arange(40), lengths - 1]
    torch.testing.assert_close(at_last, model(items, lengths), **EXACT)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_order_of_a_history_matters(config: ItemModelConfig) -> None:
    model = network(config)
    forward, backward = model(*model.encode_histories(np.array([[1, 2, 3], [3, 2, 1]])))
    assert (forward - backward).abs().max() > 1e-3


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_changes_neither_the_loss_nor_its_gradient(config: ItemModelConfig) -> None:
    model = network(config)
    items, lengths = model.encode_histories(histories_of_all_lengths(40))
    is_padding = items == NUM_ITEMS
    assert is_padding.any()
    results = []
    for filled in (items, torch.where(is_padding, 5, items)):
        model.zero_grad()
        states = model(filled, lengths)
        ones = torch.ones(len(items), dtype=torch.int64)
        loss = bce_losses(model.logits(states, ones), model.logits(states, 2 * ones)).mean()
        loss.backward()
        results.append((loss.detach(), model.items.weight.grad.clone()))  # type: ignore[union-attr]
    torch.testing.assert_close(results[0], results[1], **EXACT)


def test_one_query_gives_the_same_output_as_among_all_queries() -> None:
    block = network().blocks[0]  # type: ignore[index]
    inputs = random_states(3, LENGTH, HIDDEN)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    everywhere = block(inputs, inputs, causal)
    alone = block(inputs[:, 2:3], inputs, causal[2:3].expand(3, 1, LENGTH))
    torch.testing.assert_close(alone, everywhere[:, 2:3], **EXACT)


def test_logits_are_the_output_layer_at_the_given_items() -> None:
    model, states = network(), random_states(6, HIDDEN)
    items = torch.tensor([0, 3, 3, 11, 5, 1])
    expected = model.output(states)[torch.arange(6), items]
    torch.testing.assert_close(model.logits(states, items), expected, **EXACT)


def test_initial_items_are_small_and_positions_are_not() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = replace(SASREC, hidden_size=512)
        model = SASRec(config, num_items=NUM_ITEMS, max_length=LENGTH)
    assert model.items.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.positions.std().item() == pytest.approx(1.0, rel=0.05)


def test_the_output_layer_is_not_tied_to_the_items() -> None:
    model = network()
    assert model.items.weight.shape == (NUM_ITEMS + 1, HIDDEN)
    assert model.output.weight.shape == (NUM_ITEMS, HIDDEN)
    assert model.output.weight.data_ptr() != model.items.weight.data_ptr()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_a_saved_model_scores_as_before(config: ItemModelConfig, tmp_path: Path) -> None:
    model = network(config).float()
    save(model, tmp_path)
    loaded = load(tmp_path)
    assert loaded.config == config
    assert (loaded.num_items, loaded.max_length) == (NUM_ITEMS, LENGTH)
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    histories = histories_of_all_lengths(30)
    scores = load_scorer(tmp_path, catalog(), batch_size=7)(histories)
    assert scores.shape == (30, NUM_ITEMS)
    assert scores.dtype == np.float32
    with torch.inference_mode():
        double = model.double()
        states = double(*double.encode_histories(histories))
        expected = double.output(states).numpy()
        magnitudes = states.abs().numpy() @ double.output.weight.abs().T.numpy()
    atol = rounding_tolerance(magnitudes, 12 * HIDDEN)  # a dozen layers
    np.testing.assert_allclose(scores, expected, rtol=0, atol=atol)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_empty_histories_and_narrower_arrays_are_scored(tmp_path: Path) -> None:
    save(network().float(), tmp_path)
    score = load_scorer(tmp_path, catalog())
    assert np.isfinite(score(np.full((2, LENGTH), -1, dtype=np.int32))).all()
    assert score(np.empty((0, LENGTH), dtype=np.int32)).shape == (0, NUM_ITEMS)


@pytest.mark.parametrize(
    ("histories", "complaint"),
    [
        ([[0] * (LENGTH + 1)], "another length"),
        ([[0, NUM_ITEMS]], "another catalog"),
        ([[-1, 3]], "on the right"),
    ],
)
def test_histories_that_do_not_fit_are_never_scored(
    tmp_path: Path, histories: list[list[int]], complaint: str
) -> None:
    save(network(), tmp_path)
    with pytest.raises(AssertionError, match=complaint):
        load_scorer(tmp_path, catalog())(np.array(histories, dtype=np.int32))


def test_another_catalog_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no item-ID model"):
        load(tmp_path)
    save(network(), tmp_path)
    with pytest.raises(BenchError, match="catalog has 11"):
        load_scorer(tmp_path, catalog(11))
    (tmp_path / "model.safetensors").write_bytes(b"truncated")
    with pytest.raises(BenchError, match="no item-ID model"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 0},
        {"num_layers": 0},
        {"num_heads": 3},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"batch_size": 0},
        {"num_train_epochs": 0},
        {"patience": 0},
    ],
)
def test_hyperparameters_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(BenchError, match=next(iter(change))):
        replace(SASREC, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_items", "max_length"), [(1, 5), (12, 0)])
def test_a_catalog_or_history_that_is_too_short_is_refused(num_items: int, max_length: int) -> None:
    with pytest.raises(BenchError, match="at least"):
        SASRec(SASREC, num_items=num_items, max_length=max_length)


# --- stages ---------------------------------------------------------------------------------------


def write_prepared(folder: Path) -> None:
    """Ten users who count up; of their 90 samples, 60 are for training, 15 for validation."""
    positions = np.arange(10 * 10)
    target = positions[positions % 10 > 0]
    source = prepared.Prepared(
        catalog=catalog(),
        user_ids=tuple("abcdefghij"),
        users=(positions // 10).astype(np.int32),
        items=(positions * 7 % NUM_ITEMS).astype(np.int32),
        ratings=np.ones(len(positions), dtype=np.float32),
        times=positions,
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


@pytest.mark.parametrize(
    ("stage", "config"), [(sasrec_stage, SASRecConfig()), (gru4rec_stage, GRU4RecConfig())]
)
def test_a_stage_saves_what_the_scorer_loads(
    tmp_path: Path, stage: Any, config: ItemModelConfig
) -> None:
    write_prepared(tmp_path)
    job = Job(out=tmp_path / "out", micro_batch_divisor=2)
    job.out.mkdir()
    before = torch.get_num_threads()
    config = replace(config, hidden_size=8, batch_size=32, num_train_epochs=2)
    stage.run(job, config, {name: tmp_path / name for name in ("data", "train", "valid")})
    assert torch.get_num_threads() == before
    assert job.metadata["train_rows"] == 60
    assert job.metadata["valid_rows"] == 15
    histories = histories_of_all_lengths(90)
    assert load_scorer(job.out, catalog())(histories).shape == (90, NUM_ITEMS)
