"""Keys and values of texts that begin alike: a prompt's are kept once, however many go on from it.

The cache has a row a prompt. Each new token takes a place in the row of its prompt, and a text is
the set of places it sees: its prompt's and its own. So texts are left out, doubled and put into
another order without touching a key, and the texts of a prompt read its keys together. From time to
time, when the places run out or prompts have no texts any more, what nobody sees is left behind.

The model still computes each text in a row of its own; only its attention is replaced while it
goes on from a tree, through transformers' attention interface.

Shapes: B texts, P prompts, W most texts of a prompt, L places, H heads of queries, G heads of keys,
D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

NAME = "bench_tree"
STEPS_AHEAD = 16
"""After a copy there is room for so many further tokens a text, or half as many places again."""
STILL_ASKED = 0.75
"""The cache is copied, too, once no more than this share of its prompts has texts."""


class Tree:
    """Who sees what.

    Attributes:
        cache: What the model's layers write to.
        prompts: The prompt of each text, shape (B,).
        num_places: Places in use, L.
        slots: Which of W texts of P prompts each text is, shape (B,).
        mask: What is added to scores, shape (P, 1, H / G * W, L).
    """

    def __init__(self, cache: DynamicCache, mask_PL: Tensor, *, sharing: int) -> None:
        """Begin with one text a prompt.

        Args:
            cache: What the model's layers keep of the prompts.
            mask_PL: 1 where a prompt has a token.
            sharing: How many heads of queries share one of keys, H / G.
        """
        self._layers = [_Layer(layer) for layer in cache.layers]
        self.cache = Cache(layers=[*self._layers])
        self._sharing, self._num_prompts = sharing, len(mask_PL)
        # As wide as the cache, whose last places may be empty yet.
        self._seen_BL = mask_PL.bool()
        self._added: Tensor | None = None
        self.num_places = mask_PL.shape[1]
        self.prompts = torch.arange(len(mask_PL), device=mask_PL.device)
        self._arrange()

    def take(self, texts: Tensor) -> None:
        """Go on with these texts: some left out, some several times, in any order."""
        self._seen_BL, self.prompts = self._seen_BL[texts], self.prompts[texts]
        self._arrange()

    def grow(self) -> None:
        """Make a place for a further token of each text."""
        if self.num_places + self._width > self._seen_BL.shape[1]:
            self._copy()
        if self._added is None:
            self._added = self._as_added()
        places_B = self.num_places + self._rank_B
        self._seen_BL.scatter_(1, places_B[:, None], True)
        self._added[self.prompts, :, self._rank_B, places_B] = 0
        self.num_places += self._width
        for layer in self._layers:
            layer.newest, layer.num_places = (self.prompts, places_B), self.num_places
        self.mask = self._added[..., : self.num_places].flatten(1, 2)[:, None]

    def _arrange(self) -> None:
        """Number the texts of each prompt; leave prompts without texts once they are many."""
        counts_P = self.prompts.bincount(minlength=self._num_prompts)
        self._width, asked = torch.stack([counts_P.amax(), counts_P.count_nonzero()]).tolist()
        order = self.prompts.argsort(stable=True)
        in_order, every = self.prompts[order], torch.arange(len(order), device=order.device)
        self._rank_B = torch.empty_like(order)
        self._rank_B[order] = every - torch.searchsorted(in_order, in_order)
        self._added = None
        if asked <= STILL_ASKED * self._num_prompts:
            self._copy()

    def _as_added(self) -> Tensor:
        """Return what some text sees as what is added to scores, shape (P, H / G, W, L)."""
        self.slots = self.prompts * self._width + self._rank_B
        num_slots, capacity = self._num_prompts * self._width, self._seen_BL.shape[1]
        seen_SL = self._seen_BL.new_zeros(num_slots, capacity)
        seen_SL[self.slots] = self._seen_BL
        keys = self._layers[0].keys
        added_SL = keys.new_zeros(seen_SL.shape).masked_fill_(~seen_SL, torch.finfo(keys.dtype).min)
        added_P1WL = added_SL.view(self._num_prompts, 1, self._width, capacity)
        return added_P1WL.repeat(1, self._sharing, 1, 1)

    def _copy(self) -> None:
        """Keep what some text sees, with room for what is to come."""
        kept_P, self.prompts = torch.unique(self.prompts, return_inverse=True)
        self._num_prompts, self._added = len(kept_P), None
        texts_PL = self._seen_BL.new_zeros(len(kept_P), self._seen_BL.shape[1], dtype=torch.int64)
        seen_PL = texts_PL.index_add_(0, self.prompts, self._seen_BL.long()) > 0
        self.num_places = int(seen_PL.sum(dim=1).amax())
        places_PL = seen_PL.byte().argsort(dim=1, stable=True, descending=True)
        places_PL = places_PL[:, : self.num_places]
        room = max(STEPS_AHEAD * self._width, self.num_places // 2)
        self._seen_BL = pad(self._seen_BL.gather(1, places_PL[self.prompts]), (0, room))
        for layer in self._layers:
            layer.copy(kept_P, places_PL, room=room)


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values.

    It does not know the tree, which knows it: what refers to itself is freed late.

    Attributes:
        newest: Row and place of the newest token of each text, shape (B,) each.
        num_places: Places in use, L; behind them are empty ones.
    """

    keys: Tensor
    values: Tensor
    newest: tuple[Tensor, Tensor]
    num_places: int

    def __init__(self, prompts: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True
        self.keys, self.values = prompts.keys, prompts.values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Put the newest tokens' into their places, and return all, shape (P, G, L, D)."""
        rows_B, places_B = self.newest
        self.keys[rows_B, :, places_B] = key_states[:, :, 0]
        self.values[rows_B, :, places_B] = value_states[:, :, 0]
        return self.keys[:, :, : self.num_places], self.values[:, :, : self.num_places]

    def copy(self, prompts: Tensor, places_PL: Tensor, *, room: int) -> None:
        """Leave other prompts and places behind, and have some empty ones."""
        self.keys = _copied(self.keys, prompts, places_PL, room)
        self.values = _copied(self.values, prompts, places_PL, room)


def _copied(states: Tensor, prompts: Tensor, places_PL: Tensor, room: int) -> Tensor:
    # Zeros: a place that no text has is masked, but must hold numbers.
    heads, num, size = states.shape[1], places_PL.shape[1], states.shape[3]
    copied = states.new_zeros(len(prompts), heads, num + room, size)
    copied[:, :, :num] = states[prompts[:, None], :, places_PL].transpose(1, 2)
    return copied


@contextmanager
def attending(config: Any) -> Iterator[None]:
    """Let a model of this configuration attend to a tree, given as `tree` beside its inputs."""
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


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

    Args:
        module: The layer's attention.
        query: Of shape (B, H, 1, D).
        key: Of shape (P, G, L, D), like the values.
        value: See above.
        attention_mask: The tree's own.
        scaling: Of the scores.
        tree: Whose texts they are.
        kwargs: What else the model gives, which decides nothing here.

    Returns:
        What the texts read, shape (B, 1, H, D), and no weights.
    """
    num_prompts, groups, _, size = key.shape
    heads = query.shape[1]
    num_slots = num_prompts * attention_mask.shape[2] * groups // heads
    asked = query.new_zeros(num_slots, heads, size)
    asked[tree.slots] = query[:, :, 0]
    # Heads that share keys ask as if they were further texts.
    asked_PGSD = asked.view(num_prompts, -1, groups, heads // groups, size).permute(0, 2, 3, 1, 4)
    shape = asked_PGSD.shape
    read = scaled_dot_product_attention(
        asked_PGSD.flatten(2, 3), key, value, attn_mask=attention_mask, scale=scaling
    )
    read = read.view(shape).permute(0, 3, 1, 2, 4).reshape(asked.shape)
    return read[tree.slots][:, None], None


AttentionInterface.register(NAME, _attend)
