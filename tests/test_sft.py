"""Supervised fine-tuning: token losses by hand, row weights, and the stage on a tiny Llama."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from killed import kill_while_saving
from numpy.typing import NDArray
from stage_runs import run_stage
from tiny_llama import NOUNS, TITLES, tiny_backbone, tiny_llama, tiny_tokenizer
from transformers.models.llama.modeling_llama import LlamaMLP

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.reweighting import compute_row_weights, weight_by_category
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.models.lm.tokenization import encode_prompts, encode_responses
from bench.models.lm.train import sft_trainer, trainer_setup
from bench.models.lm.train.collate import SFTCollator, SFTSamples, check_weights
from bench.models.lm.train.information_gain import token_groups
from bench.models.lm.train.sft_trainer import mean_loss
from bench.models.lm.train.token_loss import (
    NAMES,
    by_position,
    coefficients,
    counterfactual_loss,
    cross_entropy,
    position_weights,
    token_logits,
    weighted_loss,
)
from bench.models.lm.tuned_model import load
from bench.plan.language_stages import SFTConfig
from bench.stages import sft

pytestmark = pytest.mark.usefixtures("one_thread")


# --- losses by hand -----------------------------------------------------------------------------


def loss(
    ce: Sequence[Sequence[float]],
    weights: Sequence[Sequence[float]],
    mean_over: str = "tokens",
    lengths: Sequence[int] | None = None,
) -> float:
    """The loss of one step from cross-entropies and weights, a list a row."""
    rows = [row for row, values in enumerate(ce) for _ in values]
    factors = coefficients(
        torch.tensor([w for row in weights for w in row]),
        torch.tensor(rows),
        torch.tensor(lengths or [len(row) + 1 for row in ce]),
        mean_over,
    )
    return float(factors @ torch.tensor([value for row in ce for value in row]))


def ones(ce: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[1.0] * len(row) for row in ce]


RW_CE = [[1.0, 2.0], [3.0], [0.5, 0.5]]
RW_WEIGHTS = [[9 / 7] * 2, [9 / 7], [3 / 7] * 2]


def test_rw_by_hand() -> None:
    assert loss(RW_CE, RW_WEIGHTS, "rows") == pytest.approx(2.0, abs=1e-6)
    # Padded to 8 tokens, of which the first is not predicted.
    assert loss(RW_CE, RW_WEIGHTS, "micro-batch", [3, 3, 3]) == pytest.approx(1 / 3, abs=1e-6)
    assert loss(RW_CE, ones(RW_CE)) == pytest.approx(1.4, abs=1e-6)


def test_rw_literally_takes_four_rows_at_once() -> None:
    ce = [[1.0], [2.0], [3.0], [4.0], [6.0]]
    weights = [[1.0], [1.0], [1.0], [5.0], [0.5]]
    first, second = 2.0 * 10 / (4 * 15), 0.5 * 6 / (1 * 7)
    expected = (first + second) / 2
    assert loss(ce, weights, "micro-batch", [4, 10, 3, 2, 5]) == pytest.approx(expected, abs=1e-6)


def test_position_weights_by_hand() -> None:
    assert position_weights(5, 0.25).tolist() == [1, 0.8125, 0.625, 0.4375, 0.25]
    assert position_weights(1, 0.25).tolist() == [1]
    long, short = [0.2, 1.5, 0.1, 0.4], [1.0, 3.0]
    weights = [position_weights(4, 0.25).tolist(), position_weights(2, 0.25).tolist()]
    assert loss([long], weights[:1]) == pytest.approx(0.59, abs=1e-6)
    assert loss([long, short], weights) == pytest.approx(0.86, abs=1e-6)


@pytest.mark.parametrize(("beta", "expected"), [(1, 0.55), (0.1, 0.754545), (0, 0.8)])
def test_igd_weights_by_hand(beta: float, expected: float) -> None:
    weights = [[1.0 if gain else beta for gain in (0, 1.2, 0.3, 0)]]
    assert loss([[0.2, 1.5, 0.1, 0.4]], weights) == pytest.approx(expected, abs=1e-6)


WITH = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
WITHOUT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
TARGETS = torch.tensor([0, 1])


def test_cft_by_hand() -> None:
    weights = torch.tensor(position_weights(2, 0.25), dtype=torch.float32)
    factors = coefficients(weights, torch.zeros(2, dtype=torch.long), torch.tensor([3]))
    normal = weighted_loss(WITH, TARGETS, factors)
    effect = counterfactual_loss(WITH, WITHOUT, TARGETS, factors)
    assert float(normal) == pytest.approx(0.246166, abs=1e-6)
    assert float(effect) == pytest.approx(0.462139, abs=1e-6)
    assert float(normal + 0.1 * effect) == pytest.approx(0.292380, abs=1e-6)
    of_log_probabilities = counterfactual_loss(
        WITH.log_softmax(-1), WITHOUT.log_softmax(-1), TARGETS, factors
    )
    assert float(of_log_probabilities) == pytest.approx(float(effect), abs=1e-6)
    constant = counterfactual_loss(WITH, torch.full_like(WITH, 3.0), TARGETS, factors)
    assert float(constant) == pytest.approx(float(normal), abs=1e-6)


def test_both_logits_of_cft_get_gradients() -> None:
    z1, z0 = WITH.clone().requires_grad_(), WITHOUT.clone().requires_grad_()
    counterfactual_loss(z1, z0, TARGETS, torch.tensor([0.5, 0.5])).backward()
    assert z1.grad is not None
    assert z0.grad is not None
    torch.testing.assert_close(z0.grad, -z1.grad)
    assert float(z0.grad.abs().max()) > 0.1


losses = st.lists(st.lists(st.floats(0, 9), min_size=1, max_size=4), min_size=1, max_size=9)


@given(losses, st.floats(0.25, 8))
def test_means_of_losses(ce: list[list[float]], scale: float) -> None:
    scaled = [[scale] * len(row) for row in ce]
    flat = [value for row in ce for value in row]
    close = {"rel": 1e-4, "abs": 1e-5}
    assert loss(ce, ones(ce)) == pytest.approx(np.mean(flat), **close)
    assert loss(ce, scaled) == pytest.approx(np.mean(flat), **close)
    by_row = np.mean([np.mean(row) for row in ce])
    assert loss(ce, scaled, "rows") == pytest.approx(scale * by_row, **close)


def test_a_step_without_any_weight_teaches_nothing() -> None:
    assert loss([[1.0, 2.0]], [[0.0, 0.0]]) == 0


# --- logits of the supervised tokens only -------------------------------------------------------


def batch(supervise_prompts: bool = False) -> dict[str, torch.Tensor]:
    samples = SFTSamples(prompts=[[5, 6, 7], [8]], responses=[[9, 10], [11, 12, 13, 14]])
    return SFTCollator(padding=0)(samples.to_examples(supervise_prompts=supervise_prompts))


def test_a_collated_batch() -> None:
    given_ = batch()
    assert given_["input_ids"].tolist() == [[5, 6, 7, 9, 10], [8, 11, 12, 13, 14]]
    assert given_["labels"].tolist() == [[-100, -100, -100, 9, 10], [-100, 11, 12, 13, 14]]
    assert given_["weights"].tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]
    assert given_["lengths"].tolist() == [5, 5]


def test_padding_is_on_the_right_and_never_supervised() -> None:
    samples = SFTSamples(
        prompts=[[5, 6], [8, 7, 6]],
        responses=[[9], [11, 12]],
        weights=[np.array([0.5]), np.array([2.0, 4.0])],
        bare_prompts=[[5], [5]],
    )
    given_ = SFTCollator(padding=3)(samples.to_examples())
    assert given_["input_ids"].tolist() == [[5, 6, 9, 3, 3], [8, 7, 6, 11, 12]]
    assert given_["labels"].tolist() == [[-100, -100, 9, -100, -100], [-100] * 3 + [11, 12]]
    assert given_["weights"].tolist() == [[0, 0, 0.5, 0, 0], [0, 0, 0, 2, 4]]
    assert given_["bare_ids"].tolist() == [[5, 9, 3], [5, 11, 12]]
    assert given_["bare_labels"].tolist() == [[-100, 9, -100], [-100, 11, 12]]
    assert given_["lengths"].tolist() == [3, 5]


def test_supervise_prompts() -> None:
    samples = SFTSamples(prompts=[[5, 6]], responses=[[9, 10]], weights=[np.array([1.0, 3.0])])
    (example,) = samples.to_examples(supervise_prompts=True)
    assert example["labels"] == [-100, 6, 9, 10]
    assert example["weights"] == [2, 2, 1, 3]


@pytest.mark.parametrize("supervise_prompts", [False, True])
def test_logits_are_those_of_the_whole_model(supervise_prompts: bool) -> None:
    model, given_ = tiny_llama(), batch(supervise_prompts)
    logits_NV, targets_N = token_logits(
        model, given_["input_ids"], given_["labels"], given_["supervised"]
    )
    whole = model(input_ids=given_["input_ids"], labels=given_["labels"])
    chosen = given_["labels"][:, 1:] != -100
    assert targets_N.tolist() == given_["labels"][:, 1:][chosen].tolist()
    assert logits_NV.shape == (len(targets_N), 120)
    # float32: a logit sums 16 products of order 1, and the loss is near ln 120 = 4.8.
    torch.testing.assert_close(logits_NV, whole.logits[:, :-1][chosen], atol=1e-5, rtol=1e-5)
    mean = cross_entropy(logits_NV, targets_N).mean()
    assert float(mean) == pytest.approx(float(whole.loss), abs=1e-5)
    # The hook is gone again.
    assert model(input_ids=given_["input_ids"]).logits.shape == (2, 5, 120)


def test_padding_changes_no_loss() -> None:
    model = tiny_llama()
    samples = SFTSamples(prompts=[[5, 6, 7, 8, 9], [8]], responses=[[9, 10], [11]])
    rows = samples.to_examples()
    together = mean_loss(model, rows, SFTCollator(padding=0), 2)
    assert mean_loss(model, rows, SFTCollator(padding=77), 2) == together
    assert mean_loss(model, rows, SFTCollator(padding=0), 1) == pytest.approx(together, abs=1e-5)


# --- RW's weights -------------------------------------------------------------------------------

CATEGORIES = (("g1",), ("g1", "g2"), ("g2",), ("g3",), ("untracked",))


def catalog(tracked: Sequence[str] = ("g1", "g2", "g3")) -> Catalog:
    names = ("A", "B", "C", "E", "U")
    return Catalog(ids=names, titles=names, categories=CATEGORIES, tracked=tuple(tracked))


def rows(*samples: tuple[list[int], int]) -> Windows:
    return Windows(
        users=np.zeros(len(samples), dtype=np.int32),
        histories=np.array([seen + [-1] * (3 - len(seen)) for seen, _ in samples], dtype=np.int32),
        targets=np.array([target for _, target in samples], dtype=np.int32),
    )


EXAMPLE = rows(([0, 1], 2), ([2], 0), ([1, 3], 3))


def test_rw_weights_by_hand() -> None:
    weights = compute_row_weights(EXAMPLE, catalog())
    np.testing.assert_allclose(weights, [9 / 7, 9 / 7, 3 / 7])
    more = rows(([0, 1], 2), ([2], 0), ([1, 3], 3), ([4], 1))
    # t = (2, 2, 1) now, and B has the mean of two weights that are equal.
    np.testing.assert_allclose(compute_row_weights(more, catalog())[3], (3 / 7) / (2 / 5))


def test_rw_weighs_nothing_where_histories_are_like_targets() -> None:
    alike = rows(([0, 1, 2], 0), ([3], 1), ([], 2), ([], 3))
    np.testing.assert_allclose(compute_row_weights(alike, catalog()), 1)


def test_rw_weights_without_categories_are_1() -> None:
    plain = rows(([0, 1], 4), ([2], 0), ([1], -1))
    weights = compute_row_weights(plain, catalog())
    assert weights[0] == weights[2] == 1
    assert weights[1] != 1
    np.testing.assert_array_equal(compute_row_weights(plain, catalog(tracked=())), 1)
    np.testing.assert_array_equal(compute_row_weights(rows(([4], 0)), catalog()), 1)
    np.testing.assert_array_equal(compute_row_weights(rows(([0], 4)), catalog()), 1)


def test_rw_gives_a_row_one_weight() -> None:
    given_ = weight_by_category([[1, 2], [3], [4, 5, 6]], EXAMPLE, catalog(), None)
    assert [len(row) for row in given_] == [2, 1, 3]
    np.testing.assert_allclose(given_[0], 9 / 7)
    np.testing.assert_allclose(given_[2], 3 / 7)


def test_positions_as_a_function() -> None:
    given_ = by_position([[1, 2, 3], [4]], None, None, None, beta=0.5)
    assert [row.tolist() for row in given_] == [[1, 0.75, 0.5], [1]]


@pytest.mark.parametrize(
    "wrong",
    [[[1.0]], [[1.0], [1.0, 1.0]], [[1.0, -1.0], [1.0]], [[1.0, np.nan], [1.0]], [[0, 0], [0]]],
)
def test_unusable_weights_are_refused(wrong: list[list[float]]) -> None:
    responses = [[1, 2], [3]]
    assert len(check_weights([[1, 0], [2]], responses, "mine:weigh")) == 2
    with pytest.raises(BenchError, match="mine:weigh"):
        check_weights(wrong, responses, "mine:weigh")


# --- the stage ----------------------------------------------------------------------------------

LAYERS = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1, "targets": LAYERS}
SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1,
    "learning_rate": 0.01,
    "batch_size": 4,
    "warmup_steps": 0,
    "nouns": NOUNS,
    "tuning": {"kind": "full"},
    "context": 150,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone, 20 samples of one user over six titles, and draws from them."""
    folder = tmp_path_factory.mktemp("world")
    tiny_backbone(folder / "backbone")
    num = 22
    source = prepared.Prepared(
        catalog=Catalog(
            ids=TITLES, titles=TITLES, categories=(("g1",), ("g2",)) * 3, tracked=("g1", "g2")
        ),
        user_ids=("u",),
        users=np.zeros(num, dtype=np.int32),
        items=(np.arange(num) ** 2 % len(TITLES)).astype(np.int32),
        ratings=np.full(num, np.nan, dtype=np.float32),
        times=np.arange(num),
        start=np.maximum(np.arange(2, num) - 4, 0),
        target=np.arange(2, num),
        boundaries=(12, 16),
        history=4,
    )
    source.items[-1] = -1
    for name in ("data", "rows", "valid", "one", "unknown"):
        (folder / name).mkdir()
    prepared.write(source, folder / "data")
    prepared.write_rows(np.arange(10), folder / "rows")
    prepared.write_rows(np.arange(12, 16), folder / "valid")
    prepared.write_rows(np.full(8, 5), folder / "one")
    prepared.write_rows(np.array([3, 19, 4]), folder / "unknown")
    return folder


