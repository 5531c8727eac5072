"""Seconds of each stage on a GPU, next to its floor and TRL's own trainers, as JSON.

Llama-3.2-1B's shape with random weights, for time does not depend on their values, and SPRec's
sizes: prompts of 235 tokens, answers of 15, batches of 16. A stage of many equal steps is measured
on some of them and scaled; `scaled_by` says how much. `--rehearse` takes a tiny shape on a CPU.
Each measure is written as it ends, and is not repeated by a second run.

    python benchmarks/gpu/stages.py [--rehearse] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer
from trl.trainer.sft_config import SFTConfig as SFTArguments
from trl.trainer.sft_trainer import SFTTrainer

from bench.files import write_atomic
from bench.models.lm import tuned_model
from bench.models.lm.decode.decoding import generate_texts, title_streams
from bench.models.lm.decode.generation_state import GenerationState
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.item_search import score_all_titles, search_titles
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.devices import select_device, set_up_device
from bench.models.lm.train.collate import SFTSamples
from bench.models.lm.train.preference_losses import dpo
from bench.models.lm.train.preference_trainer import Pair, add_reference, optimize
from bench.models.lm.train.sft_trainer import fine_tune
from bench.plan.device import plan_for
from bench.plan.language_stages import DecodingConfig, GenerationConfig, SFTConfig
from bench.plan.preference_stages import PreferenceConfig
from bench.plan.types import ModelSpec
from datasets import Dataset, disable_progress_bars

PROMPT, ANSWER, BATCH = 235, 15, 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"kind": "lora", "rank": 16, "alpha": 32, "dropout": 0.05, "targets": TARGETS}
FLOORS = {
    "sft, 4,096 rows x 4 epochs": 26.6,
    "dpo, 2,048 pairs": 4.2,
    "generate, 2,048 titles": 1.40,
    "beams, 1,000 cases x 10": 1.57,
    "exhaustive, 1,000 cases x 4,000 titles": 144.0,
}
"""Seconds computed for one H200 from 790 TFLOP/s in bf16 and 4.3 TB/s, for the 1B."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured; the model's shape, and rows of each measure."""

    shape: dict[str, int]
    sft_rows: int
    trl_rows: int
    pairs: int
    titles: int
    beam_cases: int
    exhaustive_cases: int
    catalog: int
    decode_rows: int
    decode_steps: int


