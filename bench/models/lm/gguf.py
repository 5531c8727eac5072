"""Turns a GGUF file of a Llama into the files that everything else reads.

The weights are written in bfloat16. A file that quantized them to 4 bits has lost far more than the
rounding from float32 takes, GPUs compute in bfloat16 anyway, and it halves what lies on the disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.lm import weights
from bench.models.lm.backbone import quiet

STORED = torch.bfloat16


def convert(path: Path, folder: Path) -> dict[str, Plain]:
    """Write the model as `config.json` and `model.safetensors`, with its tokenizer's files.

    Args:
        path: The GGUF file.
        folder: Where to write.

    Returns:
        Facts: the number of parameters and the vocabulary's size.

    Raises:
        BenchError: The file is damaged, or of another architecture than Llama.
    """
    models: Any = AutoModelForCausalLM
    tokenizers: Any = AutoTokenizer
    _check(path)
    with torch.random.fork_rng(devices=[]), quiet():
        here: Any = {"gguf_file": path.name, "local_files_only": True}
        model = models.from_pretrained(
            path.parent, dtype=torch.float32, trust_remote_code=False, **here
        )
        tokenizer = tokenizers.from_pretrained(path.parent, trust_remote_code=False, **here)
    assert type(model) is LlamaForCausalLM
    tensors = weights.own_tensors(model)
    weights.write(
        {name: value.to(STORED) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    # transformers refuses to save a model that it read from a GGUF file, for this mark's sake.
    del model.config.quantization_config
    model.config.dtype = STORED
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        "parameters": sum(value.numel() for value in tensors.values()),
        "vocabulary": model.config.vocab_size,
    }


def _check(path: Path) -> None:
    try:
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    except (OSError, ValueError, KeyError, IndexError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BenchError(
            f"{path.name} is damaged, or no GGUF file that transformers reads: {said[0]}",
            "Fetch it again, or take the model from the hub.",
        ) from error
    if config.model_type != "llama":
        raise BenchError(
            f"{path.name} holds a model of the kind {config.model_type!r}; only llama is read.",
            'Take the model from the hub: a card with weights = "hub".',
        )
