"""Fitting the re-rankers: seeds, parts of batches, choice of the epoch, collapse, knowledge."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.threads import compute_threads
from bench.models.rerank.model import BACKBONES, Reranker, Sizes
from bench.models.rerank.scoring import Rows, mean_average_precision, scores
from bench.models.rerank.training import Recipe, _batches, _Step, fit

NUM_ITEMS, NUM_GENRES, USERS = 40, 4, 24
RECIPE = Recipe(learning_rate=0.005, weight_decay=0.0, batch=16, epochs=3, patience=3)
GENRES = torch.arange(NUM_ITEMS + 1)[:, None] % NUM_GENRES + 1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1):
        yield


def sizes(backbone: str = "prm", **others: object) -> Sizes:
    return Sizes(
        backbone=backbone,
        num_items=NUM_ITEMS,
        num_attributes=NUM_GENRES,
        fields=1,
        **others,  # type: ignore[arg-type]
    )


def popular(num: int, seed: int = 0) -> Rows:
    """Lists whose positives are the items with low numbers."""
    numbers = np.random.default_rng(seed)
    items = numbers.integers(1, NUM_ITEMS + 1, size=(num, 10))
    return Rows(
        items=torch.from_numpy(items),
        labels=torch.from_numpy((items < 10).astype(np.float32)),
        users=torch.from_numpy(numbers.integers(USERS, size=num)),
    )


def personal(num: int, *, seed: int = 0, shuffled: bool = False, texts: bool = True) -> Rows:
    """Lists whose positives are of the user's own genre, which is all that the text says."""
    numbers = np.random.default_rng(seed)
    items = torch.from_numpy(numbers.integers(1, NUM_ITEMS + 1, size=(num, 10)))
    users = torch.from_numpy(numbers.integers(USERS, size=num))
    liked = torch.arange(USERS) % NUM_GENRES + 1
    vectors = torch.nn.functional.one_hot(liked - 1, NUM_GENRES).float()
    if shuffled:
        vectors = vectors[torch.from_numpy(np.random.default_rng(5).permutation(USERS))]
    return Rows(
        items=items,
        labels=(GENRES[items, 0] == liked[users, None]).float(),
        users=users,
        user_texts=vectors[:, None] if texts else None,
    )


def none(rows: Rows) -> Rows:
    return Rows(items=rows.items[:0], labels=rows.labels[:0], users=rows.users[:0])


def weights_of(model: Reranker) -> list[Tensor]:
    return list(model.state_dict().values())


def equal(one: Reranker, other: Reranker) -> bool:
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


# --- seeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_seed_one_model(backbone: str) -> None:
    rows = popular(70)
    one, again, other = (
        fit(rows, popular(20, 1), sizes(backbone), RECIPE, attributes_IF=GENRES, seed=seed)
        for seed in (3, 3, 4)
    )
    assert equal(one.model, again.model)
    assert one.facts == again.facts
    assert not equal(one.model, other.model)


def test_the_callers_random_numbers_are_left_alone() -> None:
    def drawn() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    def seeded() -> None:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)

    seeded()
    expected = drawn()
    seeded()
    fit(popular(40), popular(9), sizes("setrank"), RECIPE, attributes_IF=GENRES, seed=0)
    assert drawn() == expected


# --- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["prm", "setrank"])
@pytest.mark.parametrize("divisor", [2, 5, 16])
def test_parts_of_a_batch_give_the_same_gradients(backbone: str, divisor: int) -> None:
    rows = personal(16)
    given = sizes(backbone, text_width=NUM_GENRES, user_texts=True)
    model = fit(rows, none(rows), given, RECIPE, attributes_IF=GENRES, seed=0).model.train()
    losses, gradients = [], []
    for parts in (1, divisor):
        step = _Step(copy.deepcopy(model), RECIPE, parts)
        losses.append(step.take(rows, torch.arange(16), torch.zeros(16, dtype=torch.int64)))
        gradients.append([weights.grad for weights in step.model.parameters()])
        assert step.taken == 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, atol=1e-7, rtol=1e-4)


def test_fit_splits_as_it_is_told() -> None:
    rows = popular(70)
    whole, parts = (
        fit(
            rows,
            none(rows),
            sizes(),
            RECIPE,
            attributes_IF=GENRES,
            seed=0,
            micro_batch_divisor=number,
        ).facts
        for number in (1, 4)
    )
    assert whole["steps"] == parts["steps"] == 3 * 5
    assert whole["loss_by_epoch"] == pytest.approx(parts["loss_by_epoch"], rel=1e-3)


