"""Backends of continuous batching, as far as a CPU can show it; vLLM by a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from killed import kill_while_saving
from peft import LoraConfig, get_peft_model
from stage_runs import run_stage
from test_answers import make_questions
from tiny_writer import write_backbone, writer_model, writer_tokenizer
from transformers import AutoModelForCausalLM

from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.decode import continuous, decoding
from bench.models.lm.decode.decoding import Generated, answer_streams, generate_texts
from bench.models.rerank.qa_files import save_questions
from bench.plan.device import plan_for
from bench.plan.language_stages import GenerationConfig, generate
from bench.plan.stage import Stage
from bench.plan.types import Model, ModelSpec, Rows

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = Model(name="writer", backbone=Stage(kind="hub"), context=96)
PROMPTS = [[4, 5, 6, 7, 8], [9, 10], [4], [11, 12, 13, 14]]
SPEC = ModelSpec(context=96)


def answer(backend: str, model: Any = None, **options: Any) -> list[Generated]:
    config = GenerationConfig(backend=backend, model=SPEC, max_new_tokens=8, **options)  # type: ignore[arg-type]
    streams = answer_streams(["0" * 16] * len(PROMPTS), config)
    model = writer_model() if model is None else model
    return generate_texts(model, writer_tokenizer(), PROMPTS, config, streams=streams, titles=False)


def test_greedy_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous, "SHARD_SIZE", 3)
    model = writer_model()
    expected, answers = answer("transformers", model), answer("continuous", model)
    for name in ("texts", "num_tokens", "finished"):
        assert [getattr(row, name) for row in answers] == [getattr(row, name) for row in expected]
    scores = [row.scores[0] for row in expected]
    assert [row.scores[0] for row in answers] == pytest.approx(scores, abs=1e-4)
    assert answer("transformers", model) == expected  # the model is left as it was


def test_samples_come_by_prompt() -> None:
    options: dict[str, Any] = {"temperature": 1.0, "top_k": 9, "top_p": 0.9}
    answers = answer("continuous", num_return_sequences=3, **options)
    assert [len(row.texts) for row in answers] == [3] * len(PROMPTS)
    assert len({text for row in answers for text in row.texts}) > len(PROMPTS)


class _Engine:
    """A stand-in for vLLM's engine that repeats each prompt as its answers."""

    def __init__(self, model: str, **options: Any) -> None:
        self.options = options
        self.model = AutoModelForCausalLM.from_pretrained(model)
        _Engine.last = self

    last: Any = None

    def generate(
        self, requests: Sequence[dict[str, list[int]]], parameters: Any, use_tqdm: bool
    ) -> list[Any]:
        texts = [
            SimpleNamespace(token_ids=request["prompt_token_ids"], cumulative_logprob=-1.0)
            for request in requests
        ]
        return [SimpleNamespace(outputs=[text] * parameters.n) for text in texts]


def test_vllm_gets_the_merged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(LLM=_Engine, SamplingParams=lambda **values: SimpleNamespace(**values))
    monkeypatch.setitem(sys.modules, "vllm", fake)  # type: ignore[arg-type]
    adapted = get_peft_model(writer_model(), LoraConfig(r=2, target_modules=["q_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted.eval().merge_adapter()
    answers = answer("vllm", adapted, num_return_sequences=2, temperature=1.0)
    assert [row.num_tokens for row in answers] == [(len(ids),) * 2 for ids in PROMPTS]
    ids_BL = torch.tensor(PROMPTS[:1])
    with torch.no_grad():
        logits = [model(ids_BL).logits for model in (adapted, _Engine.last.model.eval())]
    torch.testing.assert_close(*logits)
    assert _Engine.last.options["max_model_len"] == 96


def test_a_plan_refuses_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    questions, data = Stage(kind="questions"), Stage(kind="prepare")
    rows = Rows(data=data, stage=Stage(kind="draw", inputs={"data": data}))
    with plan_for("cpu"), pytest.raises(BenchError, match="continuous needs a GPU"):
        generate(MODEL, questions, GenerationConfig(backend="continuous"))
    with plan_for("cuda"):
        keys = {
            generate(MODEL, questions, GenerationConfig(backend=backend)).key  # type: ignore[arg-type]
            for backend in ("transformers", "continuous")
        }
        assert len(keys) == 2
        with pytest.raises(BenchError, match="does not end titles"):
            generate(MODEL, rows, GenerationConfig(backend="continuous"))
        monkeypatch.setattr("bench.plan.language_stages.find_spec", lambda name: None)
        with pytest.raises(BenchError, match="vLLM, which is not installed"):
            generate(MODEL, questions, GenerationConfig(backend="vllm"))
    with pytest.raises(BenchError, match="no beam search"):
        GenerationConfig(backend="vllm", num_beams=2)


# --- a kill within the answers --------------------------------------------------------------------


def test_answers_that_are_killed_resume_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions").mkdir()
    save_questions(make_questions(6), tmp_path / "questions")
    write_backbone(tmp_path / "writer")
    monkeypatch.setattr(decoding, "count_cache_tokens", lambda model: 1)  # one question per batch

    def run(name: str, **more: Any) -> Job:
        return run_stage(
            "generate",
            GenerationConfig,
            tmp_path / name,
            prompts=tmp_path / "questions",
            backbone=tmp_path / "writer",
            context=96,
            max_new_tokens=12,
            temperature=1.0,
            num_return_sequences=2,
            **more,
        )

    run("at once")
    checkpoints = str(tmp_path / "checkpoints")
    kill_while_saving(lambda: run("killed", checkpoints=checkpoints), saves=4)
    assert not (tmp_path / "killed" / "answers.parquet").exists()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3
    batches: list[Any] = []
    generate_batch = decoding._generate_batch
    monkeypatch.setattr(
        decoding, "_generate_batch", lambda *args: batches.append(1) or generate_batch(*args)
    )
    run("resumed", checkpoints=checkpoints)
    assert len(batches) == 3
    answers = [
        (tmp_path / name / "answers.parquet").read_bytes() for name in ("at once", "resumed")
    ]
    assert answers[0] == answers[1]
