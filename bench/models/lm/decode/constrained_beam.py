"""Beam search in the trie of a catalog's titles: whatever it finds is an item.

A token's log-probability is taken over the whole vocabulary, and only then the children of a beam's
node are considered (De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021): the probability
of impossible tokens is lost. Tokens are gathered, so nothing is masked.

Shapes depend on the trie alone, so that the host never waits for the device. A title is a result as
soon as it ends, at any rank unless `ending` is "ranked", and the search goes on until no prefix can
improve the results. Each list comes with a certificate. As steps are at most 0, a prefix of score s
bounds all its titles by s / l ** penalty, l the tokens of the longest; if the score at the last
rank is above the bounds of all prefixes that were dropped, no wider search could change the list.
It holds for the scores as computed, in the model's own precision.

Shapes: B rows, M beams of a row, C candidates of a row, V vocabulary, K ranks.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models.lm.decode.generation_state import LaggedMask
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NO_NODE, ROOT, Trie
from bench.models.lm.devices import to_device
from bench.plan.language_stages import DecodingConfig

IMPOSSIBLE = float("-inf")
LAST = torch.iinfo(torch.int64).max


class State(Protocol):
    """A language model after B prompts: S sequences that continue them.

    See `bench.models.lm.decode.generation_state.GenerationState`.
    """

    @property
    def logits(self) -> Tensor:
        """Logits of the next token of each sequence, shape (S, V)."""
        ...

    def extend(self, rows: Tensor, tokens: Tensor, owners: NDArray[np.int64]) -> None:
        """Append tokens to these sequences, which are then all, of the prompts `owners`."""
        ...


class TitleLists(NamedTuple):
    """The best titles of B rows.

    Attributes:
        leaves: Leaves of the trie, best first, shape (B, K); -1 where there is no further one.
        scores: Their scores, shape (B, K), float64; -inf where there is none.
        certified: Whether no wider search could change a row's list, shape (B,).
        widths: Number of beams that each list was found with, shape (B,).
    """

    leaves: NDArray[np.int64]
    scores: NDArray[np.float64]
    certified: NDArray[np.bool_]
    widths: NDArray[np.int64]


def empty_lists(num_rows: int, num_titles: int) -> TitleLists:
    """Return lists without a title and without a certificate."""
    return TitleLists(
        leaves=np.full((num_rows, num_titles), NO_NODE, dtype=np.int64),
        scores=np.full((num_rows, num_titles), IMPOSSIBLE),
        certified=np.zeros(num_rows, dtype=np.bool_),
        widths=np.zeros(num_rows, dtype=np.int64),
    )


def gather_scores(scores_MV: Tensor, beams_C: Tensor, tokens_C: Tensor) -> Tensor:
    """Return the scores of some tokens, shape (C,): all that the constraint costs."""
    # On a CPU ten times as fast as indexing with two tensors.
    indices_C = torch.add(tokens_C, beams_C, alpha=scores_MV.shape[1])
    return scores_MV.flatten().index_select(0, indices_C)


def token_log_probabilities(
    logits_MV: Tensor, beams_C: Tensor, tokens_C: Tensor, temperature: float
) -> Tensor:
    """Return the log-probability of some tokens over the whole vocabulary, shape (C,).

    None is above 0, however rounded: the total is the largest logit plus the logarithm of at least
    1. The certificate relies on that.
    """
    logits_MV = logits_MV.float() / temperature
    total_M = logits_MV.logsumexp(dim=-1)
    return gather_scores(logits_MV, beams_C, tokens_C) - total_M[beams_C]


def constrained_beam_search(
    state: State,
    num_rows: int,
    trie: Trie,
    guidance: Guidance,
    config: DecodingConfig,
    *,
    num_titles: int | None = None,
) -> TitleLists:
    """Search the best titles of each row once; ties go to the smaller item position.

    The state, the model after the rows' prompts, is used up. Trie and guidance are on its device. K
    is `num_titles`, or `config.num_beams`; `config.max_num_beams` is ignored.
    """
    device, num_titles = trie.tokens.device, num_titles or config.num_beams
    rows_B1 = torch.arange(num_rows, device=device)[:, None]
    nodes_BM, sequences_BM = torch.full_like(rows_B1, ROOT), rows_B1
    sums_BM = torch.zeros(num_rows, 1, dtype=torch.float64, device=device)
    leaves_BK = torch.full((num_rows, num_titles), NO_NODE, device=device)
    scores_BK = torch.full(leaves_BK.shape, IMPOSSIBLE, dtype=torch.float64, device=device)
    dropped_B, mask = scores_BK.new_full((num_rows,), IMPOSSIBLE), LaggedMask(device)
    is_open = np.ones((num_rows, 1), dtype=np.bool_)
    for length in range(1, trie.depth + 1):
        num_children = trie.max_children(length - 1, nodes_BM.shape[1])
        beams_BC, nodes_BC = trie.children(nodes_BM, num_children)
        exists_BC, nodes_BC = nodes_BC >= 0, nodes_BC.clamp_(min=ROOT)
        tokens_BC = trie.look_up(trie.tokens, nodes_BC)
        logps_C = token_log_probabilities(
            state.logits,
            sequences_BM.gather(1, beams_BC).flatten(),
            tokens_BC.flatten(),
            config.temperature,
        )
        rows_C = rows_B1.expand_as(nodes_BC).flatten()
        steps_BC = guidance.steps(trie, rows_C, nodes_BC.flatten(), logps_C).view(nodes_BC.shape)
        sums_BC = sums_BM.gather(1, beams_BC) + steps_BC
        # No child, or no number: such a candidate neither ends nor continues a title.
        sums_BC = sums_BC.where(exists_BC & (sums_BC > IMPOSSIBLE), IMPOSSIBLE)
        new_BC, ties_BC = (
            trie.look_up(values, nodes_BC) for values in (trie.ends, trie.first_item)
        )
        ended_BC = (sums_BC / length**config.length_penalty).where(new_BC >= 0, IMPOSSIBLE)
        if config.ending == "ranked":
            best_BM = select_best(sums_BC, ties_BC, config.num_beams)
            dropped_B = torch.maximum(dropped_B, ended_BC.scatter(1, best_BM, IMPOSSIBLE).amax(1))
            is_ranked_BC = torch.zeros_like(new_BC, dtype=torch.bool).scatter(1, best_BM, True)
            ended_BC = ended_BC.where(is_ranked_BC, IMPOSSIBLE)
        leaves_BK, scores_BK = _merge(
            torch.cat([leaves_BK, new_BC], 1), torch.cat([scores_BK, ended_BC], 1), trie, num_titles
        )
        last_B1 = scores_BK[:, -1:]
        deepest_BC = trie.look_up(trie.deepest, nodes_BC)
        bounds_BC = sums_BC / deepest_BC.double() ** config.length_penalty
        has_children_BC = trie.look_up(trie.num_children, nodes_BC) > 0
        # A prefix that cannot even reach a row's last rank is dropped without loss.
        is_open_BC = has_children_BC & (bounds_BC >= last_B1) & (bounds_BC > IMPOSSIBLE)
        sums_BC = sums_BC.where(is_open_BC, IMPOSSIBLE)
        best_BM = select_best(sums_BC, ties_BC, config.num_beams)
        bounds_BC = bounds_BC.where(is_open_BC, IMPOSSIBLE).scatter(1, best_BM, IMPOSSIBLE)
        dropped_B = torch.maximum(dropped_B, bounds_BC.amax(1))
        sums_BM = sums_BC.gather(1, best_BM)
        nodes_BM = nodes_BC.gather(1, best_BM).where(sums_BM > IMPOSSIBLE, NO_NODE)
        # Beams that were open some steps ago, and all beams of their rows: the host knows no more.
        previous, is_open = is_open, mask.push(sums_BM > IMPOSSIBLE)
        if mask.lag:
            is_open = np.repeat(is_open.any(1, keepdims=True), best_BM.shape[1], axis=1)
        if not is_open.any():
            break
        rows, indices = np.nonzero(is_open)
        flat_M = to_device(rows * is_open.shape[1] + indices, device)
        parents_BM = sequences_BM.gather(1, beams_BC.gather(1, best_BM))
        tokens_M = tokens_BC.gather(1, best_BM).flatten()[flat_M]
        state.extend(parents_BM.flatten()[flat_M], tokens_M, rows)
        if not np.array_equal(is_open, previous):
            sequences = np.maximum(is_open.cumsum().reshape(is_open.shape) - 1, 0)
            sequences_BM = to_device(sequences, device)
    is_certified_B = (scores_BK[:, -1] > dropped_B) | dropped_B.isneginf()
    return TitleLists(
        leaves=leaves_BK.cpu().numpy(),
        scores=scores_BK.cpu().numpy(),
        certified=is_certified_B.cpu().numpy(),
        widths=np.full(num_rows, config.num_beams),
    )


def select_best(scores_BC: Tensor, ties_BC: Tensor, num: int) -> Tensor:
    """Return the indices of the best `num` of each row, best first; fewer if there are no more.

    Of equal scores the one with the smaller number among `ties_BC`, from 0, is better.
    """
    num = min(num, scores_BC.shape[1])
    last_B1 = scores_BC.topk(num).values[:, -1:]
    # All above the last score, and of those equal to it the first ones.
    order_BC = ties_BC.where(scores_BC == last_B1, LAST).masked_fill(scores_BC > last_B1, -1)
    best_BM = order_BC.topk(num, largest=False).indices
    best_BM = best_BM.gather(1, ties_BC.gather(1, best_BM).argsort(stable=True))
    order_BM = scores_BC.gather(1, best_BM).argsort(stable=True, descending=True)
    return best_BM.gather(1, order_BM)


def _merge(
    leaves_BC: Tensor, scores_BC: Tensor, trie: Trie, num_titles: int
) -> tuple[Tensor, Tensor]:
    """Return the best titles of each row and their scores, shape (B, K) each."""
    best_BK = select_best(scores_BC, trie.first_item[trie.leaf_nodes[leaves_BC]], num_titles)
    scores_BK = scores_BC.gather(1, best_BK)
    leaves_BK = leaves_BC.gather(1, best_BK).where(scores_BK > IMPOSSIBLE, NO_NODE)
    return leaves_BK, scores_BK