def test_dlcm_refuses_parts() -> None:
    with pytest.raises(BenchError, match="DLCM cannot be worked off in parts"):
        fit(
            popular(40),
            popular(9),
            sizes("dlcm"),
            RECIPE,
            attributes_IF=GENRES,
            seed=0,
            micro_batch_divisor=2,
        )


@pytest.mark.parametrize(
    ("num", "expected"),
    [(32, [16, 16]), (33, [16, 17]), (34, [16, 16, 2]), (17, [17]), (16, [16]), (5, [5])],
)
def test_a_single_list_that_is_left_joins_the_last_batch(num: int, expected: list[int]) -> None:
    batches = list(_batches(torch.arange(num), 16))
    assert [len(batch) for batch in batches] == expected
    assert torch.cat(batches).tolist() == list(range(num))


def test_dlcm_trains_where_one_list_is_left_over() -> None:
    rows = popular(33)
    fitted = fit(rows, none(rows), sizes("dlcm"), RECIPE, attributes_IF=GENRES, seed=0)
    assert fitted.facts["steps"] == 3 * 2


def test_decay_shrinks_all_weights_but_biases_after_each_step() -> None:
    rows = popular(16)
    recipe = replace(RECIPE, epochs=1)
    plain, decayed = (
        fit(
            rows,
            none(rows),
            sizes("dlcm"),
            replace(recipe, weight_decay=decay),
            attributes_IF=GENRES,
            seed=0,
        ).model
        for decay in (0.0, 2.0)
    )
    for (name, one), other in zip(plain.named_parameters(), decayed.parameters(), strict=True):
        factor = 1.0 if "bias" in name else 1 - 0.005 * 2.0
        assert torch.allclose(other, one * factor, atol=1e-7), name


def test_the_first_loss_is_that_of_the_first_weights() -> None:
    rows = popular(16)
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-12)
    fitted = fit(rows, none(rows), sizes("prm"), recipe, attributes_IF=GENRES, seed=0)
    loss = fitted.model.losses(scores(fitted.model, rows), rows.labels).mean().item()
    assert fitted.facts["loss_by_epoch"] == [pytest.approx(loss, abs=1e-5)]


# --- what is learned and which epoch is kept ------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_32_lists_are_learned_by_heart(backbone: str) -> None:
    numbers = np.random.default_rng(0)
    rows = Rows(
        items=torch.from_numpy(
            np.array([numbers.permutation(NUM_ITEMS)[:10] + 1 for _ in range(32)])
        ),
        labels=torch.from_numpy((numbers.random((32, 10)) < 0.2).astype(np.float32)),
        users=torch.arange(32),
    )
    recipe = replace(RECIPE, epochs=160, batch=32)
    model = fit(rows, none(rows), sizes(backbone), recipe, attributes_IF=GENRES, seed=0).model
    with torch.no_grad():
        found = model.train()(rows.items).numpy()
    labels = rows.labels.numpy().astype(np.int8)
    metrics = evaluate_lists(found, labels, ks=[5]).metrics
    assert metrics["NDCG@5"] / metrics["ListCap"] > 0.99


@pytest.mark.parametrize("backbone", BACKBONES)
def test_popularity_is_learned(backbone: str) -> None:
    chooser = popular(60, 1)
    recipe = replace(RECIPE, epochs=12)
    fitted = fit(popular(300), chooser, sizes(backbone), recipe, attributes_IF=GENRES, seed=0)
    assert mean_average_precision(fitted.model, chooser) > 0.85


def test_the_best_epoch_is_kept_and_patience_ends() -> None:
    chooser = popular(60, 1)
    recipe = replace(RECIPE, epochs=40, patience=2, learning_rate=0.02)
    fitted = fit(popular(300), chooser, sizes(), recipe, attributes_IF=GENRES, seed=0)
    values = fitted.facts["map@5_by_epoch"]
    assert isinstance(values, list)
    best = values.index(max(values)) + 1
    assert fitted.facts["best_epoch"] == best
    assert fitted.facts["epochs"] == len(values) == best + 2 < 40
    assert mean_average_precision(fitted.model, chooser) == pytest.approx(max(values), abs=1e-6)
    assert not fitted.model.training


