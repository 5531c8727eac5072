"""Grounding: from a generated text to the catalog's items, the nearest title first.

SPRec's scorer (Gao et al., WWW 2025): the quoted part of the text and all titles go through a
sentence encoder, and items are ranked by Euclidean distance, so all ranks of a list are neighbors
of one generated title. BIGRec (Bao et al., arXiv 2308.08434) may shrink the distances of items that
are popular, or that an item-ID model prefers.

Shapes: Q texts, W distinct ones, I items, T distinct titles, B batch, K ranks, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.data.ranking import Ranking, top_items
from bench.errors import BenchError

EMPTY_TEXT = "NAN"
VECTORS_FILE = "vectors.npy"
BATCH_SIZE = 256

Adjust: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.floating]], NDArray[np.floating]]


class TextEncoder(Protocol):
    """A text encoder; `bench.models.lm.encode.sentence_encoder.Encoder` is one."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector per text, shape (N, D); equal texts have equal vectors."""
        ...


def read_vectors(folder: Path) -> NDArray[np.float32]:
    """Read the vectors that a stage wrote, one per item or text, shape (N, D).

    Raises:
        BenchError: The folder has no vectors.
    """
    try:
        vectors: NDArray[np.float32] = np.load(folder / VECTORS_FILE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{folder} has no vectors: {error}.", "Remove that folder from the store and run again."
        ) from error
    return vectors


def extract_title(text: str) -> str:
    r"""Return the part of a text that names an item.

    From the first double quote to the next one or the end; without a quote the first line. An empty
    text gives a placeholder, so that it still has a vector.

    Example:
        >>> [extract_title(text) for text in ('"Emma"\n', 'try "Emma', 'Emma\nor', '')]
        ['Emma', 'Emma', 'Emma', 'NAN']
    """
    if not text:
        return EMPTY_TEXT
    _, quote, after = text.partition('"')
    return after.partition('"')[0] if quote else text.partition("\n")[0]


