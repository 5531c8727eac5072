"""Log-probabilities of several answers to one prompt, which is read once however many there are.

A row is its prompt followed by its answers. Each answer attends to the prompt and itself only, and
its positions continue from the prompt's end, so its log-probability is that of prompt and answer
alone. A model that cannot take such a mask gets one sequence per answer instead; all that follows
is the same. The head is applied only where a token of an answer is predicted.

Shapes: B rows, A maximum answers of a row (the chosen and K rejected), C distinct answers of all
rows, T longest answer, S sequences, L their length, N answer tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, PreTrainedModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Decoders of plain attention and a plain head, which take a mask as it is."""

CAUSAL = "bench_causal"
"""Torch's own attention under a name for which transformers makes no mask: to find out whether one
is needed, it would wait for the device."""
_attentions: Any = AttentionInterface
AttentionInterface.register(CAUSAL, _attentions()["sdpa"])

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
        positions: Position of each token in its prompt and answer, shape (S, L).
        segments: 0 for the prompt, the answer's number from 1, -1 for padding, shape (S, L).
        predictors: Index into the flattened S x L of what predicts each answer token, shape (N,).
        targets: The answer tokens, answer after answer, shape (N,).
        cells: Index into the N answer tokens of each token of a distinct answer; N for padding;
            shape (C, T).
        distinct: The distinct answer of each answer of a row, shape (B, A).
        mask: Which answers a row has, shape (B, A).
    """

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    predictors: Tensor
    targets: Tensor
    cells: Tensor
    distinct: Tensor
    mask: Tensor

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer, 0 where there is none, shape (B, A)."""
        lengths_C = (self.cells < len(self.targets)).sum(1)
        return lengths_C[self.distinct].masked_fill(~self.mask, 0)

    def to(self, device: torch.device) -> Layout:
        """Copy to a device."""
        return Layout(**{name: value.to(device) for name, value in vars(self).items()})


def lay_out(rows: Sequence[Row], *, shared: bool, pad: int = 0) -> Layout:
    """Lay one row or more out as tensors; the answers of a row share one sequence if `shared`.

    Equal answers of a row are written once: a pair whose rejected answer is the chosen one then has
    a gradient of exactly 0. Nothing depends on the token id of the padding.
    """
    tokens: list[list[int]] = []
    positions: list[list[int]] = []
    segments: list[list[int]] = []
    predictors: list[tuple[int, int]] = []  # sequence and offset, until the length is known
    answers: list[tuple[int, ...]] = []
    distinct: list[list[int]] = []
    for prompt, answers_of_row in rows:
        assert prompt, "a row has a prompt"
        assert answers_of_row, "a row has an answer"
        index_of: dict[tuple[int, ...], int] = {}
        for answer in map(tuple, answers_of_row):
            assert answer, "an answer has tokens"
            if answer in index_of:
                continue
            if not shared or not index_of:
                tokens.append([*prompt])
                positions.append([*range(len(prompt))])
                segments.append([PROMPT] * len(prompt))
            index_of[answer] = len(answers)
            answers.append(answer)
            start, end = len(tokens[-1]), len(tokens[-1]) + len(answer)
            offsets = [len(prompt) - 1, *range(start, end - 1)]
            predictors.extend((len(tokens) - 1, offset) for offset in offsets)
            tokens[-1].extend(answer)
            positions[-1].extend(range(len(prompt), len(prompt) + len(answer)))
            segments[-1].extend([segments[-1][-1] + 1] * len(answer))
        distinct.append([index_of[tuple(answer)] for answer in answers_of_row])
    ends = [*accumulate(map(len, answers))]
    tokens_SL = _pad_right(tokens, pad)
    length = tokens_SL.shape[1]
    return Layout(
        tokens=tokens_SL,
        positions=_pad_right(positions, 0),
        segments=_pad_right(segments, PADDING),
        predictors=torch.tensor([row * length + offset for row, offset in predictors]),
        targets=torch.tensor([token for answer in answers for token in answer]),
        cells=_pad_right(
            [[*range(end - len(answer), end)] for answer, end in zip(answers, ends, strict=True)],
            ends[-1],
        ),
        distinct=_pad_right(distinct, 0),
        mask=_pad_right([[True] * len(row.answers) for row in rows], False),
    )


