"""Backbones: our cards, files of the hub, a folder of one's own, GGUF."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bench.config.backbone_card import ModelCard
from bench.config.plugins import card_paths, list_cards, model_card
from bench.config.request import RunRequest
from bench.config.toml import check_card
from bench.data import hub_files
from bench.data.assets import folder_checksum
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.models.lm.backbone import model_folder
from bench.models.lm.tuned_model import load
from bench.plan.backbones import GGUFConfig, HubConfig, language_model
from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
from bench.plan.stage import Stage
from bench.plan.types import Nouns
from bench.stages import gguf as gguf_stage
from bench.stages import hub
from bench.stages.build import build_model

OURS = {
    "tiny", "nano", "smollm2-135m", "llama-3.2-1b-instruct", "llama-3.1-8b-instruct",
    "qwen2.5-1.5b", "mistral-7b-instruct", "yi-6b-chat",
}  # fmt: skip
REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {
    "title": "T", "description": "D", "license": "L", "weights": "hub", "tuning": "lora",
    "repository": "some/model", "revision": REVISION,
}  # fmt: skip
BUILT = {
    "title": "T", "description": "D", "license": "L", "weights": "built", "tuning": "full",
    "architecture": {"layers": 1, "width": 16, "heads": 2, "intermediate": 16, "vocabulary": 300},
}  # fmt: skip
PRETRAINING = {
    "num_train_epochs": 1,
    "learning_rate": 1e-3,
    "batch_size": 4,
    "max_length": 64,
}


# --- cards -------------------------------------------------------------------------------------


def test_our_own_cards() -> None:
    assert set(card_paths("models")) >= OURS
    listed = {line.name: line for line in list_cards("models")}
    assert not [line.error for name, line in listed.items() if name in OURS and line.error]
    for name in OURS:
        card = model_card(name)
        assert card.license
        if card.weights == "hub":
            assert card.homepage == f"https://huggingface.co/{card.repository}"
            assert card.gated == card.repository.startswith("meta-llama/")


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_card_becomes_stages(name: str) -> None:
    card, data = model_card(name), Stage(kind="draw")
    model = language_model(name, card, data=data, nouns=Nouns())
    kinds = {"built": {"build", "pretrain"}, "gguf": {"gguf"}, "hub": {"hub"}}
    assert model.backbone.kind in kinds[card.weights]
    assert model.tuning["kind"] == card.tuning
    assert len(model.backbone.key) == 32
    if card.weights == "hub":
        revision = model.backbone.args["revision"]
        assert isinstance(revision, str)
        assert re.fullmatch("[0-9a-f]{40}", revision)


@pytest.mark.parametrize(
    ("card", "changes", "reason"),
    [
        (HUB, {"revision": None}, "needs `revision`"),
        (HUB, {"revision": "main"}, "revision"),
        (HUB, {"tuning": "full", "quantization": "nf4"}, "in 4 bits cannot be trained in full"),
        (HUB, {"as_published": "nf4"}, "there is no variant 'nf4'"),
        (HUB, {"architecture": BUILT["architecture"]}, "`architecture` does not go with"),
        (BUILT, {"repository": "some/model"}, "`repository` does not go with"),
        (BUILT, {"context": 32, "pretraining": PRETRAINING}, "pretraining.max_length"),
        (BUILT, {"pretrainig": PRETRAINING}, "pretrainig"),
        (HUB, {"weights": "gguf"}, "needs `files.gguf`"),
    ],
)
def test_cards_that_make_no_sense(card: Any, changes: Any, reason: str) -> None:
    content = {key: value for key, value in {**card, **changes}.items() if value is not None}
    with pytest.raises(BenchError) as caught:
        check_card(content, ModelCard, "a card")
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("changes", "dtype", "quantization"),
    [
        ("", "bfloat16", "none"),
        (":nf4", "bfloat16", "nf4"),
        (":nf4,dtype=float32", "float32", "nf4"),
        (":dtype=float32", "float32", "none"),
    ],
)
def test_a_variant_changes_the_card_but_not_its_files(
    changes: str, dtype: str, quantization: str
) -> None:
    name, data = "llama-3.2-1b-instruct", Stage(kind="draw")
    model = language_model(name + changes, model_card(name + changes), data=data, nouns=Nouns())
    assert (model.dtype, model.quantization) == (dtype, quantization)
    plain = language_model(name, model_card(name), data=data, nouns=Nouns())
    assert model.backbone.key == plain.backbone.key


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nano:nf4", "There is no variant of nano named 'nf4'."),
        ("nano:context=3", "unknown key 'context'"),
        ("nano:dtype=int8", "dtype: Input should be 'float32' or 'bfloat16'"),
        ("nano:quantization=nf4", "cannot be trained in full"),
    ],
)
def test_variants_that_make_no_sense(name: str, reason: str) -> None:
    with pytest.raises(BenchError) as caught:
        model_card(name)
    assert reason in caught.value.message


def test_published_settings_take_the_published_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.plan.trials.find_spec", lambda name: None)
    request = RunRequest(
        methods=("sprec",),
        datasets=("synthetic",),
        model="llama-3.2-1b-instruct",
        model_settings=("dtype=float32",),
        seeds=1,
    )
    named = "llama-3.2-1b-instruct:dtype=float32"
    (plain,) = distinct_trials(plan_boards(select_boards(request)))
    assert plain.model == named
    assert "bitsandbytes" not in " ".join(plain.notes)
    request = replace(request, settings=("as_published=true",), model_settings=())
    (published,) = distinct_trials(plan_boards(select_boards(request)))
    assert published.model == "llama-3.2-1b-instruct:nf4"
    assert "pip install 'llmrec-bench[nf4]'" in " ".join(published.notes)


def test_a_good_card_is_good() -> None:
    assert check_card(HUB, ModelCard, "a card").tuning_arguments["rank"] == 16
    pretrained = {**BUILT, "pretraining": PRETRAINING}
    assert check_card(pretrained, ModelCard, "a card").tuning_arguments == {"kind": "full"}


# --- the hub -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as it lies in huggingface_hub's folder or in the user's own."""
    path = tmp_path / "own"
    path.mkdir()
    architecture = {"layers": 1, "width": 16, "heads": 2, "intermediate": 16, "vocabulary": 300}
    nouns, titles = ("item", "items"), ("Red", "Green")
    build_model(path, titles=titles, nouns=nouns, architecture=architecture, context=64, seed=0)
    return path


