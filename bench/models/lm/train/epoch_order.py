"""The order of the training samples: another random one in each epoch, decided by the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from bench.hashing import derive_seed
from bench.plan.language_stages import TrainingConfig

POOL_BATCHES = 16
"""Batches whose samples are sorted by length together."""


class EpochOrder(Sampler[int]):
    """A seeded order of the samples for each epoch; every pass over it is the next epoch.

    `config.seed` decides the order; `group_by_length` and `batch_size` which samples share a batch.
    """

    def __init__(self, lengths: Sequence[int], config: TrainingConfig) -> None:
        self.lengths, self.config = np.asarray(lengths), config
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng(derive_seed("sample order", self.config.seed, self.epoch))
        self.epoch += 1
        order = rng.permutation(len(self.lengths))
        if self.config.group_by_length:
            order = group_by_length(order, self.lengths, self.config.batch_size, rng)
        return iter(order.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)


def group_by_length(
    order: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Sort each pool of consecutive samples by length, and put all batches in random order.

    Only a last batch that is not full stays where it is. transformers' own sampler
    ("group_by_length") would leave each pool's batches in falling order of length.
    """
    pools = np.split(order, range(POOL_BATCHES * batch_size, len(order), POOL_BATCHES * batch_size))
    grouped = np.concatenate([pool[np.argsort(-lengths[pool], kind="stable")] for pool in pools])
    num_full = len(order) // batch_size * batch_size
    batches = rng.permutation(grouped[:num_full].reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), grouped[num_full:]])