def ran(world: Path, out: Path, **changes: Any) -> dict[str, Any]:
    inputs = {name: world / name for name in ("backbone", "data", "rows")}
    return dict(run_stage("sft", SFTConfig, out, **{**SETTINGS, **inputs, **changes}).metadata)


def weights_of(out: Path) -> bytes:
    (path,) = out.iterdir()
    return path.read_bytes()


def greedy(world: Path, out: Path, sample: int) -> list[int]:
    model = load(world / "backbone", start=out, tuning={"kind": "full"}, dtype="float32")
    source = prepared.load(world / "data")
    windows = source.windows(np.array([sample]))
    titles = [[source.catalog.titles[i] for i in windows.histories[0] if i >= 0]]
    ((ids,), _) = encode_prompts(model.tokenizer, titles, nouns=NOUNS, max_length=150)
    written = model.model.generate(
        input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=12, pad_token_id=0
    )
    return written[0, len(ids) :].tolist()


def test_a_single_row_is_learned_by_heart(world: Path, tmp_path: Path) -> None:
    metadata = ran(world, tmp_path / "out", rows=world / "one", num_train_epochs=15)
    source = prepared.load(world / "data")
    title = source.catalog.titles[source.windows(np.array([5])).targets[0]]
    (expected,) = encode_responses(tiny_tokenizer(), [title], eos=True)
    assert greedy(world, tmp_path / "out", 5)[: len(expected)] == expected
    assert metadata["loss_by_step"][0] > 3
    assert metadata["loss_by_step"][-1] < 0.5


