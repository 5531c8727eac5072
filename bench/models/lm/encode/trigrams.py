"""Letter trigrams as a text encoder: no weights, no download; for checks, not for results.

Shapes: N texts, D width.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Trigrams:
    """Counts of three letters in a row, each hashed to one of D places.

    Attributes:
        max_length: Letters of a text that are read.
        width: D.
    """

    max_length: int
    width: int = 256

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Count each text's trigrams, its case and outer spaces apart, shape (N, D)."""
        vectors_ND = np.zeros((len(texts), self.width), dtype=np.float32)
        for vector_D, text in zip(vectors_ND, texts, strict=True):
            padded = f"  {text.strip().casefold()[: self.max_length]} "
            for start in range(len(padded) - 2):
                vector_D[zlib.crc32(padded[start : start + 3].encode()) % self.width] += 1
        return vectors_ND
