"""Key-value cache of texts that share prompts: a prompt is stored once, however many continue it.

The cache has one row per prompt. Each new token takes a slot of the row of its prompt, and a text
is the set of slots that it attends to: its prompt's and its own. So texts are dropped, duplicated
and reordered without moving a key, and the texts of a prompt read its keys together. When the slots
run out, or prompts have no texts any more, slots that no text attends to are dropped by a copy.

The model still computes each text in a row of its own; only its attention is replaced, through
transformers' attention interface.

Shapes: B texts, P prompts, W maximum texts of a prompt, S = P * W, L slots, H query heads, G key
heads, D width of a head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from bench.models.lm.devices import to_device

NAME = "bench_tree"
STEPS_AHEAD = 16
"""A copy adds empty slots for this many further tokens per text, or half of the slots in use."""
COPY_AT = 0.75
"""The cache is also copied once this fraction of its prompts, or less, has texts."""


class Tree:
    """Which slots each text attends to.

    Attributes:
        cache: The cache that the model's layers write to.
        prompts: Row in the cache of each text's prompt, shape (B,).
        num_slots: Slots in use, L.
        queries: Index of each text among W texts of P prompts, shape (B,).
        mask: Bias of the attention scores, shape (P, 1, H / G * W, L).
    """

    def __init__(
        self, cache: DynamicCache, mask_PL: Tensor, owners: NDArray[np.int64], *, group_size: int
    ) -> None:
        """Begin with one text per prompt; `mask_PL` is 1 where a prompt in the cache has a token.

        `owners` are the texts' prompts, numbers from 0, shape (B,); `group_size` query heads share
        a key head, H / G.
        """
        self._layers = [_Layer(layer) for layer in cache.layers]
        self.cache = Cache(layers=[*self._layers])
        self._group_size, self._cached = group_size, np.arange(len(mask_PL))
        # As wide as the cache, whose last slots may still be empty.
        self._visible_BL = mask_PL.bool()
        self._bias: Tensor | None = None
        self.num_slots = mask_PL.shape[1]
        self._number_texts(owners)

    def take(self, texts: Tensor, owners: NDArray[np.int64]) -> None:
        """Keep these texts: some left out, some several times, in any order.

        Their prompts, `owners`, are known on the host, so that it need not wait for the device.
        """
        self._visible_BL, self._bias = self._visible_BL[texts], None
        if not np.array_equal(owners, self._owners):
            self._number_texts(owners)

    def grow(self) -> None:
        """Reserve a slot for the next token of each text."""
        if self.num_slots + self._width > self._visible_BL.shape[1]:
            self._copy()
        if self._bias is None:
            self._bias = self._build_bias()
        slots_B = self.num_slots + self._rank_B
        self._visible_BL.scatter_(1, slots_B[:, None], True)
        self._bias[self.prompts, :, self._rank_B, slots_B] = 0
        self.num_slots += self._width
        for layer in self._layers:
            layer.newest, layer.num_slots = (self.prompts, slots_B), self.num_slots
        self.mask = self._bias[..., : self.num_slots].flatten(1, 2)[:, None]

    def _number_texts(self, owners: NDArray[np.int64]) -> None:
        """Number the texts of each prompt; drop prompts without texts once they are many."""
        self._owners, device = owners, self._visible_BL.device
        order = owners.argsort(kind="stable")
        sorted_B, ranks = owners[order], np.empty_like(order)
        ranks[order] = np.arange(len(order)) - np.searchsorted(sorted_B, sorted_B)
        self._width = int(ranks.max()) + 1
        self._rank_B = to_device(ranks, device)
        self.prompts = to_device(np.searchsorted(self._cached, owners), device)
        if len(np.unique(owners)) <= COPY_AT * len(self._cached):
            self._copy()

    def _build_bias(self) -> Tensor:
        """Return the bias of what each text attends to, shape (P, H / G, W, L)."""
        self.queries = self.prompts * self._width + self._rank_B
        size, capacity = len(self._cached) * self._width, self._visible_BL.shape[1]
        visible_SL = self._visible_BL.new_zeros(size, capacity)
        visible_SL[self.queries] = self._visible_BL
        keys = self._layers[0].keys
        bias_SL = keys.new_zeros(visible_SL.shape)
        bias_SL.masked_fill_(~visible_SL, torch.finfo(keys.dtype).min)
        bias_P1WL = bias_SL.view(len(self._cached), 1, self._width, capacity)
        return bias_P1WL.repeat(1, self._group_size, 1, 1)

    def _copy(self) -> None:
        """Keep the slots that some text attends to, and add empty ones."""
        remaining, device = np.unique(self._owners), self._visible_BL.device
        kept_P = to_device(np.searchsorted(self._cached, remaining), device)
        self.prompts = to_device(np.searchsorted(remaining, self._owners), device)
        self._cached, self._bias = remaining, None
        counts_PL = self._visible_BL.new_zeros(
            len(kept_P), self._visible_BL.shape[1], dtype=torch.int64
        )
        used_PL = counts_PL.index_add_(0, self.prompts, self._visible_BL.long()) > 0
        self.num_slots = int(used_PL.sum(dim=1).amax())  # waits for the device; copies are rare
        slots_PL = used_PL.byte().argsort(dim=1, stable=True, descending=True)
        slots_PL = slots_PL[:, : self.num_slots]
        num_empty = max(STEPS_AHEAD * self._width, self.num_slots // 2)
        self._visible_BL = pad(self._visible_BL.gather(1, slots_PL[self.prompts]), (0, num_empty))
        for layer in self._layers:
            layer.copy(kept_P, slots_PL, num_empty=num_empty)


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values; it does not refer to its tree, for a cycle would be freed late.

    `newest` are row and slot of the newest token of each text, shape (B,) each; behind `num_slots`
    slots in use, L, there are empty ones.
    """

    keys: Tensor
    values: Tensor
    newest: tuple[Tensor, Tensor]
    num_slots: int

    def __init__(self, prompts: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True
        self.keys, self.values = prompts.keys, prompts.values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the newest tokens' keys and values, and return all, shape (P, G, L, D)."""
        rows_B, slots_B = self.newest
        self.keys[rows_B, :, slots_B] = key_states[:, :, 0]
        self.values[rows_B, :, slots_B] = value_states[:, :, 0]
        return self.keys[:, :, : self.num_slots], self.values[:, :, : self.num_slots]

    def copy(self, prompts: Tensor, slots_PL: Tensor, *, num_empty: int) -> None:
        """Keep these prompts and slots, with `num_empty` empty ones after them."""
        self.keys = _copy_slots(self.keys, prompts, slots_PL, num_empty)
        self.values = _copy_slots(self.values, prompts, slots_PL, num_empty)


def _copy_slots(states: Tensor, prompts: Tensor, slots_PL: Tensor, num_empty: int) -> Tensor:
    # Zeros: a slot without a token is masked, but must hold finite numbers.
    heads, num, size = states.shape[1], slots_PL.shape[1], states.shape[3]
    copied = states.new_zeros(len(prompts), heads, num + num_empty, size)
    copied[:, :, :num] = states[prompts[:, None], :, slots_PL].transpose(1, 2)
    return copied


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    tree: Tree,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from the newest token of each text; see transformers' `AttentionInterface`.

    The tree is a keyword argument of the model, and the mask is the tree's own. The query has shape
    (B, H, 1, D), key and value (P, G, L, D), and the output (B, 1, H, D).
    """
    num_prompts, groups, _, size = key.shape
    heads = query.shape[1]
    num_queries = num_prompts * attention_mask.shape[2] * groups // heads
    query_SHD = query.new_zeros(num_queries, heads, size)
    query_SHD[tree.queries] = query[:, :, 0]
    # Query heads that share a key head are treated as further texts.
    grouped = query_SHD.view(num_prompts, -1, groups, heads // groups, size).permute(0, 2, 3, 1, 4)
    output = scaled_dot_product_attention(
        grouped.flatten(2, 3), key, value, attn_mask=attention_mask, scale=scaling
    )
    output_SHD = output.view(grouped.shape).permute(0, 3, 1, 2, 4).reshape(query_SHD.shape)
    return output_SHD[tree.queries][:, None], None


AttentionInterface.register(NAME, _attend)
