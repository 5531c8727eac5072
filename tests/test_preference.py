"""Training on preference pairs: first losses, TRL's DPO, micro-batches, references, metadata."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from killed import kill_while_saving
from safetensors.torch import load_file
from stage_runs import run_stage
from tiny_llama import NOUNS, TITLES, tiny_backbone, tiny_llama, tiny_tokenizer
from torch import Tensor
from torch.nn import functional
from trl import DPOConfig, DPOTrainer

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.prompts import prompt, response
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.models.lm.train.preference_losses import LOSSES, dpo, resolve_loss
from bench.models.lm.train.preference_trainer import (
    Pair,
    add_reference,
    collate,
    max_length,
    optimize,
)
from bench.models.lm.train.shared_prefix import Row, lay_out, log_probabilities
from bench.plan.preference_stages import PreferenceConfig
from bench.plan.types import ModelSpec
from bench.stages import preference
from datasets import Dataset

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 120
CONFIG = PreferenceConfig(learning_rate=1e-3, batch_size=4, warmup_steps=0, seed=5, beta=0.1)
FULL = {"kind": "full"}
LORA = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.5, "targets": ["q_proj", "down_proj"]}


def pairs(num: int = 10, *, num_rejected: int = 1, seed: int = 0) -> list[Pair]:
    numbers = np.random.default_rng(seed)

    def ids(least: int, most: int) -> list[int]:
        return numbers.integers(4, VOCABULARY, numbers.integers(least, most + 1)).tolist()

    return [
        Pair(prompt=ids(3, 12), chosen=ids(1, 5), rejected=[ids(1, 5) for _ in range(num_rejected)])
        for _ in range(num)
    ]


def policy(seed: int = 0) -> SimpleNamespace:
    return SimpleNamespace(model=tiny_llama(VOCABULARY, seed=seed), device=torch.device("cpu"))


def trained(
    some: Sequence[Pair],
    config: PreferenceConfig = CONFIG,
    *,
    loss: str = "dpo",
    divisor: int = 1,
    shared: bool = True,
    model: SimpleNamespace | None = None,
) -> tuple[SimpleNamespace, dict]:
    model = model or policy()
    how = {"divisor": divisor, "shared": shared}
    num = max(len(pair.rejected) for pair in some)
    objective = resolve_loss(loss, {}, num_rejected=num, smoothed=False)
    known = add_reference(model, some, config, **how)
    return model, optimize(model, known, config, loss=objective, **how)


def difference(one: SimpleNamespace, other: SimpleNamespace) -> float:
    both = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((left - right).detach().abs().max()) for left, right in both)


def logps(model: SimpleNamespace, some: Sequence[Pair]) -> Tensor:
    with torch.no_grad():
        return log_probabilities(model.model, lay_out([pair.row for pair in some], shared=True))


# --- the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_the_first_loss_is_that_of_equal_policies(name: str, shared: bool) -> None:
    num = 3 if "mpo" in name or name == "sdpo" else 1
    _, metadata = trained(
        pairs(num_rejected=num), replace(CONFIG, beta=1.0), loss=name, shared=shared
    )
    expected = math.log(4) if name == "sdpo" else math.log(2)
    assert metadata["loss_by_step"][0] == pytest.approx(expected, abs=2e-6)
    assert metadata["margin_by_step"][0] == pytest.approx(0, abs=2e-6)
    assert abs(metadata["loss_by_step"][1] - expected) > 1e-4


def simpo(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, logps_BA, lengths_BA, gamma=0.5):
    """SimPO (Meng et al., NeurIPS 2024, Eq. 6): means over tokens, no reference."""
    means_BA = logps_BA / lengths_BA
    return -functional.logsigmoid(beta * (means_BA[:, 0] - means_BA[:, 1]) - gamma)


def cpo(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, logps_BA):
    """CPO (Xu et al., ICML 2024, Eq. 7): no reference, plus the chosen response's own loss."""
    return -functional.logsigmoid(beta * (logps_BA[:, 0] - logps_BA[:, 1])) - logps_BA[:, 0]


