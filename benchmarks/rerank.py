"""How long it takes to train the re-rankers: 25,000 lists, 20 epochs, 2 threads; and the metrics.

Made-up lists of ML-1M's shape: 3,416 items, 18 genres, 10 places; with knowledge, vectors of width
384 (all-MiniLM-L6-v2) for 772 users with 5 texts each and for all items, 2 shared and 5 dedicated
experts. Patience is as long as the training, so no epoch is saved. Prints a line for each: seconds,
and seconds of computing, which is what counts where others compute at the same time.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.threads import compute_threads
from bench.models.rerank.model import BACKBONES, Sizes
from bench.models.rerank.scoring import Rows
from bench.models.rerank.training import Recipe, fit

LISTS, CHOOSING, ITEMS, GENRES, USERS, TEXTS, WIDTH = 25_000, 2_500, 3_416, 18, 772, 5, 384
RECIPE = Recipe(learning_rate=1e-3, weight_decay=0.0, batch=256, epochs=20, patience=20)


def made_up(num: int, texts: torch.Tensor | None, rng: np.random.Generator) -> Rows:
    popular = (rng.pareto(1, (num, 4)) * 50).astype(np.int64) % ITEMS
    items = np.concatenate([popular, rng.integers(ITEMS, size=(num, 6))], axis=1) + 1
    labels = np.zeros((num, 10), dtype=np.float32)
    labels[:, :4] = rng.random((num, 4)) < 0.57
    order = rng.permuted(np.tile(np.arange(10), (num, 1)), axis=1)
    return Rows(
        items=torch.from_numpy(np.take_along_axis(items, order, axis=1)),
        labels=torch.from_numpy(np.take_along_axis(labels, order, axis=1)),
        users=torch.from_numpy(rng.integers(USERS, size=num)),
        user_texts=texts,
    )


def main() -> None:
    rng = np.random.default_rng(0)
    attributes = torch.from_numpy(rng.integers(1, GENRES + 1, size=(ITEMS + 1, 1)))
    user_texts = torch.from_numpy(rng.standard_normal((USERS, TEXTS, WIDTH), dtype=np.float32))
    item_texts = torch.from_numpy(rng.standard_normal((ITEMS + 1, WIDTH), dtype=np.float32))
    for backbone in BACKBONES:
        for knows in (False, True):
            sizes = Sizes(
                backbone=backbone,
                num_items=ITEMS,
                num_attributes=GENRES,
                fields=1,
                text_width=WIDTH if knows else 0,
                user_texts=knows,
                item_texts=knows,
            )
            rows = made_up(LISTS, user_texts if knows else None, rng)
            chooser = made_up(CHOOSING, user_texts if knows else None, rng)
            started, computed = time.perf_counter(), time.process_time()
            with compute_threads(2):
                fitted = fit(
                    rows,
                    chooser,
                    sizes,
                    RECIPE,
                    attributes_IF=attributes,
                    texts_IT=item_texts if knows else None,
                    seed=0,
                )
            seconds, computing = time.perf_counter() - started, time.process_time() - computed
            assert fitted.facts["epochs"] == RECIPE.epochs
            kind = "with knowledge" if knows else "alone"
            print(
                f"{backbone} {kind}, {LISTS:,} lists x {RECIPE.epochs} epochs: {seconds:.1f} s "
                f"({computing:.1f} s of computing)",
                flush=True,
            )
    labels = rows.labels.numpy().astype(np.int8)
    started = time.perf_counter()
    evaluate_lists(rng.random(labels.shape), labels, ks=(1, 3, 5, 7))
    print(f"metrics of {LISTS:,} lists at four k: {time.perf_counter() - started:.3f} s")


if __name__ == "__main__":
    main()