LARGE = Size(
    shape={
        "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    sft_rows=2048, trl_rows=256, pairs=512, titles=2048, beam_cases=250, exhaustive_cases=8,
    catalog=4000, decode_rows=490, decode_steps=32,
)  # fmt: skip
SMALL = Size(
    shape={
        "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    },
    sft_rows=32, trl_rows=16, pairs=16, titles=16, beam_cases=8, exhaustive_cases=2,
    catalog=40, decode_rows=8, decode_steps=4,
)  # fmt: skip


class Bench:
    """A model with random weights and inputs of SPRec's lengths."""

    def __init__(self, size: Size, dtype: str) -> None:
        self.size, self.spec = size, ModelSpec(tuning=LORA, dtype=dtype, threads=2)  # type: ignore[arg-type]
        self.device = select_device()
        self.config = LlamaConfig(
            **size.shape, tie_word_embeddings=True, attn_implementation="sdpa"
        )
        vocabulary = size.shape["vocab_size"]
        self.words = ["<pad>", "</s>", *(f"w{number}" for number in range(2, vocabulary))]
        model = WordLevel(
            {word: number for number, word in enumerate(self.words)}, unk_token="<pad>"
        )
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = WhitespaceSplit()
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"
        )
        self.numbers = np.random.default_rng(0)

    def base(self) -> LlamaForCausalLM:
        """Return the frozen base in its dtype, directly on the device."""
        torch.manual_seed(0)
        with self.device:
            model = LlamaForCausalLM(self.config)
        dtype = torch.bfloat16 if self.spec.dtype == "bfloat16" else torch.float32
        return model.to(dtype).requires_grad_(False)

    @cached_property
    def policy(self) -> tuned_model.LanguageModel:
        """Our policy: the base with an adapter."""
        adapted = tuned_model._with_adapter(self.base(), LORA, 0)
        for layer in tuned_model._adapted_layers(adapted):
            layer.cast_input_dtype_enabled = self.spec.dtype == "float32"
        policy = tuned_model.LanguageModel(
            model=adapted.eval(),
            tokenizer=self.tokenizer,
            device=self.device,
            dtype=self.spec.dtype,
            quantized=False,
        )
        tuned_model._current = policy
        return policy

    def ids(self, num: int, mean: int) -> list[list[int]]:
        """Draw token ids of about `mean` tokens, never those that end a text."""
        lengths = self.numbers.integers(mean * 4 // 5, mean * 6 // 5 + 1, size=num)
        return [self.numbers.integers(2, len(self.words), size).tolist() for size in lengths]

    def samples(self, num: int) -> SFTSamples:
        """Draw samples of fine-tuning."""
        return SFTSamples(prompts=self.ids(num, PROMPT), responses=self.ids(num, ANSWER))

    def pairs(self, num: int) -> list[Pair]:
        """Draw preference pairs with one rejected answer."""
        parts = (self.ids(num, PROMPT), self.ids(num, ANSWER), self.ids(num, ANSWER))
        return [Pair(prompt=p, chosen=c, rejected=[r]) for p, c, r in zip(*parts, strict=True)]

    @cached_property
    def trie(self) -> Trie:
        """A catalog's titles."""
        return build_trie([[*title, 1] for title in self.ids(self.size.catalog, ANSWER)])

    # --- measures: seconds, and by how much they were scaled --------------------------------------

    def sft(self) -> tuple[float, float]:
        """Our fine-tuning."""
        rows, config = self.size.sft_rows, SFTConfig(model=self.spec, num_train_epochs=1)
        model = self.policy.model
        fine_tune(model, self.tokenizer, self.samples(2 * BATCH), config)
        samples = self.samples(rows)
        with clock(self.device) as seconds:
            fine_tune(model, self.tokenizer, samples, config)
        return seconds[0], 4 * 4096 / rows

    def sft_trl(self) -> tuple[float, float]:
        """TRL's SFTTrainer with its defaults, 4 x 4, on the same model."""
        examples = [
            {"input_ids": row["input_ids"], "labels": row["labels"]}
            for row in self.samples(self.size.trl_rows).to_examples()
        ]
        with TemporaryDirectory() as folder:
            trainer = SFTTrainer(
                model=tuned_model._with_adapter(self.base(), LORA, 0),
                args=SFTArguments(output_dir=folder, **self.trl_arguments(4)),
                train_dataset=Dataset.from_list(examples),
                processing_class=self.tokenizer,
            )
            with clock(self.device) as seconds:
                trainer.train()
        return seconds[0], 4 * 4096 / self.size.trl_rows

    def dpo(self) -> tuple[float, float]:
        """Our DPO with shared prompts, its reference included."""
        config = PreferenceConfig(model=self.spec, batch_size=BATCH)
        options: dict[str, Any] = {"divisor": 1, "shared": True}
        warm = add_reference(self.policy, self.pairs(2 * BATCH), config, **options)
        optimize(self.policy, warm, config, loss=dpo, **options)
        pairs = self.pairs(self.size.pairs)
        with clock(self.device) as seconds:
            pairs = add_reference(self.policy, pairs, config, **options)
            optimize(self.policy, pairs, config, loss=dpo, **options)
        return seconds[0], 2048 / self.size.pairs

    def dpo_trl(self) -> tuple[float, float]:
        """TRL's DPOTrainer with its defaults, 4 x 4; the adapter off is its reference."""
        texts = [
            {
                "prompt": self.text(pair.prompt) + " ",
                "chosen": self.text(pair.chosen),
                "rejected": self.text(pair.rejected[0]),
            }
            for pair in self.pairs(self.size.trl_rows)
        ]
        with TemporaryDirectory() as folder:
            trainer = DPOTrainer(
                model=tuned_model._with_adapter(self.base(), LORA, 0),
                args=DPOConfig(output_dir=folder, **self.trl_arguments(4)),
                train_dataset=Dataset.from_list(texts),
                processing_class=self.tokenizer,
            )
            with clock(self.device) as seconds:
                trainer.train()
        return seconds[0], 2048 / self.size.trl_rows

    def generate(self) -> tuple[float, float]:
        """Greedy generation of 32 tokens for every prompt, the adapter merged."""
        prompts = self.ids(self.size.titles, PROMPT)
        config = GenerationConfig(model=self.spec)
        with clock(self.device) as seconds, self.policy.merged():
            generate_texts(
                self.policy.model,
                self.tokenizer,
                prompts,
                config,
                streams=title_streams(len(prompts), config),
                titles=True,
            )
        return seconds[0], 2048 / self.size.titles

    def beams(self) -> tuple[float, float]:
        """Constrained search with 10 beams."""
        return self.search(search_titles, self.size.beam_cases)

    def exhaustive(self) -> tuple[float, float]:
        """Exact scores of all titles."""
        return self.search(score_all_titles, self.size.exhaustive_cases)

    def search(self, search: Callable[..., Any], num: int) -> tuple[float, float]:
        """Search the titles of some prompts."""
        prompts, config = self.ids(num, PROMPT), DecodingConfig(model=self.spec)
        with clock(self.device) as seconds, self.policy.merged():
            search(self.policy.model, prompts, self.trie, lambda rows: Guidance(), config)
        return seconds[0], 1000 / num

    def decode_steps(self) -> tuple[float, float]:
        """One step of decoding many rows; with `_cudnn` cuDNN's attention is left on."""
        prompts = self.ids(self.size.decode_rows, PROMPT)
        with torch.inference_mode(), self.policy.merged():
            state = GenerationState(self.policy.model, prompts)
            tokens = torch.full((len(prompts),), 5, device=self.device)
            state.append(tokens)
            with clock(self.device) as seconds:
                for _ in range(self.size.decode_steps):
                    state.append(tokens)
        return seconds[0], 1 / self.size.decode_steps

    def decode_steps_cudnn(self) -> tuple[float, float]:
        """The same with cuDNN's attention."""
        torch.backends.cuda.enable_cudnn_sdp(True)
        try:
            return self.decode_steps()
        finally:
            torch.backends.cuda.enable_cudnn_sdp(False)

    def text(self, ids: Any) -> str:
        """Return token ids as words."""
        return " ".join(self.words[token] for token in ids)

    def trl_arguments(self, divisor: int) -> dict[str, Any]:
        """Return what TRL's trainers need besides their defaults."""
        return {
            "num_train_epochs": 1,
            "per_device_train_batch_size": BATCH // divisor,
            "gradient_accumulation_steps": divisor,
            "use_cpu": self.device.type == "cpu",
            "bf16": self.spec.dtype == "bfloat16",
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
        }


MEASURES = {
    "sft, 4,096 rows x 4 epochs": "sft",
    "sft, 4,096 rows x 4 epochs, TRL": "sft_trl",
    "dpo, 2,048 pairs": "dpo",
    "dpo, 2,048 pairs, TRL": "dpo_trl",
    "generate, 2,048 titles": "generate",
    "beams, 1,000 cases x 10": "beams",
    "exhaustive, 1,000 cases x 4,000 titles": "exhaustive",
    "a decoding step, 490 rows": "decode_steps",
    "a decoding step, 490 rows, cuDNN": "decode_steps_cudnn",
}


@contextmanager
def clock(device: torch.device) -> Iterator[list[float]]:
    """Measure the block in seconds, from an idle device to an idle device."""
    seconds: list[float] = []
    synchronize(device)
    started = time.perf_counter()
    yield seconds
    synchronize(device)
    seconds.append(time.perf_counter() - started)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(bench: Bench, name: str) -> dict[str, Any]:
    """Run one measure; a failure is a result, too."""
    on_gpu = bench.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        seconds, factor = getattr(bench, MEASURES[name])()
    except Exception as error:  # the other measures do not depend on it
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    result = {"seconds": round(seconds * factor, 4), "scaled_by": round(factor, 4)}
    if on_gpu:
        result["peak_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 2)
        result["free_gib"] = round(torch.cuda.mem_get_info()[0] / 2**30, 2)
        if name in FLOORS:
            result["floor_seconds"] = FLOORS[name]
            result["times_the_floor"] = round(result["seconds"] / FLOORS[name], 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="A tiny shape, on a CPU.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gpu/results"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    disable_progress_bars()
    os.environ["CI"] = "1"  # TRL reports its use to the hub otherwise
    set_up_device(on_gpu=not options.rehearse)
    with plan_for("cpu" if options.rehearse else "cuda"):
        measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Run the measures that have no result yet."""
    bench = Bench(
        SMALL if options.rehearse else LARGE, "float32" if options.rehearse else "bfloat16"
    )
    is_gpu = bench.device.type == "cuda"
    card = torch.cuda.get_device_name() if is_gpu else "rehearsal on a CPU"
    path = options.out / f"{'-'.join(card.lower().split())}.json"
    content = json.loads(path.read_bytes()) if path.is_file() else {"stages": {}}
    content |= {"device": card, "torch": torch.__version__, "cuda": torch.version.cuda}
    content["cudnn"], content["python"] = torch.backends.cudnn.version(), platform.python_version()
    for name in MEASURES:
        if "seconds" not in content["stages"].get(name, {}):
            content["stages"][name] = measure(bench, name)
            write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())
        print(f"{name}: {content['stages'][name]}", flush=True)
    if any("error" in result for result in content["stages"].values()):
        raise SystemExit("Some measures failed; a second run repeats them.")


if __name__ == "__main__":
    main()
