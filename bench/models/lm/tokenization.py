"""Prompts and responses as token ids: tokenized apart, so that they join the same way everywhere.

Whoever trains, generates or compares takes prompt ids and response ids from here and puts them one
after the other. A prompt that is too long loses its oldest titles; a response is never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from bench.data.catalog import Catalog
from bench.data.prompts import Style, prompt, response
from bench.data.windows import Windows
from bench.errors import BenchError

Tokenizer: TypeAlias = Any  # transformers' fast tokenizers have no useful type of their own


def history_titles(windows: Windows, catalog: Catalog) -> list[list[str]]:
    """Return the titles of each history, oldest first, N lists."""
    return [
        [catalog.titles[item] for item in history if item >= 0] for history in windows.histories
    ]


def encode_prompts(
    tokenizer: Tokenizer,
    histories: Sequence[Sequence[str]],
    *,
    nouns: Sequence[str],
    room: int,
    style: Style = "wrapped",
) -> list[list[int]]:
    """Write and tokenize the prompts, begun as the tokenizer begins a text.

    Args:
        tokenizer: The model's.
        histories: Titles, oldest first, N lists.
        nouns: What one item is called, and several.
        room: Most tokens of a prompt; the oldest titles are left out until it fits.
        style: See `bench.data.prompts`.

    Returns:
        Token ids, N lists.

    Raises:
        BenchError: Not even the prompt without any history fits.
    """
    singular, plural = nouns

    def ids(titles: Sequence[Sequence[str]]) -> list[list[int]]:
        texts = [prompt(chosen, singular=singular, plural=plural, style=style) for chosen in titles]
        if not texts:
            return []
        encoded: list[list[int]] = tokenizer(texts)["input_ids"]
        return [_without_end(tokens, tokenizer) for tokens in encoded]

    kept = [list(titles) for titles in histories]
    encoded = ids(kept)
    while long := [row for row, tokens in enumerate(encoded) if len(tokens) > room]:
        if not all(kept[row] for row in long):
            raise BenchError(
                f"A prompt without any history has more than {room} tokens.",
                "Raise `context` in the model's card.",
            )
        for row in long:
            del kept[row][0]
        for row, tokens in zip(long, ids([kept[row] for row in long]), strict=True):
            encoded[row] = tokens
    return encoded


def encode_responses(tokenizer: Tokenizer, titles: Sequence[str], *, eos: bool) -> list[list[int]]:
    """Tokenize titles as answers, each once; with the end-of-sequence token where `eos`."""
    distinct = list(dict.fromkeys(titles))
    if not distinct:
        return []
    texts = [response(title) for title in distinct]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if eos else []
    known = {title: [*ids, *end] for title, ids in zip(distinct, encoded, strict=True)}
    return [known[title] for title in titles]


def _without_end(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """Take off an end-of-sequence token that a tokenizer adds to every text."""
    return tokens[:-1] if len(tokens) > 1 and tokens[-1] == tokenizer.eos_token_id else tokens
