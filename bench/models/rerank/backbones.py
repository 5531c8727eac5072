"""The re-ranking networks of KAR's program and their losses per list.

DLCM (Ai et al., "Learning a Deep Listwise Context Model for Ranking Refinement", SIGIR 2018): a
recurrent network reads the list, and its last state scores every position. The paper reads the list
from the lowest rank up and trains by attention rank; KAR reads it in the given order and trains
pointwise.

PRM (Pei et al., "Personalized Re-ranking for Recommendation", RecSys 2019): one layer of
self-attention over features with fixed position encodings, without the paper's residual
connections, feed-forward blocks and pre-trained user vector.

SetRank (Pang et al., SIGIR 2020): one layer of self-attention without positions, so order has no
effect. The paper stacks blocks and trains by softmax. KAR trains by attention rank (DLCM's), which
gives no gradient for lists with fewer than two scores above 0: "kar" is exactly that, "kar_offset"
starts all scores near 1 and clips them before they overflow, "softmax" is the paper's own loss.

Tensor names end in their shape: B batch, L list length, D feature width, H hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError
from bench.plan.rerank_stages import SetRankLoss

EXPERT_WIDTH = 128
OUTPUT_WIDTH = 32

MIN_LOG = -100.0
"""Smallest logarithm in a cross-entropy, as in `torch.nn.functional.binary_cross_entropy`."""
NO_ATTENTION = -1e4
"""Logit of a position without attention; its exponential is exactly 0."""
NUM_HEADS = 2
SCORER_WIDTHS = (200, 80)
DLCM_SIZE = 64
PRM_LENGTH = 10
LONGEST_WAVE = 10_000.0
SETRANK_OFFSET = 1.0
MAX_LOGIT = 60.0


class Experts(nn.Module):
    """Parameters of parallel two-layer networks."""

    def __init__(self, num: int, width: int, hidden_width: int, output_width: int) -> None:
        super().__init__()
        self.weight_inner_XHT = nn.Parameter(torch.empty(num, hidden_width, width))
        self.bias_inner_XH = nn.Parameter(torch.zeros(num, hidden_width))
        self.weight_outer_XOH = nn.Parameter(torch.empty(num, output_width, hidden_width))
        self.bias_outer_XO = nn.Parameter(torch.zeros(num, output_width))
        # One expert at a time: the stacked tensor has another fan.
        for expert in (*self.weight_inner_XHT.data, *self.weight_outer_XOH.data):
            nn.init.xavier_normal_(expert)


class Adapter(nn.Module):
    """One tower per kind of text, with experts shared by all towers and dedicated ones."""

    def __init__(
        self,
        width: int,
        *,
        num_towers: int = 2,
        num_shared: int = 2,
        num_dedicated: int = 5,
        hidden_width: int = EXPERT_WIDTH,
        output_width: int = OUTPUT_WIDTH,
    ) -> None:
        super().__init__()
        num_experts = num_shared + num_dedicated
        self.gates = nn.ModuleList(nn.Linear(width, num_experts) for _ in range(num_towers))
        for gate in self.gates:
            assert isinstance(gate, nn.Linear)
            nn.init.xavier_normal_(gate.weight)
            nn.init.zeros_(gate.bias)
        self.shared = Experts(num_shared, width, hidden_width, output_width)
        self.dedicated = nn.ModuleList(
            Experts(num_dedicated, width, hidden_width, output_width) for _ in range(num_towers)
        )

    def forward(self, texts: Tensor, tower: int) -> Tensor:
        """Mix the outputs of a tower's experts for texts (..., T): from 0, shape (..., O)."""
        own = self.dedicated[tower]
        assert isinstance(own, Experts)
        inner_XHT = torch.cat((self.shared.weight_inner_XHT, own.weight_inner_XHT))
        outer_XOH = torch.cat((self.shared.weight_outer_XOH, own.weight_outer_XOH))
        inner_bias_XH = torch.cat((self.shared.bias_inner_XH, own.bias_inner_XH))
        outer_bias_XO = torch.cat((self.shared.bias_outer_XO, own.bias_outer_XO))
        texts_NT = texts.reshape(-1, texts.shape[-1])
        # One product for all experts' first layers: for wide vectors that is most of the work.
        hidden_N = nn.functional.linear(texts_NT, inner_XHT.flatten(0, 1), inner_bias_XH.flatten())
        hidden_NXH = hidden_N.relu().view(-1, *inner_bias_XH.shape)
        outputs_XNO = torch.baddbmm(
            outer_bias_XO[:, None], hidden_NXH.transpose(0, 1), outer_XOH.transpose(1, 2)
        ).relu()
        gates_NX = self.gates[tower](texts_NT).softmax(dim=-1)
        mixed_NO = torch.einsum("nx,xno->no", gates_NX, outputs_XNO)
        return mixed_NO.reshape(*texts.shape[:-1], -1)


