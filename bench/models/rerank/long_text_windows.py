"""Vectors of long texts: a text is split into windows that fit the encoder, and averaged over them.

A text that fits has the same vector as from the encoder itself. "truncate" reads the first window
only, as KAR does, which for most users of MovieLens-1M drops most of the generated text.

Tensor names end in their shape: N texts, P windows, B batch, L tokens, D vector width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.models.lm.encode.sentence_encoder import Encoder, Trigrams


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
