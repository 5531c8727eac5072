"""Grounding: from a text that a model wrote to the catalogue's items, the nearest title first.

SPRec's scorer (Gao et al., WWW 2025): the quoted part of the text and all titles go through a
sentence encoder, and items are ranked by Euclidean distance. All places of a list are therefore
neighbours of one written title. Shapes: Q texts, W distinct ones, I items, T distinct titles,
B batch, K places of a list, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.metrics.ranking import Ranking, top_items

NOTHING_WRITTEN = "NAN"
TEXTS_AT_ONCE = 256


class TextEncoder(Protocol):
    """What grounding asks of an encoder; `bench.lm.encoder.Encoder` is one."""

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


def ground(
    texts: Sequence[str],
    titles: Sequence[str],
    encoder: TextEncoder,
    depth: int,
    title_vectors_ID: NDArray[np.float32] | None = None,
) -> Ranking:
    """Rank the catalogue for each text.

    Of equally near items the first one wins; items of one title are equally near to the last bit.

    Args:
        texts: What a model wrote, Q texts.
        titles: The catalogue's titles, I of them, not necessarily distinct.
        encoder: Encodes both sides.
        depth: How many items to keep, from 1 to I.
        title_vectors_ID: The titles' vectors where they are at hand, shape (I, D).

    Returns:
        The nearest items of each text, scored by minus their distance, with the texts as they were
        written. `valid` says whose quoted part equals a title of the catalogue.

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
    items_WK, near_WK = _nearest(
        _vectors(written, known, known_TD, encoder), known_TD, title_of_item_I, depth
    )
    rows_Q = np.array([written[name] for name in names], dtype=np.int64)
    return Ranking(
        items=items_WK[rows_Q],
        scores=-near_WK[rows_Q].astype(np.float64),
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
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rank the items for each distinct text, a few texts at a time; the items, their distances."""
    items, near = [], []
    for start in range(0, max(len(written_WD), 1), TEXTS_AT_ONCE):
        distances_BT = distances(written_WD[start : start + TEXTS_AT_ONCE], known_TD)
        distances_BI = distances_BT[:, title_of_item_I]
        best_BK = top_items(distances_BI, depth)
        items.append(best_BK)
        near.append(np.take_along_axis(distances_BI, best_BK, axis=1))
    return np.concatenate(items), np.concatenate(near)
