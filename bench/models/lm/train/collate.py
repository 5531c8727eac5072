"""Samples of supervised fine-tuning as token ids, with labels and weights, and their collation.

Shapes: B samples per batch, L length, T response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.errors import BenchError
from bench.models.lm.train.token_loss import IGNORED, NEITHER

Example: TypeAlias = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class SFTSamples:
    """N samples as token ids.

    Attributes:
        prompts: N lists, none empty.
        responses: N lists, none empty.
        weights: Weights of each response's tokens, N arrays of shape (T,); None for 1 everywhere.
        bare_prompts: Prompts without history, for the counterfactual loss.
        groups: Group of each response token (`bench.models.lm.train.token_loss`), N arrays of
            shape (T,).
    """

    prompts: Sequence[list[int]]
    responses: Sequence[list[int]]
    weights: Sequence[NDArray[np.float64]] | None = None
    bare_prompts: Sequence[list[int]] | None = None
    groups: Sequence[NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def to_examples(self, *, supervise_prompts: bool = False) -> list[Example]:
        """Return the samples as a trainer takes them.

        Where prompts are supervised as well, their tokens get the mean weight of their response's.

        Returns:
            `input_ids`, `labels` and `weights`, each (L,); with groups also `groups`, (L,); with
            bare prompts also `bare_ids` and `bare_labels`, of a length of their own.
        """
        assert not (supervise_prompts and self.bare_prompts), "the prompts share no tokens"
        examples = []
        for row, (prompt, response) in enumerate(zip(self.prompts, self.responses, strict=True)):
            weights_T = np.ones(len(response)) if self.weights is None else self.weights[row]
            prompt_weight = float(weights_T.mean()) if supervise_prompts else 0.0
            # Nothing precedes the very first token that could predict it.
            prompt_labels = [IGNORED, *prompt[1:]] if supervise_prompts else [IGNORED] * len(prompt)
            example: Example = {
                "input_ids": [*prompt, *response],
                "labels": [*prompt_labels, *response],
                "weights": [*[prompt_weight] * len(prompt), *weights_T.tolist()],
            }
            if self.groups is not None:
                example["groups"] = [*[NEITHER] * len(prompt), *self.groups[row].tolist()]
            if self.bare_prompts is not None:
                bare = self.bare_prompts[row]
                example["bare_ids"] = [*bare, *response]
                example["bare_labels"] = [*[IGNORED] * len(bare), *response]
            examples.append(example)
        return examples


@dataclass(frozen=True, kw_only=True)
class SFTCollator:
    """Pads examples on the right.

    Attributes:
        padding: Id of the padding token; any id works, since no supervised token sees it.
    """

    padding: int

    def __call__(self, rows: Sequence[Example]) -> dict[str, Tensor]:
        """Return a tensor for each list, shape (B, L), `lengths`, shape (B,), and `supervised`.

        `supervised`, and `bare_supervised`, are the indices of labels into the flattened B x L:
        known here, so that nothing has to be selected by a mask on the device.
        """
        fills = {"labels": IGNORED, "bare_labels": IGNORED, "weights": 0.0, "groups": NEITHER}
        batch = {
            name: pad_sequence(
                [torch.tensor(row[name]) for row in rows],
                batch_first=True,
                padding_value=fills.get(name, self.padding),
            )
            for name in rows[0]
        }
        batch["lengths"] = torch.tensor([len(row["input_ids"]) for row in rows])
        for prefix in ("", "bare_"):
            if f"{prefix}labels" in batch:
                supervised = np.flatnonzero(batch[f"{prefix}labels"].numpy() != IGNORED)
                batch[f"{prefix}supervised"] = torch.from_numpy(supervised)
        return batch


def check_weights(
    weights: Sequence[Any], responses: Sequence[Sequence[int]], function_name: str
) -> list[NDArray[np.float64]]:
    """Return the token weights that a method's function returned as arrays, or refuse them.

    Raises:
        BenchError: The lengths differ from the responses', a weight is negative or not finite, or
            all are 0.
    """
    arrays = [np.asarray(row, dtype=np.float64) for row in weights]
    if [array.shape for array in arrays] != [(len(response),) for response in responses]:
        raise BenchError(
            f"{function_name} did not return one weight per token of each response.",
            f"It must return {len(responses)} arrays, each as long as its response.",
        )
    flat = np.concatenate(arrays) if arrays else np.zeros(0)
    if not (np.isfinite(flat) & (flat >= 0)).all():
        raise BenchError(
            f"{function_name} returned a weight that is negative or not finite.",
            "Token weights are finite numbers from 0.",
        )
    if not flat.any():
        raise BenchError(f"{function_name} gave every token weight 0.", "Give some of them weight.")
    return arrays
