"""What only a GPU can show: `pytest -m cuda`; skipped without one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from constrained_models import made_up_prompts, made_up_titles, tiny_llama
from test_small_models_on_device import (
    NUM_ITEMS,
    counting_sequences,
    lists,
    train_on_made_up_texts,
    windows,
)
from tiny_llama import tiny_backbone
from torch.nn.functional import scaled_dot_product_attention

from bench.models.lm import devices
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.item_search import search_titles
from bench.models.lm.decode.trie import build_trie
from bench.models.lm.tuned_model import LanguageModel, load
from bench.models.rerank.model import score_lists
from bench.models.seqrec.networks import SASRec
from bench.models.seqrec.training import train_item_model
from bench.plan.device import plan_for
from bench.plan.item_stages import SASRecConfig
from bench.plan.language_stages import DecodingConfig
from bench.plan.rerank_stages import Backbone
from bench.runner.worker import _describe_failure, describe_processors

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here"),
]
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "down_proj"]}
IDS_BL = torch.arange(4, 28).view(2, 12)


@pytest.fixture(autouse=True)
def on_gpu() -> Iterator[None]:
    devices.set_up_device(on_gpu=True)
    yield
    devices.set_up_device(on_gpu=False)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    tiny_backbone(folder)
    return folder


def trained_loss(model: LanguageModel, steps: int = 8) -> float:
    ids_BL = IDS_BL.to(model.device)
    weights = [weight for weight in model.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        with model.autocast():
            loss = model.model(input_ids=ids_BL, labels=ids_BL).loss
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("tuning", [{"kind": "full"}, LORA])
def test_bfloat16_trains_like_float32(backbone: Path, tuning: dict[str, Any]) -> None:
    losses = []
    for dtype in ("float32", "bfloat16"):
        model = load(backbone, tuning=tuning, dtype=dtype, seed=0)
        assert model.device.type == "cuda"
        losses.append(trained_loss(model))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_and_unmerged_agree(backbone: Path, dtype: str) -> None:
    model = load(backbone, tuning=LORA, dtype=dtype, seed=0)
    trained_loss(model)
    with torch.no_grad():
        with model.autocast():
            apart = model.model(input_ids=IDS_BL.cuda()).logits.float()
        with model.merged():
            together = model.model(input_ids=IDS_BL.cuda()).logits.float()
    tolerance = 1e-2 if dtype == "float32" else 0.15  # TF32 has 10 bits, bfloat16 has 7
    torch.testing.assert_close(together, apart, rtol=0, atol=tolerance)


def test_beams_and_their_certificates_are_those_of_the_cpu() -> None:
    torch.set_float32_matmul_precision("highest")
    trie, prompts = build_trie(made_up_titles(60)), made_up_prompts(9)
    config = DecodingConfig(num_beams=10, max_num_beams=80)
    lists = [
        search_titles(model, prompts, trie, lambda rows: Guidance(), config)
        for model in (tiny_llama(), tiny_llama().cuda())
    ]
    np.testing.assert_allclose(lists[1].scores, lists[0].scores, atol=1e-3)
    assert np.array_equal(lists[1].certified, lists[0].certified)


@pytest.mark.parametrize("form", ["row", "sequence"])
def test_item_models_train_like_on_a_cpu(form: str) -> None:
    config = SASRecConfig(form=form, dropout=0.0, batch_size=8, num_train_epochs=2)
    train = windows(32) if form == "row" else counting_sequences()
    losses = []
    for device in ("cuda", "cpu"):
        with plan_for(device):
            model, metadata = train_item_model(
                SASRec, config, train, windows(9), num_items=NUM_ITEMS
            )
        assert model.device.type == device
        losses.append(metadata["loss_by_epoch"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_rerankers_train_like_on_a_cpu(backbone: Backbone) -> None:
    losses, scores = [], []
    for device in ("cuda", "cpu"):
        with plan_for(device):
            model, metadata = train_on_made_up_texts(backbone)
        assert next(model.parameters()).device.type == device
        losses.append(metadata["loss_by_epoch"])
        scores.append(score_lists(model, lists(5)))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    torch.testing.assert_close(*scores, rtol=0, atol=0.05)


def test_cudnn_attention_is_off() -> None:
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    query = torch.randn(2, 4, 8, 64, device="cuda", dtype=torch.bfloat16)
    assert scaled_dot_product_attention(query, query, query, is_causal=True).isfinite().all()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="no bitsandbytes")
def test_four_bits_compute(backbone: Path) -> None:
    model = load(backbone, tuning=LORA, dtype="bfloat16", quantization="nf4", seed=0)
    assert trained_loss(model) < 10
    with torch.no_grad(), model.merged():
        assert model.model(input_ids=IDS_BL.cuda()).logits.isfinite().all()


def test_a_real_allocation_runs_out_of_memory_and_says_so() -> None:
    _, total = torch.cuda.mem_get_info()
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2 * total, dtype=torch.uint8, device="cuda")
    assert _describe_failure(caught.value)["failure"] == "out of memory"
    assert 0 < devices.count_free_bytes() <= total


def test_the_card_is_recorded() -> None:
    described = describe_processors(on_gpu=True)
    assert torch.cuda.get_device_name() in described.values()
