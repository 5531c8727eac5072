"""Scores of whole catalogs by one branching text: equal to each title alone, audit of beams."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from constrained_models import each_alone, made_up_prompts, made_up_titles, tiny_llama
from numpy.typing import NDArray

from bench.data.ranking import LIST_ENDS
from bench.errors import BenchError
from bench.models.lm.decode.constrained_beam import TitleLists, constrained_beam_search
from bench.models.lm.decode.generation_state import GenerationState
from bench.models.lm.decode.guidance import Guidance, favor_information, mix_with_assistant
from bench.models.lm.decode.item_search import (
    on_path,
    rank_items,
    score_all_titles,
    score_titles,
    search_titles,
    split_tree,
)
from bench.models.lm.decode.trie import ROOT, Trie, build_trie
from bench.models.lm.train.information_gain import (
    compute_entropies,
    compute_gains,
    compute_probabilities,
    scale_among_siblings,
)
from bench.plan.language_stages import DecodingConfig

pytestmark = pytest.mark.usefixtures("one_thread")

TITLES = made_up_titles(150)
PROMPTS = made_up_prompts(4)


def scores(
    trie: Trie, guidance: Guidance | None = None, size: int = 40, **settings: float
) -> NDArray[np.float64]:
    pieces = split_tree(trie, size)
    return score_titles(tiny_llama(), PROMPTS, trie, guidance or Guidance(), pieces, **settings)


@pytest.mark.parametrize("size", [1, 17, 512])
def test_every_title_scores_as_it_does_alone(size: int) -> None:
    trie = build_trie(TITLES)
    alone = each_alone(tiny_llama(), PROMPTS, TITLES)
    found = scores(trie, size=size)[:, trie.leaf_of_item]
    np.testing.assert_allclose(found, alone, atol=1e-4)


def test_titles_inside_others_and_single_tokens() -> None:
    titles = [[3], [3, 4], [3, 4, 5], [7], [8, 9]]
    found = scores(build_trie(titles))
    np.testing.assert_allclose(found, each_alone(tiny_llama(), PROMPTS, titles), atol=1e-4)
    assert scores(build_trie([])).shape == (len(PROMPTS), 0)
    one = scores(build_trie([[3]]))
    np.testing.assert_allclose(one, each_alone(tiny_llama(), PROMPTS, [[3]]), atol=1e-4)


def test_length_penalty_and_temperature() -> None:
    trie = build_trie(TITLES)
    alone = each_alone(tiny_llama(), PROMPTS, TITLES, temperature=2)
    alone /= np.array([len(title) for title in TITLES]) ** 0.7
    found = scores(trie, length_penalty=0.7, temperature=2)
    np.testing.assert_allclose(found[:, trie.leaf_of_item], alone, atol=1e-4)


def test_prompts_of_other_lengths_beside_it_change_nothing() -> None:
    trie = build_trie(TITLES)
    pieces = split_tree(trie)
    for row, prompt in enumerate(PROMPTS):
        alone = score_titles(tiny_llama(), [prompt], trie, Guidance(), pieces)
        np.testing.assert_allclose(alone[0], scores(trie)[row], atol=1e-4)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_hold_every_inner_node_and_its_way(size: int) -> None:
    trie = build_trie(TITLES)
    pieces = split_tree(trie, size)
    inner = set((trie.first_child.diff() > 0).nonzero().flatten().tolist()) - {ROOT}
    assert set(torch.cat(pieces).tolist()) == inner
    for piece in pieces:
        assert len(piece) <= size + trie.depth
        assert len(set(piece.tolist())) == len(piece)
        assert set(trie.parents[piece].tolist()) <= set(piece.tolist()) | {ROOT}


def test_a_node_sees_its_own_way_only() -> None:
    trie = build_trie([[1, 2, 3, 0], [1, 2, 4, 0], [5, 0]])
    (piece,) = split_tree(trie)
    seen = on_path(trie, piece)
    for place, node in enumerate(piece.tolist()):
        way = []
        while node != ROOT:
            way.append(node)
            node = int(trie.parents[node])
        assert sorted(piece[seen[place]].tolist()) == sorted(way)


def guided(trie: Trie, kind: str) -> Guidance:
    numbers = np.random.default_rng(3)
    if kind == "assistant":
        return mix_with_assistant(
            trie, numbers.dirichlet(np.ones(len(TITLES)), size=len(PROMPTS)), 0.6
        )
    if kind == "gain":
        shares = compute_probabilities(trie, numbers.integers(0, 9, size=len(TITLES)))
        return favor_information(
            scale_among_siblings(trie, compute_gains(trie, compute_entropies(trie, shares))), 0.3
        )
    return Guidance()


@pytest.mark.parametrize("kind", ["plain", "assistant", "gain"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_certified_beams_are_the_best_of_all_items(kind: str, penalty: float) -> None:
    trie = build_trie(TITLES)
    guidance = guided(trie, kind)
    everything = scores(trie, guidance, length_penalty=penalty)
    best = np.argsort(-everything, axis=1)[:, :10]
    right = []
    for beams in (10, 40, 400):
        config = DecodingConfig(num_beams=beams, length_penalty=penalty)
        with torch.inference_mode():
            state = GenerationState(tiny_llama(), PROMPTS)
            found = constrained_beam_search(
                state, len(PROMPTS), trie, guidance, config, num_titles=10
            )
        for row in np.flatnonzero(found.certified):
            assert found.leaves[row].tolist() == best[row].tolist()
            np.testing.assert_allclose(found.scores[row], everything[row, best[row]], atol=1e-4)
        right.append(int(found.certified.sum()))
    assert right[0] < right[-1] == len(PROMPTS)


def test_the_assistants_steps_add_up_to_its_item() -> None:
    trie = build_trie(TITLES)
    shares = np.random.default_rng(3).dirichlet(np.ones(len(TITLES)), size=len(PROMPTS))
    mixed = scores(trie, mix_with_assistant(trie, shares, 0.6))
    of_leaf = np.zeros((len(PROMPTS), trie.num_leaves))
    np.add.at(of_leaf.T, trie.leaf_of_item.numpy(), shares.T)
    np.testing.assert_allclose(mixed, 0.6 * scores(trie) + 0.4 * np.log(of_leaf), atol=1e-9)


@pytest.mark.parametrize("decode", [search_titles, score_all_titles])
def test_ties_go_to_the_smaller_item_position(decode: Callable[..., TitleLists]) -> None:
    model = tiny_llama()
    torch.nn.init.zeros_(model.lm_head.weight)
    titles = [[4, 0], [2, 0], [3, 5, 0], [1, 0], [6, 0], [2, 0]]
    trie = build_trie(titles)
    arguments = (model, PROMPTS, trie, lambda rows: Guidance(), DecodingConfig(num_beams=4))
    found = decode(*arguments)
    ranking = rank_items(found, trie, num_ranks=6)
    # Four titles, of which the second has two items.
    assert ranking.items[:, :4].tolist() == [[0, 1, 5, 3]] * len(PROMPTS)
    assert ((ranking.items != LIST_ENDS).sum(axis=1) == 5).all()
    assert decode(*arguments, divisor=64).leaves.tolist() == found.leaves.tolist()


def test_a_window_shorter_than_prompt_and_title_is_refused() -> None:
    model = SimpleNamespace(config=SimpleNamespace(sliding_window=6))
    trie = build_trie(TITLES)
    with pytest.raises(BenchError, match="window has 6 tokens"):
        score_titles(model, PROMPTS, trie, Guidance(), split_tree(trie))
