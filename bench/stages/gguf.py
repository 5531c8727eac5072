"""Fetch a backbone's GGUF file and convert it; the artifact is a model as transformers saves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from bench.config.plugins import model_card
from bench.data import assets
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.models.lm import weights
from bench.models.lm.backbone import quiet
from bench.plan.backbones import GGUFConfig

DTYPE = torch.bfloat16


def convert_gguf(path: Path, folder: Path) -> dict[str, Plain]:
    """Write the model as `config.json` and `model.safetensors`, with its tokenizer's files.

    Returns:
        Logged metrics: the number of parameters and the vocabulary's size.

    Raises:
        BenchError: The file is damaged, or of another architecture than Llama.
    """
    models: Any = AutoModelForCausalLM
    tokenizers: Any = AutoTokenizer
    _check_architecture(path)
    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    with torch.random.fork_rng(devices=[]), quiet():
        model = models.from_pretrained(
            path.parent, dtype=torch.float32, trust_remote_code=False, **options
        )
        tokenizer = tokenizers.from_pretrained(path.parent, trust_remote_code=False, **options)
    assert type(model) is LlamaForCausalLM
    tensors = weights.own_tensors(model)
    weights.write_tensors(
        {name: value.to(DTYPE) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    # With this attribute transformers refuses to save a model that it read from a GGUF file.
    del model.config.quantization_config
    model.config.dtype = DTYPE
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        "parameters": sum(value.numel() for value in tensors.values()),
        "vocabulary": model.config.vocab_size,
    }


def _check_architecture(path: Path) -> None:
    try:
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    except (OSError, ValueError, KeyError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"{path.name} is damaged, or no GGUF file that transformers reads: {reason}",
            "Fetch it again, or use the model from the hub.",
        ) from error
    if config.model_type != "llama":
        raise BenchError(
            f"{path.name} holds a {config.model_type!r} model; only llama is supported.",
            'Use the model from the hub: a card with weights = "hub".',
        )


def run(job: Job, config: GGUFConfig, inputs: Mapping[str, Path]) -> None:
    """Write configuration, weights and tokenizer.

    Raises:
        BenchError: The card has changed since the plan, or the file cannot be fetched or is not
            a Llama model.
    """
    name = config.name
    card = model_card(name)
    file = card.files.get("gguf")
    if file is None or file.sha256 != config.sha256:
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    owner = f"the model {name}"
    path = assets.fetch(file, card, owner, data_dir=job.data_dir, offline=job.offline)
    job.metadata.update(convert_gguf(path, job.out))