def orpo(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, logps_BA, lengths_BA):
    """ORPO (Hong et al., EMNLP 2024, Eq. 6): the ratio of odds, plus the chosen one's own loss."""
    means_BA = logps_BA / lengths_BA
    log_odds_BA = means_BA - torch.log1p(-means_BA.exp())
    return -means_BA[:, 0] - beta * functional.logsigmoid(log_odds_BA[:, 0] - log_odds_BA[:, 1])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loss", [simpo, cpo, orpo])
def test_a_loss_may_see_log_probabilities_and_lengths(loss, shared, monkeypatch) -> None:
    module = "bench.models.lm.train.preference_losses"
    monkeypatch.setattr(f"{module}.own", loss, raising=False)
    some = pairs(4)
    before = logps(policy(), some)
    lengths_BA = torch.tensor([[len(pair.chosen), len(pair.rejected[0])] for pair in some])
    optional = {"logps_BA": before, "lengths_BA": lengths_BA}
    taken = {name: optional[name] for name in optional if name in signature(loss).parameters}
    zeros_B, mask_BK = torch.zeros(4), torch.ones(4, 1, dtype=torch.bool)
    expected_B = loss(
        zeros_B, zeros_B[:, None], beta=0.1, smoothing_B=zeros_B, mask_BK=mask_BK, **taken
    )
    model, metadata = trained(some, loss=f"{module}:own", shared=shared, divisor=2)
    assert metadata["loss_by_step"][0] == pytest.approx(float(expected_B.mean()), abs=2e-6)
    after = logps(model, some)
    assert ((after - before)[:, 0] > (after - before)[:, 1]).float().mean() > 0.5


def test_lengths_of_answers() -> None:
    rows = [Row([1, 2], [[3], [4, 5, 6], [3]]), Row([7], [[8, 9]])]
    for shared in (True, False):
        assert lay_out(rows, shared=shared).lengths.tolist() == [[1, 3, 1], [2, 0, 0]]


TEXTS = [
    (TITLES[:3], TITLES[3], TITLES[5]),
    (TITLES[2:], TITLES[0], TITLES[1]),
    (TITLES[4:5], TITLES[2], TITLES[3]),
    (TITLES[1:4], TITLES[4], TITLES[0]),
]


def test_trl_finds_the_same_loss_and_gradients(tmp_path: Path) -> None:
    ours, reference = policy(), policy(seed=1)
    rows = [
        {
            "prompt": prompt(history, singular=NOUNS[0], plural=NOUNS[1]),
            "chosen": response(chosen),
            "rejected": response(rejected),
        }
        for history, chosen, rejected in TEXTS
    ]
    args = DPOConfig(
        output_dir=str(tmp_path),
        beta=0.3,
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
        per_device_train_batch_size=len(rows),
    )
    trainer = DPOTrainer(
        model=copy.deepcopy(ours.model),
        ref_model=copy.deepcopy(reference.model),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )
    tokenized = [trainer.train_dataset[number] for number in range(len(rows))]
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(tokenized))
    theirs.backward()

    some = [
        Pair(prompt=row["prompt_ids"], chosen=row["chosen_ids"], rejected=[row["rejected_ids"]])
        for row in tokenized
    ]
    assert all(pair.chosen[-1] == tiny_tokenizer().eos_token_id for pair in some)
    deltas = log_probabilities(ours.model, lay_out([pair.row for pair in some], shared=True))
    deltas = deltas - logps(reference, some)
    none = {"smoothing_B": torch.zeros(len(rows)), "mask_BK": torch.ones(len(rows), 1).bool()}
    loss = dpo(deltas[:, 0], deltas[:, 1:], beta=0.3, **none).mean()
    loss.backward()
    # The log-probabilities are float32 sums near -50, and beta is 0.3.
    assert loss.item() == pytest.approx(theirs.item(), abs=2e-5)
    assert abs(loss.item() - math.log(2)) > 1e-3
    for (name, one), other in zip(
        ours.model.named_parameters(), trainer.model.parameters(), strict=True
    ):
        assert one.grad is not None, name
        largest = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4 * largest, rtol=1e-3)


def test_a_step_widens_the_margin() -> None:
    some = pairs(4)
    before = logps(policy(), some)
    model, metadata = trained(some)
    assert metadata["steps"] == 1
    deltas = logps(model, some) - before
    assert float((deltas[:, 0] - deltas[:, 1]).mean()) > 1e-3


