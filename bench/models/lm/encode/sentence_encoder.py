"""Sentence encoders: texts to vectors, by the mean of the last hidden states over a text's tokens.

Reimers & Gurevych, "Sentence-BERT", EMNLP 2019. The vectors are not normalized, though the packages
of some encoders do so: SPRec's grounding (Gao et al., WWW 2025) takes the mean as it is.

Shapes: N texts, B batch, L tokens, D width.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, PreTrainedModel

from bench.config.plugins import encoder_card
from bench.data.assets import encoder_checksums as encoder_checksums
from bench.data.assets import encoder_folder, fetch
from bench.errors import BenchError
from bench.models.lm.devices import select_device

# Tensors in an encoder's file that the mean over tokens does not need.
UNUSED = ("pooler.", "bert.pooler.", "cls.", "embeddings.position_ids")


def encode_in_batches(
    texts: Sequence[str],
    tokenize: Callable[[list[str]], list[list[int]]],
    encode: Callable[[list[list[int]]], NDArray[np.float32]],
    *,
    width: int,
    batch_size: int,
) -> NDArray[np.float32]:
    """Encode each distinct text once, texts of similar length together.

    `tokenize` returns the token ids of texts, and `encode` the vectors of up to `batch_size` of
    them, shape (B, D); `width` is D.

    Returns:
        Vectors in the order of the texts, shape (N, D); equal texts have bit-equal vectors.
    """
    distinct = list(dict.fromkeys(texts))
    vectors_ND = np.empty((len(distinct), width), dtype=np.float32)
    token_ids = tokenize(distinct)
    by_length = sorted(range(len(distinct)), key=lambda text: len(token_ids[text]))
    for start in range(0, len(distinct), batch_size):
        rows = by_length[start : start + batch_size]
        vectors_ND[rows] = encode([token_ids[row] for row in rows])
    row_of_text = {text: row for row, text in enumerate(distinct)}
    return vectors_ND[[row_of_text[text] for text in texts]]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A sentence encoder in float32.

    Attributes:
        model: A transformer without a head, in evaluation mode.
        tokenizer: Its tokenizer; padding and truncation are set here, whatever its file says.
        max_length: Maximum tokens of a text that are read, the special ones included.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    max_length: int

    @property
    def width(self) -> int:
        """The width D of the vectors."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Encode N texts, empty ones allowed; see `encode_in_batches`."""
        return encode_in_batches(
            texts, self._tokenize, self.encode_tokens, width=self.width, batch_size=batch_size
        )

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    @torch.no_grad()
    def encode_tokens(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        """Encode texts in one forward pass, given as token ids, shape (N, D)."""
        tensors = [torch.tensor(ids) for ids in token_ids]
        ids_BL = pad_sequence(tensors, batch_first=True)
        mask_BL = pad_sequence([torch.ones_like(ids) for ids in tensors], batch_first=True)
        ids_BL, mask_BL = ids_BL.to(self.model.device), mask_BL.to(self.model.device)
        states_BLD = self.model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        mean_BD: NDArray[np.float32] = mean_over_tokens(states_BLD, mask_BL).cpu().numpy()
        return mean_BD


@dataclass(frozen=True, kw_only=True)
class Trigrams:
    """Letter trigrams as an encoder, without weights or download: for checks, not for results.

    Attributes:
        max_length: Maximum letters of a text that are read.
        width: D; each trigram is counted in one of D hash buckets.
    """

    max_length: int
    width: int = 256

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Count each text's trigrams, ignoring case and outer spaces, shape (N, D)."""
        vectors_ND = np.zeros((len(texts), self.width), dtype=np.float32)
        for vector_D, text in zip(vectors_ND, texts, strict=True):
            padded = f"  {text.strip().casefold()[: self.max_length]} "
            for start in range(len(padded) - 2):
                vector_D[zlib.crc32(padded[start : start + 3].encode()) % self.width] += 1
        return vectors_ND


def mean_over_tokens(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """Average the states of the tokens that are not padding, shape (B, D)."""
    weights_BL1 = mask_BL.unsqueeze(-1).to(states_BLD.dtype)
    return (states_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


def load_encoder(name: str, *, offline: bool, data_dir: Path | None = None) -> Encoder | Trigrams:
    """Load an encoder by its card's name, onto the GPU if the stage was planned for it.

    Only checksummed weights are read: no pickles, no code from a hub. The user's own files are
    searched in the subfolder `name` of `data_dir`.

    Raises:
        BenchError: There is no such card, or its files are not available or do not fit together.
    """
    card, folder = encoder_card(name), encoder_folder(name, data_dir)
    files = {
        role: fetch(file, card, f"the encoder {name}", data_dir=folder, offline=offline)
        for role, file in card.files.items()
    }
    if card.kind == "trigrams":
        return Trigrams(max_length=card.max_length)
    path = files["weights"]
    weights = read_onnx_weights(path) if path.suffix == ".onnx" else read_weights(path)
    model: Any = _build_model(files["config"], card.config, weights, name)
    return Encoder(
        model=model.to(select_device()),
        tokenizer=Tokenizer.from_file(str(files["tokenizer"])),
        max_length=card.max_length,
    )


def _build_model(
    config_file: Path, overrides: dict[str, int], weights: dict[str, Tensor], name: str
) -> PreTrainedModel:
    config: Any = AutoConfig.from_pretrained(
        config_file, local_files_only=True, trust_remote_code=False, **overrides
    )
    classes: Any = AutoModel
    model: PreTrainedModel = classes.from_config(
        config, trust_remote_code=False, dtype=torch.float32, add_pooling_layer=False
    )
    try:
        model.load_state_dict(
            {key: value for key, value in weights.items() if not key.startswith(UNUSED)}
        )
    except RuntimeError as error:
        raise BenchError(
            f"The weights of the encoder {name} do not fit its configuration: "
            f"{str(error).splitlines()[-1].strip()}",
            "Fix the card: its files must be of one model.",
        ) from error
    model.requires_grad_(False)
    model.train(False)
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; the layer norms and the prefix of Google's BERT are renamed."""
    weights = load_file(path)
    if not any(name.startswith("bert.") for name in weights):
        return weights
    return {
        name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias"): value
        for name, value in weights.items()
        if not name.startswith(UNUSED)
    }


def read_onnx_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of an ONNX export under the names that transformers' BertModel gives them.

    An export keeps the names of most weights, but transposes the matrices of linear layers and
    numbers them; the named bias that is added to a matrix's product tells which layer it is of.

    Raises:
        BenchError: The file is no such export.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
        tensors = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims
        }
    except (DecodeError, ValueError) as error:
        raise BenchError(
            f"{path} is damaged or no ONNX export of an encoder.", "Fetch the file again."
        ) from error
    products = {
        node.output[0]: node.input[1]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    weights = {_inner_name(name): value for name, value in tensors.items() if "::" not in name}
    for node in graph.node:
        biases = [name for name in node.input if name in tensors]
        matrices = [products[name] for name in node.input if name in products]
        if node.op_type == "Add" and biases and matrices:
            name = _inner_name(biases[0]).removesuffix("bias") + "weight"
            weights[name] = tensors[matrices[0]].T.contiguous()
    return weights


def _inner_name(name: str) -> str:
    """Remove the prefix of modules around the BERT in an export, e.g. `model.0.auto_model.`."""
    for module in ("embeddings.", "encoder."):
        if module in name:
            return name[name.index(module) :]
    return name


@dataclass(frozen=True, kw_only=True)
class EncodedTexts:
    """Vectors of N texts.

    Attributes:
        vectors: Not normalized; 0 for empty texts, shape (N, D).
        num_long: Number of texts longer than one window.
        num_empty: Number of texts of white space only.
    """

    vectors: NDArray[np.float32]
    num_long: int
    num_empty: int


def encode_long_texts(
    encoder: Encoder | Trigrams,
    texts: Sequence[str],
    *,
    long_text: Literal["windows", "truncate"] = "windows",
    batch_size: int = 128,
) -> EncodedTexts:
    """Encode texts of any length, by all of their windows or by the first one only.

    Equal texts are encoded once, and windows of similar length together, `batch_size` per forward
    pass; windows of trigrams are measured in letters.
    """
    distinct = list(dict.fromkeys(texts))
    index_of = {text: index for index, text in enumerate(distinct)}
    split: Any = _split_letters if isinstance(encoder, Trigrams) else _split_tokens
    windows_of = [split(encoder, text) if text.strip() else [] for text in distinct]
    is_long = np.array([len(windows) > 1 for windows in windows_of], dtype=bool)
    if long_text == "truncate":
        windows_of = [windows[:1] for windows in windows_of]
    if isinstance(encoder, Trigrams):
        vectors_ND = _average_letters(encoder, windows_of)
    else:
        vectors_ND = _average_tokens(encoder, windows_of, batch_size)
    index_N = [index_of[text] for text in texts]
    return EncodedTexts(
        vectors=vectors_ND[index_N].reshape(-1, encoder.width),
        num_long=int(is_long[index_N].sum()),
        num_empty=sum(not text.strip() for text in texts),
    )


def _split_letters(encoder: Trigrams, text: str) -> list[str]:
    text, size = text.strip(), encoder.max_length
    return [text[start : start + size] for start in range(0, len(text), size)]


def _average_letters(encoder: Trigrams, windows_of: list[list[str]]) -> NDArray[np.float32]:
    """Average windows of letters, each with the same weight."""
    vectors_ND = np.zeros((len(windows_of), encoder.width), dtype=np.float32)
    for vector_D, windows in zip(vectors_ND, windows_of, strict=True):
        if windows:
            vector_D[:] = encoder.encode(windows).mean(axis=0)
    return vectors_ND


def _split_tokens(encoder: Encoder, text: str) -> list[list[int]]:
    """Split a text's tokens into windows, each with the special tokens of a text of its own."""
    encoder.tokenizer.no_padding()
    encoder.tokenizer.enable_truncation(encoder.max_length)
    first = encoder.tokenizer.encode(text)
    return [first.ids, *(window.ids for window in first.overflowing)]


def _average_tokens(
    encoder: Encoder, windows_of: list[list[list[int]]], batch_size: int
) -> NDArray[np.float32]:
    """Average windows of tokens, weighted by their number of tokens."""
    owner_P = np.repeat(np.arange(len(windows_of)), [len(windows) for windows in windows_of])
    windows = [ids for own in windows_of for ids in own]
    sums_ND = np.zeros((len(windows_of), encoder.width))
    tokens_N = np.bincount(owner_P, [len(ids) for ids in windows], minlength=len(windows_of))
    by_length = sorted(range(len(windows)), key=lambda index: len(windows[index]))
    for start in range(0, len(windows), batch_size):
        batch = by_length[start : start + batch_size]
        lengths = np.array([[len(windows[index])] for index in batch])
        means_BD = encoder.encode_tokens([windows[index] for index in batch])
        np.add.at(sums_ND, owner_P[batch], means_BD * lengths)
    return (sums_ND / np.maximum(tokens_N, 1)[:, None]).astype(np.float32)
