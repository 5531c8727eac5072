"""Texts to vectors by a language model: the last hidden state of a text's last token.

BIGRec's own program grounds this way, with the backbone as it was before any fine-tuning (Bao et
al., arXiv 2308.08434).

Shapes: N texts, B batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from bench.models.lm.encode.sentence_encoder import encode_in_batches
from bench.models.lm.tuned_model import LanguageModel

BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class HiddenStates:
    """A language model as an encoder.

    Attributes:
        model: The model with its current weights.
        divisor: Number of parts a batch is split into to save memory.
    """

    model: LanguageModel
    divisor: int = 1

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, not normalized; an empty one is read as the end-of-sequence token."""
        return encode_in_batches(
            texts,
            self._tokenize,
            self._encode,
            width=self.model.model.config.hidden_size,
            batch_size=max(BATCH_SIZE // self.divisor, 1),
        )

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        tokenizer = self.model.tokenizer
        token_ids = tokenizer(texts)["input_ids"] if texts else []
        return [list(ids) or [tokenizer.eos_token_id] for ids in token_ids]

    @torch.no_grad()
    def _encode(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        # Padded on the right: a causal model's tokens never see what comes after them.
        ids_BL = pad_sequence([torch.tensor(ids) for ids in token_ids], batch_first=True)
        decoder = self.model.model.get_decoder()
        states_BLD = decoder(
            input_ids=ids_BL.to(self.model.device), use_cache=False
        ).last_hidden_state
        last_B = torch.tensor([len(ids) - 1 for ids in token_ids], device=states_BLD.device)
        rows_B = torch.arange(len(token_ids), device=states_BLD.device)
        vectors_BD: NDArray[np.float32] = states_BLD[rows_B, last_B].float().cpu().numpy()
        return vectors_BD