def job(tmp_path: Path, **options: Any) -> Job:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return Job(out=out, **options)


class FakeHub:
    """Stands in for `snapshot_download`: notes what it was asked for, answers as it is told."""

    def __init__(self, answer: Path | Exception) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def __call__(self, repository: str, **options: Any) -> str:
        self.asked = {"repository": repository, **options}
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def fetch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Path | Exception,
    *,
    offline: bool = False,
) -> tuple[dict[str, Any], Job]:
    fake, given = FakeHub(answer), job(tmp_path, offline=offline)
    monkeypatch.setattr(hub_files, "snapshot_download", fake)
    hub.run(given, HubConfig(name="mine", repository="some/model", revision=REVISION), {})
    return fake.asked, given


@pytest.mark.parametrize("offline", [False, True])
def test_the_hub_is_asked_for_one_commit_and_no_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, offline: bool
) -> None:
    asked, done = fetch(tmp_path, monkeypatch, folder, offline=offline)
    assert (asked["repository"], asked["revision"]) == ("some/model", REVISION)
    assert asked["local_files_only"] is offline
    assert "chat_template.jinja" in asked["allow_patterns"]
    patterns = asked["allow_patterns"]
    files = ("model-00001-of-00002.safetensors", "config.json", "tokenizer.model", "a.json")
    others = ("pytorch_model.bin", "consolidated.00.pth", "consolidated.safetensors", "code.py")
    for name in (*files, *others):
        assert any(fnmatch(name, pattern) for pattern in patterns) == (name in files), name
    pointer = json.loads((done.out / "backbone.json").read_text())
    assert pointer["folder"] == str(folder)
    assert done.metadata["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert model_folder(done.out) == folder
    load(done.out, tuning={"kind": "full"}, dtype="float32")


class Response:
    """As much of an answer as the errors of huggingface_hub look at."""

    def __init__(self, status: int) -> None:
        self.status_code = status
        self.headers: dict[str, str] = {}
        self.request = None
        self.url = "https://huggingface.co/some/model"


def answer(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    return kind("No.", response=Response(status))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "offline", "message", "hint"),
    [
        (answer(GatedRepoError, 403), False, "only to those who accepted its license",
         "hf auth login"),
        (answer(HfHubHTTPError, 401), False, "only to those who accepted its license",
         "--model-path"),
        (answer(RepositoryNotFoundError, 404), False, "There is no some/model", "`repository`"),
        (answer(RevisionNotFoundError, 404), False, f"has no commit {REVISION}", "`revision`"),
        (answer(HfHubHTTPError, 500), False, "the hub answered 500", "--model-path"),
        (LocalEntryNotFoundError("x"), True, "--offline forbids to fetch it",
         f"hf download some/model --revision {REVISION}"),
        (LocalEntryNotFoundError("x"), False, "the hub cannot be reached", "--model-path"),
        (OSError("No space left."), False, "could not be fetched: No space left.", "hf download"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    offline: bool,
    message: str,
    hint: str,
) -> None:
    with pytest.raises(BenchError) as caught:
        fetch(tmp_path, monkeypatch, error, offline=offline)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_of_ones_own(tmp_path: Path, folder: Path) -> None:
    planned = language_model(
        "mine", ModelCard.model_validate(HUB), data=Stage(kind="draw"), nouns=Nouns(),
        model_paths={"mine": folder},
    ).backbone  # fmt: skip
    assert planned.args["repository"] is None
    (folder / "notes.txt").write_text("no part of the model")
    given = job(tmp_path, model_path=folder, offline=True)
    hub.run(given, planned.config, {})  # type: ignore[arg-type]
    pointer = json.loads((given.out / "backbone.json").read_text())
    assert pointer["folder"] == str(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(BenchError, match=r"mine in .* changed during the run"):
        hub.run(given, planned.config, {})  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="planned with your own folder, and none is given"):
        hub.run(job(tmp_path), planned.config, {})  # type: ignore[arg-type]


def test_folders_that_are_no_model(tmp_path: Path, folder: Path) -> None:
    before = folder_checksum(folder)
    (folder / "tokenizer.json").rename(folder / "tokens.json")
    assert folder_checksum(folder) != before
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        with pytest.raises(BenchError, match="is not a model"):
            folder_checksum(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/models", "does not say which backbone"),
        ("llama-3.2-1b-instruct=", "does not say which backbone"),
        ("nano=/models", "is for models of the hub, and nano is built"),
        ("qwen2.5-1.5b=/models", "no backbone of these boards named 'qwen2.5-1.5b'"),
    ],
)
def test_folders_are_named_by_card(text: str, message: str) -> None:
    request = RunRequest(
        methods=("bigrec",),
        datasets=("synthetic",),
        model="llama-3.2-1b-instruct",
        model_paths=(text,),
    )
    with pytest.raises(BenchError, match=message):
        select_boards(request)


def test_a_folder_of_another_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    shape = {"model_type": config["model_type"], "hidden_size": config["hidden_size"]}
    inputs: Any = {"data": Stage(kind="draw"), "nouns": Nouns(), "model_paths": {"mine": folder}}
    language_model("mine", ModelCard.model_validate(HUB | {"shape": shape}), **inputs)
    shape["hidden_size"] += 1
    with pytest.raises(BenchError, match=rf"is not mine: .*hidden_size {config['hidden_size']}"):
        language_model("mine", ModelCard.model_validate(HUB | {"shape": shape}), **inputs)


# --- GGUF --------------------------------------------------------------------------------------


def interleaved(matrix: torch.Tensor, heads: int) -> torch.Tensor:
    """Order the rows of a query or key projection as llama.cpp's files have them."""
    width = matrix.shape[0] // heads
    return matrix.view(heads, 2, width // 2, -1).transpose(1, 2).reshape(matrix.shape)


def write_gguf(path: Path, source: Path, architecture: str = "llama") -> None:
    """Write the model in a folder as a GGUF file, by hand."""
    gguf = pytest.importorskip("gguf")
    model = load(source, tuning={"kind": "full"}, dtype="float32")
    config, tokens = model.model.config, json.loads((source / "tokenizer.json").read_text())
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    vocabulary = tokens["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_merges([" ".join(pair) for pair in tokens["model"]["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_unk_token_id(config.pad_token_id)
    places = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for name, value in model.model.named_parameters():
        short = name.removeprefix("model.").replace("layers.", "blk.")
        for ours, theirs in places.items():
            short = short.replace(ours, theirs)
        short = short.replace("embed_tokens", "token_embd")
        short = "output_norm.weight" if short == "norm.weight" else short
        permuted = re.search(r"attn_[qk]\.", short)
        matrix = interleaved(value, config.num_attention_heads) if permuted else value
        writer.add_tensor(short, matrix.detach().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_card(root: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BENCH_PATH", str(root))
    (root / "models").mkdir(exist_ok=True)
    sha256 = checksum(file)
    (root / "models" / "mine.toml").write_text(
        'title = "T"\ndescription = "D"\nlicense = "L"\nweights = "gguf"\ntuning = "lora"\n'
        f'[files.gguf]\nname = "{file.name}"\nsha256 = "{sha256}"\n'
    )
    return sha256


def test_a_gguf_file_becomes_the_model_it_was_made_of(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "files" / "mine.gguf"
    file.parent.mkdir()
    write_gguf(file, folder)
    given = job(tmp_path, data_dir=file.parent, offline=True)
    sha256 = gguf_card(tmp_path, file, monkeypatch)
    gguf_stage.run(given, GGUFConfig(name="mine", sha256=sha256), {})
    ids_BL = torch.arange(4, 44).reshape(2, 20)
    with torch.no_grad():
        before = load(folder, tuning={"kind": "full"}, dtype="float32")
        expected = before.model(input_ids=ids_BL).logits
        text = before.tokenizer('"Red", "Zürich"', add_special_tokens=False)["input_ids"]
        after = load(given.out, tuning={"kind": "full"}, dtype="float32")
        found = after.model(input_ids=ids_BL).logits
    # Weights were rounded to bfloat16 on the way: 8 bits.
    assert found == pytest.approx(expected, abs=0.02 * float(expected.abs().max()))
    assert not torch.equal(found, expected)
    assert after.tokenizer.eos_token_id == before.tokenizer.eos_token_id
    assert after.tokenizer.decode(text) == '"Red", "Zürich"'
    parameters = sum(value.numel() for value in after.model.parameters())
    assert given.metadata == {"parameters": parameters, "vocabulary": 300}
    with pytest.raises(BenchError, match="The card of mine changed during the run"):
        gguf_stage.run(given, GGUFConfig(name="mine", sha256="0" * 64), {})


def test_gguf_files_that_cannot_be_read(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "files" / "mine.gguf"
    file.parent.mkdir()
    for architecture, message in (
        ("qwen2", "holds a 'qwen2' model; only llama is supported"),
        ("heron", "no GGUF file that transformers reads"),
        ("", "is damaged"),
    ):
        write_gguf(file, folder, architecture or "llama")
        if not architecture:
            file.write_bytes(b"no" + file.read_bytes())
        given = job(tmp_path, data_dir=file.parent, offline=True)
        with pytest.raises(BenchError) as caught:
            sha256 = gguf_card(tmp_path, file, monkeypatch)
            gguf_stage.run(given, GGUFConfig(name="mine", sha256=sha256), {})
        assert message in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.slow
def test_the_real_one_speaks_english(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    sha256 = model_card("smollm2-135m").files["gguf"].sha256
    assert sha256 is not None
    given = job(tmp_path)
    try:
        gguf_stage.run(given, GGUFConfig(name="smollm2-135m", sha256=sha256), {})
    except BenchError as error:
        pytest.skip(f"SmolLM2 is not to be had: {error.message}")
    assert given.metadata == {"parameters": 134_515_008, "vocabulary": 49_152}
    model = load(given.out, tuning={"kind": "full"}, dtype="float32")
    ids = torch.tensor([model.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        likeliest = model.model(input_ids=ids).logits[0, -1].argmax()
    assert model.tokenizer.decode(likeliest) == " Paris"
