"""Token counts of titles under a backbone's tokenizer, and of tokens without information gain.

A title is counted as in a response: with its quotes and the end-of-sequence token. Which tokens
gain nothing is read off the trie of all titles that are targets of training rows, as in IGD's
program (arXiv 2506.13229, Table 4). The paper does not name its tokenizer, so its counts cannot be
reproduced exactly.

Shapes: I items, T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.models.lm.decode.trie import build_trie
from bench.models.lm.tokenization import Tokenizer, encode_responses
from bench.models.lm.train.information_gain import count_targets, zero_gain_fraction

QUANTILES = {"min": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "max": 1.0}


def count_tokens(prepared: Prepared, tokenizer: Tokenizer) -> dict[str, Any]:
    """Count the tokens of a data set's titles.

    Returns:
        "title_tokens": mean and quantiles of the tokens per title of the catalog, quotes and end
        included. "target_tokens": all tokens of the training targets. "zero_gain_tokens" and
        "zero_gain_share": number and fraction of those that gain nothing.

    Raises:
        BenchError: The training split is empty.
    """
    train = np.array(prepared.sample_range("train"), dtype=np.int64)
    if not len(train):
        raise BenchError(
            "The training split is empty, so no token of its targets can be counted.",
            "Leave out --model, or use other data.",
        )
    responses = encode_responses(tokenizer, prepared.catalog.titles, eos=True)
    lengths_I = np.array([len(response_T) for response_T in responses])
    counts_I = count_targets(prepared.items[prepared.target[train]], len(responses))
    target_tokens = int(lengths_I @ counts_I)
    fraction = zero_gain_fraction(build_trie(responses, counts_I > 0), counts_I)
    zero_gain_tokens = round(fraction * target_tokens)
    quantiles = {name: float(np.quantile(lengths_I, level)) for name, level in QUANTILES.items()}
    return {
        "title_tokens": {**quantiles, "mean": float(lengths_I.mean())},
        "target_tokens": target_tokens,
        "zero_gain_tokens": zero_gain_tokens,
        "zero_gain_share": zero_gain_tokens / target_tokens,
    }
