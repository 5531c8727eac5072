"""Sentence encoders: texts to vectors, by the mean of the last hidden states over a text's tokens.

Reimers & Gurevych, "Sentence-BERT", EMNLP 2019. The vectors are not normalized, though the packages
of some encoders ask for it: SPRec's grounding (Gao et al., WWW 2025, its scorer) takes the mean as
it is. Shapes: N texts, B batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel

from bench.data.encoders import encoder_checksums as encoder_checksums
from bench.data.encoders import encoder_files
from bench.errors import BenchError
from bench.models.lm.encode.onnx import bert_weights
from bench.models.lm.encode.trigrams import Trigrams

# What an encoder's file may hold beside the weights that the mean over tokens needs.
NOT_NEEDED = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A sentence encoder in float32, ready to be used.

    Attributes:
        model: A transformer without a head, in evaluation mode.
        tokenizer: Its tokenizer; how it pads and cuts off is set here, whatever its file says.
        max_length: Tokens of a text that are read, the special ones included.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    max_length: int

    @property
    def width(self) -> int:
        """The width D of the vectors."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], *, batch: int = 256) -> NDArray[np.float32]:
        """Encode texts; equal texts are encoded once and have equal vectors to the last bit.

        Args:
            texts: N texts, the empty one allowed.
            batch: Texts at a time; texts of like length stand together, so few places are padded.

        Returns:
            Vectors in the order of the texts, not normalized, shape (N, D).
        """
        distinct = list(dict.fromkeys(texts))
        vectors_ND = np.empty((len(distinct), self.width), dtype=np.float32)
        token_ids = self._token_ids(distinct)
        by_length = sorted(range(len(distinct)), key=lambda text: len(token_ids[text]))
        for start in range(0, len(distinct), batch):
            chosen = by_length[start : start + batch]
            vectors_ND[chosen] = self._encode([token_ids[text] for text in chosen])
        place = {text: number for number, text in enumerate(distinct)}
        return vectors_ND[[place[text] for text in texts]]

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def _encode(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        ids_BL = torch.zeros(len(token_ids), max(map(len, token_ids)), dtype=torch.int64)
        mask_BL = torch.zeros_like(ids_BL)
        for row, ids in enumerate(token_ids):
            ids_BL[row, : len(ids)] = torch.tensor(ids)
            mask_BL[row, : len(ids)] = 1
        device = self.model.device
        ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
        with torch.no_grad():
            states_BLD = self.model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        mean_BD: NDArray[np.float32] = mean_over_tokens(states_BLD, mask_BL).cpu().numpy()
        return mean_BD


def mean_over_tokens(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """Average the states of the tokens that are not padding, shape (B, D)."""
    weights_BL1 = mask_BL.unsqueeze(-1).to(states_BLD.dtype)
    return (states_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


def load_encoder(
    name: str, *, offline: bool, data_dir: Path | None = None, device: str = "cpu"
) -> Encoder | Trigrams:
    """Load an encoder by its card's name.

    Nothing but checked files of weights is read: no pickles, no code from a hub.

    Args:
        name: E.g. "all-minilm-l6-v2"; a card in `bench/presets/encoders/` or on $BENCH_PATH.
        offline: Whether the network must not be touched.
        data_dir: Folder of the user's own files, of which the subfolder `name` is looked at.
        device: Where it computes; vectors on another device differ in their last bits.

    Raises:
        BenchError: There is no such card, or its files cannot be had or do not fit together.
    """
    card, files = encoder_files(name, offline=offline, data_dir=data_dir)
    if card.kind == "trigrams":
        return Trigrams(max_length=card.max_length)
    weights = files["weights"]
    state = bert_weights(weights) if weights.suffix == ".onnx" else load_file(weights)
    return Encoder(
        model=_model(files["config"], card.config, state, name).to(device),  # type: ignore[arg-type]
        tokenizer=Tokenizer.from_file(str(files["tokenizer"])),
        max_length=card.max_length,
    )


def _model(
    config_file: Path, changes: dict[str, int], state: dict[str, Tensor], name: str
) -> PreTrainedModel:
    config: Any = AutoConfig.from_pretrained(
        config_file, local_files_only=True, trust_remote_code=False, **changes
    )
    classes: Any = AutoModel
    model: PreTrainedModel = classes.from_config(
        config, trust_remote_code=False, dtype=torch.float32, add_pooling_layer=False
    )
    kept = {key: value for key, value in state.items() if not key.startswith(NOT_NEEDED)}
    try:
        model.load_state_dict(kept)
    except RuntimeError as error:
        raise BenchError(
            f"The weights of the encoder {name} do not fit its configuration: "
            f"{str(error).splitlines()[-1].strip()}",
            "Mend the card: its files must be of one model.",
        ) from error
    model.requires_grad_(False)
    model.train(False)
    return model
