"""The tree of titles: its order, shared leaves, queries against plain dictionaries."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from bench.data.prompts import response
from bench.errors import BenchError
from bench.models.lm.decode.trie import NO_NODE, ROOT, Trie, build_trie
from bench.models.lm.tokenization import encode_prompts, encode_responses

A, B, C, D, E, F, END = range(7)
TITLES = [[A, B, END], [A, C, END], [A, C, D, END], [E, F, END]]

responses = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=15)


def prefix_of(trie: Trie, node: int) -> tuple[int, ...]:
    found: list[int] = []
    while node != ROOT:
        found.insert(0, int(trie.tokens[node]))
        node = int(trie.parents[node])
    return tuple(found)


@given(responses)
def test_nodes_are_the_prefixes_each_once(titles: list[list[int]]) -> None:
    trie = build_trie(titles)
    expected = {tuple(title[:length]) for title in titles for length in range(1, len(title) + 1)}
    found = [prefix_of(trie, node) for node in range(trie.num_nodes)]
    assert sorted(found) == sorted(expected | {()})
    assert trie.depths.tolist() == [len(prefix) for prefix in found]
    assert trie.depth == max(map(len, titles), default=0)


@given(responses)
def test_children_are_sorted_and_complete(titles: list[list[int]]) -> None:
    trie = build_trie(titles)
    nodes, num = torch.arange(trie.num_nodes), trie.num_nodes + 2
    beams_2C, children_2C = trie.children(
        torch.stack([nodes, torch.full_like(nodes, NO_NODE)]), num
    )
    children = children_2C[0, : trie.num_nodes - 1]
    assert torch.equal(trie.parents[children], beams_2C[0, : len(children)])
    assert children.tolist() == list(range(1, trie.num_nodes))
    assert (children_2C[0, len(children) :] == NO_NODE).all()
    assert (children_2C[1] == NO_NODE).all()
    for depth in range(trie.depth):
        counts = sorted(trie.first_child.diff()[trie.depths == depth].tolist(), reverse=True)
        for num in range(1, 4):
            assert trie.max_children(depth, num) == sum(counts[:num])
    for node in range(trie.num_nodes):
        tokens = trie.tokens[trie.parents == node].tolist()
        assert tokens == sorted(set(tokens))


@given(responses)
def test_leaves_are_sorted_titles_with_all_their_items(titles: list[list[int]]) -> None:
    trie = build_trie(titles)
    distinct = sorted({tuple(title) for title in titles})
    assert [prefix_of(trie, int(node)) for node in trie.leaf_nodes] == distinct
    assert [distinct[leaf] for leaf in trie.leaf_of_item] == [tuple(title) for title in titles]
    for leaf, title in enumerate(distinct):
        items = trie.items[trie.item_starts[leaf] : trie.item_starts[leaf + 1]].tolist()
        assert items == [item for item, other in enumerate(titles) if tuple(other) == title]
    for node in range(trie.num_nodes):
        prefix = prefix_of(trie, node)
        under = [u for u, title in enumerate(distinct) if title[: len(prefix)] == prefix]
        assert under == list(range(int(trie.low[node]), int(trie.high[node])))
        if under:
            assert trie.deepest[node] == max(len(distinct[leaf]) for leaf in under)
            first = min(titles.index(list(distinct[leaf])) for leaf in under)
            assert trie.first_item[node] == first
        ended = distinct.index(prefix) if prefix in distinct else NO_NODE
        assert trie.ends[node] == ended


@given(responses, responses)
def test_following_stops_where_a_dictionary_would(
    titles: list[list[int]], walks: list[list[int]]
) -> None:
    trie = build_trie(titles)
    numbers = {prefix_of(trie, node): node for node in range(trie.num_nodes)}
    found = trie.follow(walks)
    for path, walk in zip(found, walks, strict=True):
        expected = [numbers.get(tuple(walk[: place + 1]), NO_NODE) for place in range(len(walk))]
        assert path.tolist() == expected + [NO_NODE] * (len(path) - len(walk))


def test_a_token_that_the_tree_never_saw_leads_nowhere() -> None:
    assert build_trie(TITLES).follow([[A, 10**6, B], [-5]]).tolist() == [[1, -1, -1], [-1] * 3]


def test_a_title_may_be_the_beginning_of_another() -> None:
    trie = build_trie([[A, B, C], [A, B]])
    assert trie.leaf_of_item.tolist() == [1, 0]
    assert trie.ends.tolist() == [-1, -1, 0, 1]


def test_items_of_one_title_share_a_leaf_in_item_order() -> None:
    trie = build_trie([TITLES[2], TITLES[0], TITLES[2], TITLES[0], TITLES[2]])
    assert trie.num_leaves == 2
    assert trie.items.tolist() == [1, 3, 0, 2, 4]
    assert trie.first_item[ROOT] == 0


def test_items_left_out_are_nowhere() -> None:
    trie = build_trie(TITLES, np.array([False, True, False, True]))
    assert trie.leaf_of_item.tolist() == [-1, 0, -1, 1]
    assert trie.items.tolist() == [1, 3]
    assert trie.follow([TITLES[0], TITLES[3]])[:, 1].tolist() == [-1, 4]


@pytest.mark.parametrize("kept", [None, np.zeros(4, dtype=bool)])
def test_a_tree_of_nothing(kept: np.ndarray | None) -> None:
    trie = build_trie([] if kept is None else TITLES, kept)
    assert (trie.num_nodes, trie.num_leaves, trie.depth) == (1, 0, 0)
    assert trie.children(torch.tensor([[ROOT]]), 1)[1].tolist() == [[NO_NODE]]
    assert trie.follow([[A]]).tolist() == [[NO_NODE]]


@pytest.mark.parametrize("titles", [[[A], []], [[]]])
def test_a_title_without_tokens_is_refused(titles: list[list[int]]) -> None:
    with pytest.raises(BenchError, match=f"item {len(titles) - 1} has no tokens"):
        build_trie(titles)


def test_every_title_in_context_is_its_way_through_the_tree() -> None:
    titles = ['The "Burbs"', "The Burbs", "the burbs ", "Alien (1979)", "Alien³", "Ω", "The"]
    tokenizer = byte_pairs(titles)
    nouns = ("film", "films")
    ((prompt,), _) = encode_prompts(tokenizer, [titles[:2]], nouns=nouns, max_length=10_000)
    responses = encode_responses(tokenizer, titles, eos=True)
    trie = build_trie(responses)
    for title, alone in zip(titles, responses, strict=True):
        (in_context,) = trie.follow([[*prompt, *alone][len(prompt) :]])
        leaf = int(trie.ends[in_context[len(alone) - 1]])
        assert leaf == trie.leaf_of_item[titles.index(title)]
        way = trie.tokens[in_context[: len(alone)]].tolist()
        assert way[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(way[:-1]) == response(title)
    assert trie.num_leaves == len(titles)


def byte_pairs(titles: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that would join a prompt's last line break with nothing but line breaks."""
    built = Tokenizer(BPE())
    built.pre_tokenizer = ByteLevel(add_prefix_space=False)
    built.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator([*map(response, titles), '### Response:\n"The'], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=built, eos_token="</s>")


def test_forty_thousand_titles_take_a_second_or_two() -> None:
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(3, 20, size=40_000)
    titles = [[*(numbers.zipf(1.3, size) % 50_000).tolist(), 50_000] for size in lengths]
    start = time.perf_counter()
    trie = build_trie(titles)
    assert time.perf_counter() - start < 5  # 0.2 s on an idle machine
    assert trie.num_nodes > 300_000
    ends = trie.follow(titles[:100])
    assert (trie.ends.numpy()[ends.max(axis=1)] == trie.leaf_of_item[:100].numpy()).all()