def test_rejecting_what_is_chosen_changes_nothing() -> None:
    same = [replace(pair, rejected=[pair.chosen]) for pair in pairs()]
    for name in ("dpo", "rosepo"):
        model, metadata = trained(same, loss=name)
        assert difference(model, policy()) == 0
        assert metadata["loss_by_step"] == pytest.approx([math.log(2)] * 3, abs=1e-6)
        assert metadata["accuracy_by_step"] == [0, 0, 0]


# --- the trainer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("divisor", "micro_batch"), [(2, 2), (4, 1), (8, 1)])
def test_micro_batches_are_the_batch(divisor: int, micro_batch: int) -> None:
    some = pairs(10, num_rejected=3)  # the last step has 2 pairs
    config = replace(CONFIG, num_train_epochs=2)
    whole, metadata = trained(some, config, loss="sdpo")
    parts, others = trained(some, config, loss="sdpo", divisor=divisor)
    assert (metadata["steps"], metadata["micro_batch"], others["micro_batch"]) == (
        6,
        4,
        micro_batch,
    )
    assert difference(whole, policy()) > 1e-3
    assert difference(whole, parts) < 1e-4
    for name in ("loss", "margin", "chosen", "rejected", "accuracy"):
        one, other = metadata[f"{name}_by_step"], others[f"{name}_by_step"]
        assert len(one) == 6
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_sequences_apart_train_the_same() -> None:
    some = pairs(num_rejected=2)
    together, _ = trained(some, loss="dmpo")
    apart, _ = trained(some, loss="dmpo", shared=False)
    assert difference(together, apart) < 1e-4 < difference(together, policy())


def test_a_seed_gives_the_same_bits_and_the_caller_keeps_its_random_numbers() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first, metadata = trained(pairs())
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.manual_seed(2)
    second, others = trained(pairs())
    assert difference(first, second) == 0
    assert metadata == others
    assert not first.model.training
    other, _ = trained(pairs(), replace(CONFIG, seed=6))
    assert difference(first, other) > 0


def test_what_a_record_says() -> None:
    some = [replace(pair, reference=[-1.0, -2.0]) for pair in pairs(4)]
    found = logps(policy(), some).double()
    metadata = optimize(policy(), some, replace(CONFIG, beta=0.5), loss=dpo, divisor=2, shared=True)
    gaps = (found[:, 0] + 1) - (found[:, 1] + 2)
    expected = {
        "chosen": found[:, 0].mean(),
        "rejected": found[:, 1].mean(),
        "margin": 0.5 * gaps.mean(),
        "accuracy": (gaps > 0).double().mean(),
        "loss": -torch.nn.functional.logsigmoid(0.5 * gaps).mean(),
    }
    for name, value in expected.items():
        assert metadata[f"{name}_by_step"] == pytest.approx([float(value)], abs=1e-4)


def test_pairs_with_fewer_rejected_ones() -> None:
    some = [*pairs(3, num_rejected=3), *pairs(2, num_rejected=1, seed=1)]
    batch = collate(
        [replace(pair, reference=[0] * (1 + len(pair.rejected))) for pair in some], shared=True
    )
    assert batch["mask"].sum(1).tolist() == [4, 4, 4, 2, 2]
    _, metadata = trained(some, replace(CONFIG, batch_size=5), loss="sdpo")
    expected = (3 * math.log(4) + 2 * math.log(2)) / 5
    assert metadata["loss_by_step"] == pytest.approx([expected], abs=1e-6)


def wide(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK):
    return rejected_BK


def test_what_cannot_be_trained_is_refused() -> None:
    some = [replace(pair, reference=[0.0, 0.0]) for pair in pairs(2)]
    settings = {"divisor": 1, "shared": True}
    with pytest.raises(BenchError, match=r"loss returned shape \(2, 1\)"):
        optimize(policy(), some, CONFIG, loss=wide, **settings)
    broken = policy()
    with torch.no_grad():
        broken.model.lm_head.weight[5:] = torch.nan
    with pytest.raises(BenchError, match="In step 1 the loss is nan"):
        optimize(broken, some, CONFIG, loss=dpo, **settings)


