"""How long the catalog's constraint takes, against `prefix_allowed_tokens_fn` of transformers.

320 beams (32 rows x 10) in a tree of 4,000 titles, a vocabulary of 128,000, one step. Only what the
constraint itself costs is timed: the peer looks the allowed tokens up in a dictionary, the fastest
such function, and its processor adds a mask to all scores; ours gathers the scores of the children.
The log-softmax that both need first is left out. Both run in this process on one thread, and must
leave the same tokens and scores, after 0 to 7 tokens. Prints one line: milliseconds of a step for
each (the fastest of a few runs, a mean over lengths) and their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PrefixConstrainedLogitsProcessor

from bench.models.lm.decode.constrained_beam import gather_scores
from bench.models.lm.decode.trie import ROOT, Trie, build_trie

NUM_ROWS, BEAMS, VOCABULARY, NUM_TITLES = 32, 10, 128_000, 4_000
END = VOCABULARY - 1

Result = TypeVar("Result")


def made_up_titles() -> list[list[int]]:
    """Titles of 3 to 15 tokens; first words repeat as they do in catalogs."""
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(3, 16, size=NUM_TITLES)
    return [[*(numbers.zipf(1.4, length) % END).tolist(), END] for length in lengths]


def allowed_after(titles: list[list[int]]) -> dict[tuple[int, ...], list[int]]:
    found: dict[tuple[int, ...], set[int]] = {}
    for title in titles:
        for place, token in enumerate(title):
            found.setdefault(tuple(title[:place]), set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in found.items()}


def constrained(
    trie: Trie, nodes_BM: Tensor, depth: int, scores_MV: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return which candidates exist, and each one's beam, token and score."""
    num_rows, num_beams = nodes_BM.shape
    beams_BC, children_BC = trie.children(nodes_BM, trie.max_children(depth, num_beams))
    exists_BC, nodes_BC = children_BC >= 0, children_BC.clamp_(min=ROOT)
    sequences_BM = torch.arange(num_rows * num_beams).view(num_rows, num_beams)
    beams_BC, tokens_BC = sequences_BM.gather(1, beams_BC), trie.look_up(trie.tokens, nodes_BC)
    scores_C = gather_scores(scores_MV, beams_BC.flatten(), tokens_BC.flatten())
    return exists_BC, beams_BC, tokens_BC, scores_C.view(beams_BC.shape)


def fastest(compute: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    torch.set_num_threads(1)
    titles = made_up_titles()
    allowed, trie = allowed_after(titles), build_trie(titles)
    processor = PrefixConstrainedLogitsProcessor(
        lambda row, ids: allowed[tuple(ids.tolist())], num_beams=BEAMS
    )
    numbers = np.random.default_rng(1)
    num_beams = NUM_ROWS * BEAMS
    scores_MV = torch.randn(num_beams, VOCABULARY, generator=torch.Generator().manual_seed(0))
    ours, theirs = [], []
    for length in range(8):
        # The beams of a row differ; without a token there is one, here as many rows.
        long = [tuple(title[:length]) for title in titles if len(title) > length]
        rows = NUM_ROWS if length else num_beams
        chosen = [
            prefix
            for _ in range(rows)
            for prefix in list(dict.fromkeys(long[i] for i in numbers.permutation(len(long))))[
                : num_beams // rows
            ]
        ]
        ids_ML = torch.tensor(chosen, dtype=torch.int64).reshape(num_beams, length)
        nodes_BM = torch.from_numpy(
            trie.follow(chosen)[:, length - 1] if length else np.zeros(num_beams, int)
        ).view(rows, -1)
        seconds, (exists_BC, beams_BC, tokens_BC, scores_BC) = fastest(
            lambda nodes_BM=nodes_BM, length=length: constrained(trie, nodes_BM, length, scores_MV),
            20,
        )
        ours.append(seconds)
        seconds, masked_MV = fastest(lambda ids_ML=ids_ML: processor(ids_ML, scores_MV), 3)
        theirs.append(seconds)
        there_MV = masked_MV.isfinite()
        beams_C, tokens_C = beams_BC[exists_BC], tokens_BC[exists_BC]
        assert torch.equal(there_MV.nonzero(), torch.stack([beams_C, tokens_C], dim=1))
        assert torch.equal(masked_MV[there_MV], scores_BC[exists_BC])
    our_ms, their_ms = 1000 * np.mean(ours), 1000 * np.mean(theirs)
    print(
        f"trie constraint, {num_beams} beams x {VOCABULARY:,} tokens, {NUM_TITLES:,} titles: "
        f"{our_ms:.2f} ms a step, prefix_allowed_tokens_fn {their_ms:.1f} ms, "
        f"ratio {their_ms / our_ms:.0f}"
    )


if __name__ == "__main__":
    main()
