"""Chat questions for a language model, and its answers, as token ids.

A model with a chat template gets the question in it; any other model gets the question followed by
the marker that precedes all responses. Questions and answers are tokenized separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.hashing import digest
from bench.models.lm.tokenization import Tokenizer, fit_to_context

VERSION = 1
MARKER = "\n\n### Response:\n"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question: a context, and a request about it.

    Attributes:
        opening: What precedes the entries; empty where nothing is known.
        entries: Facts, the oldest first; a question that is too long loses these first.
        request: The request.
    """

    opening: str = ""
    entries: tuple[str, ...] = ()
    request: str

    @property
    def known(self) -> str:
        """The opening and all entries, on one line."""
        return (self.opening + "".join(self.entries)).rstrip()

    @property
    def text(self) -> str:
        """The whole question."""
        return f"{self.known}\n{self.request}" if self.known else self.request

    @property
    def hash(self) -> str:
        """The sha256 under which answers are stored."""
        return digest([VERSION, self.known, self.request])


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
