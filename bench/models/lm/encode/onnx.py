"""The weights of a BERT out of an ONNX export, read without the ONNX packages.

An ONNX file is one protobuf message (github.com/onnx/onnx, onnx.proto). Of it only the initializers
and the operators' inputs and outputs are needed. An export keeps the names of most weights, but
transposes the matrices of linear layers and numbers them; the named bias that is added to such a
matrix's product says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError

# Numbers of the fields that are read, by message.
GRAPH = 7
NODE, INITIALIZER = 1, 5
INPUT, OUTPUT, OPERATOR = 1, 2, 4
DIMS, DATA_TYPE, NAME, RAW = 1, 2, 8, 9
FLOAT = 1


def bert_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights under the names that transformers' BertModel gives them.

    Args:
        path: An ONNX export of a sentence encoder, its weights inside the file in float32.

    Raises:
        BenchError: The file is no such export.
    """
    named, nodes = {}, []
    try:
        for number, graph in _fields(memoryview(path.read_bytes())):
            if number != GRAPH or isinstance(graph, int):
                continue
            for kind, message in _fields(graph):
                if kind == INITIALIZER and not isinstance(message, int):
                    named.update(_tensor(message))
                elif kind == NODE and not isinstance(message, int):
                    nodes.append(_node(message))
    except (IndexError, ValueError) as error:
        raise BenchError(
            f"{path} is cut off or is no ONNX export of an encoder.", "Fetch the file again."
        ) from error
    weights = {_inside(name): value for name, value in named.items() if "::" not in name}
    return weights | _matrices(named, nodes)


def _matrices(
    named: dict[str, Tensor], nodes: list[tuple[str, list[str], list[str]]]
) -> dict[str, Tensor]:
    """Give the numbered matrices their layers' names."""
    products = {
        outputs[0]: inputs[1]
        for operator, inputs, outputs in nodes
        if operator == "MatMul" and inputs[1] in named
    }
    found = {}
    for operator, inputs, _ in nodes:
        bias = [name for name in inputs if name in named]
        product = [name for name in inputs if name in products]
        if operator == "Add" and bias and product:
            name = _inside(bias[0]).removesuffix("bias") + "weight"
            found[name] = named[products[product[0]]].T.contiguous()
    return found


def _inside(name: str) -> str:
    """Strip what wraps the BERT in an export, e.g. `model.0.auto_model.`."""
    for part in ("embeddings.", "encoder."):
        if part in name:
            return name[name.index(part) :]
    return name


def _tensor(message: memoryview) -> dict[str, Tensor]:
    shape, kind, name, raw = [], 0, "", b""
    for number, value in _fields(message):
        if isinstance(value, int):
            shape += [value] if number == DIMS else []
            kind = value if number == DATA_TYPE else kind
        elif number == NAME:
            name = str(value, "utf-8")
        elif number == RAW:
            raw = bytes(value)
    # Constants of other types (shapes, axes) belong to the computation, not to the model.
    if kind != FLOAT or not shape:
        return {}
    values = np.frombuffer(raw, dtype="<f4").reshape(shape)
    return {name: torch.from_numpy(values.astype(np.float32))}


def _node(message: memoryview) -> tuple[str, list[str], list[str]]:
    texts: dict[int, list[str]] = {INPUT: [], OUTPUT: [], OPERATOR: [""]}
    for number, value in _fields(message):
        if number in texts and not isinstance(value, int):
            texts[number].append(str(value, "utf-8"))
    return texts[OPERATOR][-1], texts[INPUT], texts[OUTPUT]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk a protobuf message: the number of each field, and its integer or its bytes."""
    at = 0
    while at < len(message):
        tag, at = _integer(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _integer(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _integer(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field goes on after the end")
        yield number, message[at : at + length]
        at += length


def _integer(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
