"""Seconds of language-model stages from parameters × tokens over a device's measured throughput.

`bench doctor --measure` measures it: matrix products per second, and bytes read per second. What a
stage will reach of it, and how long its prompts are, is not known before it ran; so an estimate is
a range, from the best of both to the worst.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.errors import BenchError
from bench.files import write_atomic

FILE = "throughput.json"
EFFICIENCY = (0.6, 0.1)
"""Fraction of the measured matrix products per second that a stage reaches, best and worst."""
MIN_TOKENS = 64
"""Of a prompt with its response, at least; at most the model's context."""
WORST_BATCH = 8
"""Prompts decoded at once, at least: each step reads all weights once per batch."""
FORWARD = 2.0
"""Multiply-adds per parameter and token count as two operations (Kaplan et al., 2020)."""
BACKWARD = {"full": 4.0, "lora": 2.0}
"""Of activations and weights, or, for adapters, of activations only."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a device was measured to do.

    Attributes:
        device: "cpu" or "cuda"; name: of the processor or GPU.
        flops: Operations of matrix products per second.
        bytes_per_second: Of copies in memory.
    """

    device: str
    name: str
    flops: float
    bytes_per_second: float


def write_throughput(throughput: Throughput, store: Path) -> Path:
    """Keep a measurement in the store, one per device class."""
    path = store / FILE
    measurements = json.loads(path.read_bytes()) if path.is_file() else {}
    content = measurements | {throughput.device: asdict(throughput)}
    write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def read_throughput(store: Path, device: str) -> Throughput | None:
    """Read a measurement; None where that class of device was not measured."""
    try:
        return Throughput(**json.loads((store / FILE).read_bytes())[device])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def count_parameters(backbone: Mapping[str, Any]) -> float | None:
    """Return the parameters of the stage that makes a backbone; None if its card does not say."""
    args = backbone["args"]
    if shape := args.get("architecture"):
        width = shape["width"]
        per_layer = 4 * width**2 + 3 * width * shape["intermediate"]
        return float(shape["layers"] * per_layer + 2 * shape["vocabulary"] * width)
    try:
        return plugins.model_card(args["name"]).parameters
    except (BenchError, KeyError):
        return None


def predict_range(
    kind: str, args: Any, *, rows: float, parameters: float, throughput: Throughput
) -> tuple[float, float] | None:
    """Return the fewest and most seconds of a stage; None for a kind without a model of its cost.

    `args` is its config as plain values; rows are those that it works on, and parameters those of
    its backbone.
    """
    model = args.get("model", {})
    backward = BACKWARD[model.get("tuning", {}).get("kind", "full")]
    epochs, passes, steps = args.get("num_train_epochs", 1), 0.0, 0.0
    if kind == "sft":
        passes = epochs * (FORWARD + backward)
    elif kind == "preference":  # chosen and rejected, by the policy and once by the reference
        passes = 2 * (epochs * (FORWARD + backward) + FORWARD)
    elif kind == "hidden":
        passes = FORWARD
    elif kind == "generate":
        passes, steps = FORWARD, float(args["max_new_tokens"])
        rows *= max(args.get("num_beams", 1), args.get("num_return_sequences", 1))
    elif kind == "decode":
        passes, steps = FORWARD, 1.0
        rows *= args["num_beams"]
    else:
        return None
    seconds = []
    for tokens, efficiency, batch in zip(
        (MIN_TOKENS, model.get("context", 512)), EFFICIENCY, (math.inf, WORST_BATCH), strict=True
    ):
        operations = rows * parameters * (passes * tokens + FORWARD * steps)
        reads = steps * parameters * 2 * max(1.0, rows / batch)
        arithmetic = operations / (efficiency * throughput.flops)
        seconds.append(max(arithmetic, reads / throughput.bytes_per_second))
    return seconds[0], seconds[1]
