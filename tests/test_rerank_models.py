"""DLCM, PRM, SetRank and the adapter: worked numbers, reference implementations, properties.

Networks are compared in float64, where the rounding of sums in another order (about 1e-16 per term,
at most a few hundred terms of magnitude below 100) is far below the tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.devices import compute_threads
from bench.models.rerank.backbones import (
    DLCM,
    PRM,
    Adapter,
    SetRank,
    attention_distribution,
    attention_rank_loss,
    have_zero_gradient,
    pointwise_loss,
    position_encodings,
    softmax_loss,
)
from bench.models.rerank.model import FeatureSizes, Reranker, save
from bench.plan.rerank_stages import Backbone, RerankerConfig

BACKBONES = get_args(Backbone)
NUM_ITEMS, NUM_ATTRIBUTES, TEXT_WIDTH = 30, 7, 6
EXACT = {"rtol": 1e-10, "atol": 1e-10}
Weights = dict[str, NDArray[np.float64]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def build_reranker(
    backbone: str,
    *,
    attributes_per_item: int = 1,
    user_texts: bool = False,
    item_texts: bool = False,
    **config: Any,
) -> Reranker:
    """Build a float64 re-ranker with random attributes and item texts."""
    sizes = FeatureSizes(
        num_items=NUM_ITEMS,
        num_attributes=NUM_ATTRIBUTES,
        attributes_per_item=attributes_per_item,
        text_width=TEXT_WIDTH if user_texts or item_texts else 0,
        user_texts=user_texts,
        item_texts=item_texts,
    )
    attributes = torch.randint(1, NUM_ATTRIBUTES + 1, (NUM_ITEMS + 1, attributes_per_item))
    texts = torch.randn(NUM_ITEMS + 1, TEXT_WIDTH) if item_texts else None
    config = RerankerConfig(backbone=backbone, **config)  # type: ignore[arg-type,assignment]
    return Reranker(config, sizes, attributes, texts).double()  # type: ignore[arg-type]


def random_lists(num: int = 4) -> Tensor:
    return torch.randint(1, NUM_ITEMS + 1, (num, 10))


def random_texts(num: int = 4) -> Tensor:
    return torch.randn(num, TEXT_WIDTH, dtype=torch.float64)


# --- worked numbers -------------------------------------------------------------------------------


def test_pointwise_loss_has_the_worked_value() -> None:
    loss = pointwise_loss(torch.tensor([[0.8, 0.3, 0.5]]), torch.tensor([[1.0, 0.0, 1.0]]))
    assert loss.item() == pytest.approx(0.424322, abs=1e-6)


@pytest.mark.parametrize(
    ("temperature", "distribution", "loss"),
    [(0.5, [0.645656, 0, 0.354344], 0.491659), (1.0, [0.574443, 0, 0.425557], 0.469570)],
)
def test_attention_rank_has_the_worked_values(
    temperature: float, distribution: list[float], loss: float
) -> None:
    scores, labels = torch.tensor([[0.4, -0.2, 0.1]]), torch.tensor([[1.0, 0.0, 1.0]])
    assert attention_distribution(scores, temperature)[0].tolist() == pytest.approx(
        distribution, abs=1e-6
    )
    assert attention_distribution(labels, temperature)[0].tolist() == pytest.approx([0.5, 0, 0.5])
    actual = attention_rank_loss(scores, labels, temperature=temperature)
    assert actual.item() == pytest.approx(loss, abs=1e-6)


def test_scores_of_0_or_less_have_no_gradient() -> None:
    labels = torch.tensor([[1.0, 0.0, 0.0]])
    scores = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    loss = attention_rank_loss(scores, labels, temperature=0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(33.333333)
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 0.0, 0.0]]
    other = attention_rank_loss(torch.tensor([[-0.1, 2, -0.3]]), labels, temperature=0.5)
    assert other.item() == pytest.approx(66.666667)
    assert have_zero_gradient(torch.tensor([[-1, 0], [-1, 0.1], [1, 2]])).tolist() == [1, 1, 0]


ADVERSARIAL_SCORES = st.one_of(
    st.floats(-30, 30, width=32),
    st.sampled_from([-1.0, 0.0, 1e-30, 1e-7, 9.0, 12.0, 24.0, 29.9]),
)


@given(
    scores=st.lists(ADVERSARIAL_SCORES, min_size=2, max_size=8),
    labels=st.integers(0, 255),
)
@example(scores=[1.0, -1.0, -1.0], labels=0b011)  # only one score above 0, two positives
@example(scores=[24.0, 9.0, 1e-30, -3.0], labels=0b1111)  # p rounds to 1 in float32
def test_the_gradient_of_attention_rank_is_exact_in_float32(
    scores: list[float], labels: int
) -> None:
    """Against sums of exponentials in float64, where nothing cancels."""
    temperature = 0.5
    q_L = torch.tensor([float(labels >> index & 1) for index in range(len(scores))])
    actual_L = torch.tensor(scores, requires_grad=True)
    attention_rank_loss(actual_L[None], q_L[None], temperature=temperature).sum().backward()
    exact_L = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    targets_L = q_L.double() / q_L.double().sum().clamp(min=1)
    weights = {i: torch.exp(exact_L[i] / temperature) for i in range(len(scores)) if scores[i] > 0}
    loss = exact_L.sum() * 0
    for index, weight in weights.items():
        others = [other for position, other in weights.items() if position != index]
        total = torch.stack([*others, weight]).sum()
        log_rest = torch.log(torch.stack(others).sum() / total) if others else torch.tensor(-100.0)
        log_p = torch.log(weight / total) if others else torch.tensor(0.0)
        loss = loss - targets_L[index] * log_p
        loss = loss - (1 - targets_L[index]) * log_rest.clamp(min=-100)
    (loss / len(scores)).backward()
    assert actual_L.grad is not None
    assert exact_L.grad is not None
    torch.testing.assert_close(actual_L.grad.double(), exact_L.grad, rtol=1e-4, atol=1e-5)
    if len(weights) == 1:
        assert actual_L.grad.tolist() == [0.0] * len(scores)


def test_labels_without_a_positive_have_no_attention() -> None:
    labels = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    assert attention_distribution(labels, 0.5).tolist() == [[0, 0, 0], [0.5, 0, 0.5]]
    assert softmax_loss(torch.randn(2, 3), labels)[0] == 0


def test_softmax_loss_by_hand() -> None:
    scores, labels = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    total = np.log(np.exp([2.0, 0, 1]).sum())
    assert softmax_loss(scores, labels).item() == pytest.approx(total - 1.5)


def test_scores_that_overflow_are_refused_or_clipped() -> None:
    scores, labels = torch.tensor([[50.0, 0.0]], requires_grad=True), torch.tensor([[1.0, 0.0]])
    with pytest.raises(BenchError, match="overflow"):
        attention_rank_loss(scores, labels, temperature=0.5)
    clipped = attention_rank_loss(scores, labels, temperature=0.5, max_logit=60.0)
    assert clipped.item() == pytest.approx(0, abs=1e-6)


def test_position_encodings_of_width_4() -> None:
    expected = [
        [0, 0, 0, 0],
        [0.841471, 0.540302, 0.010000, 0.999950],
        [0.909297, -0.416147, 0.019999, 0.999800],
    ]
    np.testing.assert_allclose(position_encodings(3, 4).numpy(), expected, atol=1e-6)


def test_toy_dlcm() -> None:
    model = DLCM(1, hidden_size=1).eval()
    with torch.no_grad():
        model.reader.weight_ih_l0.fill_(1.0)
        model.reader.weight_hh_l0.fill_(0.5)
        model.context.weight.fill_(1.0)
        model.output.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        for name, weights in model.named_parameters():
            if "bias" in name:
                weights.zero_()
        for norm in (model.norm_last, model.norm_positions):
            norm.eps = 1e-12  # torch 2.11 refuses 0
        inputs = torch.tensor([[[1.0], [0.0]]])
        states, _ = model.reader(inputs)
        assert states.flatten().tolist() == pytest.approx([0.204824, 0.133163], abs=1e-6)
        assert model(inputs)[0].tolist() == pytest.approx([0.513554, 0.508813], abs=1e-6)
        model.output.bias += 3.0
        assert model(inputs)[0].tolist() == pytest.approx([0.513554, 0.508813], abs=1e-6)


def test_toy_attention() -> None:
    rows = torch.eye(2)[None]
    attention = torch.nn.MultiheadAttention(2, 1, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
        attention.out_proj.weight.copy_(torch.eye(2))
    mixed, weights = attention(rows, rows, rows)
    expected = [[0.669762, 0.330238], [0.330238, 0.669762]]
    np.testing.assert_allclose(weights[0].detach(), expected, atol=1e-6)
    np.testing.assert_allclose(mixed[0].detach(), expected, atol=1e-6)


def test_toy_adapter() -> None:
    adapter = Adapter(2, num_shared=1, num_dedicated=1, hidden_width=2, output_width=1)
    outer = {"shared": [1.0, 1.0], "user": [2.0, 0.0], "item": [0.0, 3.0]}
    towers = [adapter.shared, *adapter.dedicated]
    with torch.no_grad():
        for experts, row in zip(towers, outer.values(), strict=True):
            experts.weight_inner_XHT.copy_(torch.eye(2)[None])
            experts.weight_outer_XOH.copy_(torch.tensor([[row]]))
        for gate in adapter.gates:
            gate.weight.zero_()
    texts = [[1.0, 2.0], [-1.0, 2.0]]
    outputs = [adapter(torch.tensor(text), tower).item() for tower, text in enumerate(texts)]
    assert outputs == [2.5, 4.0]


# --- reference implementations in numpy -----------------------------------------------------------


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def numpy_adapter(w: Weights, x: NDArray[np.float64], tower: int) -> NDArray[np.float64]:
    shares = softmax(x @ w[f"adapter.gates.{tower}.weight"].T + w[f"adapter.gates.{tower}.bias"])
    outputs = []
    for part in ("shared", f"dedicated.{tower}"):
        inner, inner_bias, outer, outer_bias = (
            w[f"adapter.{part}.{name}"]
            for name in ("weight_inner_XHT", "bias_inner_XH", "weight_outer_XOH", "bias_outer_XO")
        )
        for n in range(len(inner)):
            hidden = np.maximum(inner[n] @ x + inner_bias[n], 0)
            outputs.append(np.maximum(outer[n] @ hidden + outer_bias[n], 0))
    return shares @ np.array(outputs)


def numpy_gru(w: Weights, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    state = np.zeros(64)
    states = []
    for row in rows:
        from_row = w["backbone.reader.weight_ih_l0"] @ row + w["backbone.reader.bias_ih_l0"]
        from_state = w["backbone.reader.weight_hh_l0"] @ state + w["backbone.reader.bias_hh_l0"]
        (xr, xu, xn), (hr, hu, hn) = from_row.reshape(3, 64), from_state.reshape(3, 64)
        update = sigmoid(xu + hu)
        state = (1 - update) * np.tanh(xn + sigmoid(xr + hr) * hn) + update * state
        states.append(state)
    return np.array(states)


def numpy_norm(w: Weights, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, var = w[f"backbone.{name}.running_mean"], w[f"backbone.{name}.running_var"]
    scaled = (x - mean) / np.sqrt(var + 1e-5)
    return scaled * w[f"backbone.{name}.weight"] + w[f"backbone.{name}.bias"]


def numpy_head(w: Weights, x: NDArray[np.float64]) -> NDArray[np.float64]:
    for layer in (0, 2):
        x = x @ w[f"backbone.head.{layer}.weight"].T + w[f"backbone.head.{layer}.bias"]
        x = np.maximum(x, 0)
    return (x @ w["backbone.head.4.weight"].T + w["backbone.head.4.bias"])[:, 0]


def numpy_attention(w: Weights, x: NDArray[np.float64]) -> NDArray[np.float64]:
    width = x.shape[1]
    joint = x @ w["backbone.attention.in_proj_weight"].T + w["backbone.attention.in_proj_bias"]
    mixed = []
    for half in (slice(0, width // 2), slice(width // 2, width)):
        query, key, value = (part[:, half] for part in np.split(joint, 3, axis=1))
        mixed.append(softmax(query @ key.T / np.sqrt(width / 2)) @ value)
    out = w["backbone.attention.out_proj.weight"], w["backbone.attention.out_proj.bias"]
    return np.concatenate(mixed, axis=1) @ out[0].T + out[1]


def numpy_scores(model: Reranker, items: Tensor, user: Tensor | None) -> NDArray[np.float64]:
    """Score one list."""
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    parts = [w["items.weight"][items]]
    parts += list(w["attributes.weight"][model.attribute_numbers[items]].transpose(1, 0, 2))
    if user is not None and model.item_texts is not None:
        parts.append(np.tile(numpy_adapter(w, user.numpy(), 0), (10, 1)))
        vectors = model.item_texts[items].numpy()
        parts.append(np.array([numpy_adapter(w, vector, 1) for vector in vectors]))
    z = np.concatenate(parts, axis=1)
    if model.config.backbone == "dlcm":
        states = numpy_gru(w, z)
        last = numpy_norm(w, "norm_last", states[-1])
        context = np.tanh(w["backbone.context.weight"] @ last + w["backbone.context.bias"])
        mixed = context * numpy_norm(w, "norm_positions", states)
        return softmax(mixed @ w["backbone.output.weight"].T + w["backbone.output.bias"])[:, 0]
    if model.config.backbone == "setrank":
        return numpy_head(w, np.concatenate([numpy_attention(w, z), z], axis=1))
    assert isinstance(model.backbone, PRM)
    e = z + model.backbone.encodings.numpy()
    return sigmoid(numpy_head(w, np.concatenate([numpy_attention(w, e), e], axis=1)))


@pytest.mark.parametrize(
    ("backbone", "texts", "attributes"), list(product(BACKBONES, [False, True], [1, 2]))
)
def test_scores_equal_those_of_plain_numpy(backbone: str, texts: bool, attributes: int) -> None:
    model = build_reranker(
        backbone, user_texts=texts, item_texts=texts, attributes_per_item=attributes
    )
    items = random_lists()
    users = random_texts() if texts else None
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    for _ in range(3):
        model(items, users)  # moves the statistics of batch normalization away from 0 and 1
    with torch.no_grad():
        actual = model.eval()(items, users).numpy()
    for n in range(4):
        expected = numpy_scores(model, items[n], None if users is None else users[n])
        np.testing.assert_allclose(actual[n], expected, **EXACT)


# --- shapes and initial weights -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("dlcm", [29_506, 35_650, 1_283_280, 1_289_424]),
        ("prm", [58_601, 92_009, 1_375_095, 1_424_887]),
        ("setrank", [58_601, 92_009, 1_375_095, 1_424_887]),
    ],
)
def test_number_of_weights_is_as_documented(backbone: Backbone, expected: list[int]) -> None:
    counts, shapes = [], []
    for texts, attributes in product([False, True], [1, 2]):
        sizes = FeatureSizes(
            num_items=3,
            num_attributes=2,
            attributes_per_item=attributes,
            text_width=768 if texts else 0,
            user_texts=texts,
            item_texts=texts,
        )
        vectors = torch.zeros(4, 768) if texts else None
        model = Reranker(
            RerankerConfig(backbone=backbone),
            sizes,
            torch.zeros(4, attributes, dtype=torch.int64),
            vectors,
        )
        tables = model.items.weight.numel() + model.attributes.weight.numel()
        counts.append(sum(weights.numel() for weights in model.parameters()) - tables)
        users = torch.zeros(2, 768) if texts else None
        shapes.append(tuple(model.features(torch.ones(2, 10, dtype=torch.int64), users).shape))
    assert counts == expected
    assert shapes == [(2, 10, width) for width in (64, 96, 128, 160)]
    assert sum(weights.numel() for weights in Adapter(768).parameters()) == 1_241_486


def test_initial_weights_are_xavier_normal_and_biases_zero() -> None:
    sizes = FeatureSizes(num_items=2_000, num_attributes=9, attributes_per_item=1)
    attributes = torch.zeros(2_001, 1, dtype=torch.int64)
    model = Reranker(RerankerConfig(backbone="setrank"), sizes, attributes)
    assert model.items.weight.std().item() == pytest.approx((2 / (2_001 + 32)) ** 0.5, rel=0.02)
    backbone = model.backbone
    assert isinstance(backbone, SetRank)
    projection = backbone.attention.out_proj.weight
    assert projection.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    first, last = backbone.head[0], backbone.head[-1]
    assert first.weight.std().item() == pytest.approx((2 / 328) ** 0.5, rel=0.05)
    assert not first.bias.any()
    assert last.bias.item() == 1.0
    inner = Adapter(300).dedicated[0].weight_inner_XHT
    assert inner.std().item() == pytest.approx((2 / 428) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("loss", "bias"), [("kar", 0.0), ("kar_offset", 1.0), ("softmax", 0.0)])
def test_only_the_offset_loss_raises_the_scores(loss: str, bias: float) -> None:
    model = build_reranker("setrank", setrank_loss=loss)
    assert isinstance(model.backbone, SetRank)
    assert model.backbone.head[-1].bias.item() == bias


# --- properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("backbone", "equivariant"), [("setrank", 1), ("prm", 0), ("dlcm", 0)])
def test_only_setrank_is_permutation_equivariant(backbone: str, equivariant: bool) -> None:
    items, order = random_lists(), torch.randperm(10)
    model = build_reranker(backbone).eval()
    with torch.no_grad():
        permuted, expected = model(items[:, order]), model(items)[:, order]
    assert torch.allclose(permuted, expected, **EXACT) == equivariant


def test_prm_without_positions_is_setrank_with_a_sigmoid() -> None:
    prm = PRM(64).double()
    setrank = SetRank(64, loss="softmax", temperature=0.5).double()
    setrank.load_state_dict(prm.state_dict())
    prm.encodings.zero_()
    features = torch.randn(4, 10, 64, dtype=torch.float64)
    torch.testing.assert_close(prm(features), torch.sigmoid(setrank(features)), **EXACT)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_texts_change_scores(backbone: str) -> None:
    model = build_reranker(backbone, user_texts=True, item_texts=True).eval()
    items, users = random_lists(), random_texts()
    with torch.no_grad():
        assert not torch.allclose(model(items, users), model(items, users.roll(1, 0)), **EXACT)
    with pytest.raises(AssertionError, match="user texts"):
        build_reranker(backbone)(items, users)


def test_features_with_item_texts_alone() -> None:
    model = build_reranker("prm", item_texts=True)
    assert model.features(random_lists()).shape == (4, 10, 96)
    assert model(random_lists()).shape == (4, 10)


def test_adapter_properties() -> None:
    adapter = Adapter(5, num_shared=2, num_dedicated=3).double()
    texts = torch.randn(7, 4, 5, dtype=torch.float64)
    outputs = adapter(texts, 0)
    assert outputs.shape == (7, 4, 32)
    assert (outputs >= 0).all()
    torch.testing.assert_close(outputs[2, 1], adapter(texts[2, 1], 0), **EXACT)
    assert not torch.allclose(outputs, adapter(texts, 1), atol=1e-3)
    swapped = torch.tensor([1, 0])
    gate = adapter.gates[0]
    with torch.no_grad():
        for weights in adapter.shared.parameters():
            weights.copy_(weights[swapped].clone())
        rows = torch.tensor([1, 0, 2, 3, 4])
        gate.weight.copy_(gate.weight[rows].clone())
        gate.bias.copy_(gate.bias[rows].clone())
        torch.testing.assert_close(adapter(texts, 0), outputs, **EXACT)
        gate.weight.zero_()
        per_expert = []
        for expert in range(5):
            gate.bias.copy_(1e4 * torch.eye(5)[expert])
            per_expert.append(adapter(texts, 0))
        gate.bias.zero_()
        mean = torch.stack(per_expert).mean(0)
        torch.testing.assert_close(adapter(texts, 0), mean, **EXACT)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_weight_has_a_gradient(backbone: str) -> None:
    model = build_reranker(backbone, user_texts=True, item_texts=True)
    labels = torch.zeros(4, 10, dtype=torch.float64)
    labels[:, 3] = 1
    items = torch.arange(1, NUM_ITEMS + 1).repeat(2)[:40].view(4, 10)
    model.losses(model(items, random_texts()), labels).mean().backward()
    assert [name for name, weights in model.named_parameters() if weights.grad is None] == []
    assert model.adapter is not None
    assert all(weights.grad.any() for weights in model.adapter.gates.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_saved_weights_score_the_same(backbone: str, tmp_path: Path) -> None:
    model = build_reranker(backbone, user_texts=True, item_texts=True).float()
    items, users = random_lists(), random_texts().float()
    model(items, users)
    save(model, tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    config, sizes = RerankerConfig(**content["config"]), FeatureSizes(**content["sizes"])
    loaded = Reranker(config, sizes, model.attribute_numbers, model.item_texts).eval()
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded(items, users), model.eval()(items, users))


@pytest.mark.parametrize(
    "config",
    [
        {"backbone": "prn"},
        {"backbone": "setrank", "setrank_loss": "listnet"},
        {"backbone": "setrank", "setrank_temperature": 0.0},
        {"setrank_loss": "softmax"},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"batch_size": 1},
        {"num_train_epochs": 0},
        {"patience": 0},
        {"num_shared_experts": 0},
    ],
)
def test_hyperparameters_out_of_range_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match=list(config)[-1]):
        RerankerConfig(**config)
