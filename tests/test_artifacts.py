"""What others can load: adapters, weights, Croissant metadata, samples, a notebook."""

from __future__ import annotations

import ast
import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from tiny_llama import tiny_backbone
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.config import plugins
from bench.config.cards import DatasetCard
from bench.data.assets import checksums
from bench.plan import backbones
from bench.results.formats.croissant import CONFORMS_TO, REQUIRED, build_croissant

ROOT = Path(__file__).parents[1]
RUN = (
    "run", "--method", "bigrec", "--dataset", "synthetic", "--executor", "inline", "--seeds", "1",
    "--rows", "train=8,valid=2,test=4", "--budget", "smoke", "--model", "./own",
)  # fmt: skip


@pytest.mark.parametrize("adapters", [True, False])
def test_a_tuned_model_becomes_a_folder_for_the_hub(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapters: bool
) -> None:
    monkeypatch.setattr(backbones, "ADAPTERS_FROM", 1 if adapters else 1e9)
    base = tiny_backbone(tmp_path / "own")
    assert (ran := bench(*RUN)).code == 0, ran.err
    made = bench("export", "hub", "bigrec", "--into", "hub")
    assert made.code == 0, made.err
    folder = Path(made.out.strip())
    before: Any = AutoModelForCausalLM.from_pretrained(base)
    if adapters:
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["peft_type"], config["r"]) == ("LORA", 16)
        assert not (folder / "config.json").exists()
        after: Any = PeftModel.from_pretrained(before, folder)
        # Every tensor of the file is used, and none is missing: they are equal in the model.
        from safetensors.torch import load_file

        stored = load_file(folder / "adapter_model.safetensors")
        loaded = {
            name.replace(".default.", "."): value
            for name, value in after.named_parameters()
            if ".lora_" in name
        }
        assert stored.keys() == loaded.keys()
        assert all(torch.equal(stored[name], loaded[name]) for name in stored)
        assert any(value.any() for name, value in stored.items() if "lora_B" in name)
    else:
        after = AutoModelForCausalLM.from_pretrained(folder)
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Red House", return_tensors="pt")["input_ids"]
    assert torch.isfinite(after(input_ids=ids).logits).all()
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == ("peft" if adapters else "transformers")
    (entry,) = front["model-index"]
    assert {each["name"] for each in entry["results"][0]["metrics"]} >= {"HR@5", "DivRatio@1"}
    assert list((folder / "results").rglob("seed-0.ranking.parquet"))


def test_a_method_without_a_language_model_has_nothing_to_export(bench: Any) -> None:
    words = ("--method", "popularity", "--dataset", "synthetic", "--executor", "inline")
    assert bench("run", *words, "--seeds", "1").code == 0
    refused = bench("export", "hub", "popularity", "--into", "hub")
    assert refused.code == 2
    assert "no trained language model" in refused.err
    assert bench("export", "hub", "--into", "hub").code == 2


@pytest.mark.parametrize("name", sorted(plugins.card_paths("datasets")))
def test_cards_become_croissant(name: str) -> None:
    card = plugins.dataset_card(name)
    content, missing = build_croissant(name, card, checksums(card, None))
    assert {*REQUIRED} == {*content} & {*REQUIRED} | {*missing}
    assert bool(missing) == name.startswith("synthetic")
    assert content["conformsTo"] == CONFORMS_TO
    prefixes = {key.partition(":")[0] for key in content if ":" in key}
    assert prefixes == {"rai"}
    ids = [part["@id"] for part in content.get("distribution", [])]
    assert len({*ids}) == len(ids) >= len(card.files)
    for part in content.get("distribution", []):
        assert part["contentUrl"]
        assert part["encodingFormat"]
        if "containedIn" in part:
            assert part["containedIn"]["@id"] in ids


def test_a_croissant_states_what_the_card_states(bench: Any) -> None:
    made = bench("export", "croissant", "ml-100k", "--into", "out")
    assert made.code == 0, made.err
    content = json.loads(Path("out/ml-100k.croissant.json").read_text())
    card: DatasetCard = plugins.dataset_card("ml-100k")
    assert (content["license"], content["citeAs"]) == (card.license, card.citation)
    assert content["datePublished"] == "2015"
    assert content["creator"]["name"] == "F. Maxwell Harper and Joseph A. Konstan"
    stated = {part.get("sha256") for part in content["distribution"]}
    assert {file.sha256 for file in card.files.values()} <= stated


def test_the_notebook_has_the_examples_of_the_page() -> None:
    page = (ROOT / "docs" / "python-api.md").read_text()
    notebook = json.loads((ROOT / "docs" / "python-api.ipynb").read_text())
    assert notebook["nbformat"] == 4
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    examples = re.findall(r"```pycon\n(.*?)```", page, flags=re.DOTALL)
    parser = doctest.DocTestParser()
    expected = ["".join(each.source for each in parser.get_examples(text)) for text in examples]
    trees = [[ast.dump(ast.parse(text)) for text in texts] for texts in (sources, expected)]
    assert trees[0] == trees[1]


def test_the_container_installs_what_is_there() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["bench"]' in text
    assert (ROOT / "constraints.txt").is_file()
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"bench", "methods", "datasets", "leaderboards", "LICENSE"} & {*ignored}