def _pad_right(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def log_probabilities(model: PreTrainedModel | PeftModel, layout: Layout) -> Tensor:
    """Compute the log-probability of every answer given its prompt, shared if `takes_branches`.

    Returns:
        Sums over the tokens of each answer, in float32, shape (B, A); 0 where there is no answer.
    """
    logits_NV = _compute_logits(model, layout)
    logps_N = -functional.cross_entropy(logits_NV.float(), layout.targets, reduction="none")
    # An embedding adds gradients in a fixed order; indexing does not (here and below).
    padded_N1 = functional.pad(logps_N, (0, 1))[:, None]
    logps_C1 = functional.embedding(layout.cells, padded_N1).squeeze(-1).sum(1, keepdim=True)
    logps_BA = functional.embedding(layout.distinct, logps_C1).squeeze(-1)
    return logps_BA.masked_fill(~layout.mask, 0)


def visible(segments_SL: Tensor) -> Tensor:
    """Return what each token may attend to: its own past, shape (S, 1, L, L).

    Padding attends to itself, since a token must attend to something, and nothing to padding.
    """
    length = segments_SL.shape[1]
    indices_L = torch.arange(length, device=segments_SL.device)
    query_SL1, key_S1L = segments_SL[:, :, None], segments_SL[:, None, :]
    related_SLL = (key_S1L == PROMPT) | (key_S1L == query_SL1) & (key_S1L != PADDING)
    earlier_LL = indices_L <= indices_L[:, None]
    itself_LL = indices_L == indices_L[:, None]
    return (related_SLL & earlier_LL | itself_LL)[:, None]


def takes_branches(config: Any, max_length: int) -> bool:
    """Return whether a model's attention takes shared prompts of `max_length` with one answer.

    It does in known families of decoders without a sliding window, or with one that covers every
    prompt with its answer.
    """
    window = getattr(config, "sliding_window", None)
    is_plain = config.model_type in FAMILIES and config._attn_implementation in ("sdpa", "eager")
    return is_plain and (window is None or window >= max_length)


@contextmanager
def use_attention(config: Any, name: str) -> Iterator[None]:
    """Let a model of this configuration attend by an implementation that has been registered."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def _compute_logits(model: PreTrainedModel | PeftModel, layout: Layout) -> Tensor:
    """Return the logits that predict each answer token, shape (N, V)."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    inputs: dict[str, Any] = {
        "input_ids": layout.tokens,
        "position_ids": layout.positions,
        "use_cache": False,
    }
    if len(layout.cells) > len(layout.tokens):  # several answers in a sequence
        inputs["attention_mask"] = _build_attention_mask(layout.segments, base)
    else:
        inputs["attention_mask"] = (layout.segments != PADDING).long()
    if base.config.model_type not in FAMILIES:  # its head may do more than multiply
        return functional.embedding(layout.predictors, base(**inputs).logits.flatten(0, 1))
    states_SLD = base.get_decoder()(**inputs).last_hidden_state
    states_ND = functional.embedding(layout.predictors, states_SLD.flatten(0, 1))
    logits_NV: Tensor = base.get_output_embeddings()(states_ND)
    return logits_NV


def _build_attention_mask(segments_SL: Tensor, base: Any) -> Tensor:
    """Return `visible` as the model's attention takes it: booleans, or a bias."""
    visible_S1LL = visible(segments_SL)
    if base.config._attn_implementation == "sdpa":
        return visible_S1LL
    bias_S1LL = torch.zeros(visible_S1LL.shape, dtype=base.dtype, device=segments_SL.device)
    return bias_S1LL.masked_fill(~visible_S1LL, torch.finfo(base.dtype).min)
