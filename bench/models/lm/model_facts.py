"""What a model's folder says about it without its weights: architecture, size, layers, template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.errors import BenchError, describe_exception
from bench.hashing import Plain
from bench.models.lm.backbone import read_tokenizer
from bench.models.lm.chat_prompts import has_chat_template

CAUSAL = ("ForCausalLM", "LMHeadModel")


def inspect_model(folder: Path, name: str) -> dict[str, Plain]:
    """Return what follows from config.json and the tokenizer; `name` is for messages.

    Returns:
        `architecture`, `chat_template` (whether there is one), `parameters`, `dtype`, `max_length`
        in tokens (None if not limited) and `linear`, the names of its linear layers.

    Raises:
        BenchError: It is no causal language model, or has no usable tokenizer.
    """
    classes: Any = AutoModelForCausalLM
    try:
        content = json.loads((folder / "config.json").read_bytes())
        architecture = next(iter(content.get("architectures") or ()), "no architecture")
        if not architecture.endswith(CAUSAL):
            raise BenchError(
                f"{name} is not a causal language model: its config.json names {architecture}.",
                "Choose a model of a class …ForCausalLM.",
            )
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = classes.from_config(config)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise BenchError(
            f"{name} is not a model that transformers can build: {describe_exception(error)}.",
            "Code of repositories is never run; try a newer transformers.",
        ) from error
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer.model")):
        raise BenchError(
            f"{name} has no tokenizer: neither tokenizer.json nor tokenizer.model.",
            "Save it there with tokenizer.save_pretrained().",
        )
    output = model.get_output_embeddings()
    linear = {
        path.rpartition(".")[2]
        for path, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and module is not output
    }
    dtype = str(getattr(config, "dtype", None) or torch.float32)
    return {
        "architecture": architecture,
        "chat_template": has_chat_template(read_tokenizer(folder)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": "bfloat16" if dtype.endswith("float16") else "float32",
        "max_length": getattr(config, "max_position_embeddings", None),
        "linear": sorted(linear),
    }
