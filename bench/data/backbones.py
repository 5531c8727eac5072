"""Which files of a model's folder decide what it computes; no torch: a plan puts it into keys."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.hashing import checksum, digest

MODEL_FILES = ("*.safetensors", "*.json", "tokenizer.model")


def folder_checksum(folder: Path) -> str:
    """Hash the names and contents of a model's files.

    Raises:
        BenchError: It is no folder, or holds no configuration or no safetensors.
    """
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise BenchError(
            f"--model-path {folder} is no model: it must hold config.json and *.safetensors.",
            "Name the folder that `hf download` or save_pretrained() filled.",
        )
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    return digest({path.name: checksum(path) for path in files})
