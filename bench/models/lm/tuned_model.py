"""Language models: loaded once per process, then filled with the weights of each stage.

A model is the untuned backbone, the backbone with all weights trained (full tuning), or the frozen
backbone with a low-rank adapter (Hu et al., "LoRA", ICLR 2022). The base weights are on the device
once: the next `load` of the same backbone reuses the same object and copies the required weights
into it, bit for bit. An earlier `LanguageModel` is invalid from then on.

Adapters are float32 whatever the base is. AdamW's steps are far smaller than the distance between
two bfloat16 numbers, so an adapter in bfloat16 would hardly move; being small, it costs little.
"""

from __future__ import annotations

import gc
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
BASE_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The one backbone of this process.

    Attributes:
        identity: Equal for equal backbones: folder, files with sizes and times, dtype.
        folder: Folder of its files.
    """

    identity: tuple[object, ...]
    folder: Path
    model: PreTrainedModel
    tokenizer: Tokenizer


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModel:
    """A model with the weights of a stage; valid until the next `load`.

    Attributes:
        model: In evaluation mode, on its device. Trainable weights have `requires_grad`: all of
            them under full tuning, or the adapter's; an untuned model with adapters is frozen.
        tokenizer: Has an end-of-sequence token and a padding token, maybe the same.
        device: "cuda" if there is one.
        folder: Folder of the base weights' files.
        quantized: Whether the base weights are in 4 bits.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: Tokenizer
    device: torch.device
    folder: Path
    quantized: bool

    def save(self, folder: Path) -> None:
        """Write the trained weights: all of them, or the adapter only."""
        self._check()
        if isinstance(self.model, PeftModel):
            weights.write_tensors(_adapter(self.model), folder / ADAPTER)
        else:
            weights.write_tensors(weights.own_tensors(self.model), folder / FULL)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Add the adapter to the base weights within the block: decoding is faster then.

        Afterwards the base weights are read again from their files, for a subtraction would not
        restore the same numbers. Weights in 4 bits are not merged, as that would lose precision;
        full tuning has no adapter.
        """
        self._check()
        if not isinstance(self.model, PeftModel) or self.quantized:
            yield
            return
        layers = {
            name.removeprefix(BASE_PREFIX): module
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
            weights.fill_tensors(targets, weights.weight_files(self.folder))

    def _check(self) -> None:
        assert _current is self, "another model was loaded into the same weights since"


_base: _Base | None = None
_adapted: PeftModel | None = None
_current: LanguageModel | None = None
_trained = False  # whether the base weights may have been changed


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

    Only safetensors are read, and no code of a repository is run. Dropout of the base is off.

    Args:
        backbone: Artifact with the model, or with the pointer to its folder.
        start: Artifact with trained weights.
        tuning: {"kind": "full"}, or {"kind": "lora"} with rank, alpha, dropout and targets.
        dtype: Of the base weights, "float32" or "bfloat16".
        quantization: "none", or "nf4" for base weights in 4 bits.
        seed: Of a new adapter, if there is no `start`. With neither the model is the untuned one.

    Raises:
        BenchError: The folder contains no such model, or weights that do not fit.
    """
    global _adapted, _current, _trained
    base = _load_base(model_folder(backbone), dtype, quantization)
    full = tuning["kind"] == "full"
    assert not (full and quantization != "none"), "weights in 4 bits cannot be trained in full"
    model: PreTrainedModel | PeftModel = base.model
    # If reading fails halfway, the next load must not trust the weights.
    changed, _trained = _trained, _trained or full
    if full and start is not None:
        weights.fill_tensors(weights.own_tensors(model), [start / FULL], exactly=True)
    elif changed:
        weights.fill_tensors(weights.own_tensors(model), weights.weight_files(base.folder))
    _trained = full
    base.model.requires_grad_(full)
    if not full and (start is not None or seed is not None):
        model = _adapted = _with_adapter(base.model, tuning, seed)
        if start is not None:
            weights.fill_tensors(_adapter(model), [start / ADAPTER], exactly=True)
    model.zero_grad(set_to_none=True)
    model.eval()
    _current = LanguageModel(
        model=model,
        tokenizer=base.tokenizer,
        device=base.model.device,
        folder=base.folder,
        quantized=quantization != "none",
    )
    return _current


def _load_base(folder: Path, dtype: str, quantization: str) -> _Base:
    """Return the backbone of this process, without an adapter; another one is freed first."""
    global _base, _adapted, _trained
    if _adapted is not None:
        _adapted.unload()
        _adapted = None
    files = [folder / "config.json", *weights.weight_files(folder)]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    identity = (folder.resolve(), *stats, dtype, quantization, torch.cuda.is_available())
    if _base is None or _base.identity != identity:
        # Two backbones at once might not fit into memory.
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
    # peft draws on the CPU whatever the base's device; no GPU's random state is touched.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("adapter", seed))
        try:
            return get_peft_model(base, config)
        except ValueError as error:
            raise BenchError(
                f"The adapter does not fit the model: {error}",
                "Set `lora.targets` in its card to linear layers of the model.",
            ) from error


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    """Return an adapter's weights under the names of peft's own files."""
    return {
        name.replace(".default.", "."): value
        for name, value in model.named_parameters()
        if ".lora_" in name
    }
