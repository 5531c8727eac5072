"""When a beam search takes a title: at any rank, or as the search of transformers does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from constrained_models import made_up_prompts, made_up_titles, tiny_llama

from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.item_search import search_titles
from bench.models.lm.decode.trie import build_trie
from bench.plan.language_stages import DecodingConfig

pytestmark = pytest.mark.usefixtures("one_thread")

TITLES = made_up_titles(150)
PROMPTS = made_up_prompts(12)
END = TITLES[0][-1]


def search(num_beams: int, ending: Any) -> tuple[list[list[tuple[int, ...]]], torch.Tensor]:
    """Return the titles of each prompt, and the sums of their log-probabilities."""
    trie = build_trie(TITLES)
    config = DecodingConfig(num_beams=num_beams, ending=ending)
    ranked = search_titles(tiny_llama(), PROMPTS, trie, lambda rows: Guidance(), config)
    items = trie.items[trie.item_starts[:-1]]
    titles = [[tuple(TITLES[items[leaf]]) for leaf in row if leaf >= 0] for row in ranked.leaves]
    return titles, torch.as_tensor(ranked.scores)[:, :num_beams].sum(dim=1)


def generate(num_beams: int) -> list[list[tuple[int, ...]]]:
    """The titles that transformers' beam search finds under the same constraint."""
    model, lists = tiny_llama(), []
    paths = {tuple(title[:length]) for title in TITLES for length in range(len(title) + 1)}
    for prompt in PROMPTS:

        def allow(_: int, ids: torch.Tensor, start: int = len(prompt)) -> list[int]:
            prefix = tuple(ids.tolist()[start:])
            tokens = [path[-1] for path in paths if path and path[:-1] == prefix]
            return tokens or [END]

        sequences = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            prefix_allowed_tokens_fn=allow,
            num_beams=num_beams,
            num_return_sequences=num_beams,
            length_penalty=0.0,
            early_stopping=False,
            do_sample=False,
            max_new_tokens=max(map(len, TITLES)),
            eos_token_id=END,
            pad_token_id=END,
        )
        rows = [row[len(prompt) :] for row in sequences.tolist()]
        lists.append([(*row[: row.index(END)], END) for row in rows])
    return lists


@pytest.mark.parametrize("num_beams", [2, 5])
def test_ranked_endings_are_those_of_transformers(num_beams: int) -> None:
    (ranked, ranked_sums), (always, always_sums) = (
        search(num_beams, ending) for ending in ("ranked", "always")
    )
    assert ranked == generate(num_beams)
    assert ranked != always
    assert (always_sums >= ranked_sums - 1e-4).all()
