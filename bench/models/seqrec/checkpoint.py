"""Saved item-ID models: writing, loading and scoring a catalog with them.

Tensor names end in their shape: B batch, C test cases, H history, D hidden size, I items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.models.lm.devices import select_device, to_device
from bench.models.seqrec.networks import GRU4Rec, RowNetwork, SASRec
from bench.plan.item_stages import GRU4RecConfig, ItemModelConfig, SASRecConfig

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
BATCH_SIZE = 1024

NETWORKS: Mapping[str, tuple[type[RowNetwork], type[ItemModelConfig]]] = {
    "SASRec": (SASRec, SASRecConfig),
    "GRU4Rec": (GRU4Rec, GRU4RecConfig),
}

Scorer: TypeAlias = Callable[[NDArray[np.int32]], NDArray[np.float32]]


def save(model: RowNetwork, folder: Path) -> None:
    """Write the weights (safetensors) and the configuration (JSON) into an existing folder."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    content = {
        "network": model.name,
        "config": asdict(model.config),
        "num_items": model.num_items,
        "max_length": model.max_length,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=2) + "\n")


def load(folder: Path) -> RowNetwork:
    """Load a saved model in evaluation mode; the caller's random state is unchanged.

    Raises:
        BenchError: The folder has no saved model.
    """
    try:
        content = json.loads((folder / CONFIG_FILE).read_text())
        network_class, config_class = NETWORKS[content.pop("network")]
        config = config_class(**content.pop("config"))
        with torch.random.fork_rng(devices=[]):
            model = network_class(config, **content)
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BenchError(f"{folder} has no item-ID model: {error}.", "Train it first.") from error
    return model.eval()


def load_scorer(weights: Path, catalog: Catalog, *, batch_size: int = BATCH_SIZE) -> Scorer:
    """Load a model that scores the whole catalog for each history, items of the history included.

    Returns:
        A function from histories, shape (C, H), padded on the right with -1, to scores, shape
        (C, I), higher is better.

    Raises:
        BenchError: The folder has no saved model, or one of a catalog of another size.
    """
    model = load(weights).to(select_device())
    if model.num_items != len(catalog):
        raise BenchError(
            f"{model.name} was trained on {model.num_items} items, but the catalog has "
            f"{len(catalog)}.",
            "Train and rank with the same catalog.",
        )

    def score(histories: NDArray[np.int32]) -> NDArray[np.float32]:
        items_CL, lengths_C = model.encode_histories(histories)
        scores_CI = np.empty((len(histories), len(catalog)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), batch_size):
                rows = slice(start, start + batch_size)
                inputs = (to_device(each[rows], model.device) for each in (items_CL, lengths_C))
                scores_CI[rows] = model.output(model(*inputs)).cpu().numpy()
        return scores_CI

    return score