# --- the stage -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("preference")
    found = {name: root / name for name in ("data", "pairs", "backbone")}
    for folder in found.values():
        folder.mkdir()
    num = len(TITLES)
    data = prepared.Prepared(
        catalog=Catalog(ids=tuple(map(str, range(num))), titles=TITLES, categories=((),) * num),
        user_ids=("u",),
        users=np.zeros(12, dtype=np.int32),
        items=(np.arange(12) % num).astype(np.int32),
        ratings=np.ones(12, dtype=np.float32),
        times=np.arange(12, dtype=np.int64),
        start=np.maximum(np.arange(1, 12) - 4, 0).astype(np.int64),
        target=np.arange(1, 12, dtype=np.int64),
        boundaries=(9, 10),
        history=4,
    )
    prepared.write(data, found["data"])
    write_pairs(found["pairs"], [[TITLES[(sample + 3) % num]] for sample in range(8)])
    tiny_backbone(found["backbone"])
    return found


def write_pairs(
    folder: Path, rejected: list[list[str]], smoothing: Sequence[float] | None = None
) -> None:
    columns = {
        "sample": np.arange(len(rejected)),
        "rejected": pa.array(rejected, pa.list_(pa.string())),
        "smoothing": smoothing or np.zeros(len(rejected)),
    }
    pq.write_table(pa.table(columns), folder / "pairs.parquet")


def staged(out: Path, folders: dict[str, Path], divisor: int = 1, **changes) -> dict:
    settings = {
        "learning_rate": 1e-2,
        "batch_size": 4,
        "tuning": FULL,
        "context": 160,
        "nouns": NOUNS,
        **folders,
        **changes,
    }
    return dict(
        run_stage("preference", PreferenceConfig, out, divisor=divisor, **settings).metadata
    )


def test_the_stage_leaves_weights_and_a_record(tmp_path, folders) -> None:
    metadata = staged(tmp_path / "out", folders)
    assert metadata["loss_by_step"][0] == pytest.approx(math.log(2), abs=2e-6)
    assert (metadata["pairs"], metadata["rejected"], metadata["steps"]) == (8, 8, 2)
    assert (metadata["rejected_is_chosen"], metadata["rejected_in_catalog"]) == (0, 1)
    assert metadata["mean_smoothing"] == 0
    assert metadata["layout"] == "shared prompts"
    again = staged(tmp_path / "again", folders)
    assert again == metadata
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again")]
    assert weights[0] == weights[1]
    kept = load_file(folders["backbone"] / "model.safetensors")
    moved = load_file(tmp_path / "out" / "model.safetensors")
    assert any(not torch.equal(kept[name], moved[name]) for name in kept)


def run_with_reference(
    out: Path, folders: dict[str, Path], role: str, weights: Path | None = None, **changes
) -> dict:
    """Run with another reference: its role is a field of the config, its weights are an input."""
    config = PreferenceConfig(
        learning_rate=1e-2,
        batch_size=4,
        nouns=NOUNS,
        reference=role,
        model=ModelSpec(tuning=changes["tuning"], context=160),
    )
    inputs = {**folders, "start": changes["start"]}
    if weights is not None:
        inputs["reference"] = weights
    out.mkdir()
    job = Job(out=out)
    preference.run(job, config, inputs)
    return dict(job.metadata)


@pytest.mark.parametrize("tuning", [FULL, LORA], ids=["full", "lora"])
def test_references(tmp_path, folders, tuning) -> None:
    first = staged(tmp_path / "first", folders, tuning=tuning, learning_rate=0.05)
    same = {"tuning": tuning, "start": tmp_path / "first"}
    own = staged(tmp_path / "own", folders, **same)
    untuned = run_with_reference(tmp_path / "untuned", folders, "backbone", **same)
    given = run_with_reference(tmp_path / "given", folders, "weights", tmp_path / "first", **same)
    assert own["loss_by_step"][0] == pytest.approx(math.log(2), abs=2e-6)
    # The untuned model as the reference sees how far the first training went.
    assert abs(untuned["loss_by_step"][0] - math.log(2)) > 1e-2
    assert untuned["chosen_by_step"][0] == own["chosen_by_step"][0] != first["chosen_by_step"][0]
    assert given["loss_by_step"] == own["loss_by_step"]
    name = "model.safetensors" if tuning is FULL else "adapter.safetensors"
    results = [(tmp_path / folder / name).read_bytes() for folder in ("own", "given", "untuned")]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("saves", [2, 4])
