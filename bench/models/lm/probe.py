"""Contamination probe: does a language model know which texts of a data set belong together?

After Di Palma et al. (SIGIR 2025, arXiv 2505.10212), who ask a model to recite the lines of
MovieLens-1M. A model that fails to recite may still have read them, so this probe compares
likelihoods instead. Two contexts and two continuations are exchanged: with l(c | x) the
log-likelihood of a continuation in a context, a pair counts as right if

    l(c1 | x1) + l(c2 | x2) > l(c1 | x2) + l(c2 | x1).

Context and continuation by themselves cancel, so that a model without any knowledge of the pairing
is right in half of the cases. As a control, everything is repeated with the titles of the catalog
exchanged at random: what is right there too has nothing to do with the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.prepared import Prepared
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.collate import SFTCollator, SFTSamples
from bench.models.lm.train.token_loss import cross_entropy, token_logits

BATCH_SIZE = 16
NUM_HISTORY = 5
TASKS = {
    "title of an id": "a line of the item file begins with the id; which title follows?",
    "end of a title": "a title's first half; which second half follows?",
    "next interaction": "the titles of a test user's history; which title came next?",
    "order of a history": "the titles of a test user's history; is the real order more probable "
    "than a shuffled one?",
}


class Exchange(NamedTuple):
    """Texts of one comparison: matching ones, and the same with their parts exchanged.

    Attributes:
        real: Context and continuation, one or two.
        exchanged: As many, not belonging together.
    """

    real: tuple[tuple[str, str], ...]
    exchanged: tuple[tuple[str, str], ...]


def make_exchanges(
    prepared: Prepared, titles: Sequence[str], num: int, seed: int
) -> dict[str, list[Exchange]]:
    """Write up to `num` comparisons of every task, with titles as in the catalog or exchanged.

    The seed decides which items and users; they are the same for both kinds of titles.
    """
    generator = np.random.default_rng(seed)
    ids = prepared.catalog.ids
    items = generator.permutation(np.unique(prepared.items[prepared.items >= 0]))
    samples = np.array(prepared.sample_range("test"))
    users = prepared.users[prepared.target[samples]]
    samples = samples[np.unique(users, return_index=True)[1]]
    samples = generator.permutation(samples[prepared.items[prepared.target[samples]] >= 0])
    windows = prepared.windows(samples)
    lists = [
        [titles[item] for item in history[history >= 0][-NUM_HISTORY:]]
        for history in windows.histories
    ]
    contexts = {
        "title of an id": [(f"{ids[item]}::", titles[item]) for item in items],
        "end of a title": [halves for item in items if all(halves := split_title(titles[item]))],
        "next interaction": [
            ("\n".join(names) + "\n", titles[target])
            for names, target in zip(lists, windows.targets, strict=True)
        ],
    }
    exchanges = {task: _exchange_pairs(texts, num) for task, texts in contexts.items()}
    orders = [generator.permutation(len(names)) for names in lists]
    exchanges["order of a history"] = [
        Exchange(
            real=(("\n", "\n".join(names)),),
            exchanged=(("\n", "\n".join(names[index] for index in order)),),
        )
        for names, order in zip(lists, orders, strict=True)
        if (order != np.arange(len(order))).any()
    ][:num]
    return exchanges


def split_title(title: str) -> tuple[str, str]:
    """Split a title between words, the second half not shorter; ("", title) for one word."""
    words = title.split(" ")
    middle = len(words) // 2
    first = " ".join(words[:middle])
    return first, f" {' '.join(words[middle:])}" if middle else title


def _exchange_pairs(texts: Sequence[tuple[str, str]], num: int) -> list[Exchange]:
    pairs = zip(texts[::2], texts[1::2], strict=False)
    return [
        Exchange(real=(first, second), exchanged=((first[0], second[1]), (second[0], first[1])))
        for first, second in pairs
        if first[0] != second[0] and first[1] != second[1]
    ][:num]


def judge_exchanges(
    model: Any, tokenizer: Tokenizer, exchanges: Sequence[Exchange]
) -> NDArray[np.float64]:
    """Return 1 for each comparison that the model gets right, 0.5 for a tie, shape (N,)."""
    texts = [text for each in exchanges for text in (*each.real, *each.exchanged)]
    scores = score_texts(model, tokenizer, texts)
    lengths = [2 * len(each.real) for each in exchanges]
    ends = np.cumsum(lengths)
    gains = [
        scores[end - num : end - num // 2].sum() - scores[end - num // 2 : end].sum()
        for num, end in zip(lengths, ends, strict=True)
    ]
    return (np.sign(gains) + 1) / 2


@torch.inference_mode()
def score_texts(
    model: Any, tokenizer: Tokenizer, texts: Sequence[tuple[str, str]]
) -> NDArray[np.float64]:
    """Return the log-likelihood of each continuation in its context, shape (N,)."""
    contexts, continuations = (
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in part]
        for part in zip(*texts, strict=True)
    )
    examples = SFTSamples(prompts=contexts, responses=continuations).to_examples()
    collate = SFTCollator(padding=tokenizer.pad_token_id)
    scores = np.zeros(len(texts))
    order = sorted(range(len(texts)), key=lambda row: len(examples[row]["input_ids"]))
    for begin in range(0, len(order), BATCH_SIZE):
        rows = order[begin : begin + BATCH_SIZE]
        batch = collate([examples[row] for row in rows])
        owners_N = (batch["supervised"] // batch["labels"].shape[1]).numpy()
        on_device = [batch[name].to(model.device) for name in ("input_ids", "labels", "supervised")]
        losses_N = cross_entropy(*token_logits(model, *on_device)).cpu().numpy()
        scores[rows] = -np.bincount(owners_N, losses_N, minlength=len(rows))
    return scores
