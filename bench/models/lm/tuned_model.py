"""Language models: loaded once a process, their weights set anew for whatever comes next.

A model is the untuned backbone, the backbone with all weights trained (full tuning), or the frozen
backbone with a low-rank adapter (Hu et al., "LoRA", ICLR 2022). The base weights lie on the device
once: the next `load` of the same backbone takes the same object and puts the weights that are asked
for into it, bit for bit as the files have them. An earlier `LanguageModel` is void from then on.

Adapters are float32 whatever the base is. AdamW's steps are far smaller than the distance between
two bfloat16 numbers, so an adapter in bfloat16 would hardly move; being small, it costs little.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from bench.errors import BenchError
from bench.hashing import derive_seed
from bench.models.lm import weights
from bench.models.lm.backbone import model_folder, read_model, read_tokenizer
from bench.models.lm.tokenization import Tokenizer

FULL, ADAPTER = "model.safetensors", "adapter.safetensors"
_OF_BASE = "base_model.model."
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The one backbone that this process holds, as it was read from its files.

    Attributes:
        identity: What makes two backbones the same: folder, files with sizes and times, type.
        folder: Where its files lie.
    """

    identity: tuple[object, ...]
    folder: Path
    model: PreTrainedModel
    tokenizer: Tokenizer


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A model with the weights that were asked for; valid until the next `load`.

    Attributes:
        model: In evaluation mode, on its device. Under full tuning and with an adapter, what is to
            be trained has `requires_grad`; an untuned model of a card with adapters is frozen.
        tokenizer: Has an end-of-sequence token, and one to pad with, maybe the same.
        device: "cuda" where there is one.
        folder: Where the files of the base weights lie.
        quantized: Whether the base weights are in 4 bits.
        number: Which `load` of this process returned it.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: Tokenizer
    device: torch.device
    folder: Path
    quantized: bool
    number: int

    def save(self, folder: Path) -> None:
        """Write the trained weights: all of them, or the adapter only."""
        self._check()
        if isinstance(self.model, PeftModel):
            weights.write(_adapter(self.model), folder / ADAPTER)
        else:
            weights.write(weights.own_tensors(self.model), folder / FULL)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Add the adapter to the base weights for the time being: decoding is faster then.

        Afterwards the base weights are read again from their files, for subtracting what was added
        does not give the same numbers back. Weights in 4 bits stay apart from their adapter, as
        they cannot take it up without a loss; full tuning has none.
        """
        self._check()
        if not isinstance(self.model, PeftModel) or self.quantized:
            yield
            return
        layers = {
            name.removeprefix(_OF_BASE): module
            for name, module in self.model.named_modules()
            if isinstance(module, LoraLayer)
        }
        try:
            self.model.merge_adapter()
            yield
        finally:
            for layer in layers.values():
                layer.merged_adapters.clear()
            targets: dict[str, Any] = {
                f"{name}.weight": layer.get_base_layer().weight for name, layer in layers.items()
            }
            weights.fill(targets, weights.weight_files(self.folder))

    def _check(self) -> None:
        assert _current == self.number, "another model was loaded into the same weights since"


_base: _Base | None = None
_adapted: PeftModel | None = None
_current = 0
_trained = False  # whether the base weights were handed out to be changed


def load(
    backbone: Path,
    *,
    start: Path | None = None,
    tuning: Mapping[str, Any],
    dtype: str,
    quantization: str = "none",
    seed: int | None = None,
) -> LanguageModel:
    """Load a backbone with its trained weights, or untuned.

    Nothing but safetensors is read, and no code of a repository is run. Dropout of the base is off.

    Args:
        backbone: Artifact with the model, or with the pointer to the folder where it lies.
        start: Artifact with trained weights.
        tuning: {"kind": "full"}, or {"kind": "lora"} with rank, alpha, dropout and targets.
        dtype: "float32" or "bfloat16", of the base weights.
        quantization: "none", or "nf4" for base weights in 4 bits.
        seed: Of a new adapter, where there is no `start`. Without it the model is the untuned one.

    Raises:
        BenchError: The folder holds no such model, or weights that do not fit.
    """
    global _adapted, _current, _trained
    base = _load_base(model_folder(backbone), dtype, quantization)
    full = tuning["kind"] == "full"
    assert not (full and quantization != "none"), "weights in 4 bits cannot be trained in full"
    model: PreTrainedModel | PeftModel = base.model
    # Should reading fail half-way, the next load must not trust what lies there.
    changed, _trained = _trained, _trained or full
    if full and start is not None:
        weights.fill(weights.own_tensors(model), [start / FULL], exactly=True)
    elif changed:
        weights.fill(weights.own_tensors(model), weights.weight_files(base.folder))
    _trained = full
    base.model.requires_grad_(full)
    if not full and (start is not None or seed is not None):
        model = _adapted = _with_adapter(base.model, tuning, seed)
        if start is not None:
            weights.fill(_adapter(model), [start / ADAPTER], exactly=True)
    model.zero_grad(set_to_none=True)
    model.eval()
    _current = next(_numbers)
    return LanguageModel(
        model=model,
        tokenizer=base.tokenizer,
        device=base.model.device,
        folder=base.folder,
        quantized=quantization != "none",
        number=_current,
    )


def _load_base(folder: Path, dtype: str, quantization: str) -> _Base:
    """Return the backbone of this process, without an adapter; another one makes way for it."""
    global _base, _adapted, _trained
    if _adapted is not None:
        _adapted.unload()
        _adapted = None
    files = [folder / "config.json", *weights.weight_files(folder)]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    identity = (folder.resolve(), *stats, dtype, quantization, torch.cuda.is_available())
    if _base is None or _base.identity != identity:
        # Two backbones side by side might not fit.
        _base = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _base = _Base(
            identity=identity,
            folder=folder,
            model=read_model(folder, dtype, quantization),
            tokenizer=read_tokenizer(folder),
        )
        _trained = False
    return _base


def _with_adapter(base: PreTrainedModel, tuning: Mapping[str, Any], seed: int | None) -> PeftModel:
    config = LoraConfig(
        r=tuning["rank"],
        lora_alpha=tuning["alpha"],
        lora_dropout=tuning["dropout"],
        target_modules=list(tuning["targets"]),
        task_type="CAUSAL_LM",
    )
    # peft draws on the CPU wherever the base lies; no GPU's random state is touched.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("adapter", seed))
        try:
            return get_peft_model(base, config)
        except ValueError as error:
            raise BenchError(
                f"The adapter does not fit the model: {error}",
                "Name linear layers of the model as `lora.targets` in its card.",
            ) from error


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    """Return an adapter's weights under the names that peft's own files use."""
    return {
        name.replace(".default.", "."): value
        for name, value in model.named_parameters()
        if ".lora_" in name
    }
