"""Language models: one copy of the base, weights bit for bit, adapters merged and unmerged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from bench.errors import BenchError
from bench.hashing import checksum
from bench.models.lm.tuned_model import LanguageModel, load
from bench.stages.build import build_model

pytestmark = pytest.mark.usefixtures("one_thread")

TITLES = [
    f'The {word} "Sea" ({year})' for word in ("Red", "Dead", "Black") for year in range(1980, 1990)
]
ARCHITECTURE = {"layers": 2, "width": 32, "heads": 2, "intermediate": 48, "vocabulary": 320}
FULL = {"kind": "full"}
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "down_proj"]}
IDS_BL = torch.arange(5, 65).reshape(4, 15)


def make(folder: Path, seed: int = 0, **changes: int) -> Path:
    folder.mkdir()
    architecture, nouns = {**ARCHITECTURE, **changes}, ("movie", "movies")
    build_model(
        folder, titles=TITLES, nouns=nouns, architecture=architecture, context=64, seed=seed
    )
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "backbone")


def full(backbone: Path, **options: Any) -> LanguageModel:
    return load(backbone, tuning=FULL, dtype="float32", **options)


def lora(backbone: Path, dtype: str = "float32", **options: Any) -> LanguageModel:
    return load(backbone, tuning=LORA, dtype=dtype, **options)


def logits(language_model: LanguageModel) -> torch.Tensor:
    with torch.no_grad(), language_model.autocast():
        return language_model.model(input_ids=IDS_BL).logits


def train(language_model: LanguageModel, steps: int = 3) -> None:
    model = language_model.model
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=0.01)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        with language_model.autocast():
            loss = model(input_ids=IDS_BL, labels=IDS_BL).loss
        loss.backward()
        optimizer.step()
    model.eval()


def weights(language_model: LanguageModel) -> dict[str, str]:
    return {
        name: hashlib.sha256(value.detach().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, value in language_model.model.state_dict().items()
    }


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


# --- one copy ------------------------------------------------------------------------------------


def test_the_base_is_held_once(backbone: Path, tmp_path: Path) -> None:
    first = full(backbone)
    assert full(backbone).model is first.model
    adapted = lora(backbone, seed=0)
    assert adapted.model.get_base_model() is first.model
    assert lora(backbone, seed=1).model.get_base_model() is first.model
    assert lora(backbone).model is first.model
    assert lora(backbone, "bfloat16").model is not first.model
    other = make(tmp_path / "other", seed=1)
    replaced = full(other)
    assert replaced.model is not first.model
    assert not torch.equal(logits(replaced), logits(full(backbone)))


def test_a_changed_file_is_another_backbone(tmp_path: Path) -> None:
    folder = make(tmp_path / "backbone")
    before = weights(full(folder))
    make(tmp_path / "other", seed=1)
    shutil.copyfile(tmp_path / "other" / "model.safetensors", folder / "model.safetensors")
    assert changed(before, weights(full(folder)))


def test_an_earlier_model_is_void(backbone: Path, tmp_path: Path) -> None:
    earlier = lora(backbone, seed=0)
    lora(backbone, seed=1)
    with pytest.raises(AssertionError, match="another model was loaded"):
        earlier.save(tmp_path)
    with pytest.raises(AssertionError, match="another model was loaded"), earlier.merged():
        pass


def test_every_load_gives_the_untuned_weights_again(backbone: Path) -> None:
    untuned = weights(full(backbone))
    train(full(backbone))
    assert changed(untuned, weights(full(backbone))) == set()
    train(full(backbone))
    assert changed(untuned, weights(lora(backbone))) == set()
    train(lora(backbone, seed=0))
    assert changed(untuned, weights(full(backbone))) == set()
    files = load_file(backbone / "model.safetensors")
    for name, value in full(backbone).model.named_parameters():
        assert torch.equal(value, files[name]), name


# --- what is trained -----------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", [FULL, LORA])
def test_saved_weights_come_back(backbone: Path, tmp_path: Path, tuning: Mapping[str, Any]) -> None:
    trained = load(backbone, tuning=tuning, dtype="float32", seed=0)
    untrained = logits(trained)
    train(trained)
    trained.save(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name == ("model.safetensors" if tuning is FULL else "adapter.safetensors")
    expected, hashes = logits(trained), weights(trained)
    assert not torch.equal(expected, untrained)
    load(backbone, tuning=tuning, dtype="float32", seed=7)
    again = load(backbone, start=tmp_path, tuning=tuning, dtype="float32")
    assert changed(hashes, weights(again)) == set()
    assert torch.equal(logits(again), expected)
    again.save(backbone.parent)
    assert checksum(backbone.parent / file.name) == checksum(file)


def test_training_goes_on_as_if_it_had_never_stopped(backbone: Path, tmp_path: Path) -> None:
    model = lora(backbone, seed=0)
    train(model)
    model.save(tmp_path)
    train(model)
    at_once = weights(model)
    lora(backbone, seed=3)
    resumed = lora(backbone, start=tmp_path)
    train(resumed)
    assert changed(at_once, weights(resumed)) == set()


def test_an_adapter_is_seeded_and_touches_no_random_state(backbone: Path) -> None:
    state = torch.get_rng_state()
    one, same = weights(lora(backbone, seed=1)), weights(lora(backbone, seed=1))
    other = weights(lora(backbone, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one == same
    assert {name.split(".")[-3] for name in changed(one, other)} == {"lora_A"}
    assert torch.equal(logits(lora(backbone, seed=1)), logits(full(backbone)))


def test_what_has_gradients(backbone: Path) -> None:
    assert all(value.requires_grad for value in full(backbone).model.parameters())
    adapted = lora(backbone, seed=0)
    assert isinstance(adapted.model, PeftModel)
    train(adapted)
    layers = {
        name.split(".")[-4] for name, v in adapted.model.named_parameters() if v.requires_grad
    }
    assert layers == {"q_proj", "down_proj"}
    untuned = lora(backbone)
    assert not any(value.requires_grad for value in untuned.model.parameters())
    assert all(value.grad is None for value in untuned.model.parameters())
    assert not untuned.model.training


def test_an_adapter_is_float32_over_bfloat16(backbone: Path) -> None:
    model = lora(backbone, "bfloat16", seed=0).model
    types = {name: value.dtype for name, value in model.named_parameters()}
    assert {kind for name, kind in types.items() if "lora_" in name} == {torch.float32}
    assert {kind for name, kind in types.items() if "lora_" not in name} == {torch.bfloat16}


def test_the_same_adapter_is_not_wrapped_again(backbone: Path, tmp_path: Path) -> None:
    first = lora(backbone, seed=0)
    train(first)
    first.save(tmp_path)
    expected = logits(first)
    again = lora(backbone, start=tmp_path)
    assert again.model is first.model
    assert torch.equal(logits(again), expected)
    other = {**LORA, "rank": LORA["rank"] + 1}
    assert load(backbone, tuning=other, dtype="float32", seed=0).model is not first.model


# --- precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", [FULL, LORA])
def test_bfloat16_trains_float32_weights(
    backbone: Path, tuning: Mapping[str, Any], tmp_path: Path
) -> None:
    def trained(dtype: str) -> LanguageModel:
        model = load(backbone, tuning=tuning, dtype=dtype, seed=0)
        train(model)
        return model

    exact = logits(trained("float32")).clone()
    model = trained("bfloat16")
    types = {value.dtype for value in model.model.parameters() if value.requires_grad}
    assert types == {torch.float32}
    outputs = []
    for name, module in model.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda *arguments: outputs.append(arguments[2].dtype))
        if "lora_A" in name and isinstance(module, torch.nn.Linear):  # nothing casts it back
            module.register_forward_pre_hook(lambda _, x: outputs.append(x[0].dtype))
    rounded = logits(model)
    assert set(outputs) == {torch.bfloat16}
    assert not torch.equal(rounded, exact)
    assert rounded.float() == pytest.approx(exact, abs=0.05)
    before = weights(model)
    with model.merged(), torch.no_grad():
        stored = {
            value.dtype for name, value in model.model.named_parameters() if "lora_" not in name
        }
        assert stored == {torch.bfloat16}
        assert model.model(input_ids=IDS_BL).logits.float() == pytest.approx(exact, abs=0.1)
    assert changed(before, weights(model)) == set()
    model.save(tmp_path)
    assert torch.equal(
        logits(load(backbone, tuning=tuning, dtype="bfloat16", start=tmp_path)), rounded
    )


# --- merging -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_and_restored_bit_for_bit(backbone: Path, dtype: str) -> None:
    model = lora(backbone, dtype, seed=0)
    train(model)
    before, apart = weights(model), logits(model)
    with model.merged():
        inside, together = weights(model), logits(model)
    assert len(changed(before, inside)) == ARCHITECTURE["layers"] * len(LORA["targets"])
    assert together.float() == pytest.approx(apart.float(), abs=1e-4 if dtype == "float32" else 0.1)
    assert changed(before, weights(model)) == set()
    assert torch.equal(logits(model), apart)
    # Taking the same amount off again is not enough, which is why copies are merged.
    model.model.merge_adapter()
    model.model.unmerge_adapter()
    assert changed(before, weights(model))


def test_merging_leaves_later_training_as_it_is(backbone: Path) -> None:
    def trained(merge: bool) -> dict[str, str]:
        model = lora(backbone, seed=0)
        for _ in range(3):
            train(model)
            if merge:
                with model.merged():
                    logits(model)
        return weights(model)

    assert changed(trained(merge=False), trained(merge=True)) == set()


def test_an_error_while_merged_restores_too(backbone: Path) -> None:
    model = lora(backbone, seed=0)
    train(model)
    before = weights(model)
    with pytest.raises(RuntimeError, match="out of luck"), model.merged():
        raise RuntimeError("out of luck")
    assert changed(before, weights(model)) == set()
    with model.merged():
        assert changed(before, weights(model))


def test_nothing_to_merge(backbone: Path) -> None:
    for load_it in (full, lora):
        model = load_it(backbone)
        before = weights(model)
        with model.merged():
            assert weights(model) == before


# --- how it is read ------------------------------------------------------------------------------


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_dropout_of_the_base_is_off(tmp_path: Path) -> None:
    folder = make(tmp_path / "backbone")
    edit(folder / "config.json", attention_dropout=0.5)
    model = full(folder).model
    assert model.config.attention_dropout == 0.0
    assert model.config._attn_implementation == "sdpa"
    model.train()
    assert torch.equal(model(input_ids=IDS_BL).logits, model(input_ids=IDS_BL).logits)


def test_a_pointer_leads_to_the_model(backbone: Path, tmp_path: Path) -> None:
    (tmp_path / "backbone.json").write_text(json.dumps({"folder": str(backbone)}))
    assert full(tmp_path).model is full(backbone).model
    (tmp_path / "backbone.json").write_text(json.dumps({"folder": str(tmp_path / "gone")}))
    assert refusal(tmp_path) == f"The model folder {tmp_path / 'gone'} no longer exists."


def test_weights_that_changed_after_they_were_fetched_are_refused(
    backbone: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(backbone, tmp_path / "model")
    checksums = {path.name: checksum(path) for path in folder.iterdir() if path.is_file()}
    pointer = {"folder": str(folder), "files": checksums}
    (tmp_path / "backbone.json").write_text(json.dumps(pointer))
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "model.safetensors is not the file that was fetched" in refusal(tmp_path)


def test_weights_in_several_files(backbone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(backbone, tmp_path / "backbone")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, dict[str, torch.Tensor]] = {}
    for number, name in enumerate(sorted(state)):
        shards.setdefault(f"model-0000{number % 2 + 1}-of-00002.safetensors", {})[name] = state[
            name
        ]
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {name: file for file, tensors in shards.items() for name in tensors}
    content = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(content)
    untuned = weights(full(backbone))
    train(full(folder))
    assert changed(untuned, weights(full(folder))) == set()


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path: Path) -> None:
    folder = make(tmp_path / "backbone")
    assert full(folder).tokenizer.pad_token_id == 2
    edit(folder / "tokenizer_config.json", pad_token=None)
    edit(folder / "config.json", pad_token_id=None)
    tokenizer = full(folder).tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1


def refusal(backbone: Path, tuning: Mapping[str, Any] = FULL, **options: Any) -> str:
    with pytest.raises(BenchError) as caught:
        load(backbone, tuning=tuning, dtype="float32", **options)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def test_folders_that_are_no_model(backbone: Path, tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("has no config.json.")
    folder = shutil.copytree(backbone, tmp_path / "copy")
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert refusal(folder).endswith("contains no weights as safetensors.")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    full(folder)
    (folder / "config.json").write_text('{"model_type": "heron"}')
    assert refusal(folder).startswith(f"The model in {folder} cannot be loaded: ")
    (folder / "config.json").write_text("{")
    assert refusal(folder).startswith(f"The model in {folder} cannot be loaded: ")


def test_weights_that_do_not_fit(backbone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(backbone, tmp_path / "copy")
    edit(folder / "config.json", num_hidden_layers=3)
    assert "weights and configuration differ in model.layers.2." in refusal(folder)
    edit(folder / "config.json", num_hidden_layers=1)
    assert "weights and configuration differ in model.layers.1." in refusal(folder)
    edit(folder / "config.json", num_hidden_layers=2, intermediate_size=64)
    assert refusal(folder).startswith(f"The model in {folder} cannot be loaded: ")
    edit(folder / "config.json", intermediate_size=48)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert refusal(folder).startswith(f"The model in {folder} cannot be loaded: ")


def test_a_tokenizer_must_end_texts(tmp_path: Path) -> None:
    folder = make(tmp_path / "backbone")
    edit(folder / "tokenizer_config.json", eos_token=None)
    assert refusal(folder) == f"The tokenizer in {folder} has no end-of-sequence token."
    (folder / "tokenizer.json").unlink()
    assert refusal(folder).startswith(f"The model in {folder} cannot be loaded: ")


def test_trained_weights_that_do_not_fit(backbone: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(backbone, start=tmp_path)
    lora(backbone, seed=0).save(tmp_path)
    narrower = {**LORA, "rank": 2}
    assert refusal(backbone, narrower, start=tmp_path).endswith("has another shape.")
    fewer = {**LORA, "targets": ["q_proj"]}
    assert refusal(backbone, fewer, start=tmp_path).endswith("is not known there.")
    more = {**LORA, "targets": ["q_proj", "down_proj", "v_proj"]}
    assert refusal(backbone, more, start=tmp_path).endswith("is missing.")
    strange = {**LORA, "targets": ["query"]}
    assert refusal(backbone, strange, seed=0).startswith("The adapter does not fit the model: ")
    # None of this spoils the base.
    assert torch.equal(logits(lora(backbone, seed=0)), logits(full(backbone)))


def test_weights_that_fit_only_in_part_spoil_nothing(backbone: Path, tmp_path: Path) -> None:
    untuned = weights(lora(backbone))
    state = {name: value + 1 for name, value in load_file(backbone / "model.safetensors").items()}
    last = max(state)
    save_file({**state, last: state[last][:1].clone()}, tmp_path / "model.safetensors")
    assert refusal(backbone, start=tmp_path).endswith(f"{last} has another shape.")
    assert changed(untuned, weights(lora(backbone))) == set()


def test_four_bits_name_the_package_that_is_missing(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = refusal(backbone, LORA, quantization="nf4")
    assert message == "Weights in 4 bits (nf4) need the package bitsandbytes."


def test_four_bits_keep_their_adapter_apart(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder = make(tmp_path / "backbone", width=128, intermediate=128)
    plain = logits(lora(folder, seed=0))
    model = lora(folder, "float32", quantization="nf4", seed=0)
    assert not torch.equal(logits(model), plain)
    assert logits(model) == pytest.approx(plain, abs=0.5)
    before = weights(model)
    train(model)
    after = weights(model)
    assert {name.split(".")[-3] for name in changed(before, after)} == {"lora_A", "lora_B"}
    with model.merged():
        assert weights(model) == after
    expected = logits(model)
    model.save(tmp_path)
    assert torch.equal(logits(lora(folder, start=tmp_path, quantization="nf4")), expected)
