"""Vectors of long texts: a text is read in windows that fit the encoder, and averaged over all.

A text that fits has the same vector as from the encoder itself. "truncate" is what KAR does: what
lies behind the first window is never read, which for most users of MovieLens-1M is most of what a
language model wrote about them.

Shapes: N texts, P windows, B batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import unknown
from bench.models.lm.encode.sentence_encoder import Encoder, Trigrams, mean_over_tokens

LongText = Literal["windows", "truncate"]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What `encode_long` returns.

    Attributes:
        vectors: Not normalized; 0 where a text is empty, shape (N, D).
        over: Texts longer than one window.
        empty: Texts without anything but white space.
    """

    vectors: NDArray[np.float32]
    over: int
    empty: int


def encode_long(
    encoder: Encoder | Trigrams,
    texts: Sequence[str],
    *,
    long_text: str = "windows",
    batch: int = 128,
) -> Encoded:
    """Encode texts of any length.

    Args:
        encoder: The sentence encoder; a window of trigrams is so many letters.
        texts: N texts; equal ones are encoded once.
        long_text: "windows" or "truncate".
        batch: Windows at a time; windows of like length stand together.

    Raises:
        BenchError: There is no such way with long texts.
    """
    if long_text not in get_args(LongText):
        raise unknown("way with long texts", long_text, get_args(LongText))
    distinct = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(distinct)}
    if isinstance(encoder, Trigrams):
        return _counted(encoder, texts, long_text)
    pieces = [_pieces(encoder, text) if text.strip() else [] for text in distinct]
    over = {text for text, windows in zip(distinct, pieces, strict=True) if len(windows) > 1}
    if long_text == "truncate":
        pieces = [windows[:1] for windows in pieces]
    owner_P = np.repeat(np.arange(len(distinct)), [len(windows) for windows in pieces])
    windows = [ids for found in pieces for ids in found]
    sums_ND = np.zeros((len(distinct), encoder.width))
    tokens_N = np.bincount(owner_P, [len(ids) for ids in windows], minlength=len(distinct))
    by_length = sorted(range(len(windows)), key=lambda window: len(windows[window]))
    for start in range(0, len(windows), batch):
        chosen = by_length[start : start + batch]
        lengths = np.array([[len(windows[window])] for window in chosen])
        means_BD = _means(encoder, [windows[window] for window in chosen])
        np.add.at(sums_ND, owner_P[chosen], means_BD * lengths)
    vectors_ND = (sums_ND / np.maximum(tokens_N, 1)[:, None]).astype(np.float32)
    return Encoded(
        vectors=vectors_ND[[place[text] for text in texts]].reshape(-1, encoder.width),
        over=sum(text in over for text in texts),
        empty=sum(not text.strip() for text in texts),
    )


def _counted(encoder: Trigrams, texts: Sequence[str], long_text: str) -> Encoded:
    """Average letter trigrams over windows of letters; the counts of a whole one weigh more."""
    vectors_ND = np.zeros((len(texts), encoder.width), dtype=np.float32)
    for vector_D, text in zip(vectors_ND, map(str.strip, texts), strict=True):
        starts = range(0, len(text), encoder.max_length)
        windows = [text[start : start + encoder.max_length] for start in starts]
        if windows:
            kept = windows[:1] if long_text == "truncate" else windows
            vector_D[:] = encoder.encode(kept).mean(axis=0)
    over = sum(len(text.strip()) > encoder.max_length for text in texts)
    return Encoded(vectors=vectors_ND, over=over, empty=sum(not text.strip() for text in texts))


def _pieces(encoder: Encoder, text: str) -> list[list[int]]:
    """Cut a text's tokens into windows, each with the special tokens of a text of its own."""
    encoder.tokenizer.no_padding()
    encoder.tokenizer.enable_truncation(encoder.max_length)
    first = encoder.tokenizer.encode(text)
    return [first.ids, *(window.ids for window in first.overflowing)]


def _means(encoder: Encoder, windows: list[list[int]]) -> NDArray[np.float64]:
    ids_BL = torch.zeros(len(windows), max(map(len, windows)), dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    for row, ids in enumerate(windows):
        ids_BL[row, : len(ids)] = torch.tensor(ids)
        mask_BL[row, : len(ids)] = 1
    device = encoder.model.device
    ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
    with torch.inference_mode():
        states_BLD = encoder.model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
    means_BD: NDArray[np.float64] = mean_over_tokens(states_BLD, mask_BL).double().cpu().numpy()
    return means_BD
