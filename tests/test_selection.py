"""What the options choose: boards, narrowed and with other budgets and models."""

from __future__ import annotations

import pytest

from bench.cli.options import Asked
from bench.cli.selection import select


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ({}, "qwen2.5-1.5b"),
        ({"scale": "nano"}, "nano"),
        ({"scale": "135m"}, "smollm2-135m"),
        ({"scale": "paper"}, "qwen2.5-1.5b"),
        ({"scale": "nano", "model": "tiny"}, "tiny"),
    ],
)
def test_a_scale_brings_its_backbone(asked: dict[str, str], model: str) -> None:
    (board,) = select(Asked(board="igd-table1", **asked)).boards
    assert board.card.model == model
    assert board.card.budget == asked.get("scale", "igd")


def test_a_board_without_a_backbone_gets_none() -> None:
    (board,) = select(Asked(board="smoke", scale="nano")).boards
    assert (board.card.model, board.card.budget) == (None, "nano")