def pointwise_loss(probabilities_BL: Tensor, targets_BL: Tensor) -> Tensor:
    """Binary cross-entropy averaged over each list, (B,), with logarithms of at least -100."""
    losses_BL = functional.binary_cross_entropy(probabilities_BL, targets_BL, reduction="none")
    return losses_BL.mean(dim=1)


def attention_distribution(values_BL: Tensor, temperature: float) -> Tensor:
    """Distribute attention over a list's positive values: exp(value / temperature), normalized.

    Values of 0 or less get none; a list without a value above 0 gets none at all.
    """
    attended_BL = values_BL > 0
    logits_BL = (values_BL / temperature).masked_fill(~attended_BL, NO_ATTENTION)
    return functional.softmax(logits_BL, dim=1) * attended_BL


def attention_rank_loss(
    scores_BL: Tensor, labels_BL: Tensor, *, temperature: float, max_logit: float | None = None
) -> Tensor:
    """Binary cross-entropy between the attention distributions of scores and labels, shape (B,).

    The logarithms of p and of 1 - p come from log-sum-exps, because in float32 p rounds to 1 where
    one score is far above the others or is the only one above 0. From the rounded p, the gradient
    of the cross-entropy is (p - q) / 1e-12 times the rounding error of dp/dscore: up to 2e4 where
    the exact gradient is 0. Which error results depends on the processor's instructions, so
    training with `kar_offset` learned on some processors and drifted on others.

    Raises:
        BenchError: Logits, scores / temperature, are not clipped at `max_logit`, and the sum of a
            list's exponentials overflows.
    """
    if max_logit is not None:
        scores_BL = scores_BL.clamp(max=max_logit * temperature)
    attended_BL = scores_BL > 0
    logits_BL = (scores_BL / temperature).masked_fill(~attended_BL, NO_ATTENTION)
    # Clipped scores cannot overflow, and to look at them is to wait for the device.
    if max_logit is None and not logits_BL.exp().sum(dim=1).isfinite().all():
        raise BenchError(
            "SetRank's scores overflow its loss.",
            "Lower the learning rate, or set setrank_loss to kar_offset.",
        )
    log_p_BL = functional.log_softmax(logits_BL, dim=1)
    own_LL = torch.eye(scores_BL.shape[1], dtype=torch.bool, device=scores_BL.device)
    others_BLL = logits_BL[:, None, :].masked_fill(own_LL, NO_ATTENTION)
    log_rest_BL = others_BLL.logsumexp(dim=2) - logits_BL.logsumexp(dim=1, keepdim=True)
    targets_BL = attention_distribution(labels_BL, temperature)
    losses_BL = torch.where(
        attended_BL,
        -targets_BL * log_p_BL - (1 - targets_BL) * log_rest_BL.clamp(min=MIN_LOG),
        -targets_BL * MIN_LOG,
    )
    return losses_BL.mean(dim=1)


