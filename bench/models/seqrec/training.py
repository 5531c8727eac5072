"""Training of item-ID models: Adam, in row or sequence form, early stopping on NDCG@20.

Early stopping follows the public code of the LLM papers' baselines: full ranking of the validation
rows. All randomness comes from the seed; the caller's random state and thread count are unchanged.

The sequence form takes all prefixes of the users' training sequences, left to right (Kang &
McAuley). Sequences are cut into pieces of the test histories' length at places that are drawn anew
in each epoch, so that every item is predicted from contexts of all lengths.

Tensor names end in their shape: N rows or targets, B batch, L length, D hidden size, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from bench.data import prepared
from bench.data.prepared import Prepared
from bench.data.windows import PADDING, Windows, find_covered_interactions
from bench.errors import BenchError
from bench.hashing import Job, Plain, derive_seed
from bench.metrics.accuracy import ndcg
from bench.models.epoch_loop import train_epochs
from bench.models.lm.devices import (
    compute_threads,
    fork_random_state,
    seed_generators,
    select_device,
    to_device,
)
from bench.models.seqrec.checkpoint import save
from bench.models.seqrec.networks import RowNetwork, bce_losses
from bench.plan.item_stages import ItemModelConfig

STOPPING_K = 20
EVALUATION_BATCH_SIZE = 1024


class Sequences(NamedTuple):
    """Sequences of items, one after the other.

    Attributes:
        items: Item indices, shape (M,).
        first: Index in `items` of the first item of each item's sequence, shape (M,).
    """

    items: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        """Number of items that have an item before them."""
        return int(np.count_nonzero(self.first < np.arange(len(self.items))))


class Pieces(NamedTuple):
    """Pieces of sequences: item ids before each target, and targets, shape (B, L), -1 padded."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


def join_rows(source: Prepared, rows: NDArray[np.int64]) -> Sequences:
    """Join overlapping training rows, samples by index, into sequences of a user's interactions.

    A gap between the rows of a user starts another sequence.
    """
    covered = find_covered_interactions(source.start[rows], source.target[rows], len(source.users))
    covered = covered[source.items[covered] >= 0]
    users = source.users[covered]
    begins = np.ones(len(covered), dtype=bool)
    begins[1:] = (np.diff(covered) > 1) | (users[1:] != users[:-1])
    first = np.maximum.accumulate(np.where(begins, np.arange(len(covered)), 0))
    return Sequences(items=source.items[covered].astype(np.int64), first=first)


def cut(sequences: Sequences, length: int, generator: np.random.Generator) -> Pieces:
    """Cut every sequence into pieces of `length` targets; the first and last may be shorter."""
    positions = np.arange(len(sequences.items))
    targets = positions[sequences.first < positions]
    first = sequences.first[targets]
    begins = np.ones(len(targets), dtype=bool)
    begins[1:] = first[1:] != first[:-1]
    owner = np.cumsum(begins) - 1
    shift = generator.integers(length, size=int(begins.sum()))[owner]
    slot = targets - first - 1 + shift
    begins[1:] |= slot[1:] // length != slot[:-1] // length
    piece = np.cumsum(begins) - 1
    column = np.arange(len(targets)) - np.flatnonzero(begins)[piece]
    pieces = Pieces(*np.full((2, int(begins.sum()), length), PADDING, dtype=np.int64))
    pieces.inputs[piece, column] = sequences.items[targets - 1]
    pieces.targets[piece, column] = sequences.items[targets]
    return pieces


class TrainedItemModel(NamedTuple):
    """A trained network in evaluation mode, and its stage metadata."""

    model: RowNetwork
    metadata: dict[str, Plain]


class _Rows(NamedTuple):
    """Rows whose target is in the catalog: item ids (N, L), lengths (N,) and targets (N,)."""

    items: Tensor
    lengths: Tensor
    targets: Tensor


