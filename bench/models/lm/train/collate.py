"""Rows of supervised fine-tuning: prompt and response as ids, what is supervised, what it weighs.

Shapes: B rows of a batch, L length, T response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.train.loss_by_group import NEITHER
from bench.models.lm.train.token_loss import IGNORED

Example: TypeAlias = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """N rows as token ids.

    Attributes:
        prompts: N lists, none empty.
        responses: N lists, none empty.
        weights: Weights of each response's tokens, N arrays of shape (T,); None for 1 everywhere.
        bare_prompts: Prompts without history, where a second pass needs them.
        groups: Which kind of token each of a response is (`bench.models.lm.train.loss_by_group`), N
            arrays of shape (T,); None where nobody asks.
    """

    prompts: Sequence[list[int]]
    responses: Sequence[list[int]]
    weights: Sequence[NDArray[np.float64]] | None = None
    bare_prompts: Sequence[list[int]] | None = None
    groups: Sequence[NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def plain(self) -> Texts:
        """Return the rows alone, as validation sees them: no weights, groups or second prompt."""
        return Texts(prompts=self.prompts, responses=self.responses)

    def examples(self, *, prompts_too: bool = False) -> list[Example]:
        """Return the rows as a trainer takes them: `input_ids`, `labels`, `weights`, each (L,).

        With groups also `groups`, (L,); with a second prompt also `bare_ids` and `bare_labels`, of
        a length of their own.

        Args:
            prompts_too: Supervise prompts as well. A prompt's tokens weigh what its response's do
                on average.
        """
        weights = self.weights or [np.ones(len(response)) for response in self.responses]
        examples = []
        for row, (prompt, response, given) in enumerate(
            zip(self.prompts, self.responses, weights, strict=True)
        ):
            weight = float(given.mean()) if prompts_too else 0.0
            example: Example = {
                "input_ids": [*prompt, *response],
                "labels": _labels(prompt, response, prompts_too),
                "weights": [*[weight] * len(prompt), *given.tolist()],
            }
            if self.groups is not None:
                example["groups"] = [*[NEITHER] * len(prompt), *self.groups[row].tolist()]
            if self.bare_prompts is not None:
                assert not prompts_too, "the two prompts have no tokens in common"
                bare = self.bare_prompts[row]
                example["bare_ids"] = [*bare, *response]
                example["bare_labels"] = _labels(bare, response, False)
            examples.append(example)
        return examples


def _labels(prompt: list[int], response: list[int], prompts_too: bool) -> list[int]:
    if not prompts_too:
        return [*[IGNORED] * len(prompt), *response]
    # Nothing stands before the very first token that could predict it.
    return [IGNORED, *prompt[1:], *response]


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Pads rows on the right.

    Attributes:
        padding: Id of the padding token; any will do, since no supervised token sees it.
    """

    padding: int

    def __call__(self, rows: Sequence[Example]) -> dict[str, Tensor]:
        """Return a tensor for each list, shape (B, L), and `lengths`, shape (B,)."""
        fills = {"labels": IGNORED, "bare_labels": IGNORED, "weights": 0.0, "groups": NEITHER}
        batch = {
            name: _padded([row[name] for row in rows], fills.get(name, self.padding))
            for name in rows[0]
        }
        batch["lengths"] = torch.tensor([len(row["input_ids"]) for row in rows])
        return batch


def _padded(rows: Sequence[Sequence[Any]], fill: float) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def checked_weights(
    weights: Sequence[Any], responses: Sequence[Sequence[int]], reference: str
) -> list[NDArray[np.float64]]:
    """Refuse weights that nothing can be trained with.

    Args:
        weights: What a function of a method returned.
        responses: Token ids of each response.
        reference: The function's name, for the sentence.

    Raises:
        BenchError: There are not as many as tokens, or one is below 0 or no finite number, or none
            is above 0.
    """
    arrays = [np.asarray(row, dtype=np.float64) for row in weights]
    if [array.shape for array in arrays] != [(len(response),) for response in responses]:
        raise BenchError(
            f"{reference} did not return one weight for each token of each response.",
            f"It must return {len(responses)} arrays, each as long as its response.",
        )
    flat = np.concatenate(arrays) if arrays else np.zeros(0)
    if not (np.isfinite(flat) & (flat >= 0)).all():
        raise BenchError(
            f"{reference} returned a weight that is negative or no finite number.",
            "Weights of tokens are numbers from 0.",
        )
    if not flat.any():
        raise BenchError(f"{reference} gave every token weight 0.", "Give some of them weight.")
    return arrays
