"""Find a backbone of the Hugging Face hub; the artifact is a pointer to the folder of its files.

backbone.json   {"folder": where the files are, "files": sha256 by name}

The files stay where huggingface_hub keeps them, or in the user's own folder: they are large, and
other programs use them, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from bench.data.assets import folder_checksum
from bench.data.hub_files import PATTERNS, fetch
from bench.errors import BenchError
from bench.hashing import Job, Plain, checksum, digest
from bench.plan.backbones import HubConfig

POINTER = "backbone.json"


def run(job: Job, config: HubConfig, inputs: Mapping[str, Path]) -> None:
    """Fetch a repository at one commit, or check the user's own folder.

    Raises:
        BenchError: The files cannot be fetched, or have changed since the plan.
    """
    if config.checksum is not None:
        assert config.repository is None, "either the hub or the user's own folder"
        folder = _check_folder(job.model_path, config.name, config.checksum)
    else:
        assert config.repository is not None
        assert config.revision is not None
        folder = fetch(config.repository, config.revision, config.name, offline=job.offline)
    files = [path for path in folder.iterdir() if path.is_file()]
    read = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    checksums = {path.name: checksum(path) for path in read}
    pointer = {"folder": str(folder.resolve()), "files": checksums}
    (job.out / POINTER).write_text(json.dumps(pointer))
    job.metadata["bytes"] = sum(path.stat().st_size for path in files)
    job.metadata.update(describe_model(folder))
    job.metadata["files_checksum"] = digest(checksums)
    if config.checksum is not None:
        job.metadata["folder_checksum"] = config.checksum
    else:
        job.metadata["source"] = f"{config.repository}@{config.revision}"


def describe_model(folder: Path) -> dict[str, Plain]:
    """Return the architecture, the number of parameters and the checksum of config.json."""
    path = folder / "config.json"
    content = json.loads(path.read_bytes())
    try:
        parameters: int | None = sum(map(_count_parameters, folder.glob("*.safetensors")))
    except SafetensorError:  # loading reports a damaged file
        parameters = None
    return {
        "architecture": next(iter(content.get("architectures") or ()), "unknown"),
        "parameters": parameters,
        "config_checksum": checksum(path),
    }


def _count_parameters(weights: Path) -> int:
    """Count the parameters of a file, reading only its header."""
    with safe_open(weights, "np") as tensors:
        shapes = (tensors.get_slice(name).get_shape() for name in tensors.keys())  # noqa: SIM118
        return sum(math.prod(shape) for shape in shapes)


def _check_folder(folder: Path | None, name: str, expected: str) -> Path:
    if folder is None:
        raise BenchError(
            f"{name} was planned with your own folder, and none is given.",
            f"Name it again with --model-path {name}=DIR.",
        )
    if folder_checksum(folder) != expected:
        raise BenchError(
            f"The files of {name} in {folder} changed during the run.", "Start the run again."
        )
    return folder