def train_and_save(
    job: Job,
    network_class: type[RowNetwork],
    config: ItemModelConfig,
    inputs: Mapping[str, Path],
) -> None:
    """Run the stage of an item-ID model: read data and sampled rows, train, save."""
    source = prepared.load(inputs["data"])
    rows = prepared.load_rows(inputs["train"])
    with compute_threads(config.threads):
        model, metadata = train_item_model(
            network_class,
            config,
            source.windows(rows) if config.form == "row" else join_rows(source, rows),
            source.windows(prepared.load_rows(inputs["valid"])),
            num_items=len(source.catalog),
            micro_batch_divisor=job.micro_batch_divisor,
        )
    save(model, job.out)
    job.metadata.update(metadata)


def train_item_model(
    network_class: type[RowNetwork],
    config: ItemModelConfig,
    train: Windows | Sequences,
    valid: Windows,
    *,
    num_items: int,
    micro_batch_divisor: int = 1,
) -> TrainedItemModel:
    """Train until the validation NDCG@20 has not improved for `config.patience` epochs.

    Training rows whose target is not in the catalog are dropped; in validation it counts as a miss.
    If no target there is known, every epoch is trained and the last one kept.

    Raises:
        BenchError: There is no training row with a known target, or the loss diverged.
    """
    name = network_class.__name__
    generator = np.random.default_rng(derive_seed(name, "rows", config.seed))
    num_valid = int((valid.targets >= 0).sum())
    device = select_device()
    with fork_random_state(device):
        seed_generators(derive_seed(name, "weights", config.seed), device)
        model = network_class(config, num_items=num_items, max_length=valid.histories.shape[1])
        model.to(device)
        trainable = (
            _row_form(train, model, generator)
            if isinstance(train, Windows)
            else _sequence_form(train, model, generator)
        )
        if not trainable.num_targets:
            raise BenchError(
                f"{name} has no training row with a known target.", "Sample more rows."
            )
        seed_generators(derive_seed(name, "dropout", config.seed), device)
        history = train_epochs(
            model,
            Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
            draw_batches=trainable.draw_batches,
            mean_loss=trainable.mean_loss,
            validate=lambda: mean_ndcg(model, valid) if num_valid else None,
            num_epochs=config.num_train_epochs,
            patience=config.patience,
            micro_batch_divisor=micro_batch_divisor,
        )
    metadata = history.as_metadata(f"valid_ndcg@{STOPPING_K}")
    num_train = trainable.num_targets
    return TrainedItemModel(model, {"train_rows": num_train, "valid_rows": num_valid, **metadata})


class _Trainable(NamedTuple):
    """What `train_epochs` needs, and the number of targets per epoch."""

    draw_batches: Callable[[], Iterator[tuple[Tensor, ...]]]
    mean_loss: Callable[..., Tensor]
    num_targets: int


def _row_form(train: Windows, model: RowNetwork, generator: np.random.Generator) -> _Trainable:
    rows = _encode_known_rows(train, model)
    targets = train.targets[train.targets >= 0].astype(np.int64)

    def draw_batches() -> Iterator[tuple[Tensor, ...]]:
        """Visit every row once, each with a new negative."""
        negatives_N = to_device(sample_negatives(targets, model.num_items, generator), model.device)
        order_N = to_device(generator.permutation(len(targets)), model.device)
        for rows_B in torch.split(order_N, model.config.batch_size):
            yield rows_B, negatives_N[rows_B]

    def mean_loss(rows_B: Tensor, negatives_B: Tensor) -> Tensor:
        states_BD = model(rows.items[rows_B], rows.lengths[rows_B])
        return target_losses(model, states_BD, rows.targets[rows_B], negatives_B).mean()

    return _Trainable(draw_batches, mean_loss, len(targets))


