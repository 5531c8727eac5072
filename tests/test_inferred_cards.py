"""Models without a card: a folder or a repository of the hub, inferred, pinned and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from test_import import MOVIES, VIEWS
from test_model_cards import answer
from tiny_llama import tiny_backbone
from transformers import GPT2Config, GPT2LMHeadModel

from bench.config.plugins import model_card
from bench.data import hub_files
from bench.errors import BenchError
from bench.plan import backbones
from bench.plan.backbones import name_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_gets_a_card_for_its_very_files(home: Path) -> None:
    folder = tiny_backbone(home / "My Llama")
    name = name_model("./My Llama:dtype=bfloat16").partition(":")[0]
    card = model_card(name)
    assert name.startswith("my-llama-")
    assert (card.weights, card.folder, card.tuning) == ("folder", str(folder), "full")
    assert (card.parameters, card.dtype, card.context) == (26272, "float32", 256)
    assert "without a chat template" in card.description
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(BenchError, match="not those of"):
        plan_backbone(name)
    other = name_model(str(folder))
    assert other != name
    assert "with a chat template" in model_card(other).description


def plan_backbone(name: str) -> None:
    from bench.plan.backbones import language_model
    from bench.plan.stage import Stage
    from bench.plan.types import Nouns

    language_model(name, model_card(name), data=Stage(kind="draw"), nouns=Nouns())


def test_adapters_are_put_on_the_linear_layers_that_there_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "ADAPTERS_FROM", 1)
    config = GPT2Config(vocab_size=120, n_embd=16, n_layer=1, n_head=2, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tiny_backbone(home / "gpt"))
    card = model_card(name_model("gpt"))
    assert (card.tuning, card.lora.targets) == ("lora", ("c_attn", "c_fc", "c_proj"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: edit(path / "config.json", architectures=["BertForMaskedLM"]),
         "not a causal language model: .* BertForMaskedLM"),
        (lambda path: edit(path / "config.json", model_type="unheard-of"), "can build"),
        (lambda path: (path / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda path: edit(path / "tokenizer_config.json", eos_token=None),
         "no end-of-sequence token"),
        (lambda path: (path / "model.safetensors").unlink(), "is not a model"),
        (lambda path: shutil.rmtree(path), "no folder ./own"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(home: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(tiny_backbone(home / "own"))
    with pytest.raises(BenchError, match=words):
        name_model("./own")
    assert not list(home.glob(".bench/models/*"))


class Hub:
    """Stands in for `snapshot_download`: one repository, whose branch moves."""

    def __init__(self, home: Path) -> None:
        self.home, self.commit, self.calls = home, COMMIT, list[dict[str, Any]]()
        self.error: Exception | None = None

    def __call__(self, repository: str, **options: Any) -> str:
        self.calls.append(options | {"repository": repository})
        if self.error:
            raise self.error
        folder = self.home / "hub" / self.commit
        return str(folder if folder.is_dir() else tiny_backbone(folder))


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(home)
    monkeypatch.setattr(hub_files, "snapshot_download", fake)
    return fake


def test_a_branch_is_pinned_when_it_is_first_named(hub: Hub) -> None:
    card = model_card(name_model("Org/Some-Model"))
    assert (card.repository, card.revision) == ("Org/Some-Model", COMMIT)
    assert card.title == "Org/Some-Model@01234567"
    assert not any("safetensors" in pattern for pattern in hub.calls[0]["allow_patterns"])
    hub.commit = COMMIT[::-1]
    assert model_card(name_model("Org/Some-Model", offline=True)).revision == COMMIT
    assert [call["revision"] for call in hub.calls] == ["main"]
    moved = model_card(name_model("Org/Some-Model@v2"))
    assert moved.revision == COMMIT[::-1]
    assert hub.calls[-1]["revision"] == "v2"


@pytest.mark.parametrize(
    ("error", "offline", "words"),
    [
        (answer(GatedRepoError, 403), False, "only to those who accepted its license"),
        (LocalEntryNotFoundError("x"), True, "--offline forbids to fetch it"),
    ],
)
def test_what_the_hub_does_not_give(hub: Hub, error: Exception, offline: bool, words: str) -> None:
    hub.error = error
    with pytest.raises(BenchError, match=words):
        name_model("org/model", offline=offline)
    assert hub.calls[0]["local_files_only"] is offline


def test_names_of_cards_are_left_alone(home: Path) -> None:
    (home / "nano").mkdir()
    assert name_model("nano:dtype=float32") == "nano:dtype=float32"
    assert name_model("nanno") == "nanno"
    with pytest.raises(BenchError, match="no folder"):
        name_model("a/b/c")


def test_pages_name_what_was_used(bench: Any, hub: Hub, home: Path) -> None:
    tiny_backbone(home / "own")
    words = ("run", "--method", "zeroshot", "--dataset", "synthetic", "--executor", "inline")
    words += ("--seeds", "1", "--rows", "train=4,valid=2,test=2", "--budget", "smoke")
    for model, expected in (
        ("./own", "own folder, LlamaForCausalLM, 26,272 parameters, sha256 "),
        ("org/model@main", "org/model@0123456789ab, LlamaForCausalLM, 26,272 parameters, sha256 "),
    ):
        done = bench(*words, "--model", model, "--name", "page")
        assert done.code == 0, done.err
        assert expected in (home / ".bench/pages/page/README.md").read_text()
        assert "in place of" not in (home / ".bench/pages/page/README.md").read_text()
    again = bench("retry", "--results", "results")
    assert "0 stages run" in again.out + again.err


def test_the_walk_of_the_page_on_models(bench: Any, home: Path, monkeypatch: Any) -> None:
    """The commands of docs/add-model.md, in the order of the page."""
    page = Path(__file__).parents[1] / "docs" / "add-model.md"
    block = page.read_text().split("```sh\n")[1].split("```")[0]
    pd.concat([VIEWS] * 2, ignore_index=True).to_csv("views.csv", index=False)
    MOVIES.to_csv("movies.csv", index=False)
    tiny_backbone(home / "my-llama")
    commands = [line.partition("#")[0].split() for line in block.replace("\\\n", " ").splitlines()]
    monkeypatch.setenv("BENCH_PATH", "")
    for words in filter(None, commands):
        if words[0] == "export":
            variable, _, value = words[1].partition("=")
            monkeypatch.setenv(variable, value.replace("$PWD", str(home)))
            continue
        extra = ("--executor", "inline") if words[1] == "run" else ()
        done = bench(*words[1:], *extra)
        assert done.code == 0, (words, done.err)
    assert "BIGRec" in done.out or "bigrec" in done.out
