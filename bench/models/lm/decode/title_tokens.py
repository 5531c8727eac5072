"""How long titles are in tokens of a backbone, and how many of those tokens say nothing.

A title is counted as it is answered: in its quotes and with the end-of-sequence token. Whether a
token gains nothing is IGD's question (arXiv 2506.13229, Table 4), asked of the tree of all titles
that are targets of training rows, as the paper's program builds it. The paper does not name its
tokenizer, so its counts are no target to hit.

Shapes: I items, T tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.models.lm.decode.trie import build_trie
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.information_gain import item_counts, zero_gain_share

QUANTILES = {"min": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "max": 1.0}


@dataclass(frozen=True, kw_only=True)
class TitleTokens:
    """Titles in tokens.

    Attributes:
        title_tokens: Tokens a title of the catalog, quotes and end included, by quantile.
        target_tokens: Tokens of all targets of the training split together.
        zero_gain_tokens: Those of them that were the only way on among the trained titles.
    """

    title_tokens: dict[str, float]
    target_tokens: int
    zero_gain_tokens: int

    @property
    def zero_gain_share(self) -> float:
        """Share of the training targets' tokens that gain nothing, 0 to 1."""
        return self.zero_gain_tokens / self.target_tokens

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return {**asdict(self), "zero_gain_share": self.zero_gain_share}


def count_tokens(prepared: Prepared, tokenizer: Tokenizer) -> TitleTokens:
    """Count a data set's titles in tokens.

    Raises:
        BenchError: The training split is empty.
    """
    train = np.array(prepared.sample_range("train"), dtype=np.int64)
    if not len(train):
        raise BenchError(
            "The training split is empty, so no token of its targets can be counted.",
            "Leave --model out, or take other data.",
        )
    responses = encode_responses(tokenizer, prepared.catalog.titles, eos=True)
    lengths_I = np.array([len(response_T) for response_T in responses])
    counts_I = item_counts(prepared.items[prepared.target[train]], len(responses))
    trie = build_trie(responses, counts_I > 0)
    total = int(lengths_I @ counts_I)
    return TitleTokens(
        title_tokens={
            **{name: float(np.quantile(lengths_I, share)) for name, share in QUANTILES.items()},
            "mean": float(lengths_I.mean()),
        },
        target_tokens=total,
        zero_gain_tokens=round(zero_gain_share(trie, counts_I) * total),
    )
