"""Language models: loaded once per process, then filled with the weights of each stage.

A model is the untuned backbone, the backbone with all weights trained (full tuning), or the frozen
backbone with a low-rank adapter (Hu et al., "LoRA", ICLR 2022). The base weights are on the device
once: the next `load` of the same backbone reuses the same object and copies the required weights
into it, bit for bit. An earlier `LanguageModel` is invalid from then on.

Whatever is trained is float32: AdamW's steps are far smaller than the distance between two bfloat16
numbers, so weights in bfloat16 would hardly move. With the dtype bfloat16, matrix products round
them on the way (autocast), and frozen weights are stored in it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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
from bench.models.lm.backbone import DTYPES, model_folder, read_model, read_tokenizer
from bench.models.lm.devices import autocast, select_device
from bench.models.lm.tokenization import Tokenizer

FULL, ADAPTER = "model.safetensors", "adapter.safetensors"


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The one backbone of this process.

    The identity is equal for equal backbones: folder, files with sizes and times, dtype, device.
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
        device: The GPU if there is one.
        dtype: Of the arithmetic, "float32" or "bfloat16".
        quantized: Whether the base weights are in 4 bits.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: Tokenizer
    device: torch.device
    dtype: str
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
        """Prepare the weights for inference within the block: decoding is faster then.

        An adapter is added to copies of the base weights; under full tuning, copies are rounded to
        the dtype of the arithmetic. Afterwards the weights themselves are back, for a subtraction
        would not restore the same numbers. Weights in 4 bits are not merged, as that would lose
        precision.
        """
        self._check()
        if self.quantized:
            with self.autocast():
                yield
            return
        layers = _adapted_layers(self.model)
        copied: list[Any] = [layer.get_base_layer().weight for layer in layers]
        if not isinstance(self.model, PeftModel):
            copied = [each for each in self.model.parameters() if each.dtype != DTYPES[self.dtype]]
        originals = [weight.data for weight in copied]
        try:
            for weight in copied:
                weight.data = weight.data.to(DTYPES[self.dtype], copy=True)
            if isinstance(self.model, PeftModel):
                self.model.merge_adapter()
            yield
        finally:
            for layer in layers:
                layer.merged_adapters.clear()
            for weight, original in zip(copied, originals, strict=True):
                weight.data = original

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the model's dtype within the block, with weights that are not `merged`."""
        return autocast(self.device, self.dtype)

    def _check(self) -> None:
        assert _current is self, "another model was loaded into the same weights since"


_base: _Base | None = None
_adapted: PeftModel | None = None
_adapted_by: Mapping[str, Any] = {}
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
        dtype: Of the arithmetic and of frozen weights, "float32" or "bfloat16".
        quantization: "none", or "nf4" for base weights in 4 bits.
        seed: Of a new adapter, if there is no `start`. With neither the model is the untuned one.

    Raises:
        BenchError: The folder contains no such model, weights do not fit, or the GPU has no
            bfloat16.
    """
    global _adapted, _adapted_by, _current, _trained
    _check_arithmetic(dtype)
    full = tuning["kind"] == "full"
    assert not (full and quantization != "none"), "weights in 4 bits cannot be trained in full"
    if _adapted is not None and (start is None or tuning != _adapted_by):
        _adapted.unload()
        _adapted = None
    base = _load_base(model_folder(backbone), "float32" if full else dtype, quantization)
    model: PreTrainedModel | PeftModel = base.model
    # If reading fails halfway, the next load must not trust the weights.
    changed, _trained = _trained, _trained or full
    if full and start is not None:
        weights.fill_tensors(weights.own_tensors(model), [start / FULL], exactly=True)
    elif changed:
        weights.fill_tensors(weights.own_tensors(model), weights.weight_files(base.folder))
    _trained = full
    if not full and (start is not None or seed is not None):
        if _adapted is None:
            base.model.requires_grad_(False)
            _adapted, _adapted_by = _with_adapter(base.model, tuning, seed), dict(tuning)
            for layer in _adapted_layers(_adapted):
                layer.cast_input_dtype_enabled = dtype == "float32"  # autocast rounds the rest
        model = _adapted
        if start is not None:
            weights.fill_tensors(_adapter(model), [start / ADAPTER], exactly=True)
    else:
        base.model.requires_grad_(full)
    model.zero_grad(set_to_none=True)
    model.eval()
    _current = LanguageModel(
        model=model,
        tokenizer=base.tokenizer,
        device=base.model.device,
        dtype=dtype,
        quantized=quantization != "none",
    )
    return _current


def _check_arithmetic(dtype: str) -> None:
    device = select_device()
    if dtype == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise BenchError(
            f"The GPU {torch.cuda.get_device_name(device)} does not compute in bfloat16.",
            "Use --model-set dtype=float32, or another GPU.",
        )


def _load_base(folder: Path, dtype: str, quantization: str) -> _Base:
    """Return the backbone of this process; another one is freed first, with its adapter."""
    global _base, _adapted, _trained
    files = [folder / "config.json", *weights.weight_files(folder)]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    identity = (folder.resolve(), *stats, dtype, quantization, select_device().type)
    if _base is None or _base.identity != identity:
        # Two backbones at once might not fit into memory.
        _base = _adapted = None
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


def _adapted_layers(model: PreTrainedModel | PeftModel) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    """Return an adapter's weights under the names of peft's own files."""
    return {
        name.replace(".default.", "."): value
        for name, value in model.named_parameters()
        if ".lora_" in name
    }