def test_without_choosing_lists_every_epoch_is_trained() -> None:
    rows = popular(40)
    recipe = replace(RECIPE, patience=1)
    facts = fit(rows, none(rows), sizes(), recipe, attributes_IF=GENRES, seed=0).facts
    assert facts["epochs"] == facts["best_epoch"] == 3
    assert facts["best_map@5"] is None


def test_map_is_that_of_the_metrics() -> None:
    rows = popular(30)
    model = fit(rows, none(rows), sizes(), RECIPE, attributes_IF=GENRES, seed=0).model
    labels = rows.labels.numpy().astype(np.int8)
    found = evaluate_lists(scores(model, rows).numpy(), labels, ks=[5])
    assert mean_average_precision(model, rows) == pytest.approx(found.metrics["MAP@5"])


# --- SetRank's dead zone --------------------------------------------------------------------------


def test_collapse_is_noticed_by_kars_letter_only() -> None:
    """Lists whose scores all start below 0 never move again; the offset wakes them."""
    rows = popular(64)
    seen = {}
    for loss in ("kar", "kar_offset", "softmax"):
        facts = [
            fit(
                rows,
                popular(30, 1),
                sizes("setrank", loss=loss),
                replace(RECIPE, epochs=8, patience=8),
                attributes_IF=GENRES,
                seed=seed,
            ).facts
            for seed in range(6)
        ]
        seen[loss] = [fact.get("collapsed") for fact in facts]
        if loss != "kar":
            assert all(float(str(fact["best_map@5"])) > 0.6 for fact in facts)
    assert seen["kar_offset"] == seen["softmax"] == [None] * 6
    assert set(seen["kar"]) == {True, False}


# --- knowledge ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_texts_help_unless_they_are_those_of_others(backbone: str) -> None:
    recipe = replace(RECIPE, epochs=14, patience=14, batch=25)
    reached = {}
    for name, options in (
        ("told", {}),
        ("misled", {"shuffled": True}),
        ("alone", {"texts": False}),
    ):
        knows = options.get("texts", True)
        given = sizes(
            backbone, text_width=NUM_GENRES if knows else 0, user_texts=knows, shared=1, dedicated=1
        )
        rows, chooser = (personal(num, seed=num, **options) for num in (400, 100))
        fitted = fit(rows, chooser, given, recipe, attributes_IF=GENRES, seed=0)
        test = personal(200, seed=9, **options)
        if name == "misled":  # what holds for training users does not carry over to others
            test = replace(test, users=test.users.roll(1))
        reached[name] = mean_average_precision(fitted.model, test)
    assert reached["told"] > 0.9
    assert reached["told"] > reached["alone"] + 0.25
    assert abs(reached["misled"] - reached["alone"]) < 0.12


def test_training_draws_among_a_users_texts_and_scoring_takes_the_first() -> None:
    """The second text is useless noise of the same length."""
    rows = personal(200)
    assert rows.user_texts is not None
    noise = torch.randn(rows.user_texts.shape, generator=torch.Generator().manual_seed(0))
    both = replace(rows, user_texts=torch.cat((rows.user_texts, noise), dim=1))
    given = sizes("prm", text_width=NUM_GENRES, user_texts=True)
    recipe = replace(RECIPE, epochs=1)
    one, two = (
        fit(data, none(data), given, recipe, attributes_IF=GENRES, seed=0).model
        for data in (rows, both)
    )
    assert not equal(one, two)
    assert torch.equal(scores(one, rows), scores(one, both))
    assert not torch.allclose(scores(one, both, text=1), scores(one, both), atol=1e-5)


# --- what cannot be trained -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.0}, {"weight_decay": -1.0}, {"batch": 1}, {"epochs": 0}, {"patience": 0}],
)
def test_recipes_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(BenchError):
        replace(RECIPE, **change)


def test_training_that_cannot_go_on_is_refused() -> None:
    rows = popular(40)
    with pytest.raises(BenchError, match="from 0 lists"):
        fit(none(rows), rows, sizes(), RECIPE, attributes_IF=GENRES, seed=0)
    wild = replace(RECIPE, learning_rate=1e30)
    for loss in ("kar", "softmax"):
        with pytest.raises(BenchError, match=r"loss|score"):
            fit(rows, rows, sizes("setrank", loss=loss), wild, attributes_IF=GENRES, seed=0)
