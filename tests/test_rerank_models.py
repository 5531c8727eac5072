"""DLCM, PRM, SetRank and the adapter: worked numbers, numpy twins, properties."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.threads import compute_threads
from bench.models.rerank import losses
from bench.models.rerank.adapter import Adapter
from bench.models.rerank.dlcm import DLCM
from bench.models.rerank.model import BACKBONES, Reranker, Sizes, load, save
from bench.models.rerank.prm import PRM, positions
from bench.models.rerank.setrank import SetRank, silent

NUM_ITEMS, NUM_ATTRIBUTES, TEXT = 30, 7, 6
Weights = dict[str, NDArray[np.float64]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def sizes(backbone: str, *, fields: int = 1, texts: bool = False, **others: object) -> Sizes:
    return Sizes(
        backbone=backbone,
        num_items=NUM_ITEMS,
        num_attributes=NUM_ATTRIBUTES,
        fields=fields,
        text_width=TEXT if texts else 0,
        user_texts=texts,
        item_texts=texts,
        **others,  # type: ignore[arg-type]
    )


def reranker(given: Sizes) -> Reranker:
    attributes = torch.randint(1, NUM_ATTRIBUTES + 1, (NUM_ITEMS + 1, given.fields))
    texts = torch.randn(NUM_ITEMS + 1, TEXT) if given.item_texts else None
    return Reranker(given, attributes, texts)


def some_lists(num: int = 4) -> Tensor:
    return torch.randint(1, NUM_ITEMS + 1, (num, 10))


# --- worked numbers -------------------------------------------------------------------------------


def test_pointwise_loss_has_the_worked_value() -> None:
    loss = losses.pointwise(torch.tensor([[0.8, 0.3, 0.5]]), torch.tensor([[1.0, 0.0, 1.0]]))
    assert loss.item() == pytest.approx(0.424322, abs=1e-6)


@pytest.mark.parametrize(
    ("temperature", "shares", "loss"),
    [(0.5, [0.645656, 0, 0.354344], 0.491659), (1.0, [0.574443, 0, 0.425557], 0.469570)],
)
def test_attention_rank_has_the_worked_values(
    temperature: float, shares: list[float], loss: float
) -> None:
    scores, labels = torch.tensor([[0.4, -0.2, 0.1]]), torch.tensor([[1.0, 0.0, 1.0]])
    assert losses.attention(scores, temperature)[0].tolist() == pytest.approx(shares, abs=1e-6)
    assert losses.attention(labels, temperature)[0].tolist() == pytest.approx([0.5, 0, 0.5])
    found = losses.attention_rank(scores, labels, temperature=temperature)
    assert found.item() == pytest.approx(loss, abs=1e-6)


def test_the_dead_zone_gives_no_gradient() -> None:
    labels = torch.tensor([[1.0, 0.0, 0.0]])
    scores = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    loss = losses.attention_rank(scores, labels, temperature=0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(33.333333)
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 0.0, 0.0]]
    other = losses.attention_rank(torch.tensor([[-0.1, 2, -0.3]]), labels, temperature=0.5)
    assert other.item() == pytest.approx(66.666667)
    assert silent(torch.tensor([[-1.0, 0.0], [-1.0, 0.1]])).tolist() == [True, False]


def test_labels_without_a_positive_share_nothing() -> None:
    labels = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    assert losses.attention(labels, 0.5).tolist() == [[0, 0, 0], [0.5, 0, 0.5]]
    assert losses.softmax(torch.randn(2, 3), labels)[0] == 0


def test_softmax_loss_by_hand() -> None:
    scores, labels = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    total = np.log(np.exp([2.0, 0, 1]).sum())
    assert losses.softmax(scores, labels).item() == pytest.approx(total - 1.5)


def test_scores_that_overflow_are_an_error_or_cut_off() -> None:
    scores, labels = torch.tensor([[50.0, 0.0]], requires_grad=True), torch.tensor([[1.0, 0.0]])
    with pytest.raises(BenchError, match="beyond what its loss can hold"):
        losses.attention_rank(scores, labels, temperature=0.5)
    kept = losses.attention_rank(scores, labels, temperature=0.5, highest=60.0)
    assert kept.item() == pytest.approx(0, abs=1e-6)


def test_position_codes_of_width_4() -> None:
    expected = [
        [0, 0, 0, 0],
        [0.841471, 0.540302, 0.010000, 0.999950],
        [0.909297, -0.416147, 0.019999, 0.999800],
    ]
    np.testing.assert_allclose(positions(3, 4).numpy(), expected, atol=1e-6)


def test_toy_dlcm() -> None:
    model = DLCM(1, hidden=1).eval()
    with torch.no_grad():
        model.reader.weight_ih_l0.fill_(1.0)
        model.reader.weight_hh_l0.fill_(0.5)
        model.context.weight.fill_(1.0)
        model.output.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        for name, weights in model.named_parameters():
            if "bias" in name:
                weights.zero_()
        for norm in (model.norm_last, model.norm_places):
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
    adapter = Adapter(2, shared=1, dedicated=1, hidden=2, output=1)
    outer = {"shared": [1.0, 1.0], "user": [2.0, 0.0], "item": [0.0, 3.0]}
    towers = [adapter.shared, *adapter.dedicated]
    with torch.no_grad():
        for experts, row in zip(towers, outer.values(), strict=True):
            experts.weight_inner_XHT.copy_(torch.eye(2)[None])
            experts.weight_outer_XOH.copy_(torch.tensor([[row]]))
        for gate in adapter.gates:
            gate.weight.zero_()
    found = [adapter(torch.tensor(x), n).item() for n, x in enumerate([[1.0, 2.0], [-1.0, 2.0]])]
    assert found == [2.5, 4.0]


# --- the same once more in numpy ------------------------------------------------------------------


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def numpy_adapter(w: Weights, x: NDArray[np.float64], tower: int) -> NDArray[np.float64]:
    shares = softmax(x @ w[f"adapter.gates.{tower}.weight"].T + w[f"adapter.gates.{tower}.bias"])
    outputs = []
    for place in ("shared", f"dedicated.{tower}"):
        inner, inner_bias, outer, outer_bias = (
            w[f"adapter.{place}.{name}"]
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
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    parts = [w["items.weight"][items]]
    parts += list(w["attributes.weight"][model.attribute_numbers[items]].transpose(1, 0, 2))
    if user is not None and model.item_texts is not None:
        parts.append(np.tile(numpy_adapter(w, user.double().numpy(), 0), (10, 1)))
        vectors = model.item_texts[items].double().numpy()
        parts.append(np.array([numpy_adapter(w, vector, 1) for vector in vectors]))
    z = np.concatenate(parts, axis=1)
    if model.sizes.backbone == "dlcm":
        states = numpy_gru(w, z)
        last = numpy_norm(w, "norm_last", states[-1])
        context = np.tanh(w["backbone.context.weight"] @ last + w["backbone.context.bias"])
        seen = context * numpy_norm(w, "norm_places", states)
        return softmax(seen @ w["backbone.output.weight"].T + w["backbone.output.bias"])[:, 0]
    if model.sizes.backbone == "setrank":
        return numpy_head(w, np.concatenate([numpy_attention(w, z), z], axis=1))
    place, column = np.mgrid[:10, : z.shape[1]]
    angle = place / 10_000 ** (2 * (column // 2) / z.shape[1])
    codes = np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
    codes[0] = 0
    e = z + codes
    return sigmoid(numpy_head(w, np.concatenate([numpy_attention(w, e), e], axis=1)))


@pytest.mark.parametrize(
    ("backbone", "texts", "fields"), list(product(BACKBONES, [False, True], [1, 2]))
)
def test_scores_equal_those_of_plain_numpy(backbone: str, texts: bool, fields: int) -> None:
    model = reranker(sizes(backbone, texts=texts, fields=fields))
    items = some_lists()
    users = torch.randn(4, TEXT) if texts else None
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    for _ in range(3):
        model(items, users)  # moves what batch normalization has seen away from 0 and 1
    with torch.no_grad():
        found = model.eval()(items, users).numpy()
    for n in range(4):
        expected = numpy_scores(model, items[n], None if users is None else users[n])
        np.testing.assert_allclose(found[n], expected, atol=3e-6, rtol=1e-5)


# --- shapes and first weights ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("dlcm", [29_506, 35_650, 1_283_280, 1_289_424]),
        ("prm", [58_601, 92_009, 1_375_095, 1_424_887]),
        ("setrank", [58_601, 92_009, 1_375_095, 1_424_887]),
    ],
)
def test_as_many_weights_as_documented(backbone: str, expected: list[int]) -> None:
    widths, counts = [], []
    for texts, fields in product([False, True], [1, 2]):
        given = Sizes(
            backbone=backbone,
            num_items=3,
            num_attributes=2,
            fields=fields,
            text_width=768 if texts else 0,
            user_texts=texts,
            item_texts=texts,
        )
        vectors = torch.zeros(4, 768) if texts else None
        model = Reranker(given, torch.zeros(4, fields, dtype=torch.int64), vectors)
        tables = model.items.weight.numel() + model.attributes.weight.numel()
        counts.append(sum(weights.numel() for weights in model.parameters()) - tables)
        widths.append(model.features(torch.ones(2, 10, dtype=torch.int64), *user_of(given)).shape)
    assert counts == expected
    assert [tuple(shape) for shape in widths] == [(2, 10, width) for width in (64, 96, 128, 160)]
    assert sum(weights.numel() for weights in Adapter(768).parameters()) == 1_241_486


def user_of(given: Sizes) -> tuple[Tensor, ...]:
    return (torch.zeros(2, given.text_width),) if given.user_texts else ()


def test_first_weights_are_xavier_normal_and_biases_zero() -> None:
    given = Sizes(backbone="setrank", num_items=2_000, num_attributes=9, fields=1)
    model = Reranker(given, torch.zeros(2_001, 1, dtype=torch.int64))
    assert model.items.weight.std().item() == pytest.approx((2 / (2_001 + 32)) ** 0.5, rel=0.02)
    backbone = model.backbone
    assert isinstance(backbone, SetRank)
    projection = backbone.attention.out_proj.weight
    assert projection.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    first, last = backbone.head[0], backbone.head[-1]
    assert first.weight.std().item() == pytest.approx((2 / 328) ** 0.5, rel=0.05)
    assert not first.bias.any()
    assert last.bias.item() == 1.0
    adapter = Adapter(300)
    inner = adapter.dedicated[0].weight_inner_XHT
    assert inner.std().item() == pytest.approx((2 / 428) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("loss", "bias"), [("kar", 0.0), ("kar_offset", 1.0), ("softmax", 0.0)])
def test_only_the_offset_loss_lifts_the_scores(loss: str, bias: float) -> None:
    model = reranker(sizes("setrank", loss=loss))
    assert isinstance(model.backbone, SetRank)
    assert model.backbone.head[-1].bias.item() == bias


# --- properties -----------------------------------------------------------------------------------


def test_setrank_follows_a_permutation_and_the_others_do_not() -> None:
    items, order = some_lists(), torch.randperm(10)
    for backbone, follows in (("setrank", True), ("prm", False), ("dlcm", False)):
        model = reranker(sizes(backbone)).eval()
        with torch.no_grad():
            moved, expected = model(items[:, order]), model(items)[:, order]
        assert torch.allclose(moved, expected, atol=1e-6) == follows


def test_prm_without_positions_is_setrank_behind_a_sigmoid() -> None:
    prm, setrank = PRM(64), SetRank(64)
    setrank.load_state_dict(prm.state_dict())
    prm.codes.zero_()
    features = torch.randn(4, 10, 64)
    assert torch.allclose(prm(features), torch.sigmoid(setrank(features)), atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_texts_change_scores(backbone: str) -> None:
    model, items = reranker(sizes(backbone, texts=True)).eval(), some_lists()
    users = torch.randn(4, TEXT)
    with torch.no_grad():
        assert not torch.allclose(model(items, users), model(items, users.roll(1, 0)), atol=1e-7)
    plain = reranker(sizes(backbone))
    with pytest.raises(AssertionError, match="user texts"):
        plain(items, users)


def test_an_adapter_with_item_texts_alone() -> None:
    given = Sizes(
        backbone="prm",
        num_items=NUM_ITEMS,
        num_attributes=NUM_ATTRIBUTES,
        fields=1,
        text_width=TEXT,
        item_texts=True,
    )
    model = reranker(given)
    assert model.features(some_lists()).shape == (4, 10, 96)
    assert model(some_lists()).shape == (4, 10)


def test_adapter_properties() -> None:
    adapter = Adapter(5, shared=2, dedicated=3)
    texts = torch.randn(7, 4, 5)
    found = adapter(texts, 0)
    assert found.shape == (7, 4, 32)
    assert (found >= 0).all()
    assert torch.allclose(found[2, 1], adapter(texts[2, 1], 0), atol=1e-6)
    assert not torch.allclose(found, adapter(texts, 1), atol=1e-3)
    swap = torch.tensor([1, 0])
    with torch.no_grad():
        for weights in adapter.shared.parameters():
            weights.copy_(weights[swap].clone())
        gate = adapter.gates[0]
        rows = torch.tensor([1, 0, 2, 3, 4])
        gate.weight.copy_(gate.weight[rows].clone())
        gate.bias.copy_(gate.bias[rows].clone())
    assert torch.allclose(adapter(texts, 0), found, atol=1e-6)
    with torch.no_grad():
        gate.weight.zero_()
        gate.bias.zero_()
    one_by_one = []
    for place in range(5):
        with torch.no_grad():
            gate.bias.zero_()
            gate.bias[place] = 1e4
        one_by_one.append(adapter(texts, 0))
    with torch.no_grad():
        gate.bias.zero_()
    assert torch.allclose(adapter(texts, 0), torch.stack(one_by_one).mean(0), atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_gradient_reaches_every_weight(backbone: str) -> None:
    model = reranker(sizes(backbone, texts=True))
    labels = torch.zeros(4, 10)
    labels[:, 3] = 1
    items = torch.arange(1, NUM_ITEMS + 1).repeat(2)[:40].view(4, 10)
    model.losses(model(items, torch.randn(4, TEXT)), labels).mean().backward()
    still = [name for name, weights in model.named_parameters() if weights.grad is None]
    assert not still
    assert model.adapter is not None
    assert all(weights.grad.any() for weights in model.adapter.gates.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_saved_model_scores_the_same(backbone: str, tmp_path: Path) -> None:
    model, items, users = reranker(sizes(backbone, texts=True)), some_lists(), torch.randn(4, TEXT)
    model(items, users)
    save(model, tmp_path)
    again = load(tmp_path, model.attribute_numbers, model.item_texts)
    assert again.sizes == model.sizes
    assert torch.equal(again(items, users), model.eval()(items, users))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BenchError, match="holds no re-ranker"):
        load(tmp_path, model.attribute_numbers, model.item_texts)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BenchError, match="no backbone named 'prn'"):
        sizes("prn")
    with pytest.raises(BenchError, match="do not fit"):
        Sizes(backbone="prm", num_items=3, num_attributes=1, fields=1, text_width=4)
    with pytest.raises(BenchError, match="no loss of SetRank"):
        reranker(sizes("setrank", loss="listnet"))
    with pytest.raises(BenchError, match="temperature"):
        sizes("setrank", temperature=0.0)
