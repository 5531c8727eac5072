"""Questions in free words for a language model, and its answers, as token ids.

A model with a chat template is asked as its makers ask it; any other one sees the marker under
which all its answers stand. Questions and answers are tokenized apart, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import BenchError
from bench.hashing import digest
from bench.models.lm.tokenization import Tokenizer

VERSION = 1
MARKER = "\n\n### Response:\n"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question: what is known, and what is asked about it.

    Attributes:
        opening: What comes before the entries; empty where nothing is known.
        entries: What is known, the oldest first; a question that is too long loses these first.
        request: What is asked.
    """

    opening: str = ""
    entries: tuple[str, ...] = ()
    request: str

    @property
    def known(self) -> str:
        """All that is known, on one line."""
        return (self.opening + "".join(self.entries)).rstrip()

    @property
    def text(self) -> str:
        """The whole question."""
        return f"{self.known}\n{self.request}" if self.known else self.request

    @property
    def hash(self) -> str:
        """The sha256 that answers are kept under."""
        return digest([VERSION, self.known, self.request])

    def without(self, num: int) -> Prompt:
        """Leave out the oldest entries."""
        return replace(self, entries=self.entries[num:])


def encode_questions(
    tokenizer: Tokenizer, prompts: Sequence[Prompt], *, rooms: Sequence[int]
) -> tuple[list[list[int]], int]:
    """Write and tokenize questions, each without so many of its oldest entries that it fits.

    Args:
        tokenizer: The model's.
        prompts: N questions.
        rooms: The most tokens of each.

    Returns:
        Token ids, N lists; and how many questions lost entries.

    Raises:
        BenchError: A question does not fit even without any entry.
    """
    left = list(prompts)
    encoded = _ids(tokenizer, [prompt.text for prompt in left])
    while long := [row for row, ids in enumerate(encoded) if len(ids) > rooms[row]]:
        for row in long:
            if not left[row].entries:
                raise BenchError(
                    f"A question of {len(encoded[row])} tokens does not fit into {rooms[row]}.",
                    "Set answer_tokens lower or answer_context higher, or take another model.",
                )
            # An eighth at a time: one by one, each step would tokenize the whole again.
            left[row] = left[row].without(max(1, len(left[row].entries) // 8))
        for row, ids in zip(long, _ids(tokenizer, [left[row].text for row in long]), strict=True):
            encoded[row] = ids
    cut = sum(one.entries != other.entries for one, other in zip(left, prompts, strict=True))
    return encoded, cut


def encode_answers(
    tokenizer: Tokenizer, texts: Sequence[str], finished: Sequence[bool]
) -> list[list[int]]:
    """Tokenize answers, those that were finished with the end-of-sequence token."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [
        [*ids, tokenizer.eos_token_id] if whole else list(ids)
        for ids, whole in zip(encoded, finished, strict=True)
    ]


def asked_as_chat(tokenizer: Tokenizer) -> bool:
    """Say whether the model has a form of its own for questions."""
    return bool(getattr(tokenizer, "chat_template", None))


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    if asked_as_chat(tokenizer):
        chats: list[Any] = [[{"role": "user", "content": text}] for text in texts]
        written = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        found: list[list[int]] = tokenizer(written, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return found
    encoded = tokenizer([f"{text}{MARKER}" for text in texts], verbose=False)["input_ids"]
    # Some tokenizers end every text.
    return [ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids for ids in encoded]
