"""KAR's hybrid-expert adapter: from vectors of texts to short features for a re-ranker.

Xi et al., "Towards Open-World Recommendation with Knowledge Augmentation from Large Language
Models", RecSys 2024. Each kind of text has a tower: a gate of its own over experts that all towers
share and experts that it has for itself.

Tensor names end in their shape: T width of a text's vector, X experts of a tower, H hidden width,
O output width; "..." any number of texts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 128
WIDTH = 32


class Experts(nn.Module):
    """Two-layer networks side by side, a ReLU after either layer.

    Args:
        num: Experts.
        width: Of the texts' vectors.
        hidden: Of the first layer.
        output: Of the second one.
    """

    def __init__(self, num: int, width: int, hidden: int = HIDDEN, output: int = WIDTH) -> None:
        super().__init__()
        self.weight_inner_XHT = nn.Parameter(torch.empty(num, hidden, width))
        self.bias_inner_XH = nn.Parameter(torch.zeros(num, hidden))
        self.weight_outer_XOH = nn.Parameter(torch.empty(num, output, hidden))
        self.bias_outer_XO = nn.Parameter(torch.zeros(num, output))
        # Each expert on its own: of the stack as a whole the fan would be another.
        for expert in (*self.weight_inner_XHT.data, *self.weight_outer_XOH.data):
            nn.init.xavier_normal_(expert)


class Adapter(nn.Module):
    """A tower for each kind of text.

    Args:
        width: Of the texts' vectors.
        towers: Kinds of texts.
        shared: Experts of all towers.
        dedicated: Experts of each tower alone.
        hidden: Of an expert's first layer.
        output: Width that each tower gives.
    """

    def __init__(
        self,
        width: int,
        *,
        towers: int = 2,
        shared: int = 2,
        dedicated: int = 5,
        hidden: int = HIDDEN,
        output: int = WIDTH,
    ) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(width, shared + dedicated) for _ in range(towers))
        for gate in self.gates:
            assert isinstance(gate, nn.Linear)
            nn.init.xavier_normal_(gate.weight)
            nn.init.zeros_(gate.bias)
        self.shared = Experts(shared, width, hidden, output)
        self.dedicated = nn.ModuleList(
            Experts(dedicated, width, hidden, output) for _ in range(towers)
        )

    def forward(self, texts: Tensor, tower: int) -> Tensor:
        """Mix the experts of one tower.

        Args:
            texts: Vectors, shape (..., T).
            tower: From 0.

        Returns:
            Shape (..., O), never below 0.
        """
        own = self.dedicated[tower]
        assert isinstance(own, Experts)
        inner_XHT = torch.cat((self.shared.weight_inner_XHT, own.weight_inner_XHT))
        outer_XOH = torch.cat((self.shared.weight_outer_XOH, own.weight_outer_XOH))
        inner_bias_XH = torch.cat((self.shared.bias_inner_XH, own.bias_inner_XH))
        outer_bias_XO = torch.cat((self.shared.bias_outer_XO, own.bias_outer_XO))
        rows_NT = texts.reshape(-1, texts.shape[-1])
        # All experts' first layers are one product: for wide vectors that is most of the work.
        hidden_N = nn.functional.linear(rows_NT, inner_XHT.flatten(0, 1), inner_bias_XH.flatten())
        hidden_NXH = hidden_N.relu().view(-1, *inner_bias_XH.shape)
        given_XNO = torch.baddbmm(
            outer_bias_XO[:, None], hidden_NXH.transpose(0, 1), outer_XOH.transpose(1, 2)
        ).relu()
        shares_NX = self.gates[tower](rows_NT).softmax(dim=-1)
        mixed_NO = torch.einsum("nx,xno->no", shares_NX, given_XNO)
        return mixed_NO.reshape(*texts.shape[:-1], -1)
