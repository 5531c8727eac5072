"""The one template that makes training, generation and preference text out of titles.

Alpaca-like, as in BIGRec and its successors: an instruction, an input with the history, a response.
Every title stands in double quotes, so a double quote inside a title becomes a single one, in
prompts and responses alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Style = Literal["wrapped", "bare"]

OPENING = "The task below comes with what is known of a person. Answer with one title in quotes."


def quotable(title: str) -> str:
    """Return a title that can stand between double quotes: on one line, without any inside.

    Example:
        >>> quotable('The "Burbs"')
        "The 'Burbs'"
    """
    return " ".join(title.replace('"', "'").split())


def prompt(titles: Sequence[str], *, singular: str, plural: str, style: Style = "wrapped") -> str:
    """Write the prompt for a history.

    Args:
        titles: The history, oldest first; none for a counterfactual without it.
        singular: What one item is called.
        plural: What several are called.
        style: "wrapped" with markers, as everywhere; "bare" puts instruction and input next to each
            other without any, as SPRec's program does for preference training.
    """
    instruction = f"Given the {plural} that a person enjoyed lately, recommend a new {singular}."
    quoted = ", ".join(f'"{quotable(title)}"' for title in titles) or "unknown"
    known = f"The person enjoyed these {plural}, oldest first: {quoted}. Name one new {singular}."
    if style == "bare":
        return f"{instruction}{known}"
    return f"{OPENING}\n\n### Instruction:\n{instruction}\n\n### Input:\n{known}\n\n### Response:\n"


def response(title: str) -> str:
    """Write the answer that names a title; training adds the end-of-sequence token to it."""
    return f'"{quotable(title)}"'
