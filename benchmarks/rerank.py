"""Training time of the re-rankers (25,000 lists, 20 epochs, 2 threads), and time of the metrics.

Random lists of ML-1M's shape: 3,416 items, 18 genres, 10 positions; with knowledge, vectors of
width 384 (all-MiniLM-L6-v2) for 772 users with 5 texts each and for all items. Patience is as long
as the training, so no epoch is skipped. Prints one line per re-ranker: wall-clock seconds and CPU
seconds, which are what counts on a shared machine.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import torch

from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.devices import compute_threads
from bench.models.rerank.model import FeatureSizes, ListTensors
from bench.models.rerank.training import train_reranker
from bench.plan.rerank_stages import Backbone, RerankerConfig

NUM_TRAIN, NUM_VALID = 25_000, 2_500
NUM_ITEMS, NUM_GENRES, NUM_USERS, NUM_TEXTS, TEXT_WIDTH = 3_416, 18, 772, 5, 384
NUM_EPOCHS = 20


def random_lists(
    num: int, texts: torch.Tensor | None, generator: np.random.Generator
) -> ListTensors:
    popular = (generator.pareto(1, (num, 4)) * 50).astype(np.int64) % NUM_ITEMS
    items = np.concatenate([popular, generator.integers(NUM_ITEMS, size=(num, 6))], axis=1) + 1
    labels = np.zeros((num, 10), dtype=np.float32)
    labels[:, :4] = generator.random((num, 4)) < 0.57
    order = generator.permuted(np.tile(np.arange(10), (num, 1)), axis=1)
    return ListTensors(
        items=torch.from_numpy(np.take_along_axis(items, order, axis=1)),
        labels=torch.from_numpy(np.take_along_axis(labels, order, axis=1)),
        users=torch.from_numpy(generator.integers(NUM_USERS, size=num)),
        user_texts=texts,
    )


def random_vectors(*shape: int, generator: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(generator.standard_normal((*shape, TEXT_WIDTH), dtype=np.float32))


def main() -> None:
    generator = np.random.default_rng(0)
    attributes = torch.from_numpy(generator.integers(1, NUM_GENRES + 1, size=(NUM_ITEMS + 1, 1)))
    user_texts = random_vectors(NUM_USERS, NUM_TEXTS, generator=generator)
    item_texts = random_vectors(NUM_ITEMS + 1, generator=generator)
    for backbone in get_args(Backbone):
        for texts in (False, True):
            sizes = FeatureSizes(
                num_items=NUM_ITEMS,
                num_attributes=NUM_GENRES,
                attributes_per_item=1,
                text_width=TEXT_WIDTH if texts else 0,
                user_texts=texts,
                item_texts=texts,
            )
            config = RerankerConfig(
                backbone=backbone, num_train_epochs=NUM_EPOCHS, patience=NUM_EPOCHS
            )
            train, valid = (
                random_lists(num, user_texts if texts else None, generator)
                for num in (NUM_TRAIN, NUM_VALID)
            )
            started, computed = time.perf_counter(), time.process_time()
            with compute_threads(2):
                trained = train_reranker(
                    train,
                    valid,
                    sizes,
                    config,
                    attributes_IF=attributes,
                    texts_IT=item_texts if texts else None,
                )
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - computed
            assert trained.metadata["epochs"] == NUM_EPOCHS
            print(
                f"{backbone} {'with' if texts else 'without'} knowledge, {NUM_TRAIN:,} lists x "
                f"{NUM_EPOCHS} epochs: {seconds:.1f} s ({cpu_seconds:.1f} CPU s)",
                flush=True,
            )
    labels = train.labels.numpy().astype(np.int8)
    started = time.perf_counter()
    evaluate_lists(generator.random(labels.shape), labels, ks=(1, 3, 5, 7))
    print(f"metrics of {NUM_TRAIN:,} lists at four k: {time.perf_counter() - started:.3f} s")


if __name__ == "__main__":
    main()
