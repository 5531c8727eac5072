"""What methods that re-rank lists share: how a re-ranker is trained, and which lists there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.errors import BenchError
from bench.hashing import Plain
from bench.plan.rerank_stages import rerank
from bench.plan.stage import Stage
from bench.plan.types import Data, Lists

SELECTIONS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class Reranked:
    """Settings of methods that end in a trained re-ranker; KAR's grid lies around the defaults.

    `as_published` is KAR's program: it learns from all training users, and the test lists choose
    the epoch.

    Attributes:
        rerank_learning_rate: Of AdamW, constant.
        rerank_batch: Lists of one optimizer step.
        rerank_epochs: The most epochs.
        rerank_patience: Epochs without a better MAP@5 before it stops.
        rerank_weight_decay: Of AdamW.
        select_on: Whose lists choose the epoch: "valid", or "test" as KAR does.
    """

    TASK: ClassVar[str] = "rerank"
    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"select_on": "test"}

    rerank_learning_rate: float = 1e-3
    rerank_batch: int = 256
    rerank_epochs: int = 50
    rerank_patience: int = 3
    rerank_weight_decay: float = 0.0
    select_on: str = "valid"

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        one_of(self, "select_on", SELECTIONS)

    @property
    def recipe(self) -> dict[str, Any]:
        """How the re-ranker is trained, as arguments of `rerank` and `reward_pairs`."""
        return {
            "learning_rate": self.rerank_learning_rate,
            "batch": self.rerank_batch,
            "epochs": self.rerank_epochs,
            "patience": self.rerank_patience,
            "weight_decay": self.rerank_weight_decay,
        }

    def reranked(self, lists: Lists, backbone: str, seed: int, **knowledge: Any) -> Stage:
        """Train a re-ranker and score the test lists; `knowledge` goes to `rerank`."""
        return rerank(
            lists.stage,
            backbone=backbone,
            seed=seed,
            as_published=self.select_on == "test",
            **self.recipe,
            **knowledge,
        )


def listed(data: Data) -> Lists:
    """Return the lists of a data set.

    Raises:
        BenchError: Its card does not say how to make any.
    """
    if data.lists is None:
        raise BenchError(
            f"{data.name} has no lists to re-rank.", "Add [lists] to its card, or take ml-1m."
        )
    return data.lists


def one_of(settings: object, name: str, known: tuple[str, ...]) -> None:
    """Refuse a setting that is none of the known ones.

    Raises:
        BenchError: It is none of them.
    """
    value = getattr(settings, name)
    if value not in known:
        raise BenchError(f"{name} is {value!r}.", f"One of {', '.join(known)}.")
