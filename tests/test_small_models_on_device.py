"""Item-ID models and re-rankers compute on the stage's device, and never wait for it in a step.

The device is torch's "meta": it refuses to give a value to the host, and an operation between a
tensor of it and one of the CPU is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.data.windows import Windows
from bench.models.rerank import training as rerank_training
from bench.models.rerank.model import FeatureSizes, ListTensors, score_lists
from bench.models.rerank.training import TrainedReranker, train_reranker
from bench.models.seqrec import checkpoint
from bench.models.seqrec import training as item_training
from bench.models.seqrec.networks import GRU4Rec, RowNetwork, SASRec
from bench.models.seqrec.training import Sequences
from bench.plan.device import Device, plan_for
from bench.plan.item_stages import GRU4RecConfig, SASRecConfig, rank, train_gru4rec, train_sasrec
from bench.plan.rerank_stages import Backbone, RerankerConfig, rerank_lists
from bench.plan.stage import Stage
from bench.plan.types import ListData, Rows
from bench.stages.reward_pairs import compute_rewards

NUM_ITEMS, NUM_USERS, NUM_EPOCHS, WIDTH = 12, 6, 2, 4
META = torch.device("meta")


class _RefuseMixtures(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        assert len(devices) < 2 or "copy" in func.__name__, f"{func} mixes devices"
        return func(*args, **(kwargs or {}))


@contextmanager
def meta_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Select "meta" for the models; yield what reads from it, in order."""
    reads: list[str] = []

    def read_array(tensor: Tensor) -> Tensor:
        reads.append("array")
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def read_number(tensor: Tensor) -> float:
        reads.append("number")
        return 1.0

    for module in (checkpoint, item_training, rerank_training):
        monkeypatch.setattr(module, "select_device", lambda: META)
    with monkeypatch.context() as patch, _RefuseMixtures():
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(Tensor, "cpu", read_array)
        patch.setattr(Tensor, "__float__", read_number)
        yield reads


def windows(num: int) -> Windows:
    generator = np.random.default_rng(num)
    return Windows(
        users=np.zeros(num, dtype=np.int32),
        histories=generator.integers(NUM_ITEMS, size=(num, 5)).astype(np.int32),
        targets=generator.integers(NUM_ITEMS, size=num).astype(np.int32),
    )


def counting_sequences() -> Sequences:
    return Sequences(items=np.arange(99) % NUM_ITEMS, first=np.repeat(np.arange(0, 99, 33), 33))


@pytest.mark.parametrize(
    ("network_class", "config_class", "form", "loss"),
    [
        (SASRec, SASRecConfig, "row", "bce"),
        (SASRec, SASRecConfig, "sequence", "cross-entropy"),
        (GRU4Rec, GRU4RecConfig, "row", "cross-entropy"),
        (GRU4Rec, GRU4RecConfig, "sequence", "bce"),
    ],
)
def test_item_models_train_and_score_on_the_device(
    monkeypatch: pytest.MonkeyPatch,
    network_class: type[RowNetwork],
    config_class: Any,
    form: str,
    loss: str,
) -> None:
    config = config_class(
        form=form, loss=loss, batch_size=8, num_train_epochs=NUM_EPOCHS, num_layers=2
    )
    with meta_device(monkeypatch) as reads:
        model, metadata = item_training.train_item_model(
            network_class,
            config,
            windows(16) if form == "row" else counting_sequences(),
            windows(9),
            num_items=NUM_ITEMS,
            micro_batch_divisor=2,
        )
        assert model.device == META
        assert int(str(metadata["steps"])) >= 2 * NUM_EPOCHS
        assert reads == ["number", "array"] * NUM_EPOCHS  # the mean loss, the validation's ranks
        reads.clear()
        monkeypatch.setattr(checkpoint, "load", lambda folder: model)
        score = checkpoint.load_scorer(None, range(NUM_ITEMS), batch_size=4)  # type: ignore[arg-type]
        assert score(windows(8).histories).shape == (8, NUM_ITEMS)
        assert reads == ["array"] * 2


def lists(num: int) -> ListTensors:
    generator = np.random.default_rng(num)
    items = generator.integers(1, NUM_ITEMS + 1, size=(num, 10))
    return ListTensors(
        items=torch.from_numpy(items),
        labels=torch.from_numpy((items < 5).astype(np.float32)),
        users=torch.arange(num) % NUM_USERS,
        user_texts=torch.from_numpy(generator.random((NUM_USERS, 3, WIDTH), dtype=np.float32)),
    )


def train_on_made_up_texts(backbone: Backbone) -> TrainedReranker:
    sizes = FeatureSizes(
        num_items=NUM_ITEMS,
        num_attributes=3,
        attributes_per_item=1,
        text_width=WIDTH,
        user_texts=True,
        item_texts=True,
    )
    return train_reranker(
        lists(16),
        lists(9),
        sizes,
        RerankerConfig(
            backbone=backbone, batch_size=8, num_train_epochs=NUM_EPOCHS, weight_decay=0.1
        ),
        attributes_IF=torch.ones(NUM_ITEMS + 1, 1, dtype=torch.int64),
        texts_IT=torch.ones(NUM_ITEMS + 1, WIDTH),
        micro_batch_divisor=1 if backbone == "dlcm" else 2,
    )


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_rerankers_train_and_score_on_the_device(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone
) -> None:
    # The fused optimizer has no form for "meta".
    monkeypatch.setattr(rerank_training, "Adam", lambda weights, lr, fused: Adam(weights, lr=lr))
    with meta_device(monkeypatch) as reads:
        model, metadata = train_on_made_up_texts(backbone)
        assert {weights.device for weights in model.parameters()} == {META}
        assert metadata["steps"] == 2 * NUM_EPOCHS
        assert reads == ["number", "array"] * NUM_EPOCHS
        assert score_lists(model, lists(5)).device.type == "cpu"
        assert np.isfinite(compute_rewards(model, lists(12)).ndcg).all()


def test_a_step_that_reads_from_the_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = item_training.target_losses
    monkeypatch.setattr(
        item_training, "target_losses", lambda *args: losses(*args) * losses(*args).sum().item()
    )
    with meta_device(monkeypatch), pytest.raises(RuntimeError, match="meta"):
        item_training.train_item_model(
            SASRec, SASRecConfig(), windows(8), windows(8), num_items=NUM_ITEMS
        )
    with meta_device(monkeypatch), pytest.raises(AssertionError, match="mixes devices"):
        torch.ones(2, device=META) + torch.ones(2)


def planned_stages(device: Device) -> list[Stage]:
    with plan_for(device):
        data = Stage(kind="prepare")
        rows = Rows(data=data, stage=Stage(kind="draw", inputs={"data": data}))
        items = ListData(stage=Stage(kind="lists"))
        models = [train(rows, rows, seed=0) for train in (train_sasrec, train_gru4rec)]
        return [
            *models,
            rank(rows, model=models[0]),
            rerank_lists(items, RerankerConfig(), seed=0),
            rank(rows, scorer="itemknn:fit", train=rows),  # computes without PyTorch
        ]


def test_the_device_is_in_the_keys_of_a_plan_for_a_gpu() -> None:
    on_cpu, on_gpu = planned_stages("cpu"), planned_stages("cuda")
    assert [stage.gpus for stage in on_cpu] == [0] * 5
    assert [stage.gpus for stage in on_gpu] == [0.125] * 4 + [0]
    assert [left.key == right.key for left, right in zip(on_cpu, on_gpu, strict=True)] == [
        *[False] * 4,
        True,
    ]
