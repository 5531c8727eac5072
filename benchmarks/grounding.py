"""How long grounding and metrics take, against the published evaluation written as plain loops.

1,000 generated texts x 4,058 items (SPRec's Goodreads), vectors of width 384 given, k in (1, 5, 10,
20). Half of the texts are titles, drawn unevenly, as greedy decoding repeats itself. The peer does
what SPRec's scorer does, in our words: all distances, a double argsort, then loops over rows, items
and categories for each k. Both run in this process and must agree. Prints one line: seconds of each
(the fastest of a few runs) and their ratio.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.results.formats.sprec import SprecFolder, SprecRow, score_sprec

NUM_ROWS, NUM_ITEMS, WIDTH, LENGTH = 1_000, 4_058, 384, 10
KS = (1, 5, 10, 20)
GENRES = tuple(f"genre {number}" for number in range(7))

Result = TypeVar("Result")


class Table:
    """An encoder that looks its vectors up."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of known texts."""
        return np.stack([self.vectors[text] for text in texts])


def naive(rows: Sequence[SprecRow], folder: SprecFolder, encoder: Table) -> dict[str, float]:
    titles = folder.catalog.titles
    id_of = {title: number for number, title in enumerate(titles)}
    genres_of = dict(zip(titles, folder.catalog.categories, strict=True))
    texts = []
    for row in rows:
        match = re.search(r'"([^"]*)', row.text)
        texts.append("NAN" if not row.text else match[1] if match else row.text.split("\n")[0])
    places = torch.cdist(
        torch.from_numpy(encoder.encode(texts)),
        torch.from_numpy(encoder.encode(titles)),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    places = places.argsort(dim=-1, stable=True).argsort(dim=-1)
    past = dict.fromkeys(GENRES, 0.0)
    for row in rows:
        for title in row.history:
            count(past, genres_of.get(title, ()))
    metrics = {}
    for k in KS:
        hits = gains = known = 0.0
        shown = [0] * len(titles)
        now = dict.fromkeys(GENRES, 0.0)
        for row, ranks in zip(rows, places, strict=True):
            if row.target not in id_of:
                continue
            known += 1
            rank = int(ranks[id_of[row.target]])
            if rank < k:
                hits += 1
                gains += 1 / math.log2(rank + 2)
            for item in torch.argwhere(ranks < k).flatten().tolist():
                shown[item] += 1
                count(now, genres_of[titles[item]])
        gaps = [now[name] / sum(now.values()) - past[name] / sum(past.values()) for name in GENRES]
        metrics[f"HR@{k}"] = hits / len(rows)
        metrics[f"NDCG@{k}"] = gains / len(rows)
        metrics[f"DivRatio@{k}"] = sum(number > 0 for number in shown) / (known * k)
        metrics[f"ORRatio@{k}"] = sum(sorted(shown)[-3:]) / (known * k)
        metrics[f"MGU@{k}"] = sum(map(abs, gaps)) / len(gaps)
        metrics[f"DGU@{k}"] = max(gaps) - min(gaps)
    return metrics


def count(mass: dict[str, float], genres: Sequence[str]) -> None:
    kept = [name for name in genres if name in mass]
    for name in kept:
        mass[name] += 1 / len(kept)


def made_up() -> tuple[list[SprecRow], SprecFolder, Table]:
    rng = np.random.default_rng(0)
    titles = tuple(f"title {number}" for number in range(NUM_ITEMS))
    invented = [f"invented {number}" for number in range(NUM_ROWS // 2)]
    popular = (rng.pareto(1, NUM_ROWS) * 5).astype(int) % NUM_ITEMS
    names = [*invented, *(titles[item] for item in popular[len(invented) :])]
    vectors = 0.3 * rng.standard_normal((NUM_ITEMS + len(invented), WIDTH)).astype(np.float32)
    rows = [
        SprecRow(
            history=tuple(titles[item] for item in rng.integers(0, NUM_ITEMS, LENGTH)),
            # One target in fifty is no item; one text in twenty names its target.
            target="unknown" if number % 50 == 1 else titles[popular[number]],
            text=f'"{titles[popular[number]] if number % 20 == 0 else names[number]}"\n',
        )
        for number in range(NUM_ROWS)
    ]
    categories = tuple(
        tuple(rng.choice(GENRES, size=rng.integers(0, 6), replace=False).tolist()) for _ in titles
    )
    catalog = Catalog(ids=titles, titles=titles, categories=categories, tracked=GENRES)
    table = Table(dict(zip([*titles, *invented], vectors, strict=True)))
    return rows, SprecFolder(catalog=catalog, without_id=frozenset()), table


def fastest(compute: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    rows, folder, table = made_up()
    ours, found = fastest(lambda: score_sprec(rows, folder, table, KS), 5)
    theirs, expected = fastest(lambda: naive(rows, folder, table), 2)
    for name, value in expected.items():
        assert math.isclose(found[name], value, abs_tol=1e-9), (name, found[name], value)
    print(
        f"grounding and metrics, {NUM_ROWS:,} texts x {NUM_ITEMS:,} items: {ours:.3f} s, "
        f"plain loops {theirs:.3f} s, ratio {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
