"""Which boards a request selects: narrowed, and with other budgets and models."""

from __future__ import annotations

import pytest

from bench.config.request import RunRequest
from bench.plan.board_selection import select_boards


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({}, "qwen2.5-1.5b"),
        ({"budget": "nano"}, "nano"),
        ({"budget": "135m"}, "smollm2-135m"),
        ({"budget": "paper"}, "qwen2.5-1.5b"),
        ({"budget": "nano", "model": "tiny"}, "tiny"),
    ],
)
def test_a_budget_brings_its_backbone(changes: dict[str, str], model: str) -> None:
    (board,) = select_boards(RunRequest(board="igd-table1", **changes)).boards
    assert board.card.model == model
    assert board.card.budget == changes.get("budget", "igd")


def test_a_board_without_a_backbone_gets_none() -> None:
    (board,) = select_boards(RunRequest(board="smoke", budget="nano")).boards
    assert (board.card.model, board.card.budget) == (None, "nano")
