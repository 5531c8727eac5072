"""Answers in free words: drawn token by token, several to a question, which is read only once.

What is drawn for a question depends on the question, the seed and the number of the draw alone; not
on other questions, batches, or how many draws are asked. So a run with 5 draws has the first 5 of a
run with 10, rounding apart.

Shapes: B texts of a batch, T answer tokens, V vocabulary, K most likely tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.hashing import derive_seed
from bench.models.lm.decode.decoding import TOKENS_AT_ONCE, Decoding, batches
from bench.models.lm.decode.generation_state import (
    Running,
    Tokens,
    endings,
    shares_prompts,
    stop_tokens,
)
from bench.models.lm.decode.sampling import write_singly


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How answers are written.

    Attributes:
        max_new_tokens: Most tokens of an answer.
        temperature: 0 takes the likeliest token.
        top_k: Only so many of the likeliest tokens are drawn from; 0 for all.
        top_p: Of these only the likeliest that together have this probability; 1 for all.
        num: Answers to a question.
        seed: Decides what is drawn.

    Raises:
        BenchError: A setting is out of its range, or several answers are to be the likeliest.
    """

    max_new_tokens: int
    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    num: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise BenchError(
                f"Nothing can be drawn with top_k {self.top_k} and top_p {self.top_p}.",
                "Give 0 or more, and more than 0 up to 1.",
            )
        assert self.width_of_batches

    @property
    def width_of_batches(self) -> Decoding:
        """The same for `batches`, which sees to the other ranges."""
        return Decoding(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, num=self.num
        )


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What was answered to one question, draw by draw.

    Attributes:
        texts: Without spaces at their ends; may be empty.
        finished: Whether the model ended the text; otherwise it had no tokens left.
        num_tokens: Tokens of each, the ending one included.
    """

    texts: tuple[str, ...]
    finished: tuple[bool, ...]
    num_tokens: tuple[int, ...]


class Nucleus(nn.Module):
    """A language model whose unlikely next tokens are impossible.

    Args:
        model: A causal language model.
        how: Where it cuts.
    """

    def __init__(self, model: nn.Module, how: Drawing) -> None:
        super().__init__()
        self.model = model
        self.config = model.config
        self.how = how

    def forward(self, **inputs: Any) -> Any:
        """Run the model and cut its logits."""
        output = self.model(**inputs)
        output.logits = nucleus(output.logits, self.how)
        return output


def nucleus(logits: Tensor, how: Drawing) -> Tensor:
    """Set the logits of tokens beyond `top_k` and `top_p` to minus infinity, shape (..., V).

    Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020. The probabilities
    that `top_p` adds up are those at the temperature, among the `top_k` tokens.
    """
    size = logits.shape[-1]
    likeliest, tokens = logits.topk(min(how.top_k or size, size), dim=-1)
    shares_K = (likeliest.float() / how.temperature).softmax(dim=-1)
    before_K = shares_K.cumsum(dim=-1) - shares_K
    kept_K = likeliest.masked_fill(before_K >= how.top_p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, tokens, kept_K)


@torch.no_grad()
def answer(
    model: nn.Module,
    tokenizer: Any,
    questions: Sequence[Sequence[int]],
    names: Sequence[str],
    how: Drawing,
    *,
    tokens_at_once: int | None = None,
) -> list[Answers]:
    """Answer all questions.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its own.
        questions: Token ids, N lists, none empty.
        names: Hashes of the questions in hexadecimal digits, which decide what is drawn.
        how: How to write.
        tokens_at_once: Size of a batch; by the device where None. Decides memory and speed alone.
    """
    if not questions:
        return []
    ends = endings(model, tokenizer)
    # A quote is a sign like any other here.
    ends = replace(ends, quotes=torch.zeros_like(ends.quotes))
    cutting = how.temperature > 0 and (how.top_k > 0 or how.top_p < 1)
    asked = Nucleus(model, how) if cutting else model
    budget = tokens_at_once or TOKENS_AT_ONCE[next(model.parameters()).device.type]
    stops = stop_tokens(model, tokenizer)
    found: dict[int, Answers] = {}
    lengths = [len(question) for question in questions]
    for rows in batches(lengths, how.width_of_batches, budget, shared=shares_prompts(model)):
        running = Running(asked, [questions[row] for row in rows])
        device = running.logits.device
        running.take(torch.arange(len(rows), device=device).repeat_interleave(how.num))
        drawn = {}
        if how.temperature > 0:
            streams_BT = _uniforms([names[row] for row in rows], how).to(device)
            drawn = {"temperature": how.temperature, "uniforms_BT": streams_BT}
        flat = write_singly(running, ends, max_new_tokens=how.max_new_tokens, **drawn)  # type: ignore[arg-type]
        for place, row in enumerate(rows):
            own = flat[place * how.num : (place + 1) * how.num]
            found[row] = _texts(own, tokenizer, stops)
    return [found[row] for row in range(len(questions))]


def _uniforms(names: Sequence[str], how: Drawing) -> Tensor:
    """Give each draw of each question a stream of its own, shape (B, T)."""
    seed = derive_seed("answers", how.seed)
    streams = [
        np.random.default_rng((seed, int(name[:16], 16), draw)).random(how.max_new_tokens)
        for name in names
        for draw in range(how.num)
    ]
    return torch.from_numpy(np.stack(streams))


def _texts(own: Sequence[Tokens], tokenizer: Any, stops: set[int]) -> Answers:
    decoded = tokenizer.batch_decode(
        [[token for token in tokens.ids if token not in stops] for tokens in own],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return Answers(
        texts=tuple(text.strip() for text in decoded),
        finished=tuple(bool(tokens.ids) and tokens.ids[-1] in stops for tokens in own),
        num_tokens=tuple(len(tokens.ids) for tokens in own),
    )
