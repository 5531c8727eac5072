from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import plugins, search_path
from bench.errors import BenchError

GOOD = '''
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Method:
    """Good: a method."""
    def plan(self, data, model, seed):
        raise NotImplementedError
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    return tmp_path


def test_a_module_in_a_users_folder_is_a_method(folder: Path) -> None:
    (folder / "plain_good.py").write_text(GOOD)
    assert "plain_good" in plugins.method_names()
    assert plugins.method_class("plain_good").__module__ == "bench.methods.plain_good"


def test_a_module_that_is_no_method_is_left_out_where_it_lies_directly(folder: Path) -> None:
    (folder / "setup.py").write_text("x = 1")
    assert "setup" not in plugins.method_names()


def test_a_methods_folder_inside_a_users_folder_counts(folder: Path) -> None:
    (folder / "methods").mkdir()
    (folder / "methods" / "nested_good.py").write_text(GOOD)
    assert plugins.method_class("nested_good").__doc__ == "Good: a method."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "no dataclass named Method"),
        (GOOD.replace("frozen=True, ", ""), "not frozen"),
        (GOOD.replace("def plan", "def plane"), "no plan()"),
        ("import sys\nsys.exit(3)", "SystemExit"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error(folder: Path, text: str, reason: str) -> None:
    name = f"broken_{abs(hash(text))}"
    (folder / "methods").mkdir()
    (folder / "methods" / f"{name}.py").write_text(text)
    lines = {line.name: line for line in plugins.list_methods()}
    assert reason in lines[name].error
    assert lines["sasrec"].error == ""


def test_a_broken_card_is_listed_with_its_error(folder: Path) -> None:
    (folder / "datasets").mkdir()
    (folder / "datasets" / "torn.toml").write_text("title = ")
    lines = {line.name: line for line in plugins.list_cards("datasets")}
    assert "is not valid TOML" in lines["torn"].error
    assert lines["ml-100k"].error == ""


def test_a_card_directly_in_a_folder_is_told_by_its_mark(folder: Path) -> None:
    (folder / "mine.toml").write_text('description = "x"\nboards = ["quick"]\n')
    assert "mine" in plugins.card_paths("suites")
    assert "mine" not in plugins.card_paths("datasets")
    assert plugins.suite_card("mine").boards == ("quick",)


def test_an_unknown_method_comes_with_the_nearest_name() -> None:
    with pytest.raises(BenchError) as error:
        plugins.method_class("sasrek")
    assert error.value.hint == "Did you mean 'sasrec'?"


def test_a_missing_folder_on_the_path_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PATH", "/no/such/folder")
    with pytest.raises(BenchError, match="which is no folder"):
        search_path.folders("methods")


def test_a_users_method_does_not_hide_ours(folder: Path) -> None:
    (folder / "sasrec.py").write_text("raise RuntimeError")
    assert plugins.method_class("sasrec").__doc__.startswith("SASRec")


def test_references_reach_functions_of_methods_and_of_ours() -> None:
    assert plugins.function("popularity:fit").__name__ == "fit"
    assert plugins.function("bench.hashing:digest").__name__ == "digest"
    with pytest.raises(BenchError, match="no function in popularity named 'fitt'"):
        plugins.function("popularity:fitt")
