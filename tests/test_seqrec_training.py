"""Training of item-ID models: negatives, determinism, micro-batches, early stopping."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import have_equal_weights
from torch.optim import SGD

from bench.data.ranking import top_items
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.metrics.accuracy import ndcg
from bench.models.epoch_loop import accumulate_gradients, train_epochs
from bench.models.lm.devices import compute_threads
from bench.models.seqrec.checkpoint import load, save
from bench.models.seqrec.networks import GRU4Rec, RowNetwork, SASRec
from bench.models.seqrec.training import (
    Sequences,
    TrainedItemModel,
    cut,
    join_rows,
    mean_ndcg,
    sample_negatives,
    target_losses,
    train_item_model,
)
from bench.plan.item_stages import GRU4RecConfig, ItemModelConfig, SASRecConfig

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_ITEMS = 12
LENGTH = 5
CONFIG = SASRecConfig(
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    learning_rate=0.01,
    batch_size=64,
    num_train_epochs=4,
    patience=4,
)


def train_model(
    train: Windows | Sequences,
    valid: Windows,
    config: ItemModelConfig = CONFIG,
    *,
    seed: int = 0,
    **more: Any,
) -> TrainedItemModel:
    network_class = SASRec if isinstance(config, SASRecConfig) else GRU4Rec
    config = replace(config, seed=seed)
    return train_item_model(network_class, config, train, valid, num_items=NUM_ITEMS, **more)


def windows(histories: NDArray[np.integer], targets: NDArray[np.integer]) -> Windows:
    return Windows(
        users=np.arange(len(targets), dtype=np.int32),
        histories=histories.astype(np.int32),
        targets=targets.astype(np.int32),
    )


def counting_rows(num: int, seed: int = 0) -> Windows:
    """Histories of all lengths that count up; the target is the number after the last one."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, LENGTH + 1, size=(num, 1))
    counted = generator.integers(NUM_ITEMS, size=(num, 1)) + np.arange(LENGTH)
    histories = np.where(np.arange(LENGTH) < lengths, counted % NUM_ITEMS, -1)
    targets = np.take_along_axis(counted, lengths - 1, axis=1)[:, 0] + 1
    return windows(histories, targets % NUM_ITEMS)


def random_rows(num: int, seed: int = 0) -> Windows:
    generator = np.random.default_rng(seed)
    histories = generator.integers(NUM_ITEMS, size=(num, LENGTH))
    return windows(histories, generator.integers(NUM_ITEMS, size=num))


NO_ROWS = random_rows(0)


