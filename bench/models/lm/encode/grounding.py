"""Grounding: from a text that a model wrote to the catalog's items, the nearest title first.

SPRec's scorer (Gao et al., WWW 2025): the quoted part of the text and all titles go through a
sentence encoder, and items are ranked by Euclidean distance. All places of a list are therefore
neighbors of one written title. BIGRec (Bao et al., arXiv 2308.08434) may draw items nearer that
are popular, or that an item-ID model prefers. Shapes: Q texts, W distinct ones, I items, T distinct
titles, B batch, K places of a list, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.data.ranking import Ranking, top_items

NOTHING_WRITTEN = "NAN"
TEXTS_AT_ONCE = 256

Adjust: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.floating]], NDArray[np.floating]]


class TextEncoder(Protocol):
    """What grounding asks of an encoder.

    `bench.models.lm.encode.sentence_encoder.Encoder` is one.
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector a text, shape (N, D); equal texts have equal vectors."""
        ...


def quoted(text: str) -> str:
    r"""Return the part of a text that names an item.

    From the first double quote to the next one or the end; without a quote the first line. Nothing
    written at all gives a placeholder, so that the text still has a place in the space of titles.

    Example:
        >>> quoted('"Emma"\n'), quoted('try "Emma'), quoted('Emma\nor'), quoted('')
        ('Emma', 'Emma', 'Emma', 'NAN')
    """
    if not text:
        return NOTHING_WRITTEN
    _, quote, after = text.partition('"')
    return after.partition('"')[0] if quote else text.partition("\n")[0]


def distances(
    queries_QD: NDArray[np.floating], titles_ID: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Compute the Euclidean distance of each query from each title.

    Args:
        queries_QD: Vectors of the queries, shape (Q, D).
        titles_ID: Vectors of the titles, shape (I, D).

    Returns:
        Distances from 0, shape (Q, I), good to about six digits of the vectors' own length.
    """
    titles = titles_ID.astype(np.float64)
    titles_I = np.einsum("id,id->i", titles, titles)
    distances_QI = np.empty((len(queries_QD), len(titles_ID)), dtype=np.float32)
    for start in range(0, len(queries_QD), TEXTS_AT_ONCE):
        part = slice(start, start + TEXTS_AT_ONCE)
        # The squares of near titles cancel; in single precision little would be left of them.
        queries = queries_QD[part].astype(np.float64)
        squares_QI = queries @ (-2 * titles.T)
        squares_QI += np.einsum("qd,qd->q", queries, queries)[:, np.newaxis]
        squares_QI += titles_I
        distances_QI[part] = np.sqrt(np.maximum(squares_QI, 0, out=squares_QI), out=squares_QI)
    return distances_QI


def spread(values_BI: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale each row to run from 0 to 1; 0 everywhere where all are equal."""
    values = values_BI.astype(np.float64)
    low_B1 = values.min(axis=1, keepdims=True)
    span_B1 = values.max(axis=1, keepdims=True) - low_B1
    scaled_BI: NDArray[np.float64] = (values - low_B1) / np.where(span_B1 > 0, span_B1, 1)
    return scaled_BI


def drawn_nearer(
    distances_BI: NDArray[np.floating], preference_BI: NDArray[np.floating], gamma: float
) -> NDArray[np.float64]:
    """Scale distances to run from 0 to 1 and divide them by (1 + preference) to the power gamma.

    The nearest item is at 0 and stays the first one, whatever gamma is.

    Args:
        distances_BI: Of all items, shape (B, I).
        preference_BI: From 0 to 1, shape (B, I) or (1, I).
        gamma: From 0, which leaves the order as it is.

    Example:
        >>> near, liked = np.array([[0.2, 0.5, 0.4]]), np.array([[0, 1, 0.25]])
        >>> drawn_nearer(near, liked, 1).round(4).tolist()
        [[0.0, 0.5, 0.5333]]
    """
    return (1 + preference_BI) ** -float(gamma) * spread(distances_BI)


def ground(
    texts: Sequence[str],
    titles: Sequence[str],
    encoder: TextEncoder,
    depth: int,
    title_vectors_ID: NDArray[np.float32] | None = None,
    adjust: Adjust | None = None,
) -> Ranking:
    """Rank the catalog for each text.

    Of equally near items the first one wins; items of one title are equally near to the last bit
    unless `adjust` tells them apart.

    Args:
        texts: What a model wrote, Q texts.
        titles: The catalog's titles, I of them, not necessarily distinct.
        encoder: Encodes both sides.
        depth: How many items to keep, from 1 to I.
        title_vectors_ID: The titles' vectors where they are at hand, shape (I, D).
        adjust: Turns the distances of texts, given by their numbers, into others.

    Returns:
        The nearest items of each text, scored by minus their distance, with the texts as they were
        written. `valid` says whose quoted part equals a title of the catalog.

    Raises:
        BenchError: `depth` is out of range, or a vector is not finite.
    """
    names = [quoted(text) for text in texts]
    written = _numbered(names)
    known = _numbered(titles)
    title_of_item_I = np.array([known[title] for title in titles], dtype=np.int64)
    if title_vectors_ID is None:
        known_TD = encoder.encode(list(known))
    else:
        known_TD = title_vectors_ID[np.unique(title_of_item_I, return_index=True)[1]]
    vectors_WD = _vectors(written, known, known_TD, encoder)
    rows_Q = np.array([written[name] for name in names], dtype=np.int64)
    if adjust is None:  # each distinct text once
        items_WK, near_WK = _nearest(vectors_WD, known_TD, title_of_item_I, depth)
        items_QK, near_QK = items_WK[rows_Q], near_WK[rows_Q]
    else:
        vectors_QD = vectors_WD[rows_Q]
        items_QK, near_QK = _nearest(vectors_QD, known_TD, title_of_item_I, depth, adjust)
    return Ranking(
        items=items_QK,
        scores=-near_QK.astype(np.float64),
        texts=tuple(texts),
        valid=np.array([name in known for name in names], dtype=np.bool_),
    )


def _numbered(texts: Sequence[str]) -> dict[str, int]:
    """Number the distinct texts in order of appearance."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}


def _vectors(
    written: Mapping[str, int],
    known: Mapping[str, int],
    known_TD: NDArray[np.float32],
    encoder: TextEncoder,
) -> NDArray[np.float32]:
    """Encode what was written; a known title keeps its vector.

    Encoded again, in another batch, its last bits would differ and its distance would not be 0.
    """
    vectors_WD = np.empty((len(written), known_TD.shape[1]), dtype=np.float32)
    strange = [name for name in written if name not in known]
    if strange:
        vectors_WD[[written[name] for name in strange]] = encoder.encode(strange)
    for name in written.keys() & known.keys():
        vectors_WD[written[name]] = known_TD[known[name]]
    return vectors_WD


def _nearest(
    written_WD: NDArray[np.float32],
    known_TD: NDArray[np.float32],
    title_of_item_I: NDArray[np.int64],
    depth: int,
    adjust: Adjust = lambda rows, distances: distances,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """Rank the items for each vector, a few at a time; the items, their distances."""
    items, near = [], []
    for start in range(0, max(len(written_WD), 1), TEXTS_AT_ONCE):
        distances_BT = distances(written_WD[start : start + TEXTS_AT_ONCE], known_TD)
        rows_B = np.arange(start, start + len(distances_BT))
        distances_BI = adjust(rows_B, distances_BT[:, title_of_item_I])
        best_BK = top_items(distances_BI, depth)
        items.append(best_BK)
        near.append(np.take_along_axis(distances_BI, best_BK, axis=1))
    return np.concatenate(items), np.concatenate(near)
