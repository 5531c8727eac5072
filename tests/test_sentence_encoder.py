"""Sentence encoders: the mean over tokens by hand, cards and files, the real ones if to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from tiny_encoder import MAX_LENGTH, WIDTH, WORDS, tiny_bert, write_encoder
from transformers import BertConfig, BertModel

from bench.config.plugins import card_paths, encoder_card
from bench.data.assets import encoder_checksums
from bench.errors import BenchError
from bench.hashing import checksum
from bench.models.lm.encode.sentence_encoder import (
    Encoder,
    load_encoder,
    mean_over_tokens,
    read_onnx_weights,
    read_weights,
)

TEXTS = [
    "the red house", "a tree", "", "the river and the sea", "green", "a tree",
    "unheard of words and the sea and the red tree of a house", "the red house",
]  # fmt: skip
REAL = {"all-minilm-l6-v2": 256, "paraphrase-minilm-l3-v2": 128}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def tiny(root: Path) -> Encoder:
    write_encoder(root)
    return load_encoder("tiny", offline=True, data_dir=root)


def by_hand(text: str) -> NDArray[np.float32]:
    """One text alone, unpadded, its states added up in a loop."""
    known = {word: number for number, word in enumerate(WORDS)}
    words = [known.get(word, known["[UNK]"]) for word in text.split()][: MAX_LENGTH - 2]
    ids = [known["[CLS]"], *words, known["[SEP]"]]
    with torch.no_grad():
        states = tiny_bert()(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
    total = np.zeros(WIDTH)
    for state in states:
        total += state
    return (total / len(ids)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_the_mean_over_tokens_by_hand(tiny: Encoder, batch: int) -> None:
    vectors = tiny.encode(TEXTS, batch_size=batch)
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), WIDTH))
    assert vectors == pytest.approx(np.stack([by_hand(text) for text in TEXTS]), abs=1e-4)
    assert np.ptp(np.linalg.norm(vectors, axis=1)) > 0.1, "the vectors were normalized"


def test_equal_texts_have_equal_vectors(tiny: Encoder) -> None:
    vectors = tiny.encode(TEXTS, batch_size=2)
    assert vectors[1].tolist() == vectors[5].tolist()
    assert vectors[0].tolist() == vectors[7].tolist()
    assert vectors[0].tolist() != vectors[1].tolist()


def test_the_mean_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[1.0, 1.0]] * 3])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert mean_over_tokens(states, mask).tolist() == [[2.0, 4.0], [1.0, 1.0]]


def test_no_texts(tiny: Encoder) -> None:
    assert tiny.encode([]).shape == (0, WIDTH)


# --- cards --------------------------------------------------------------------------------------


def test_our_own_cards_are_listed() -> None:
    assert set(REAL) <= set(card_paths("encoders"))
    for name, length in REAL.items():
        assert encoder_card(name).max_length == length
    checksums = [encoder_checksums(name) for name in REAL]
    assert checksums[0]["weights"].startswith("53aa5117")
    assert checksums[1]["weights"].startswith("b388816f")
    assert all(len(value) == 64 for found in checksums for value in found.values())


def test_a_setting_of_the_card_changes_the_key(root: Path) -> None:
    write_encoder(root)
    before = encoder_checksums("tiny")
    card = root / "encoders" / "tiny.toml"
    card.write_text(card.read_text().replace(f"max_length = {MAX_LENGTH}", "max_length = 5"))
    after = encoder_checksums("tiny")
    assert {key for key in before if before[key] != after[key]} == {"settings"}
    assert load_encoder("tiny", offline=True, data_dir=root).max_length == 5


def refusal(name: str, data_dir: Path | None) -> str:
    with pytest.raises(BenchError) as caught:
        load_encoder(name, offline=True, data_dir=data_dir)
    assert caught.value.hint
    return caught.value.message


def test_wrong_cards_and_files(root: Path) -> None:
    write_encoder(root)
    assert refusal("tinny", root) == "There is no encoder named 'tinny'."
    assert refusal("tiny", None).startswith("config.json of the encoder tiny (")
    assert "--offline" in refusal("all-minilm-l6-v2", root)
    # A folder's own config.json is not the encoder's: only the subfolder of its name is looked at.
    (root / "config.json").write_text("{}")
    load_encoder("tiny", offline=True, data_dir=root)
    card = root / "encoders" / "tiny.toml"
    good = card.read_text()
    card.write_text(good.partition("[files.weights]")[0])
    assert "files.weights is missing" in refusal("tiny", root)
    card.write_text(good.replace("sha256", "# sha256"))
    assert "every file of an encoder needs its sha256" in refusal("tiny", root)
    card.write_text(good + "[extra]\n")
    assert "unknown key 'extra'" in refusal("tiny", root)
    card.write_text(
        good.replace("[files.config]", "[config]\nnum_hidden_layers = 3\n[files.config]")
    )
    assert refusal("tiny", root).startswith("The weights of the encoder tiny do not fit")


# --- ONNX ---------------------------------------------------------------------------------------


def onnx_export(state: dict[str, torch.Tensor]) -> bytes:
    """Write weights as torch's exporter does: matrices transposed, with a number for a name."""
    tensors, nodes = [], []
    for number, (name, value) in enumerate(state.items()):
        is_matrix = name.endswith("weight") and value.ndim == 2 and "embeddings" not in name
        label = f"onnx::MatMul_{number}" if is_matrix else f"model.0.auto_model.{name}"
        tensors.append(numpy_helper.from_array((value.T if is_matrix else value).numpy(), label))
        if is_matrix:
            bias = f"model.0.auto_model.{name.removesuffix('weight')}bias"
            product, output = f"product {number}", f"output {number}"
            nodes.append(helper.make_node("MatMul", ["states", label], [product]))
            nodes.append(helper.make_node("Add", [bias, product], [output]))
    # A constant of the computation, which is no weight.
    tensors.append(numpy_helper.from_array(np.array([7]), "shape"))
    model = helper.make_model(helper.make_graph(nodes, "bert", [], [], tensors))
    return bytes(model.SerializeToString())


