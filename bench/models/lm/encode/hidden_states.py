"""Texts to vectors by a language model: the last hidden state of a text's last token.

BIGRec's own program grounds this way, under the backbone as it was before any fine-tuning (Bao et
al., arXiv 2308.08434). Shapes: N texts, B batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.models.lm.tuned_model import LanguageModel

TEXTS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class HiddenStates:
    """An encoder made of a language model.

    Attributes:
        model: It answers under whatever weights it has.
        divisor: Into how many parts a batch is split to save memory.
    """

    model: LanguageModel
    divisor: int = 1

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts; equal texts are encoded once and have equal vectors to the last bit.

        Args:
            texts: N texts; an empty one is read as the end-of-sequence token.

        Returns:
            Vectors in the order of the texts, not normalized, shape (N, D).
        """
        distinct = list(dict.fromkeys(texts))
        width = self.model.model.config.hidden_size
        vectors_ND = np.empty((len(distinct), width), dtype=np.float32)
        tokens = self._token_ids(distinct)
        by_length = sorted(range(len(distinct)), key=lambda text: len(tokens[text]))
        at_once = max(TEXTS_AT_ONCE // self.divisor, 1)
        for start in range(0, len(distinct), at_once):
            chosen = by_length[start : start + at_once]
            vectors_ND[chosen] = self._encode([tokens[text] for text in chosen])
        place = {text: number for number, text in enumerate(distinct)}
        return vectors_ND[[place[text] for text in texts]]

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        tokenizer = self.model.tokenizer
        encoded = tokenizer(texts)["input_ids"] if texts else []
        return [list(ids) or [tokenizer.eos_token_id] for ids in encoded]

    def _encode(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Pad on the right: a causal model's tokens never see what comes after them."""
        ids_BL = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in tokens], batch_first=True
        )
        decoder = self.model.model.get_decoder()
        states_BLD = decoder(
            input_ids=ids_BL.to(self.model.device), use_cache=False
        ).last_hidden_state
        last_B = torch.tensor([len(ids) - 1 for ids in tokens], device=states_BLD.device)
        rows_B = torch.arange(len(tokens), device=states_BLD.device)
        vectors_BD: NDArray[np.float32] = states_BLD[rows_B, last_B].float().cpu().numpy()
        return vectors_BD
