"""Several answers to one prompt in one sequence: the prompt is read once, whatever K is.

A row is laid out as its prompt and then its answers, one after the other. Each answer sees the
prompt and itself only, and its positions go on from the prompt's end, so its log-probability is
that of prompt and answer alone. A model that cannot take such a mask gets one sequence an answer
instead; all that follows is the same. The head is applied only where a token of an answer is
predicted.

Shapes: B rows, A answers of a row at most (the chosen and K rejected), C distinct answers of all
rows, T longest answer, S sequences, L their length, N answer tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Decoders of plain attention and a plain head, which take a mask as it is."""

PROMPT, PADDING = 0, -1


class Row(NamedTuple):
    """Token ids of a prompt and of its answers; no answer is empty."""

    prompt: Sequence[int]
    answers: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Rows as tensors.

    Attributes:
        tokens: Token ids, padded on the right, shape (S, L).
        positions: Place of each token in its prompt and answer, shape (S, L).
        segments: 0 for the prompt, the number of the answer from 1, -1 for padding, shape (S, L).
        places: What predicts each answer token, as a place of the flattened S x L, shape (N,).
        targets: The answer tokens, answer after answer, shape (N,).
        present: Which of the places of a distinct answer hold a token, shape (C, T).
        slots: The distinct answer behind each answer of a row, shape (B, A).
        mask: Which answers a row has, shape (B, A).
    """

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    places: Tensor
    targets: Tensor
    present: Tensor
    slots: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Layout:
        """Copy to a device."""
        return Layout(**{name: value.to(device) for name, value in vars(self).items()})


class _Writing:
    """Sequences being written; answers refer to their tokens by sequence and offset."""

    def __init__(self) -> None:
        self.tokens: list[list[int]] = []
        self.positions: list[list[int]] = []
        self.segments: list[list[int]] = []
        self.places: list[list[tuple[int, int]]] = []
        self.answers: list[Sequence[int]] = []

    def begin(self, prompt: Sequence[int]) -> None:
        self.tokens.append(list(prompt))
        self.positions.append(list(range(len(prompt))))
        self.segments.append([PROMPT] * len(prompt))

    def answer(self, tokens: Sequence[int]) -> None:
        """Append an answer to the last sequence."""
        assert tokens, "an answer has tokens"
        number = len(self.tokens) - 1
        written, segments = self.tokens[-1], self.segments[-1]
        prompt_length = segments.count(PROMPT)
        offset = len(written)
        before = [prompt_length - 1, *range(offset, offset + len(tokens) - 1)]
        self.places.append([(number, place) for place in before])
        self.answers.append(tokens)
        written.extend(tokens)
        self.positions[-1].extend(range(prompt_length, prompt_length + len(tokens)))
        segments.extend([segments[-1] + 1] * len(tokens))


def lay_out(rows: Sequence[Row], *, shared: bool, pad: int = 0) -> Layout:
    """Lay rows out with shared prompts, or with a sequence an answer.

    Equal answers of a row are written once: a pair whose rejected answer is the chosen one then has
    a gradient of 0 to the last bit.

    Args:
        rows: One or more rows, each with a prompt and an answer or more.
        shared: Whether the answers of a row share one sequence.
        pad: Token id of padding; nothing depends on it.
    """
    writing = _Writing()
    slots: list[list[int]] = []
    for row in rows:
        assert row.prompt, "a row has a prompt"
        assert row.answers, "a row has an answer"
        known: dict[tuple[int, ...], int] = {}
        if shared:
            writing.begin(row.prompt)
        for answer in row.answers:
            if tuple(answer) not in known:
                known[tuple(answer)] = len(writing.answers)
                if not shared:
                    writing.begin(row.prompt)
                writing.answer(answer)
        slots.append([known[tuple(answer)] for answer in row.answers])
    length = max(map(len, writing.tokens))
    longest = max(map(len, writing.answers))
    most = max(map(len, slots))
    return Layout(
        tokens=_padded(writing.tokens, length, pad),
        positions=_padded(writing.positions, length, 0),
        segments=_padded(writing.segments, length, PADDING),
        places=torch.tensor(
            [number * length + place for places in writing.places for number, place in places]
        ),
        targets=torch.tensor([token for answer in writing.answers for token in answer]),
        present=_present(writing.answers, longest),
        slots=_padded(slots, most, 0),
        mask=_present(slots, most),
    )


def log_probabilities(model: PreTrainedModel | PeftModel, layout: Layout) -> Tensor:
    """Compute the log-probability of every answer given its prompt.

    Args:
        model: A causal language model, with adapters or without.
        layout: The rows, on the model's device; with shared prompts only where `takes_branches`.

    Returns:
        Sums over the tokens of each answer, in float32, shape (B, A); 0 where there is no answer.
    """
    logits_NV = _logits(model, layout)
    logps_N = -functional.cross_entropy(logits_NV.float(), layout.targets, reduction="none")
    logps_CT = logps_N.new_zeros(layout.present.shape)
    logps_C1 = logps_CT.masked_scatter(layout.present, logps_N).sum(1, keepdim=True)
    # Looking up as embeddings adds gradients in one order; indexing does in any (here and below).
    logps_BA = functional.embedding(layout.slots, logps_C1).squeeze(-1)
    return logps_BA.masked_fill(~layout.mask, 0)


def visible(segments_SL: Tensor) -> Tensor:
    """Return what each token may attend to: its own past, shape (S, 1, L, L).

    Padding attends to itself, since a token must attend to something, and nothing to padding.
    """
    length = segments_SL.shape[1]
    places_L = torch.arange(length, device=segments_SL.device)
    asking, asked = segments_SL[:, :, None], segments_SL[:, None, :]
    related = (asked == PROMPT) | (asked == asking) & (asked != PADDING)
    earlier_LL = places_L <= places_L[:, None]
    itself_LL = places_L == places_L[:, None]
    return (related & earlier_LL | itself_LL)[:, None]


def takes_branches(config: Any, longest: int) -> bool:
    """Tell whether a model's attention takes shared prompts.

    It does in known families of decoders without a sliding window, or with one that no prompt with
    its answer outgrows.

    Args:
        config: The model's configuration.
        longest: Most tokens of a prompt with one answer.
    """
    window = getattr(config, "sliding_window", None)
    plain = config.model_type in FAMILIES and config._attn_implementation in ("sdpa", "eager")
    return plain and (window is None or window >= longest)


def _logits(model: PreTrainedModel | PeftModel, layout: Layout) -> Tensor:
    """Return the logits that predict each answer token, shape (N, V)."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    inputs: dict[str, Any] = {
        "input_ids": layout.tokens,
        "position_ids": layout.positions,
        "use_cache": False,
    }
    if len(layout.present) > len(layout.tokens):  # several answers in a sequence
        inputs["attention_mask"] = _as_attended(layout.segments, base)
    else:
        inputs["attention_mask"] = (layout.segments != PADDING).long()
    if base.config.model_type not in FAMILIES:  # its head may do more than multiply
        return functional.embedding(layout.places, base(**inputs).logits.flatten(0, 1))
    states_SLD = base.get_decoder()(**inputs).last_hidden_state
    states_ND = functional.embedding(layout.places, states_SLD.flatten(0, 1))
    logits_NV: Tensor = base.get_output_embeddings()(states_ND)
    return logits_NV


def _as_attended(segments_SL: Tensor, base: Any) -> Tensor:
    """Return `visible` as the model's attention wants it: truth values, or what is added."""
    visible_S1LL = visible(segments_SL)
    if base.config._attn_implementation == "sdpa":
        return visible_S1LL
    added = torch.zeros(visible_S1LL.shape, dtype=base.dtype, device=segments_SL.device)
    return added.masked_fill(~visible_S1LL, torch.finfo(base.dtype).min)


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])


def _present(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    return torch.tensor([[place < len(row) for place in range(length)] for row in rows])