def _sequence_form(
    train: Sequences, model: RowNetwork, generator: np.random.Generator
) -> _Trainable:
    def draw_batches() -> Iterator[tuple[Tensor, ...]]:
        """Cut the sequences anew, and visit every piece once."""
        pieces = cut(train, model.max_length, generator)
        negatives = sample_negatives(pieces.targets, model.num_items, generator)
        inputs_NL = torch.from_numpy(np.where(pieces.inputs < 0, model.num_items, pieces.inputs))
        targets_NL, negatives_NL = map(torch.from_numpy, (pieces.targets, negatives))
        order_N = torch.from_numpy(generator.permutation(len(inputs_NL)))
        for rows_B in torch.split(order_N, model.config.batch_size):
            # Every target of the batch counts alike, also where micro-batches split it.
            num_targets = (targets_NL[rows_B] >= 0).sum()
            weights_B = (len(rows_B) / num_targets).expand(len(rows_B))
            yield inputs_NL[rows_B], targets_NL[rows_B], negatives_NL[rows_B], weights_B

    def mean_loss(
        inputs_BL: Tensor, targets_BL: Tensor, negatives_BL: Tensor, weights_B: Tensor
    ) -> Tensor:
        # Selected on the host: to select by a mask, it would wait for the device.
        positions, device = torch.from_numpy(np.flatnonzero(targets_BL.numpy() >= 0)), model.device
        states_BLD = model.encode(to_device(inputs_BL, device))
        states_ND = states_BLD.flatten(0, 1).index_select(0, to_device(positions, device))
        targets_N, negatives_N = (
            to_device(ids_BL.flatten()[positions], device) for ids_BL in (targets_BL, negatives_BL)
        )
        losses = target_losses(model, states_ND, targets_N, negatives_N)
        return losses.sum() * weights_B[0] / len(inputs_BL)

    return _Trainable(draw_batches, mean_loss, train.num_targets)


def target_losses(
    model: RowNetwork, states_BD: Tensor, targets_B: Tensor, negatives_B: Tensor
) -> Tensor:
    """Return the loss of each target, shape (B,); cross-entropy needs no negatives."""
    if model.config.loss == "cross-entropy":
        return functional.cross_entropy(model.output(states_BD), targets_B, reduction="none")
    positive_B = model.logits(states_BD, targets_B)
    return bce_losses(positive_B, model.logits(states_BD, negatives_B))


def sample_negatives(
    targets: NDArray[np.integer], num_items: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Sample for each target another item, uniformly; it may occur in the history."""
    items = generator.integers(num_items - 1, size=targets.shape, dtype=np.int64)
    # Shifting the upper part by one skips the target without a second draw.
    return items + (items >= targets)


def mean_ndcg(model: RowNetwork, valid: Windows) -> float:
    """Return the mean NDCG@20 of a full ranking; ties are broken by item index.

    An unknown target counts as a miss. The model is left in evaluation mode.
    """
    model.eval()
    rows = _encode_known_rows(valid, model)
    gain = 0.0
    with torch.inference_mode():
        for items, lengths, targets in zip(
            *(torch.split(tensor, EVALUATION_BATCH_SIZE) for tensor in rows), strict=True
        ):
            scores_BI = model.output(model(items, lengths))
            own_B1 = scores_BI.gather(1, targets[:, None])
            later_BI = torch.arange(model.num_items, device=model.device) >= targets[:, None]
            # Counting the items ranked after it, the target included, makes NaN a miss.
            after_BI = (scores_BI < own_B1) | ((scores_BI == own_B1) & later_BI)
            ranks = model.num_items - after_BI.sum(1).cpu().numpy()
            gain += float(ndcg(ranks, min(STOPPING_K, model.num_items)).sum())
    return gain / len(valid)


def _encode_known_rows(windows: Windows, model: RowNetwork) -> _Rows:
    is_known = windows.targets >= 0
    items_NL, lengths_N = model.encode_histories(windows.histories[is_known])
    targets = windows.targets[is_known].astype(np.int64)
    assert (targets < model.num_items).all(), "targets of another catalog"
    return _Rows(*(to_device(each, model.device) for each in (items_NL, lengths_N, targets)))
