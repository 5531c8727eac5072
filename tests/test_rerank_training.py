"""Training of re-rankers: seeds, micro-batches, selection of the epoch, collapse, knowledge."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from rounding import have_equal_weights
from torch import Tensor

from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.models.epoch_loop import accumulate_gradients
from bench.models.rerank.model import FeatureSizes, ListTensors, mean_average_precision, score_lists
from bench.models.rerank.training import (
    TrainedReranker,
    make_optimizer,
    split_batches,
    train_reranker,
)
from bench.plan.rerank_stages import Backbone, RerankerConfig

pytestmark = pytest.mark.usefixtures("one_thread")

BACKBONES = get_args(Backbone)
NUM_ITEMS, NUM_GENRES, NUM_USERS = 40, 4, 24
GENRES = torch.arange(NUM_ITEMS + 1)[:, None] % NUM_GENRES + 1
SIZES = FeatureSizes(num_items=NUM_ITEMS, num_attributes=NUM_GENRES, attributes_per_item=1)
USER_SIZES = replace(SIZES, text_width=NUM_GENRES, user_texts=True)
CONFIG = RerankerConfig(learning_rate=0.005, batch_size=16, num_train_epochs=3)


def train_model(
    train: ListTensors,
    valid: ListTensors | None = None,
    config: RerankerConfig = CONFIG,
    *,
    micro_batch_divisor: int = 1,
    **changes: Any,
) -> TrainedReranker:
    """Train with some changes of the config; without validation lists all epochs are trained."""
    return train_reranker(
        train,
        no_lists(train) if valid is None else valid,
        SIZES if train.user_texts is None else USER_SIZES,
        replace(config, **changes),
        attributes_IF=GENRES,
        micro_batch_divisor=micro_batch_divisor,
    )


def popular_lists(num: int, seed: int = 0) -> ListTensors:
    """Lists whose positives are the items with low numbers."""
    generator = np.random.default_rng(seed)
    items = generator.integers(1, NUM_ITEMS + 1, size=(num, 10))
    return ListTensors(
        items=torch.from_numpy(items),
        labels=torch.from_numpy((items < 10).astype(np.float32)),
        users=torch.from_numpy(generator.integers(NUM_USERS, size=num)),
    )


def personal_lists(
    num: int, *, seed: int = 0, shuffled: bool = False, texts: bool = True
) -> ListTensors:
    """Lists whose positives are of the user's favorite genre, which is all that the text says."""
    generator = np.random.default_rng(seed)
    items = torch.from_numpy(generator.integers(1, NUM_ITEMS + 1, size=(num, 10)))
    users = torch.from_numpy(generator.integers(NUM_USERS, size=num))
    favorite = torch.arange(NUM_USERS) % NUM_GENRES + 1
    vectors = torch.nn.functional.one_hot(favorite - 1, NUM_GENRES).float()
    if shuffled:
        vectors = vectors[torch.from_numpy(np.random.default_rng(5).permutation(NUM_USERS))]
    return ListTensors(
        items=items,
        labels=(GENRES[items, 0] == favorite[users, None]).float(),
        users=users,
        user_texts=vectors[:, None] if texts else None,
    )


def no_lists(lists: ListTensors) -> ListTensors:
    return replace(lists, items=lists.items[:0], labels=lists.labels[:0], users=lists.users[:0])


# --- seeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_equal_seeds_give_equal_weights_and_other_seeds_do_not(backbone: str) -> None:
    first, second, other = (
        train_model(popular_lists(70), popular_lists(20, 1), backbone=backbone, seed=seed)
        for seed in (3, 3, 4)
    )
    assert have_equal_weights(first.model, second.model)
    assert first.metadata == second.metadata
    assert not have_equal_weights(first.model, other.model)


def test_the_callers_random_state_is_unchanged() -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    def set_seeds() -> None:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)

    set_seeds()
    expected = draw()
    set_seeds()
    train_model(popular_lists(40), popular_lists(9), backbone="setrank")
    assert draw() == expected


