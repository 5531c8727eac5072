"""A folder of a trained model that others can load: adapter or weights, model card, results.

An adapter is in PEFT's layout (`adapter_config.json`, `adapter_model.safetensors`), other weights
in that of transformers. The model card has the metadata block of the Hugging Face hub, with the
results as `model-index`. Nothing is uploaded: `hf upload NAME FOLDER` does that.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.data.hub_files import TEXTS
from bench.errors import BenchError
from bench.files import write_atomic
from bench.plan.stage import Stage
from bench.plan.trials import Trial
from bench.report.deviations import find_card
from bench.results.load import FINAL
from bench.results.schema import Result, copy_result, find_result
from bench.runner.store import Store

POINTER, ADAPTER, FULL = "backbone.json", "adapter.safetensors", "model.safetensors"


def write_hub_folder(trial: Trial, results: Path, store: Path, into: Path) -> Path:
    """Write the folder of a trial's language model, named after the trial.

    Raises:
        BenchError: The trial trains no language model, or has no result or artifact.
    """
    result = find_result(results, trial.id)
    if result is None or result.status != "ok":
        raise BenchError(f"{trial.id} has no result.", "Run it first.")
    weights = _find_weights(trial)
    artifacts = Store(store)
    for stage in (weights, weights.inputs["backbone"]):
        if artifacts.meta(stage.kind, stage.key) is None:
            raise BenchError(
                f"The {stage.kind} stage of {trial.id} is not in {store}.",
                "Run the trial with this code again, or name its --store.",
            )
    source = artifacts.open(weights.kind, weights.key)
    backbone = artifacts.open(weights.inputs["backbone"].kind, weights.inputs["backbone"].key)
    if (backbone / POINTER).is_file():
        backbone = Path(json.loads((backbone / POINTER).read_text())["folder"])
    folder = into / trial.id.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    is_adapter = (source / ADAPTER).is_file()
    card = find_card(plugins.model_card, result.model)
    base = card.repository if card else ""
    config: Any = weights.config
    if is_adapter:
        shutil.copyfile(source / ADAPTER, folder / "adapter_model.safetensors")
        adapter = _describe_adapter(config.model.tuning, base or str(backbone))
        (folder / "adapter_config.json").write_text(json.dumps(adapter, indent=2) + "\n")
    else:
        shutil.copyfile(source / FULL, folder / FULL)
    for pattern in TEXTS:
        for path in backbone.glob(pattern):
            is_model_config = path.name in ("config.json", "generation_config.json")
            if not path.name.endswith("index.json") and not (is_adapter and is_model_config):
                shutil.copyfile(path, folder / path.name)
    copy_result(result, results, folder / "results")
    text = _write_card(result, base, is_adapter=is_adapter)
    write_atomic(folder / "README.md", text.encode())
    return folder


def _find_weights(trial: Trial) -> Stage:
    """Find the stage that trained the model which the ranking comes from, nearest first."""
    waiting = deque([trial.evaluations[FINAL]] if trial.evaluations else [])
    while waiting:
        stage = waiting.popleft()
        if "start" in stage.inputs and "backbone" in stage.inputs:
            return stage.inputs["start"]
        waiting += [each for name, each in stage.inputs.items() if name != "data"]
    raise BenchError(
        f"{trial.id} has no trained language model.",
        trial.problem or "Name a trial of a method that tunes one, such as bigrec.",
    )


def _describe_adapter(tuning: Any, base: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": tuning["rank"],
        "lora_alpha": tuning["alpha"],
        "lora_dropout": tuning["dropout"],
        "target_modules": list(tuning["targets"]),
        "bias": "none",
        "inference_mode": True,
    }


def _write_card(result: Result, base: str, *, is_adapter: bool) -> str:
    evaluation = result.evaluations[FINAL]
    metrics = [
        {"type": name, "name": name, "value": value} for name, value in evaluation.metrics.items()
    ]
    dataset = {"type": result.dataset, "name": result.dataset}
    task = {"type": "recommendation", "name": "Next-item recommendation"}
    entry = {"task": task, "dataset": dataset, "metrics": metrics}
    metadata: dict[str, Any] = {
        **({"base_model": base} if base else {}),
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["recommendation", "llmrec-bench", result.method],
        "model-index": [{"name": result.trial, "results": [entry]}],
    }
    # JSON is YAML, so that no library is needed for the block.
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in metadata.items())
    settings = "".join(f"| `{key}` | {value} |\n" for key, value in result.settings.items())
    values = "".join(f"| {each['name']} | {each['value']:.6f} |\n" for each in metrics)
    kind = "A LoRA adapter" if is_adapter else "All weights"
    return (
        f"---\n{front}---\n\n# {result.method} on {result.dataset}, seed {result.seed}\n\n"
        f"{kind} of `{result.model}`, trained by llmrec-bench. The license is that of the backbone "
        "and of the data; check both before you publish this folder.\n\n"
        f"{evaluation.num_cases} test cases, {evaluation.num_items} titles, data fingerprint "
        f"`{result.data.fingerprint if result.data else ''}`. Values per case and rankings of item "
        f"ids are in `results/`.\n\n| metric | value |\n|---|---|\n{values}\n"
        f"| setting | value |\n|---|---|\n{settings}"
    )
