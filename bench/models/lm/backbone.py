"""Reads a backbone's model, tokenizer and metadata from its folder.

Only safetensors and JSON are read: no pickle, and no code of a repository is run.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from bench.errors import BenchError, describe_exception
from bench.hashing import Plain, checksum
from bench.models.lm import weights
from bench.models.lm.devices import select_device
from bench.models.lm.tokenization import Tokenizer, has_chat_template

POINTER = "backbone.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

CAUSAL = ("ForCausalLM", "LMHeadModel")


def model_folder(backbone: Path) -> Path:
    """Return the folder of a model's files: the artifact, or the folder that its pointer names.

    The files that a pointer names are verified once per process.

    Raises:
        BenchError: There is no model, or a file is not what the pointer was made for.
    """
    pointer = backbone / POINTER
    folder = backbone
    if pointer.is_file():
        record = json.loads(pointer.read_text())
        folder = Path(record["folder"])
        _verify_files(folder, tuple(record.get("files", {}).items()))
    if not (folder / "config.json").is_file():
        problem = "no longer exists" if pointer.is_file() else "has no config.json"
        raise BenchError(
            f"The model folder {folder} {problem}.",
            f"Restore it, or remove {backbone} from the store and run again.",
        )
    return folder


@cache
def _verify_files(folder: Path, checksums: tuple[tuple[str, str], ...]) -> None:
    for name, expected in checksums:
        path = folder / name
        if path.is_file() and checksum(path) != expected:
            raise BenchError(
                f"{path} is not the file that was fetched: its checksum differs.",
                "Restore or remove it, and remove the stage hub from the store to use it as it is.",
            )


def read_model(folder: Path, dtype: str, quantization: str) -> PreTrainedModel:
    """Read a model onto the GPU if there is one, without dropout, with torch's own attention.

    Raises:
        BenchError: The folder contains no causal language model, or weights that do not fit.
    """
    classes: Any = AutoModelForCausalLM
    device, options = select_device(), dict[str, Any]()
    if device.type == "cuda":  # straight to the GPU
        options["device_map"] = {"": device.index}
    if quantization != "none":
        options["quantization_config"] = _four_bits(DTYPES[dtype])
    try:
        config: Any = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        for name, value in config.to_dict().items():
            if isinstance(value, float) and ("dropout" in name or name.endswith("pdrop")):
                setattr(config, name, 0.0)
        with torch.random.fork_rng(devices=[]), quiet():
            model, info = classes.from_pretrained(
                folder,
                config=config,
                dtype=DTYPES[dtype],
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _unreadable(folder, str(error)) from error
    differing = [*info["missing_keys"], *info["unexpected_keys"]]
    names = weights.tensor_names(weights.weight_files(folder))
    if quantization == "none":
        differing += [name for name in weights.own_tensors(model) if name not in names]
    if differing:
        raise _unreadable(folder, f"weights and configuration differ in {min(differing)}")
    loaded: PreTrainedModel = model
    return loaded


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars of transformers: the runner shows its own."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _four_bits(dtype: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BenchError(
            "Weights in 4 bits (nf4) need the package bitsandbytes.",
            "pip install 'llmrec-bench[nf4]', or --model-set quantization=none.",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read a tokenizer; without a padding token it pads with the end-of-sequence token.

    Raises:
        BenchError: There is none, or it has no end-of-sequence token.
    """
    classes: Any = AutoTokenizer
    try:
        tokenizer = classes.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, str(error)) from error
    if tokenizer.eos_token_id is None:
        raise BenchError(
            f"The tokenizer in {folder} has no end-of-sequence token.",
            "Set eos_token in tokenizer_config.json.",
        )
    if tokenizer.pad_token_id is None:
        # Padding is always masked, so that any token will do.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _unreadable(folder: Path, reason: str) -> BenchError:
    first_line = next((line.strip() for line in reason.splitlines() if line.strip()), "")
    return BenchError(
        f"The model in {folder} cannot be loaded: {first_line.rstrip('.')}.",
        "It must be a causal language model that transformers knows, with its tokenizer.",
    )


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
