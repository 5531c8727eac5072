"""Training of re-rankers: AdamW with a constant learning rate, early stopping on MAP@5.

KAR's cosine schedule is constant to four digits, because its horizon counts lists while its steps
count batches; so the rate is constant here. KAR selects the epoch on the test lists; the caller
decides (and reports) which lists select.

All randomness comes from the seed; the caller's random state is unchanged.

Tensor names end in their shape: N lists, B batch, L list length, I items with 0 for none,
F attributes per item, T width of a text vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from bench.data.prepared_lists import PreparedLists
from bench.errors import BenchError
from bench.hashing import Plain, derive_seed
from bench.models.epoch_loop import DECIMALS, train_epochs
from bench.models.lm.devices import select_device
from bench.models.rerank.backbones import have_zero_gradient
from bench.models.rerank.model import (
    SELECTION_K,
    FeatureSizes,
    ListTensors,
    Reranker,
    mean_average_precision,
    score_lists,
)
from bench.models.rerank.vectors import TextVectors, attribute_table, list_tensors
from bench.plan.rerank_stages import RerankerConfig

COLLAPSED = 0.5


class TrainedReranker(NamedTuple):
    """A trained re-ranker in evaluation mode, and its stage metadata.

    For SetRank with KAR's loss the metadata include the fraction of training lists without a
    gradient per epoch, and whether training collapsed: more than half of them after any epoch.
    """

    model: Reranker
    metadata: dict[str, Plain]


def train_on_lists(
    source: PreparedLists,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    texts: TextVectors,
    config: RerankerConfig,
    *,
    micro_batch_divisor: int = 1,
) -> TrainedReranker:
    """Train a re-ranker on some lists of a prepared data set, by index; see `train_reranker`."""
    sizes = FeatureSizes(
        num_items=len(source.item_ids),
        num_attributes=len(source.attribute_names),
        attributes_per_item=source.attributes.shape[1],
        text_width=texts.width,
        user_texts=texts.users is not None,
        item_texts=texts.items is not None,
    )
    return train_reranker(
        list_tensors(source, train, texts.select_for_training(config.training_text)),
        list_tensors(source, valid, texts.select_for_scoring(config.scoring_text)),
        sizes,
        config,
        attributes_IF=attribute_table(source),
        texts_IT=texts.item_table(),
        micro_batch_divisor=micro_batch_divisor,
    )


def train_reranker(
    train: ListTensors,
    valid: ListTensors,
    sizes: FeatureSizes,
    config: RerankerConfig,
    *,
    attributes_IF: Tensor,
    texts_IT: Tensor | None = None,
    micro_batch_divisor: int = 1,
) -> TrainedReranker:
    """Train until MAP@5 on the validation lists has not improved for `config.patience` epochs.

    Without validation lists every epoch is trained and the last one kept. In `attributes_IF` and
    `texts_IT` row 0 is for no item; a batch is split into `micro_batch_divisor` parts, to save
    memory.

    Raises:
        BenchError: There are fewer than 2 training lists, the loss diverged, or a batch cannot be
            split with the same result.
    """
    if len(train) < 2:
        raise BenchError(f"A re-ranker cannot learn from {len(train)} lists.", "Add lists.")
    generator = np.random.default_rng(derive_seed("rerank rows", config.seed))
    zero_gradient: list[float] = []
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed every GPU, whose state fork_rng does not restore here.
        torch.default_generator.manual_seed(derive_seed("rerank weights", config.seed))
        model = Reranker(config, sizes, attributes_IF, texts_IT).to(select_device())
        if micro_batch_divisor > 1 and not model.backbone.splits:
            raise BenchError(
                "A batch of DLCM cannot be split: batch normalization needs all of it.",
                "Lower batch_size, or free memory.",
            )
        num_texts = 1 if train.user_texts is None else train.user_texts.shape[1]

        def draw_batches() -> Iterator[tuple[Tensor, Tensor]]:
            """Visit every list once, with a sampled text of its user."""
            order_N = torch.from_numpy(generator.permutation(len(train)))
            texts_N = torch.from_numpy(generator.integers(num_texts, size=len(train)))
            for rows_B in split_batches(order_N, config.batch_size):
                yield rows_B, texts_N[rows_B]

        def mean_loss(rows_B: Tensor, texts_B: Tensor) -> Tensor:
            scores_BL = model(train.items[rows_B], train.text_vectors(rows_B, texts_B))
            return model.losses(scores_BL, train.labels[rows_B]).mean()

        def validate() -> float | None:
            if config.backbone == "setrank" and config.setrank_loss == "kar":
                scores_NL = score_lists(model, train)
                zero_gradient.append(float(have_zero_gradient(scores_NL).double().mean()))
            return mean_average_precision(model, valid) if len(valid) else None

        history = train_epochs(
            model,
            make_optimizer(model, config),
            draw_batches=draw_batches,
            mean_loss=mean_loss,
            validate=validate,
            num_epochs=config.num_train_epochs,
            patience=config.patience,
            micro_batch_divisor=micro_batch_divisor,
        )
    metadata: dict[str, Plain] = {
        "train_lists": len(train),
        "valid_lists": len(valid),
        **history.as_metadata(f"map@{SELECTION_K}"),
    }
    if zero_gradient:
        metadata["zero_gradient_fraction_by_epoch"] = [
            round(value, DECIMALS) for value in zero_gradient
        ]
        metadata["zero_gradient_fraction"] = round(zero_gradient[history.best_epoch - 1], DECIMALS)
        metadata["collapsed"] = max(zero_gradient) > COLLAPSED
    return TrainedReranker(model, metadata)


def make_optimizer(model: Reranker, config: RerankerConfig) -> Adam:
    """Build KAR's AdamW: after each step, every weight that is no bias shrinks by rate x decay."""
    optimizer = Adam(model.parameters(), lr=config.learning_rate, fused=True)
    factor = 1 - config.learning_rate * config.weight_decay
    decayed = [weights for name, weights in model.named_parameters() if "bias" not in name]

    def decay_weights(*_arguments: object) -> None:
        with torch.no_grad():
            for weights in decayed:
                weights.mul_(factor)

    if factor < 1:
        optimizer.register_step_post_hook(decay_weights)
    return optimizer


def split_batches(order_N: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Split into batches; a last batch of one list joins the one before it.

    A single list has no batch statistics, which DLCM's batch normalization needs.
    """
    ends = list(range(batch_size, len(order_N), batch_size))
    if ends and len(order_N) - ends[-1] == 1:
        ends.pop()
    yield from order_N.tensor_split(ends)
