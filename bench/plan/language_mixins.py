"""What methods on language models share: fine-tuning first, grounding or decoding last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.plan.decoding_stages import decode
from bench.plan.grounding_stages import ground
from bench.plan.language_stages import generate, preference, sft
from bench.plan.policy import as_policy
from bench.plan.stage import Stage
from bench.plan.types import Data, Model, Pairs, Policy


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """Settings of methods that write a title and recommend the items nearest to it.

    Attributes:
        max_new_tokens: Most tokens of a written title.
        encoder: The sentence encoder that grounds titles (`bench list encoders`), or "backbone" for
            the hidden states of the untuned backbone, as BIGRec's program has it.
    """

    max_new_tokens: int = 32
    encoder: str = "all-minilm-l6-v2"

    def shown(self, start: Model | Policy, data: Data, **adjusted: Any) -> Stage:
        """Write a title for every test case and rank the catalog by nearness to it.

        `adjusted` goes to `ground`.
        """
        texts = generate(start, data.test, max_new_tokens=self.max_new_tokens)
        model = as_policy(start).model
        return ground(texts, data.test, encoder=self.encoder, model=model, **adjusted)


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """Settings of methods that decode inside the catalog, by beam search over its titles.

    Attributes:
        beams: Prefixes that go on at each step, and items of a list.
        length_penalty: A title's score is divided by its number of tokens to this power.
    """

    beams: int = 10
    length_penalty: float = 0.0

    def decoded(self, start: Model | Policy, data: Data, **guidance: Any) -> Stage:
        """Rank the likeliest titles for every test case; `guidance` goes to `decode`."""
        return decode(
            start,
            data.test,
            data.train,
            beams=self.beams,
            length_penalty=self.length_penalty,
            **guidance,
        )


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """Settings of methods that begin with BIGRec's fine-tuning, named alike in all of them.

    Defaults are SPRec's for adapters (Gao et al., WWW 2025), with the loss on the response alone.

    Attributes:
        sft_epochs: Passes over the training rows; with patience, at most so many.
        sft_learning_rate: Its peak.
        sft_batch: Rows of one optimizer step.
        sft_patience: Epochs without a lower validation loss before it stops, the best epoch's
            weights being kept; 0 trains every epoch and keeps the last.
        sft_loss: "response", or "sequence" for the loss on the prompt, too.
        eos: Whether responses end in the end-of-sequence token.
    """

    sft_epochs: int = 4
    sft_learning_rate: float = 3e-4
    sft_batch: int = 16
    sft_patience: int = 0
    sft_loss: str = "response"
    eos: bool = True

    def base(self, data: Data, model: Model | None, seed: int, **weighting: Any) -> Policy:
        """Fine-tune the backbone on the training rows: the checkpoint that most methods share.

        Args:
            data: What it is trained on.
            model: The backbone.
            seed: Of this trial.
            weighting: Further arguments of `sft`, of methods that weight rows or tokens.

        Raises:
            BenchError: No language model was named.
        """
        return sft(
            needed(model),
            data.train,
            epochs=self.sft_epochs,
            learning_rate=self.sft_learning_rate,
            batch=self.sft_batch,
            valid=data.valid if self.sft_patience else None,
            patience=self.sft_patience,
            loss_on=self.sft_loss,
            eos=self.eos,
            seed=seed,
            **weighting,
        )


@dataclass(frozen=True, kw_only=True)
class Preferring(FineTuned):
    """Settings of methods that go on from BIGRec's checkpoint by preferences.

    Attributes:
        preference_epochs: Passes over the pairs.
        preference_learning_rate: Its peak.
        preference_batch: Pairs of one optimizer step.
        beta: Strength of the pull to the reference.
    """

    preference_epochs: int = 1
    preference_learning_rate: float = 2e-5
    preference_batch: int = 8
    beta: float = 0.1

    def preferring(
        self,
        start: Policy,
        pairs: Pairs,
        *,
        loss: str,
        seed: int,
        reference: Policy | None = None,
        prompt: str = "wrapped",
    ) -> Policy:
        """Optimize preferences from `start`, which is the reference unless another is given."""
        return preference(
            start,
            pairs,
            loss=loss,
            beta=self.beta,
            epochs=self.preference_epochs,
            learning_rate=self.preference_learning_rate,
            batch=self.preference_batch,
            reference=reference,
            prompt=prompt,
            eos=self.eos,
            seed=seed,
        )


def needed(model: Model | None) -> Model:
    """Return the model.

    Raises:
        BenchError: There is none.
    """
    if model is None:
        raise BenchError("This method needs a language model.", "Name one: --model nano")
    return model
