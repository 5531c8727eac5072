"""KAR's hybrid-expert adapter: from text vectors to short features for a re-ranker.

Xi et al., "Towards Open-World Recommendation with Knowledge Augmentation from Large Language
Models", RecSys 2024. Each kind of text has a tower: its own gate over experts that all towers
share and experts of its own.

Tensor names end in their shape: N texts, T width of a text vector, X experts of a tower, H hidden
width, O output width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN_WIDTH = 128
OUTPUT_WIDTH = 32


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
    """A tower for each kind of text: experts of all towers, and further ones of its own."""

    def __init__(
        self,
        width: int,
        *,
        num_towers: int = 2,
        num_shared: int = 2,
        num_dedicated: int = 5,
        hidden_width: int = HIDDEN_WIDTH,
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