def score(model: RowNetwork, histories: NDArray[np.int32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        scores: NDArray[np.float32] = model.output(
            model(*model.encode_histories(histories))
        ).numpy()
    return scores


# --- the epoch loop -------------------------------------------------------------------------------


def run_loop(values: list[float | None], **more: Any) -> tuple[torch.nn.Linear, Any]:
    """Train one weight by steps of 1 upwards, so that its value is the number of the epoch."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    remaining = iter(values)
    history = train_epochs(
        model,
        SGD(model.parameters(), lr=1.0),
        draw_batches=lambda: [(torch.zeros(3),)],
        mean_loss=lambda rows_B: -model.weight.sum() + rows_B.mean(),
        validate=lambda: next(remaining),
        num_epochs=len(values),
        **more,
    )
    return model, history


@pytest.mark.parametrize(
    ("values", "patience", "best_epoch", "num_epochs"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.1], 2, 2, 4),  # an equal value is not a better one
        ([0.1, 0.3, 0.2, 0.4, 0.1], 2, 4, 5),
        ([0.0, 0.0], 5, 1, 2),
        ([None, None, None], 1, 3, 3),  # without validation every epoch is trained
    ],
)
def test_the_best_epoch_is_kept(
    values: list[float | None], patience: int, best_epoch: int, num_epochs: int
) -> None:
    model, history = run_loop(values, patience=patience)
    assert history.best_epoch == model.weight.item() == best_epoch
    assert len(history.losses) == history.num_steps == num_epochs
    assert not model.training
    metadata = history.as_metadata("ndcg")
    assert metadata["best_ndcg"] == (max(history.values) if history.values else None)
    assert metadata["loss_by_epoch"] == [-float(epoch) for epoch in range(num_epochs)]


@pytest.mark.parametrize("divisor", [1, 2, 3, 16, 32])
def test_micro_batches_add_up_to_the_gradient_of_the_batch(divisor: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = (torch.randn(16, 4, generator=generator, dtype=torch.float64) for _ in "xy")
    model = torch.nn.Linear(4, 4, dtype=torch.float64)

    def mean_loss(inputs_B4: torch.Tensor, labels_B4: torch.Tensor) -> torch.Tensor:
        return ((model(inputs_B4) - labels_B4) ** 2).mean()

    expected = mean_loss(inputs, labels)
    (gradient,) = torch.autograd.grad(expected, model.weight)
    assert accumulate_gradients(mean_loss, (inputs, labels), divisor).item() == pytest.approx(
        expected.item(), rel=1e-12
    )
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, gradient, rtol=1e-12, atol=1e-12)


def test_a_diverging_loss_is_refused() -> None:
    config = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(BenchError, match="loss is nan"):
        train_model(counting_rows(99), NO_ROWS, config)


# --- negatives ------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(num_items=st.integers(2, 9), seed=st.integers(0, 99))
def test_a_negative_is_never_the_target(num_items: int, seed: int) -> None:
    targets = np.arange(200) % num_items
    negatives = sample_negatives(targets, num_items, np.random.default_rng(seed))
    assert (negatives != targets).all()
    assert negatives.min() >= 0
    assert negatives.max() < num_items


def test_negatives_are_uniform_over_the_other_items() -> None:
    negatives = sample_negatives(np.full(60_000, 2), 5, np.random.default_rng(0))
    frequencies = np.bincount(negatives, minlength=5) / len(negatives)
    np.testing.assert_allclose(frequencies, [0.25, 0.25, 0, 0.25, 0.25], atol=0.01)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(replace(CONFIG, num_layers=1, num_train_epochs=60), id="sasrec"),
        pytest.param(
            GRU4RecConfig(
                hidden_size=16, learning_rate=0.02, batch_size=64, num_train_epochs=60, dropout=0.0
            ),
            id="gru4rec",
        ),
    ],
)
def test_it_learns_to_count(config: ItemModelConfig) -> None:
    trained = train_model(counting_rows(300), NO_ROWS, config)
    unseen = counting_rows(200, seed=1)
    hits = score(trained.model, unseen.histories).argmax(axis=1) == unseen.targets
    assert hits.mean() > 0.98
    losses: Any = trained.metadata["loss_by_epoch"]
    assert losses[-1] < 0.1 < 0.5 < losses[0] < 0.9


def test_equal_seeds_give_equal_weights_and_other_seeds_do_not() -> None:
    first, second, other = (
        train_model(counting_rows(150), random_rows(50), seed=seed) for seed in (0, 0, 1)
    )
    assert have_equal_weights(first.model, second.model)
    assert first.metadata == second.metadata
    assert not have_equal_weights(first.model, other.model)


def test_the_callers_random_state_and_threads_are_unchanged(tmp_path: Path) -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    threads = torch.get_num_threads()
    with compute_threads(threads + 1):
        assert torch.get_num_threads() == threads + 1
        save(train_model(counting_rows(80), random_rows(20)).model, tmp_path)
        load(tmp_path)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # type: ignore[index]
    assert torch.get_num_threads() == threads
    with pytest.raises(BenchError, match="threads"), compute_threads(0):
        pass


def test_the_callers_random_state_has_no_effect() -> None:
    models = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.default_generator.manual_seed(seed)
            models.append(train_model(counting_rows(80), NO_ROWS).model)
    assert have_equal_weights(*models)


@pytest.mark.parametrize("divisor", [4, 128])
def test_training_uses_the_micro_batches(divisor: int) -> None:
    config = replace(CONFIG, dropout=0.0)
    train = counting_rows(150)  # the last batch of an epoch has 22 rows
    batches = train_model(train, NO_ROWS, config)
    micro_batches = train_model(train, NO_ROWS, config, micro_batch_divisor=divisor)
    assert micro_batches.metadata["steps"] == batches.metadata["steps"] == 4 * 3
    np.testing.assert_allclose(
        micro_batches.metadata["loss_by_epoch"],  # type: ignore[arg-type]
        batches.metadata["loss_by_epoch"],  # type: ignore[arg-type]
        rtol=1e-3,  # Adam's first steps are signs of gradients, so rounding grows over 12 steps
    )
    assert not have_equal_weights(micro_batches.model, batches.model)


def test_training_stops_and_returns_to_the_best_epoch() -> None:
    train, valid = counting_rows(200), random_rows(60)
    config = replace(CONFIG, num_train_epochs=50, patience=3)
    stopped = train_model(train, valid, config)
    best: Any = stopped.metadata["best_epoch"]
    assert stopped.metadata["epochs"] == best + 3 < 50
    until_best = replace(config, num_train_epochs=best)
    assert have_equal_weights(stopped.model, train_model(train, valid, until_best).model)
    assert have_equal_weights(stopped.model, train_model(train, NO_ROWS, until_best).model)


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 0.3},
        {"num_heads": 4},
        {"num_layers": 1},
        {"position_std": 0.1},
        {"learning_rate": 0.02},
        {"weight_decay": 1e-2},
        {"batch_size": 32},
        {"loss": "cross-entropy"},
        {"num_train_epochs": 5},
    ],
)
def test_every_hyperparameter_has_an_effect(change: dict[str, Any]) -> None:
    default = train_model(counting_rows(80), NO_ROWS).model
    changed = train_model(counting_rows(80), NO_ROWS, replace(CONFIG, **change)).model
    assert len(default.state_dict()) != len(changed.state_dict()) or not have_equal_weights(
        default, changed
    )


# --- validation -----------------------------------------------------------------------------------


def test_the_recorded_ndcg_is_that_of_the_ranking() -> None:
    valid = random_rows(50)
    valid.targets[:10] = -1
    trained = train_model(counting_rows(100), valid)
    ranked = top_items(-score(trained.model, valid.histories), NUM_ITEMS)
    hit, rank = np.nonzero(ranked == valid.targets[:, None])
    ranks = np.full(50, -1)
    ranks[hit] = rank
    expected = ndcg(ranks, 20).mean()
    assert trained.metadata["best_valid_ndcg@20"] == pytest.approx(expected, abs=1e-6)
    assert trained.metadata["valid_rows"] == 40


def test_ties_are_broken_by_item_and_nan_is_a_miss() -> None:
    model = train_model(counting_rows(10), NO_ROWS).model
    valid = windows(counting_rows(NUM_ITEMS).histories, np.arange(NUM_ITEMS))
    torch.nn.init.zeros_(model.output.weight)
    torch.nn.init.zeros_(model.output.bias)
    # Item i has rank i; each is the target once.
    expected = np.mean(1 / np.log2(np.arange(NUM_ITEMS) + 2))
    assert mean_ndcg(model, valid) == pytest.approx(expected)
    first = windows(valid.histories, np.zeros(NUM_ITEMS))
    assert mean_ndcg(model, first) == 1.0
    torch.nn.init.constant_(model.output.bias, math.nan)
    assert mean_ndcg(model, first) == 0.0


def test_rows_without_a_known_target_are_dropped() -> None:
    train = counting_rows(100)
    train.targets[::2] = -1
    known = windows(train.histories[1::2], train.targets[1::2])
    with_unknown, without = (train_model(rows, NO_ROWS) for rows in (train, known))
    assert have_equal_weights(with_unknown.model, without.model)
    assert with_unknown.metadata["train_rows"] == 50
    with pytest.raises(BenchError, match="no training row"):
        train_model(NO_ROWS, NO_ROWS)


def test_without_a_known_validation_target_every_epoch_is_trained() -> None:
    valid = random_rows(9)
    valid.targets[:] = -1
    metadata = train_model(counting_rows(80), valid, replace(CONFIG, patience=1)).metadata
    assert metadata["epochs"] == metadata["best_epoch"] == 4
    assert metadata["best_valid_ndcg@20"] is None


# --- sequence form --------------------------------------------------------------------------------


def counting_sequences(num: int, length: int = 9) -> Sequences:
    starts = np.random.default_rng(0).integers(NUM_ITEMS, size=(num, 1))
    items = (starts + np.arange(length)) % NUM_ITEMS
    return Sequences(
        items=items.ravel(), first=np.repeat(np.arange(num) * length, length).astype(np.int64)
    )


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    size=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_pieces_hold_every_target_once_after_the_items_before_it(
    lengths: list[int], size: int, seed: int
) -> None:
    items = np.arange(sum(lengths))  # an item is its own index
    first = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
    sequences = Sequences(items=items, first=first)
    pieces = cut(sequences, size, np.random.default_rng(seed))
    known = pieces.targets >= 0
    assert sorted(pieces.targets[known]) == [i for i in items if first[i] < i]
    assert (pieces.targets[known] == pieces.inputs[known] + 1).all()
    assert (first[pieces.targets[known]] == first[pieces.inputs[known]]).all()
    assert (known[:, :-1] >= known[:, 1:]).all(), "padding is on the right"
    assert known.any(axis=1).all(), "no piece is empty"
    inner = known[:, 1:]
    assert (pieces.inputs[:, 1:][inner] == pieces.targets[:, :-1][inner]).all()
    assert sequences.num_targets == known.sum()


@pytest.mark.parametrize("loss", ["bce", "cross-entropy"])
@pytest.mark.parametrize("config", [CONFIG, GRU4RecConfig(hidden_size=16, batch_size=64)])
def test_sequence_form_learns_to_count(config: ItemModelConfig, loss: Any) -> None:
    config = replace(
        config, form="sequence", loss=loss, num_train_epochs=40, learning_rate=0.02, dropout=0.0
    )
    trained = train_model(counting_sequences(60), random_rows(0), config)
    unseen = counting_rows(100, seed=1)
    assert (score(trained.model, unseen.histories).argmax(axis=1) == unseen.targets).mean() > 0.98
    assert trained.metadata["train_rows"] == 60 * 8


def test_micro_batches_of_pieces_add_up_to_the_loss_of_the_batch() -> None:
    config = replace(CONFIG, form="sequence", loss="cross-entropy", dropout=0.0, num_train_epochs=1)
    sequences = counting_sequences(20, length=8)
    runs = [
        train_model(sequences, NO_ROWS, config, micro_batch_divisor=divisor) for divisor in (1, 3)
    ]
    losses = [run.metadata["loss_by_epoch"] for run in runs]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)  # type: ignore[arg-type]


def test_the_losses_are_those_of_the_papers() -> None:
    model = train_model(counting_rows(10), NO_ROWS).model
    states = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    targets, negatives = torch.tensor([0, 4, 7]), torch.tensor([1, 2, 3])
    scores = states @ model.output.weight.T + model.output.bias
    rows = torch.arange(3)
    sampled = (
        -torch.sigmoid(scores[rows, targets]).log()
        - (1 - torch.sigmoid(scores[rows, negatives])).log()
    )
    full = scores.exp().sum(dim=1).log() - scores[rows, targets]
    torch.testing.assert_close(target_losses(model, states, targets, negatives), sampled / 2)
    model.config = replace(model.config, loss="cross-entropy")
    torch.testing.assert_close(target_losses(model, states, targets, negatives), full)


def test_rows_of_a_user_join_to_sequences_and_gaps_divide_them() -> None:
    source: Any = SimpleNamespace(
        users=np.array([0, 0, 0, 0, 0, 0, 1, 1]),
        items=np.array([10, 11, 12, 13, -1, 15, 20, 21]),
        start=np.array([0, 1, 4, 6]),
        target=np.array([2, 3, 5, 7]),
    )
    joined = join_rows(source, np.array([0, 1, 3]))
    assert joined.items.tolist() == [10, 11, 12, 13, 20, 21]
    assert joined.first.tolist() == [0, 0, 0, 0, 4, 4]
    assert joined.num_targets == 4
    apart = join_rows(source, np.array([0, 2]))
    assert apart.items.tolist() == [10, 11, 12, 15], "an item that is not in the catalog is none"
    assert apart.first.tolist() == [0, 0, 0, 3]