def test_a_killed_training_ends_as_one_that_was_not(tmp_path, folders, saves) -> None:
    settings = {"num_train_epochs": 3, "divisor": 2}
    expected = staged(tmp_path / "at once", folders, **settings)
    settings["checkpoints"] = str(tmp_path / "checkpoints")
    kill_while_saving(lambda: staged(tmp_path / "killed", folders, **settings), saves=saves)
    assert staged(tmp_path / "resumed", folders, **settings) == expected
    files = [tmp_path / name / "model.safetensors" for name in ("at once", "resumed")]
    assert checksum(files[0]) == checksum(files[1])


def test_adapters_train_without_dropout(tmp_path, folders) -> None:
    """A dropout of one half would move the first loss, and the result would not be the same."""
    dropped = staged(tmp_path / "half", folders, tuning=LORA)
    never = staged(tmp_path / "none", folders, tuning={**LORA, "dropout": 0.0})
    assert dropped["loss_by_step"] == never["loss_by_step"]
    assert dropped["loss_by_step"][0] == pytest.approx(math.log(2), abs=2e-6)


def test_without_pairs_the_weights_stay(tmp_path, folders) -> None:
    write_pairs(tmp_path, [])
    metadata = staged(tmp_path / "out", folders, pairs=tmp_path)
    assert (metadata["pairs"], metadata["mean_smoothing"]) == (0, None)
    kept = load_file(folders["backbone"] / "model.safetensors")
    left = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(kept[name], left[name]) for name in left)


def test_fractions_of_the_pairs(tmp_path, folders) -> None:
    write_pairs(tmp_path, [[TITLES[1]], ["no such book"], [TITLES[0]], [TITLES[1]]], [0.5, 0, 0, 0])
    metadata = staged(tmp_path / "out", folders, pairs=tmp_path, loss="rosepo")
    assert (metadata["rejected_is_chosen"], metadata["rejected_in_catalog"]) == (0.25, 0.75)
    assert metadata["mean_smoothing"] == 0.125
    with pytest.raises(BenchError, match="dpo takes no label smoothing"):
        staged(tmp_path / "refused", folders, pairs=tmp_path)
    write_pairs(tmp_path, [[TITLES[1]]], [1.5])
    with pytest.raises(BenchError, match="no probability"):
        staged(tmp_path / "none", folders, pairs=tmp_path, loss="rosepo")


def test_no_response_is_ever_cut() -> None:
    tokenizer = tiny_tokenizer()
    source = SimpleNamespace(
        catalog=Catalog(ids=tuple(TITLES), titles=TITLES, categories=((),) * len(TITLES)),
        windows=lambda samples: SimpleNamespace(
            histories=np.tile(np.arange(4), (len(samples), 1)), targets=np.zeros(len(samples), int)
        ),
    )
    written = " ".join(["Sand"] * 30)
    table = {"sample": [0, 1], "rejected": [[written], ["Blue"]], "smoothing": [0, 0]}

    def encode(context: int, *, eos: bool, style: str = "wrapped") -> list[Pair]:
        config = PreferenceConfig(
            nouns=NOUNS, append_eos=eos, prompt_style=style, model=ModelSpec(context=context)
        )
        return preference.encode_titles(tokenizer, config, table, source)

    roomy = encode(context=500, eos=True)
    shortest = len(tokenizer(prompt([], singular=NOUNS[0], plural=NOUNS[1]))["input_ids"])
    tight = encode(context=shortest + 33 + 8, eos=True)
    # 30 words, two quotes and the end; both prompts lose titles, since all have the same room.
    assert [len(pair.rejected[0]) for pair in tight] == [33, 4]
    assert tight[0].rejected == roomy[0].rejected
    assert max_length(tight) <= shortest + 33 + 8 < max_length(roomy)
    with pytest.raises(BenchError, match="prompt without any history"):
        encode(context=shortest + 32, eos=True)
    assert [pair.chosen for pair in encode(context=500, eos=False)] == [
        pair.chosen[:-1] for pair in roomy
    ]
    bare = encode(context=500, eos=True, style="bare")
    assert bare[0].chosen == roomy[0].chosen
    assert len(bare[0].prompt) < len(roomy[0].prompt)
