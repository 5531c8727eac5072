"""The prompt template for training, generation and preference texts.

Alpaca-like, as in BIGRec and its successors: an instruction, an input with the history, a response.
Every title is in double quotes, so a double quote inside a title becomes a single one, in prompts
and responses alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Style = Literal["wrapped", "bare"]

OPENING = "The task below comes with what is known of a person. Answer with one title in quotes."


def quotable(title: str) -> str:
    """Return a title on one line with its double quotes replaced, ready to be quoted.

    Example:
        >>> quotable('The "Burbs"')
        "The 'Burbs'"
    """
    return " ".join(title.replace('"', "'").split())


def prompt(titles: Sequence[str], *, singular: str, plural: str, style: Style = "wrapped") -> str:
    """Return the prompt for a history, oldest first; an empty one for a counterfactual without it.

    "wrapped" has section markers; "bare" joins instruction and input without any, as SPRec's
    program does for preference training.
    """
    instruction = f"Given the {plural} that a person enjoyed lately, recommend a new {singular}."
    names = ", ".join(f'"{quotable(title)}"' for title in titles) or "unknown"
    context = f"The person enjoyed these {plural}, oldest first: {names}. Name one new {singular}."
    if style == "bare":
        return f"{instruction}{context}"
    return (
        f"{OPENING}\n\n### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n"
    )


def response(title: str) -> str:
    """Return the answer that names a title; training appends the end-of-sequence token."""
    return f'"{quotable(title)}"'
