"""How long a preference step takes with shared prompts: against a sequence an answer, and TRL.

Four pairs of SPRec's size, prompts of 235 tokens and answers of 15; a random Llama of 6 layers and
width 256 in float32, forward and backward. With three rejected answers the peer is our own S-DPO
loss on four sequences a pair; with one it is the loss of TRL's DPOTrainer on the same pairs, its
reference computed beforehand as ours is. Both run in this process and must agree. Prints one line
each: seconds of CPU (the least of a few runs, since cores may be shared), how much is held for the
backward pass beside the weights, and the ratios.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from bench.models.lm.train.preference_losses import Loss, dpo, sdpo
from bench.models.lm.train.shared_prefix import Row, lay_out, log_probabilities
from datasets import Dataset, disable_progress_bars

PAIRS, PROMPT, ANSWER, BETA = 4, 235, 15, 0.1
LAYERS, WIDTH, VOCABULARY = 6, 256, 8_192
REPEATS, THREADS = 3, 1
WORDS = ["<pad>", "</s>", *(f"w{number}" for number in range(2, VOCABULARY))]


def llama(seed: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def rows(num_answers: int) -> list[Row]:
    numbers = np.random.default_rng(0)

    def ids(length: int) -> list[int]:
        return numbers.integers(2, VOCABULARY, length).tolist()

    return [
        Row(ids(PROMPT), [[*ids(ANSWER - 1), 1] for _ in range(num_answers)]) for _ in range(PAIRS)
    ]


def logps(model: LlamaForCausalLM, some: Sequence[Row], *, shared: bool = True) -> Tensor:
    return log_probabilities(model, lay_out(some, shared=shared))


def step(
    model: LlamaForCausalLM, some: Sequence[Row], reference: Tensor, loss: Loss, *, shared: bool
) -> Tensor:
    deltas = logps(model, some, shared=shared) - reference
    return loss(
        deltas[:, 0],
        deltas[:, 1:],
        beta=BETA,
        smoothing_B=torch.zeros(len(some)),
        mask_BK=torch.ones(len(some), deltas.shape[1] - 1, dtype=torch.bool),
    ).mean()


def trl_step(
    model: LlamaForCausalLM, some: Sequence[Row], reference: Tensor, folder: Path
) -> Callable[[], Tensor]:
    """Return TRL's loss on the pairs as texts, its tokenizer's words being our tokens."""
    known = {word: number for number, word in enumerate(WORDS)}
    built = Tokenizer(WordLevel(known, unk_token="<pad>"))
    built.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, pad_token="<pad>", eos_token="</s>")
    texts = [
        [" ".join(WORDS[token] for token in tokens) for tokens in (row.prompt, *row.answers)]
        for row in some
    ]
    trainer = DPOTrainer(
        model=model,
        ref_model=llama(1),
        args=DPOConfig(
            output_dir=str(folder),
            beta=BETA,
            use_cpu=True,
            bf16=False,
            report_to="none",
            gradient_checkpointing=False,
            per_device_train_batch_size=PAIRS,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": prompt + " ", "chosen": chosen, "rejected": rejected}
                for prompt, chosen, rejected in texts
            ]
        ),
        processing_class=tokenizer,
    )
    tokenized = [trainer.train_dataset[number] for number in range(PAIRS)]
    assert [row["chosen_ids"] for row in tokenized] == [row.answers[0] for row in some]
    batch = trainer.data_collator(tokenized)
    batch |= {"ref_chosen_logps": reference[:, 0], "ref_rejected_logps": reference[:, 1]}
    trainer.precompute_ref_logps = True
    return lambda: trainer.compute_loss(model, batch)


def held(compute: Callable[[], Tensor], model: LlamaForCausalLM) -> float:
    """Return the MB that a forward pass keeps for the backward one, weights apart."""
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = compute()
    assert loss.requires_grad
    sizes = {place: tensor.untyped_storage().nbytes() for place, tensor in kept.items()}
    return sum(size for place, size in sizes.items() if place not in weights) / 2**20


def measured(model: LlamaForCausalLM, compute: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Return CPU seconds of a forward and backward pass, MB, and loss with the gradient's norm."""
    seconds = []
    for _ in range(REPEATS):
        model.zero_grad()
        start = time.process_time()
        loss = compute()
        loss.backward()
        seconds.append(time.process_time() - start)
    gradient = torch.cat([value.grad.flatten() for value in model.parameters()])
    return min(seconds), held(compute, model), torch.stack([loss.detach(), gradient.norm()])


def compare(num_rejected: int, loss: Loss, peer: str) -> None:
    model, some = llama(0), rows(1 + num_rejected)
    with torch.no_grad():
        known = logps(llama(1), some)
    ours = measured(model, partial(step, model, some, known, loss, shared=True))
    with TemporaryDirectory() as folder:
        compute = partial(step, model, some, known, loss, shared=False)
        if num_rejected == 1:
            compute = trl_step(model, some, known, Path(folder))
        theirs = measured(model, compute)
    for one, other in zip(ours[2].tolist(), theirs[2].tolist(), strict=True):
        assert math.isclose(one, other, rel_tol=1e-5), (one, other)
    print(
        f"{PAIRS} pairs x {num_rejected} rejected, {PROMPT} + {ANSWER} tokens: "
        f"{ours[0]:.2f} s and {ours[1]:.0f} MB, {peer} {theirs[0]:.2f} s and "
        f"{theirs[1]:.0f} MB, ratios {theirs[0] / ours[0]:.1f} and {theirs[1] / ours[1]:.1f}; "
        f"loss {ours[2][0]:.6f} and {theirs[2][0]:.6f}"
    )


def main() -> None:
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    torch.set_num_threads(THREADS)
    compare(3, sdpo, "a sequence an answer")
    compare(1, dpo, "TRL's DPO")


if __name__ == "__main__":
    main()
