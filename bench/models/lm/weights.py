"""Weights as safetensors files: their names, and copying them into tensors bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import BenchError


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors files of a folder; of a hub's snapshot only those of the model itself.

    Raises:
        BenchError: There is none.
    """
    # Some repositories also carry their first authors' own layout, e.g. consolidated.safetensors.
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise BenchError(
            f"{folder} contains no weights as safetensors.",
            "Save the model with save_pretrained(); pickled weights are never read.",
        )
    return files


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by name; of tied weights the first name only."""
    tensors, seen = {}, set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            tensors[name] = tensor
            seen.add(id(tensor))
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors; equal ones give equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, metadata={"format": "pt"})


@torch.no_grad()
def fill_tensors(
    tensors: Mapping[str, Tensor], files: Sequence[Path], *, exactly: bool = False
) -> None:
    """Copy weights into tensors of the same names, whatever their devices and dtypes.

    Each file is opened once, and one tensor at a time is in memory, on the first one's device.
    Further tensors in the files are an error if they must match `exactly`.

    Raises:
        BenchError: A name is missing or unknown, a shape differs, or a file is damaged.
    """
    missing = dict(tensors)
    device = str(next(iter(tensors.values())).device)
    for path in files:
        try:
            with safe_open(path, framework="pt", device=device) as file:
                names = set(file.keys())
                if exactly and (unknown := names - missing.keys()):
                    raise _misfit(path, f"{min(unknown)} is not known there")
                for name in missing.keys() & names:
                    value = file.get_tensor(name)
                    if value.shape != missing[name].shape:
                        raise _misfit(path, f"{name} has another shape")
                    missing.pop(name).copy_(value)
        except (OSError, SafetensorError) as error:
            raise BenchError(
                f"{path} cannot be read: {error}.", "Fetch or make it again."
            ) from error
    if missing:
        raise _misfit(files[0], f"{min(missing)} is missing")


def tensor_names(files: Iterable[Path]) -> set[str]:
    """Return the names of all tensors; only the files' headers are read."""
    names: set[str] = set()
    for path in files:
        with safe_open(path, framework="pt") as file:
            names.update(file.keys())
    return names


def _misfit(path: Path, reason: str) -> BenchError:
    return BenchError(
        f"The weights in {path} do not fit the model: {reason}.",
        "Weights and configuration must be of one model, tuned as its card says.",
    )
