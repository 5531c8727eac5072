"""Prompts, questions and responses as token ids, tokenized apart so that they join alike.

A prompt that is too long loses its oldest titles; a response is never truncated. A model with a
chat template gets a question in it; any other model gets the question followed by the marker that
precedes all responses.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from bench.data.catalog import Catalog
from bench.data.prompts import Style, prompt, response
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import digest

Entry = TypeVar("Entry")
Tokenizer: TypeAlias = Any  # transformers' fast tokenizers have no useful type of their own

QUESTION_VERSION = 1
MARKER = "\n\n### Response:\n"


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
    max_length: int,
    style: Style = "wrapped",
) -> tuple[list[list[int]], int]:
    """Write and tokenize prompts; they begin with the tokens that the tokenizer begins a text with.

    The oldest titles are left out until a prompt fits `max_length` tokens.

    Returns:
        Token ids, N lists; and the number of prompts that lost titles.

    Raises:
        BenchError: A prompt without any history is too long.
    """
    singular, plural = nouns

    def tokenize(histories: Sequence[Sequence[str]]) -> list[list[int]]:
        texts = [
            prompt(titles, singular=singular, plural=plural, style=style) for titles in histories
        ]
        ids: list[list[int]] = tokenizer(texts)["input_ids"] if texts else []
        return [_strip_end(tokens, tokenizer) for tokens in ids]

    return fit_to_context(
        histories, lambda rows, titles: tokenize(titles), [max_length] * len(histories)
    )


def fit_to_context(
    histories: Sequence[Sequence[Entry]],
    tokenize: Callable[[Sequence[int], Sequence[Sequence[Entry]]], list[list[int]]],
    max_lengths: Sequence[int],
) -> tuple[list[list[int]], int]:
    """Tokenize prompts, dropping the oldest entries of the histories of those that are too long.

    `tokenize` writes some prompts, given by row, with shortened histories. An eighth of the
    entries, at least one, is dropped at a time, for each step tokenizes the whole prompt again.

    Returns:
        Token ids, N lists; and the number of prompts that lost entries.

    Raises:
        BenchError: A prompt without any history is too long.
    """
    shortened = list(histories)
    prompts = tokenize(range(len(shortened)), shortened)
    num_truncated = sum(map(operator.gt, map(len, prompts), max_lengths))
    while long := [row for row, ids in enumerate(prompts) if len(ids) > max_lengths[row]]:
        for row in long:
            if not shortened[row]:
                raise BenchError(
                    f"A prompt without any history has {len(prompts[row])} tokens, and "
                    f"{max_lengths[row]} fit.",
                    "Set a higher context, or lower max_new_tokens.",
                )
            shortened[row] = shortened[row][max(1, len(shortened[row]) // 8) :]
        for row, ids in zip(long, tokenize(long, [shortened[row] for row in long]), strict=True):
            prompts[row] = ids
    return prompts, num_truncated


def encode_responses(tokenizer: Tokenizer, titles: Sequence[str], *, eos: bool) -> list[list[int]]:
    """Tokenize titles as responses, with the end-of-sequence token if `eos`."""
    distinct = list(dict.fromkeys(titles))
    if not distinct:
        return []
    texts = [response(title) for title in distinct]
    token_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if eos else []
    responses = {title: [*ids, *end] for title, ids in zip(distinct, token_ids, strict=True)}
    return [responses[title] for title in titles]


def _strip_end(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """Remove an end-of-sequence token that the tokenizer adds to every text."""
    return tokens[:-1] if len(tokens) > 1 and tokens[-1] == tokenizer.eos_token_id else tokens


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question: a context, and a request about it.

    Attributes:
        opening: What precedes the entries; may be empty.
        entries: Statements, the oldest first; a question that is too long loses these first.
        request: The request.
    """

    opening: str = ""
    entries: tuple[str, ...] = ()
    request: str

    @property
    def context(self) -> str:
        """The opening and all entries, on one line."""
        return (self.opening + "".join(self.entries)).rstrip()

    @property
    def text(self) -> str:
        """The whole question."""
        return f"{self.context}\n{self.request}" if self.context else self.request

    @property
    def hash(self) -> str:
        """The sha256 under which answers are stored."""
        return digest([QUESTION_VERSION, self.context, self.request])


def encode_questions(
    tokenizer: Tokenizer, prompts: Sequence[Prompt], *, max_lengths: Sequence[int]
) -> tuple[list[list[int]], int]:
    """Tokenize questions, leaving out the oldest entries of those that are too long.

    Returns:
        Token ids, N lists; and the number of questions that lost entries.

    Raises:
        BenchError: A question does not fit even without any entry.
    """

    def tokenize(rows: Sequence[int], entries: Sequence[Sequence[str]]) -> list[list[int]]:
        pairs = zip(rows, map(tuple, entries), strict=True)
        return _tokenize(tokenizer, [replace(prompts[row], entries=own).text for row, own in pairs])

    return fit_to_context([prompt.entries for prompt in prompts], tokenize, max_lengths)


def encode_answers(
    tokenizer: Tokenizer, texts: Sequence[str], finished: Sequence[bool]
) -> list[list[int]]:
    """Tokenize answers; finished ones end with the end-of-sequence token."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [
        [*ids, tokenizer.eos_token_id] if is_finished else list(ids)
        for ids, is_finished in zip(encoded, finished, strict=True)
    ]


def has_chat_template(tokenizer: Tokenizer) -> bool:
    """Tell whether questions are written in the model's chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def _tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    if has_chat_template(tokenizer):
        chats: list[Any] = [[{"role": "user", "content": text}] for text in texts]
        written = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        ids: list[list[int]] = tokenizer(written, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return ids
    encoded = tokenizer([f"{text}{MARKER}" for text in texts], verbose=False)["input_ids"]
    # Some tokenizers end every text with the end-of-sequence token.
    return [ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids for ids in encoded]