def softmax_loss(scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Cross-entropy between a list's softmax and its equally weighted positives; 0 without any."""
    weights_BL = labels_BL / labels_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return -(weights_BL * functional.log_softmax(scores_BL, dim=1)).sum(dim=1)


class AttentionScorer(nn.Module):
    """One self-attention layer over a list; a perceptron scores its output next to its input."""

    splits = True
    """Whether splitting a batch into micro-batches leaves the result unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, NUM_HEADS, batch_first=True)
        layers: list[nn.Module] = []
        inputs = 2 * width
        for outputs in SCORER_WIDTHS:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.head = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def logits(self, features_BLD: Tensor) -> Tensor:
        """Return a real number for every position, shape (B, L)."""
        mixed_BLD, _ = self.attention(features_BLD, features_BLD, features_BLD, need_weights=False)
        logits_BL: Tensor = self.head(torch.cat((mixed_BLD, features_BLD), dim=-1)).squeeze(-1)
        return logits_BL


def initialize_weights(module: nn.Module) -> None:
    """Set KAR's initial weights: Xavier-normal for linear layers and embeddings, biases 0.

    Recurrent weights, the attention's input projection and batch normalization keep torch's own.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.xavier_normal_(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


class DLCM(nn.Module):
    """From features to scores in (0, 1)."""

    splits = False
    """Batch normalization needs the whole batch."""

    def __init__(self, width: int, hidden_size: int = DLCM_SIZE) -> None:
        super().__init__()
        self.reader = nn.GRU(width, hidden_size, batch_first=True)
        self.norm_last = nn.BatchNorm1d(hidden_size)
        self.norm_positions = nn.BatchNorm1d(hidden_size)
        self.context = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, 2)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        states_BLH, last_1BH = self.reader(features_BLD)
        context_BH = torch.tanh(self.context(self.norm_last(last_1BH[0])))
        normed_BLH = self.norm_positions(states_BLH.transpose(1, 2)).transpose(1, 2)
        logits_BL2 = self.output(context_BH[:, None] * normed_BLH)
        return torch.sigmoid(logits_BL2[..., 0] - logits_BL2[..., 1])

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise_loss(scores_BL, labels_BL)


class PRM(AttentionScorer):
    """From features to scores in (0, 1)."""

    encodings: Tensor

    def __init__(self, width: int, length: int = PRM_LENGTH) -> None:
        super().__init__(width)
        self.register_buffer("encodings", position_encodings(length, width), persistent=False)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        return torch.sigmoid(self.logits(features_BLD + self.encodings))

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise_loss(scores_BL, labels_BL)


def position_encodings(length: int, width: int) -> Tensor:
    """Return sines in even columns and cosines in odd ones; the first row is 0, as in KAR.

    Returns:
        Shape (length, width), float32.
    """
    column_D = torch.arange(width)
    position_L1 = torch.arange(length, dtype=torch.float64)[:, None]
    angle_LD = position_L1 / LONGEST_WAVE ** (2 * (column_D // 2) / width)
    table_LD = torch.where(column_D % 2 == 0, angle_LD.sin(), angle_LD.cos())
    table_LD[0] = 0.0
    return table_LD.to(torch.float32)


class SetRank(AttentionScorer):
    """From features to real-valued scores; the softmax loss has no temperature."""

    def __init__(self, width: int, *, loss: SetRankLoss, temperature: float) -> None:
        super().__init__(width)
        self.loss = loss
        self.temperature = temperature

    def set_offset(self) -> None:
        """Raise the last bias if the loss needs it; call it after the weights are initialized."""
        if self.loss == "kar_offset":
            last = self.head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, SETRANK_OFFSET)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        return self.logits(features_BLD)

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the loss of each list, shape (B,)."""
        if self.loss == "softmax":
            return softmax_loss(scores_BL, labels_BL)
        max_logit = MAX_LOGIT if self.loss == "kar_offset" else None
        return attention_rank_loss(
            scores_BL, labels_BL, temperature=self.temperature, max_logit=max_logit
        )


def have_zero_gradient(scores_BL: Tensor) -> Tensor:
    """Tell which lists have no gradient under attention rank: fewer than two scores above 0."""
    return (scores_BL > 0).sum(dim=1) < 2