def test_an_adapter_learns_and_its_base_does_not(world: Path, tmp_path: Path) -> None:
    settings = {"dtype": "float32", "tuning": LORA}
    before = load(world / "backbone", **settings).model.state_dict()
    before = {name: weight.clone() for name, weight in before.items()}
    metadata = ran(world, tmp_path / "out", rows=world / "one", num_train_epochs=8, tuning=LORA)
    assert metadata["loss_by_step"][-1] < metadata["loss_by_step"][0] - 2
    after = load(world / "backbone", **settings).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_stage_metadata(world: Path, tmp_path: Path) -> None:
    metadata = ran(world, tmp_path / "out", num_train_epochs=2)
    assert {name: metadata[name] for name in ("rows", "unknown_targets", "truncated_prompts")} == {
        "rows": 10,
        "unknown_targets": 0,
        "truncated_prompts": 0,
    }
    assert (metadata["steps"], metadata["micro_batch"]) == (6, 4)
    assert len(metadata["loss_by_step"]) == 6
    source = prepared.load(world / "data")
    targets = source.windows(np.arange(10)).targets
    responses = encode_responses(tiny_tokenizer(), [TITLES[item] for item in targets], eos=True)
    assert metadata["supervised_tokens"] == sum(map(len, responses))
    assert "best_epoch" not in metadata