def test_weights_out_of_an_onnx_export(root: Path) -> None:
    state = {
        name: value.detach()
        for name, value in tiny_bert().named_parameters()
        if not name.startswith("pooler")
    }
    path = root / "tiny.onnx"
    path.write_bytes(onnx_export(state))
    found = read_onnx_weights(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    write_encoder(root)
    plain = load_encoder("tiny", offline=True, data_dir=root).encode(TEXTS)
    path = path.rename(root / "tiny" / "tiny.onnx")
    card = root / "encoders" / "tiny.toml"
    others = card.read_text().partition("[files.weights]")[0]
    card.write_text(f'{others}[files.weights]\nname = "{path.name}"\nsha256 = "{checksum(path)}"\n')
    read = load_encoder("tiny", offline=True, data_dir=root).encode(TEXTS)
    assert read.tolist() == plain.tolist()


@pytest.mark.parametrize("cut", [1, 3, 40])
def test_a_damaged_onnx_export(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.onnx"
    whole = onnx_export({"embeddings.x.weight": torch.ones(30)})
    path.write_bytes(whole[:-cut])
    with pytest.raises(BenchError, match="is damaged or no ONNX export"):
        read_onnx_weights(path)


# --- the real ones ------------------------------------------------------------------------------


def real(name: str) -> Encoder:
    try:
        return load_encoder(name, offline=False)
    except BenchError as error:
        pytest.skip(f"the encoder {name} is not to be had: {error.message}")


@pytest.mark.parametrize("name", REAL)
def test_a_real_encoder_knows_what_is_alike(name: str) -> None:
    encoder = real(name)
    cat, feline, market = encoder.encode(
        ["A cat sat on the mat", "A feline is sitting on a rug", "The stock market fell today"]
    )
    assert cat.shape == (384,)
    assert np.linalg.norm(cat) > 2, "the vectors were normalized"
    assert np.linalg.norm(cat - feline) < 0.8 * np.linalg.norm(cat - market)
    long = encoder.encode(["sea " * 1000, "sea " * (REAL[name] - 2), "sea " * (REAL[name] - 3)])
    assert long[0].tolist() == pytest.approx(long[1].tolist(), abs=1e-4)
    assert long[0].tolist() != pytest.approx(long[2].tolist(), abs=1e-4)


def test_the_papers_encoder_agrees_with_onnxruntime() -> None:
    """First values and norms of ONNX Runtime 1.x on the very file, mean included, batch of one."""
    expected = {
        "The Wrath and the Dawn (The Wrath and the Dawn, #1)": (
            [0.2722107, -0.0212039, 0.1352281, 0.2511180], 4.7865262,
        ),
        "Practice Makes Perfect": ([-0.5729626, -0.0430799, 0.2116939, -0.4881579], 6.0617247),
        "The Locker Room": ([0.0987760, 0.0579961, 0.1992699, 0.0959188], 6.3863473),
    }  # fmt: skip
    vectors = real("paraphrase-minilm-l3-v2").encode(list(expected))
    for vector, (first, norm) in zip(vectors, expected.values(), strict=True):
        assert vector[:4].tolist() == pytest.approx(first, abs=2e-5)
        assert np.linalg.norm(vector) == pytest.approx(norm, rel=2e-5)


def test_weights_of_googles_bert(root: Path) -> None:
    model = tiny_bert()
    weights = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in model.state_dict().items()
    }
    save_file({**weights, "cls.predictions.bias": torch.zeros(3)}, root / "bert.safetensors")
    read = read_weights(root / "bert.safetensors")
    names = [name for name in model.state_dict() if not name.startswith("pooler.")]
    assert sorted(read) == sorted(names)
    assert all(torch.equal(read[name], model.state_dict()[name]) for name in names)


def test_bert_differs_from_minilm_in_three_sizes() -> None:
    card = encoder_card("bert-base-uncased")
    config = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
    config.update(card.config)
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    # BERT-base without its pooler: 109,482,240 - 590,592.
    assert sum(weights.numel() for weights in model.parameters()) == 108_891_648
