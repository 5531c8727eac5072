"""Small files in SPRec's layout: rows with generated texts, and the folder of the items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILES: dict[str, Any] = {
    "id2name.json": {"0": "A", "1": "B", "2": "C", "3": "D", "4": "E"},
    "name2genre.json": {"A": ["g1"], "B": ["g1", "g2"], "C": ["g2"], "D": ["other"], "E": ["g3"]},
    "genre_dict.json": {"g1": 0, "g2": 0, "g3": 0},
}
# Vector R of the specification: history, target, distances from A to E.
CASES = [
    (("A", "B"), "B", (0.3, 0.1, 0.5, 0.9, 0.7)),
    (("C", "Z"), "E", (0.2, 0.6, 0.4, 0.3, 0.5)),
    (("D", "E"), "A", (0.2, 0.9, 0.8, 0.7, 0.1)),
    (("B", "B"), "Y", (0.1, 0.2, 0.3, 0.4, 0.5)),
]


def row(history: Sequence[str] = ("A",), target: str = "B", *texts: str) -> dict[str, Any]:
    titles = ", ".join(f'"{title}"' for title in history)
    return {
        "instruction": "Name a book.",
        "input": f"They liked {titles}, what next?",
        "output": f'"{target}"\n',
        "predict": list(texts or ['"A"']),
    }


def write(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in FILES.items():
        changed = changes.get(name.removesuffix(".json"), content)
        (folder / name).write_text(json.dumps(changed))
    return folder


class Axes:
    """Titles are axes and a text is minus its distances, which keeps the distances' order."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        known = {f"text {number}": [-d for d in case[2]] for number, case in enumerate(CASES)}
        known |= dict(zip("ABCDE", np.eye(5).tolist(), strict=True))
        return np.array([known[text] for text in texts], dtype=np.float32)
