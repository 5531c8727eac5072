"""Encode titles, or written texts, by the backbone's hidden states; the artifact is `vectors.npy`.

For the catalog's titles the artifact is that of `bench.stages.embed`, one row per item; for written
texts it has a row for each, in their order. A vector is the last hidden state of a text's last
token: BIGRec's own program grounds this way, with the backbone as it was before any fine-tuning
(Bao et al., arXiv 2308.08434).

Shapes: N texts, B batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from bench.data import prepared
from bench.data.prompts import quotable
from bench.hashing import Job
from bench.models.lm.devices import compute_threads
from bench.models.lm.encode.grounding import VECTORS_FILE, extract_title
from bench.models.lm.encode.sentence_encoder import encode_in_batches
from bench.models.lm.generated_texts import read_texts
from bench.models.lm.tuned_model import LanguageModel, load
from bench.plan.language_stages import HiddenConfig

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


def run(job: Job, config: HiddenConfig, inputs: Mapping[str, Path]) -> None:
    """Write the vectors in float32, whatever the arithmetic; equal texts have equal vectors."""
    if "generated" in inputs:
        cases = prepared.load_rows(inputs["cases"])
        texts = [extract_title(row[0]) for row in read_texts(inputs["generated"], rows=cases)]
    else:
        texts = [quotable(title) for title in prepared.load(inputs["data"]).catalog.titles]
    model = load(inputs["backbone"], **config.model.weights)
    encoder = HiddenStates(model=model, divisor=job.micro_batch_divisor)
    with compute_threads(config.model.threads), model.merged():
        vectors_ND = encoder.encode(texts)
    np.save(job.out / VECTORS_FILE, vectors_ND)
    job.metadata["texts"] = len(set(texts))
    job.metadata["width"] = vectors_ND.shape[1]
