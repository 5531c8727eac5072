"""RosePO (Liao et al., arXiv 2410.12519): rejected items with a purpose, and smoothed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    BenchError,
    Data,
    Grounded,
    Model,
    Pairs,
    Plain,
    Plan,
    Policy,
    Preferring,
    generate,
    pairs,
    train_sasrec,
)

STRATEGIES = ("similar", "popular", "self")


@dataclass(frozen=True, kw_only=True)
class Method(Preferring, Grounded):
    """RosePO: DPO with purposeful negatives and labels smoothed by an oracle (Liao et al., 2024).

    The published objective could not be read: smoothing is the cross-entropy with a soft label, the
    oracle SASRec's preference for the rejected item. `as_published` is the peer code that comes
    closest to SPRec's tables: popular negatives, no smoothing.

    Attributes:
        strategy: "similar" rejects the unseen item nearest to the history's titles, "popular" draws
            by training counts, "self" rejects what BIGRec's checkpoint itself writes.
        smooth: Whether labels are smoothed.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "strategy": "popular",
        "smooth": False,
        "beta": 0.3,
        "preference_learning_rate": 1e-6,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.05, 0.1, 0.3, 1.0]},
        "preference_learning_rate": {"log_uniform": [3e-6, 1e-4]},
    }

    strategy: str = "similar"
    smooth: bool = True

    def __post_init__(self) -> None:
        """Refuse an unknown strategy."""
        if self.strategy not in STRATEGIES:
            raise BenchError(
                f"rosepo: strategy is {self.strategy!r}.", f"One of {', '.join(STRATEGIES)}."
            )

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Prefer each target to one purposeful item, from BIGRec's checkpoint on."""
        start = self.base(data, model, seed)
        rejected = self._rejected(start, data, seed)
        policy = self.preferring(start, rejected, loss="rosepo", seed=seed)
        return Plan(final=self.shown(policy, data))

    def _rejected(self, start: Policy, data: Data, seed: int) -> Pairs:
        oracle = train_sasrec(data.train, data.valid, seed=seed) if self.smooth else None
        own = self.strategy == "self"
        return pairs(
            data.train,
            negatives="generated" if own else self.strategy,
            generated=generate(start, data.train, max_new_tokens=self.max_new_tokens)
            if own
            else None,
            grounded="" if self.strategy == "popular" else self.encoder,
            oracle=oracle,
            smooth=self.smooth,
            seed=seed,
        )