def compute_distances(
    queries_QD: NDArray[np.floating], titles_ID: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return Euclidean distances, (Q, I), with about six correct digits of the vectors' norm."""
    titles_ID = titles_ID.astype(np.float64)
    squares_I = np.einsum("id,id->i", titles_ID, titles_ID)
    distances_QI = np.empty((len(queries_QD), len(titles_ID)), dtype=np.float32)
    for start in range(0, len(queries_QD), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        # The squares of near titles cancel, and single precision would keep few of their digits.
        queries_BD = queries_QD[rows].astype(np.float64)
        squares_BI = queries_BD @ (-2 * titles_ID.T)
        squares_BI += np.einsum("qd,qd->q", queries_BD, queries_BD)[:, np.newaxis]
        squares_BI += squares_I
        distances_QI[rows] = np.sqrt(np.maximum(squares_BI, 0, out=squares_BI), out=squares_BI)
    return distances_QI


def scale_rows(values_BI: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale each row to run from 0 to 1; 0 everywhere where all values are equal."""
    values_BI = values_BI.astype(np.float64)
    low_B1 = values_BI.min(axis=1, keepdims=True)
    span_B1 = values_BI.max(axis=1, keepdims=True) - low_B1
    scaled_BI: NDArray[np.float64] = (values_BI - low_B1) / np.where(span_B1 > 0, span_B1, 1)
    return scaled_BI


def shrink_distances(
    distances_BI: NDArray[np.floating], preference_BI: NDArray[np.floating], gamma: float
) -> NDArray[np.float64]:
    """Scale distances to run from 0 to 1 and divide them by (1 + preference) ** gamma.

    The nearest item is at 0 and stays first, whatever gamma is, from 0. Preferences run from 0 to
    1, shape (B, I) or (1, I).

    Example:
        >>> distances, preference = np.array([[0.2, 0.5, 0.4]]), np.array([[0, 1, 0.25]])
        >>> shrink_distances(distances, preference, 1).round(4).tolist()
        [[0.0, 0.5, 0.5333]]
    """
    return (1 + preference_BI) ** -float(gamma) * scale_rows(distances_BI)


def ground(
    texts: Sequence[str],
    titles: Sequence[str],
    encoder: TextEncoder,
    depth: int,
    title_vectors_ID: NDArray[np.float32] | None = None,
    adjust: Adjust | None = None,
    candidates_I: NDArray[np.bool_] | None = None,
) -> Ranking:
    """Rank the catalog for each text, to a depth from 1 to I.

    The first of equally near items wins; items of one title are equally near to the last bit unless
    `adjust`, which turns the distances of texts, given by their indices, into others, tells them
    apart.

    The encoder encodes both sides, unless the titles' vectors are given. `candidates_I` tells which
    items can be recommended, at least `depth`; None for all.

    Returns:
        The nearest items of each text, scored by minus their distance, with the texts. `valid` says
        whose quoted part equals a title of the catalog.

    Raises:
        BenchError: `depth` is out of range, or a vector is not finite.
    """
    names = [extract_title(text) for text in texts]
    row_of_name, row_of_title = _number_distinct(names), _number_distinct(titles)
    title_of_item_I = np.array([row_of_title[title] for title in titles], dtype=np.int64)
    if title_vectors_ID is None:
        titles_TD = encoder.encode(list(row_of_title))
    else:
        titles_TD = title_vectors_ID[np.unique(title_of_item_I, return_index=True)[1]]
    names_WD = _encode_names(row_of_name, row_of_title, titles_TD, encoder)
    rows_Q = np.array([row_of_name[name] for name in names], dtype=np.int64)
    excluded_I = np.array([], np.int64) if candidates_I is None else np.flatnonzero(~candidates_I)

    def find_nearest(
        queries_WD: NDArray[np.float32], adjust: Adjust
    ) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
        return _find_nearest(queries_WD, titles_TD, title_of_item_I, depth, adjust, excluded_I)

    if adjust is None:  # each distinct text once
        items_WK, distances_WK = find_nearest(names_WD, lambda rows, distances: distances)
        items_QK, distances_QK = items_WK[rows_Q], distances_WK[rows_Q]
    else:
        items_QK, distances_QK = find_nearest(names_WD[rows_Q], adjust)
    return Ranking(
        items=items_QK,
        scores=-distances_QK.astype(np.float64),
        texts=tuple(texts),
        valid=np.array([name in row_of_title for name in names], dtype=np.bool_),
    )


def _number_distinct(texts: Sequence[str]) -> dict[str, int]:
    """Number the distinct texts in order of appearance."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}


def _encode_names(
    row_of_name: Mapping[str, int],
    row_of_title: Mapping[str, int],
    titles_TD: NDArray[np.float32],
    encoder: TextEncoder,
) -> NDArray[np.float32]:
    """Encode the names, except that a title of the catalog keeps its vector.

    Encoded again, in another batch, its last bits would differ and its distance would not be 0.
    """
    names_WD = np.empty((len(row_of_name), titles_TD.shape[1]), dtype=np.float32)
    new_names = [name for name in row_of_name if name not in row_of_title]
    if new_names:
        names_WD[[row_of_name[name] for name in new_names]] = encoder.encode(new_names)
    for name in row_of_name.keys() & row_of_title.keys():
        names_WD[row_of_name[name]] = titles_TD[row_of_title[name]]
    return names_WD


def _find_nearest(
    queries_WD: NDArray[np.float32],
    titles_TD: NDArray[np.float32],
    title_of_item_I: NDArray[np.int64],
    depth: int,
    adjust: Adjust,
    excluded_I: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """Return the nearest items of each query and their distances, shape (W, K) each."""
    items, nearest = [], []
    for start in range(0, max(len(queries_WD), 1), BATCH_SIZE):
        distances_BT = compute_distances(queries_WD[start : start + BATCH_SIZE], titles_TD)
        rows_B = np.arange(start, start + len(distances_BT))
        distances_BI = adjust(rows_B, distances_BT[:, title_of_item_I])
        distances_BI[:, excluded_I] = np.inf
        items_BK = top_items(distances_BI, depth)
        items.append(items_BK)
        nearest.append(np.take_along_axis(distances_BI, items_BK, axis=1))
    return np.concatenate(items), np.concatenate(nearest)
