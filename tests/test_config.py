from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from bench.cli.options import parse_rows
from bench.config.cards import BoardCard, DatasetCard
from bench.config.fields import (
    build_settings,
    check_setting,
    default_settings,
    setting_paths,
    similar_path,
)
from bench.config.toml import check_card, parse_override, parse_value
from bench.errors import BenchError
from bench.plan.config import Config, PositiveFloat, function_field, plan_field, to_plain

DATASET = {
    "title": "T",
    "description": "D",
    "license": "L",
    "citation": "C",
    "reader": "synthetic",
}


@dataclass(frozen=True, kw_only=True)
class Inner(Config):
    rate: PositiveFloat = 0.5
    mode: Literal["mean", "sum"] = "mean"
    extra: Mapping[str, Any] = field(default_factory=dict)
    loss: str = function_field("dpo")
    seed: int = plan_field(0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    inner: Inner = Inner(mode="sum")
    rounds: int = 5
    beta: float = 0.1
    name: str = "x"
    pair: tuple[int, int] = (1, 2)
    limit: int | None = None


def problem(error: pytest.ExceptionInfo[BenchError]) -> str:
    return f"{error.value.message} {error.value.hint}"


def test_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(BenchError) as error:
        check_card(DATASET | {"licnce": "x"}, DatasetCard, "card.toml")
    assert problem(error) == "card.toml: unknown key 'licnce'. Did you mean 'license'?"


def test_unknown_nested_key_is_refused_with_its_path() -> None:
    with pytest.raises(BenchError) as error:
        check_card(DATASET | {"split": {"histry": 3}}, DatasetCard, "card.toml")
    assert problem(error) == "card.toml: unknown key 'split.histry'. Did you mean 'history'?"


def test_unknown_key_of_a_row_is_refused_with_its_place() -> None:
    board = {"title": "T", "datasets": ["d"], "metrics": ["HR@5"]}
    with pytest.raises(BenchError) as error:
        check_card(board | {"rows": [{"method": "m", "lable": "x"}]}, BoardCard, "b.toml")
    assert problem(error) == "b.toml: unknown key 'rows.0.lable'. Did you mean 'label'?"


def test_missing_key_is_named() -> None:
    with pytest.raises(BenchError, match="the key 'title' is missing"):
        check_card({key: DATASET[key] for key in DATASET if key != "title"}, DatasetCard, "c.toml")


def test_unknown_metric_of_a_board_is_refused() -> None:
    board = {"title": "T", "datasets": ["d"], "rows": [{"method": "m"}], "metrics": ["NDGC@5"]}
    with pytest.raises(BenchError) as error:
        check_card(board, BoardCard, "b.toml")
    assert "NDCG" in problem(error)


def test_a_plain_http_source_is_refused() -> None:
    files = {"interactions": {"name": "a", "sources": [{"url": "http://example.org/a"}]}}
    with pytest.raises(BenchError, match="only https:// addresses are fetched"):
        check_card(DATASET | {"files": files}, DatasetCard, "c.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ("linear", "linear"), ("", "")],
)
def test_values_are_read_as_toml_and_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_overrides_are_a_path_and_a_text() -> None:
    override = parse_override("sprec.sft.learning_rate = 1e-4")
    assert (override.path, override.text) == ("sprec.sft.learning_rate", "1e-4")


@pytest.mark.parametrize("text", ["rounds", "=3", ".rounds=3", "sprec.=3"])
def test_malformed_overrides_are_refused(text: str) -> None:
    with pytest.raises(BenchError, match="PATH=VALUE"):
        parse_override(text)


def test_settings_are_checked_by_name_and_type() -> None:
    assert check_setting(Settings, "beta", 1, "--set") == 1.0
    assert check_setting(Settings, "pair", [3, 4], "--set") == (3, 4)
    assert check_setting(Settings, "limit", 7, "--set") == 7
    assert check_setting(Settings, "inner.rate", 1, "--set") == 1.0
    assert check_setting(Settings, "inner.extra.weight_decay", 0.1, "--set") == 0.1
    with pytest.raises(BenchError) as error:
        check_setting(Settings, "runds", 1, "--set")
    assert problem(error) == "--set: there is no setting 'runds'. Did you mean rounds?"


@pytest.mark.parametrize(
    ("name", "value"), [("rounds", "3"), ("rounds", 2.5), ("rounds", True), ("beta", "x")]
)
def test_a_setting_of_a_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(BenchError, match=f"{name} = .* is not valid"):
        check_setting(Settings, name, value, "--set")


def test_settings_are_paths_through_configs_without_the_fields_of_plans() -> None:
    paths = setting_paths(Settings)
    assert {"inner.rate", "inner.mode", "inner.extra", "rounds"} < set(paths)
    assert "inner.seed" not in paths
    assert default_settings(Settings)["inner.mode"] == "sum"
    with pytest.raises(BenchError, match=r"no setting 'inner\.seed'"):
        check_setting(Settings, "inner.seed", 1, "--set")


def test_values_by_path_build_the_dataclass() -> None:
    values = default_settings(Settings) | {"inner.rate": 0.1, "inner.extra.a": 1, "rounds": 2}
    built = build_settings(Settings, values)
    assert built.inner == Inner(rate=0.1, mode="sum", extra={"a": 1})
    assert built.rounds == 2
    assert default_settings(built) == values


@pytest.mark.parametrize(
    ("path", "known", "similar"),
    [
        ("sft_learning_rate", ["beta", "preference.learning_rate", "sft.learning_rate"], "sft."),
        ("encoder", ["decoding.num_beams", "grounding.encoder"], "grounding.encoder"),
        ("sft.lerning_rate", ["sft.learning_rate", "sft.batch_size"], "sft.learning_rate"),
    ],
)
def test_old_and_misspelled_names_get_the_path_as_a_hint(
    path: str, known: list[str], similar: str
) -> None:
    assert similar_path(path, known).startswith(f"Did you mean {similar}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "rate = 0.0 is not valid"),
        ({"rate": float("inf")}, "rate = inf is not valid"),
        ({"mode": "max"}, "mode = 'max' is not valid"),
        ({"extra": 3}, "extra = 3 is not valid"),
    ],
)
def test_a_config_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=f"Inner: {message}"):
        Inner(**values)


def test_a_config_is_plain_and_names_its_functions() -> None:
    assert to_plain(Inner(rate=1)) == {
        "rate": 1.0,
        "mode": "mean",
        "extra": {},
        "loss": "dpo",
        "seed": 0,
    }
    assert Inner().functions == ()
    assert Inner(loss="mine:loss").functions == ("mine:loss",)


def test_rows_are_parsed_and_checked() -> None:
    assert parse_rows("train=32, test=16") == {"train": 32, "test": 16}
    with pytest.raises(BenchError, match="not a number of rows"):
        parse_rows("train=0")
    with pytest.raises(BenchError) as error:
        parse_rows("trian=3")
    assert "Did you mean 'train'?" in problem(error)