def test_the_loss_of_tokens_by_information_gain(world: Path, tmp_path: Path) -> None:
    metadata = ran(world, tmp_path / "out", num_train_epochs=2, batch_size=10)
    source = prepared.load(world / "data")
    seen = source.windows(np.arange(10))
    tokenizer = tiny_tokenizer()
    responses = encode_responses(tokenizer, [TITLES[item] for item in seen.targets], eos=True)
    of_rows, threshold = token_groups(responses, seen, source.catalog, tokenizer)
    groups = np.concatenate(of_rows)
    assert metadata["high_gain_above"] == pytest.approx(threshold, abs=1e-6)
    sizes = {name: (groups == group).sum() for group, name in NAMES.items()}
    assert min(sizes.values()) > 0
    assert sum(sizes.values()) == len(groups)
    # One step an epoch: its loss is the mean over all tokens.
    for epoch, loss in enumerate(metadata["loss_by_step"]):
        parts = [metadata[f"loss_{name}_by_epoch"][epoch] * size for name, size in sizes.items()]
        assert sum(parts) / len(groups) == pytest.approx(loss, abs=5e-5)


@pytest.mark.parametrize("tuning", [{"kind": "full"}, LORA], ids=["full", "lora"])
def test_a_seed_gives_the_same_bytes(world: Path, tmp_path: Path, tuning: Any) -> None:
    before = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ran(world, tmp_path / name, tuning=tuning, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")
    (file,) = (tmp_path / "a").iterdir()
    assert file.name == ("model" if tuning["kind"] == "full" else "adapter") + ".safetensors"


def test_training_goes_on_from_a_start(world: Path, tmp_path: Path) -> None:
    first = ran(world, tmp_path / "first", tuning=LORA, learning_rate=0.1, num_train_epochs=4)
    second = ran(world, tmp_path / "second", tuning=LORA, start=tmp_path / "first")
    assert np.mean(second["loss_by_step"]) < np.mean(first["loss_by_step"][:2]) - 1


def test_unknown_targets_are_left_out(world: Path, tmp_path: Path) -> None:
    metadata = ran(world, tmp_path / "out", rows=world / "unknown")
    assert (metadata["rows"], metadata["unknown_targets"]) == (2, 1)


def test_prompts_lose_titles_before_responses_lose_tokens(world: Path, tmp_path: Path) -> None:
    whole = ran(world, tmp_path / "whole")
    cut = ran(world, tmp_path / "cut", context=81)
    assert whole["truncated_prompts"] == 0 < cut["truncated_prompts"] < 10
    assert cut["tokens"] < whole["tokens"]
    assert cut["supervised_tokens"] == whole["supervised_tokens"]
    with pytest.raises(BenchError, match="without any history"):
        ran(world, tmp_path / "short", context=20)


def test_the_best_epoch_is_kept(world: Path, tmp_path: Path) -> None:
    """Learned far too fast, the training rows teach nothing about others after a while."""
    settings = {"valid": world / "valid", "learning_rate": 0.04, "num_train_epochs": 60}
    settings["early_stopping_patience"] = 2
    metadata = ran(world, tmp_path / "out", **settings)
    by_epoch = metadata["valid_loss_by_epoch"]
    assert metadata["best_epoch"] == int(np.argmin(by_epoch)) + 1
    assert len(by_epoch) == metadata["best_epoch"] + 2 < 60
    assert metadata["steps"] == 3 * len(by_epoch)
    model = load(
        world / "backbone", start=tmp_path / "out", tuning={"kind": "full"}, dtype="float32"
    )
    source = prepared.load(world / "data")
    windows = source.windows(np.arange(12, 16))
    config = SFTConfig(nouns=NOUNS)
    samples, _ = sft._encode(model.tokenizer, source.catalog, config, windows)
    again = mean_loss(model.model, samples.to_examples(), SFTCollator(padding=0), 4)
    assert again == pytest.approx(min(by_epoch), abs=5e-5)


def test_the_loss_on_the_sequence_supervises_prompts(world: Path, tmp_path: Path) -> None:
    metadata = ran(world, tmp_path / "out", completion_only_loss=False, append_eos=False)
    assert metadata["supervised_tokens"] == metadata["tokens"] - metadata["rows"]


def with_function(monkeypatch: pytest.MonkeyPatch, function: Any) -> str:
    module = ModuleType("bench.weighing")
    module.weigh = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.weighing", module)
    return "bench.weighing:weigh"


def test_weights_of_1_are_no_weights(world: Path, tmp_path: Path) -> None:
    plain = ran(world, tmp_path / "plain")
    weighted = ran(
        world,
        tmp_path / "weighted",
        weighting="bench.models.lm.train.token_loss:by_position",
        weighting_arguments={"beta": 1.0},
    )
    assert weighted == plain
    assert weights_of(tmp_path / "weighted") == weights_of(tmp_path / "plain")


def test_weights_reach_the_loss(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the opening quote has weight: it is learned, and the rest is not."""
    seen: list[Any] = []

    def weigh(
        responses: list[list[int]],
        windows: Windows,
        items: Catalog,
        tokenizer: Any,
        *,
        first: float,
    ) -> list[NDArray[np.float64]]:
        seen.append((len(responses), len(windows), len(items), tokenizer.eos_token_id))
        assert all(response[-1] == tokenizer.eos_token_id for response in responses)
        return [first * (np.arange(len(response)) == 0) for response in responses]

    reference = with_function(monkeypatch, weigh)
    metadata = ran(
        world,
        tmp_path / "out",
        rows=world / "unknown",
        weighting=reference,
        weighting_arguments={"first": 2.0},
        num_train_epochs=20,
    )
    assert seen == [(2, 2, 6, tiny_tokenizer().eos_token_id)]
    assert metadata["loss_by_step"][-1] < 0.1
    plain = ran(world, tmp_path / "plain", rows=world / "unknown")
    assert metadata["loss_by_step"][0] != pytest.approx(plain["loss_by_step"][0], abs=1e-3)


def test_rw_as_a_stage(world: Path, tmp_path: Path) -> None:
    settings = {"weighting": "bench.data.reweighting:weight_by_category", "batch_size": 10}
    plain = ran(world, tmp_path / "plain", batch_size=10)
    intended = ran(world, tmp_path / "rows", mean_over="rows", **settings)
    literal = ran(world, tmp_path / "literal", mean_over="micro-batch", **settings)
    assert len({run["loss_by_step"][0] for run in (plain, intended, literal)}) == 3
    on_all = ran(
        world, tmp_path / "all", mean_over="micro-batch", completion_only_loss=False, **settings
    )
    assert on_all["loss_by_step"][0] > literal["loss_by_step"][0]


DROPPING = {
    "kind": "lora",
    "rank": 2,
    "alpha": 4,
    "dropout": 0.2,
    "targets": ["q_proj", "down_proj"],
}


@pytest.mark.parametrize("saves", [2, 5, 8])
def test_a_killed_training_ends_as_one_that_was_not(
    world: Path, tmp_path: Path, saves: int
) -> None:
    settings = {
        "tuning": DROPPING,
        "num_train_epochs": 3,
        "valid": world / "valid",
        "early_stopping_patience": 2,
        "divisor": 2,
    }
    expected = ran(world, tmp_path / "at once", **settings)
    settings["checkpoints"] = str(tmp_path / "checkpoints")
    kill_while_saving(lambda: ran(world, tmp_path / "killed", **settings), saves=saves)
    before = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert f"checkpoint-{saves - 1}" in before
    assert ran(world, tmp_path / "resumed", **settings) == expected
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "at once")


def test_recomputed_activations_and_the_longest_batch_change_nothing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"tuning": DROPPING, "num_train_epochs": 2}
    expected = ran(world, tmp_path / "plain", **settings)
    monkeypatch.setattr(trainer_setup, "PROBED", {"cpu"})
    batches: list[int] = []
    compute = sft_trainer.token_logits

    def recording(*arguments: Any) -> Any:
        batches.append(arguments[1].shape[1])
        return compute(*arguments)

    monkeypatch.setattr(sft_trainer, "token_logits", recording)
    assert ran(world, tmp_path / "probed", **settings) == expected
    assert weights_of(tmp_path / "probed") == weights_of(tmp_path / "plain")
    assert len(batches) == 1 + expected["steps"]
    assert batches[1] == max(batches)
    monkeypatch.undo()
    calls: list[None] = []
    forward = LlamaMLP.forward

    def counted(*arguments: Any, **more: Any) -> Any:
        calls.append(None)
        return forward(*arguments, **more)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    single = ran(world, tmp_path / "single", divisor=4, **settings)
    num_layers = len(calls)
    recomputed = ran(world, tmp_path / "recomputed", divisor=8, **settings)
    assert len(calls) == 3 * num_layers
    np.testing.assert_allclose(recomputed["loss_by_step"], single["loss_by_step"], atol=1e-5)


def test_trainer_fields_reach_the_trainer(world: Path, tmp_path: Path) -> None:
    plain = ran(world, tmp_path / "plain")
    decayed = ran(world, tmp_path / "decayed", trainer={"weight_decay": 0.5})
    assert decayed["loss_by_step"][0] == plain["loss_by_step"][0]
    assert weights_of(tmp_path / "decayed") != weights_of(tmp_path / "plain")


def test_no_counterfactual_is_no_second_pass(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def counting(*given_: Any) -> Any:
        passes.append(given_[1].shape)
        return token_logits(*given_)

    monkeypatch.setattr(sft_trainer, "token_logits", counting)
    plain = ran(world, tmp_path / "plain")
    assert len(passes) == 3
    passes.clear()
    both = ran(world, tmp_path / "both", counterfactual_weight=0.1)
    assert len(passes) == 6
    assert all(
        bare[0] == full[0] and bare[1] < full[1]
        for full, bare in zip(passes[::2], passes[1::2], strict=True)
    )
    assert both["loss_by_step"][0] > plain["loss_by_step"][0] + 0.1
    for divisor in (2, 4):
        parted = ran(world, tmp_path / str(divisor), counterfactual_weight=0.1, divisor=divisor)
        np.testing.assert_allclose(parted["loss_by_step"], both["loss_by_step"], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mean_over": "row"}, "mean_over"),
        ({"counterfactual_weight": -0.1}, "-0.1"),
        ({"counterfactual_weight": 0.1, "completion_only_loss": False}, "counterfactual"),
        ({"weighting": "bench.x:y", "completion_only_loss": False}, "bench.x:y"),
        ({"num_train_epochs": 0}, "num_train_epochs"),
        ({"trainer": {"learning_rat": 1}}, "learning_rat"),
        ({"trainer": {"learning_rate": 1}}, "set by the benchmark"),
    ],
)
def test_settings_that_exclude_one_another(
    world: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BenchError, match=sentence):
        ran(world, tmp_path / "out", **changes)