# --- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["prm", "setrank"])
@pytest.mark.parametrize("divisor", [2, 5, 16])
def test_micro_batches_give_the_gradient_of_the_batch(backbone: Backbone, divisor: int) -> None:
    """In float64, where the order of sums has no effect beyond 1e-12."""
    lists = personal_lists(16)
    model = train_model(lists, backbone=backbone).model.double().train()
    assert lists.user_texts is not None
    lists = replace(lists, labels=lists.labels.double(), user_texts=lists.user_texts.double())

    def mean_loss(rows_B: Tensor) -> Tensor:
        scores_BL = model(lists.items[rows_B], lists.text_vectors(rows_B))
        return model.losses(scores_BL, lists.labels[rows_B]).mean()

    losses, gradients = [], []
    for number in (1, divisor):
        model.zero_grad()
        losses.append(accumulate_gradients(mean_loss, (torch.arange(16),), number).item())
        gradients.append([weights.grad for weights in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)


def test_training_uses_the_micro_batches() -> None:
    lists = popular_lists(70)
    whole, parts = (train_model(lists, micro_batch_divisor=divisor).metadata for divisor in (1, 4))
    assert whole["steps"] == parts["steps"] == 3 * 5
    # Adam's first steps are signs of gradients, so rounding grows over the steps.
    assert whole["loss_by_epoch"] == pytest.approx(parts["loss_by_epoch"], rel=1e-3)


def test_dlcm_refuses_micro_batches() -> None:
    with pytest.raises(BenchError, match="DLCM cannot be split"):
        train_model(popular_lists(40), backbone="dlcm", micro_batch_divisor=2)


@pytest.mark.parametrize(
    ("num", "expected"),
    [(32, [16, 16]), (33, [16, 17]), (34, [16, 16, 2]), (17, [17]), (16, [16]), (5, [5])],
)
def test_a_last_batch_of_one_list_joins_the_batch_before(num: int, expected: list[int]) -> None:
    batches = list(split_batches(torch.arange(num), 16))
    assert [len(batch) for batch in batches] == expected
    assert torch.cat(batches).tolist() == list(range(num))


def test_dlcm_trains_where_one_list_is_left_over() -> None:
    assert train_model(popular_lists(33), backbone="dlcm").metadata["steps"] == 3 * 2


def test_weight_decay_shrinks_all_weights_but_biases_after_each_step() -> None:
    plain, decayed = (
        train_model(
            popular_lists(16), backbone="dlcm", num_train_epochs=1, weight_decay=decay
        ).model
        for decay in (0.0, 2.0)
    )
    for (name, before), after in zip(plain.named_parameters(), decayed.parameters(), strict=True):
        factor = 1.0 if "bias" in name else 1 - 0.005 * 2.0
        assert torch.equal(after, before * factor), name


def test_the_optimizer_decays_only_if_it_is_set_to() -> None:
    model = train_model(popular_lists(16)).model
    before = [weights.clone() for weights in model.parameters()]
    optimizer = make_optimizer(model, replace(CONFIG, weight_decay=0.0))
    optimizer.zero_grad()
    optimizer.step()
    assert all(map(torch.equal, before, model.parameters()))


def test_the_first_loss_is_that_of_the_initial_weights() -> None:
    lists = popular_lists(16)
    trained = train_model(lists, num_train_epochs=1, learning_rate=1e-12)
    losses = trained.model.losses(score_lists(trained.model, lists), lists.labels)
    assert trained.metadata["loss_by_epoch"] == [pytest.approx(losses.mean().item(), abs=1e-5)]


# --- what is learned and which epoch is kept ------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_32_lists_are_memorized(backbone: Backbone) -> None:
    generator = np.random.default_rng(0)
    items = np.array([generator.permutation(NUM_ITEMS)[:10] + 1 for _ in range(32)])
    lists = ListTensors(
        items=torch.from_numpy(items),
        labels=torch.from_numpy((generator.random((32, 10)) < 0.2).astype(np.float32)),
        users=torch.arange(32),
    )
    model = train_model(lists, backbone=backbone, num_train_epochs=160, batch_size=32).model
    with torch.no_grad():
        scores = model.train()(lists.items).numpy()
    labels = lists.labels.numpy().astype(np.int8)
    metrics = evaluate_lists(scores, labels, ks=[5]).metrics
    # Attention rank gives a list with fewer than two scores above 0 no gradient: some stay behind.
    threshold = 0.95 if backbone == "setrank" else 0.99
    assert metrics["NDCG@5"] / metrics["ListCap"] > threshold


@pytest.mark.parametrize("backbone", BACKBONES)
def test_popularity_is_learned(backbone: Backbone) -> None:
    valid = popular_lists(60, 1)
    trained = train_model(popular_lists(300), valid, backbone=backbone, num_train_epochs=12)
    assert mean_average_precision(trained.model, valid) > 0.85


def test_the_best_epoch_is_kept() -> None:
    valid = popular_lists(60, 1)
    trained = train_model(
        popular_lists(300), valid, num_train_epochs=40, patience=2, learning_rate=0.02
    )
    values: Any = trained.metadata["map@5_by_epoch"]
    best = values.index(max(values)) + 1
    assert trained.metadata["best_epoch"] == best
    assert trained.metadata["epochs"] == len(values) == best + 2 < 40
    assert mean_average_precision(trained.model, valid) == pytest.approx(max(values), abs=1e-6)
    assert not trained.model.training


def test_without_validation_lists_every_epoch_is_trained() -> None:
    metadata = train_model(popular_lists(40), patience=1).metadata
    assert metadata["epochs"] == metadata["best_epoch"] == 3
    assert metadata["best_map@5"] is None


def test_map_is_that_of_the_metrics() -> None:
    lists = popular_lists(30)
    model = train_model(lists).model
    labels = lists.labels.numpy().astype(np.int8)
    scores = score_lists(model, lists).numpy()
    expected = evaluate_lists(scores, labels, ks=[5]).metrics["MAP@5"]
    assert mean_average_precision(model, lists) == pytest.approx(expected)


# --- SetRank without a gradient -------------------------------------------------------------------


def test_only_kars_own_loss_collapses() -> None:
    """Lists whose scores all start at 0 or less have no gradient; the offset prevents it."""
    collapsed = {}
    for loss in ("kar", "kar_offset", "softmax"):
        metadata = [
            train_model(
                popular_lists(64),
                popular_lists(30, 1),
                backbone="setrank",
                setrank_loss=loss,
                num_train_epochs=8,
                patience=8,
                seed=seed,
            ).metadata
            for seed in range(6)
        ]
        collapsed[loss] = [one.get("collapsed") for one in metadata]
        if loss != "kar":
            assert all(float(str(one["best_map@5"])) > 0.6 for one in metadata)
    assert collapsed["kar_offset"] == collapsed["softmax"] == [None] * 6
    assert set(collapsed["kar"]) == {True, False}


# --- knowledge ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_texts_help_unless_they_are_about_other_users(backbone: Backbone) -> None:
    config = RerankerConfig(
        backbone=backbone,
        learning_rate=0.005,
        num_train_epochs=14,
        patience=14,
        batch_size=25,
        num_shared_experts=1,
        num_dedicated_experts=1,
    )
    reached = {}
    options: dict[str, dict[str, bool]] = {
        "own": {},
        "shuffled": {"shuffled": True},
        "none": {"texts": False},
    }
    for name, option in options.items():
        train, valid = (personal_lists(num, seed=num, **option) for num in (400, 100))
        model = train_model(train, valid, config).model
        test = personal_lists(200, seed=9, **option)
        if name == "shuffled":  # what holds for training users does not hold for others
            test = replace(test, users=test.users.roll(1))
        reached[name] = mean_average_precision(model, test)
    assert reached["own"] > 0.9
    assert reached["own"] > reached["none"] + 0.25
    assert abs(reached["shuffled"] - reached["none"]) < 0.12


def test_training_samples_a_users_texts_and_scoring_takes_the_first() -> None:
    """The second text is noise of the same length."""
    lists = personal_lists(200)
    assert lists.user_texts is not None
    noise = torch.randn(lists.user_texts.shape, generator=torch.Generator().manual_seed(0))
    both = replace(lists, user_texts=torch.cat((lists.user_texts, noise), dim=1))
    first, second = (train_model(texts, num_train_epochs=1).model for texts in (lists, both))
    assert not have_equal_weights(first, second)
    assert torch.equal(score_lists(first, lists), score_lists(first, both))
    scores = score_lists(first, both, text=1)
    assert not torch.allclose(scores, score_lists(first, both), atol=1e-5)


def test_training_that_cannot_succeed_is_refused() -> None:
    lists = popular_lists(40)
    with pytest.raises(BenchError, match="from 0 lists"):
        train_model(no_lists(lists), lists)
    for loss in ("kar", "softmax"):
        with pytest.raises(BenchError, match=r"loss|score"):
            train_model(lists, lists, backbone="setrank", setrank_loss=loss, learning_rate=1e30)
