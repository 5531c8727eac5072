from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import plugins, search_path
from bench.errors import BenchError
from bench.metrics.registry import get_metric

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
def test_a_broken_plugin_is_refused(folder: Path, text: str, reason: str) -> None:
    name = f"broken_{abs(hash(text))}"
    (folder / "methods").mkdir()
    (folder / "methods" / f"{name}.py").write_text(text)
    for _ in range(2):  # a failed import leaves nothing behind that a second one would find
        with pytest.raises(BenchError, match=re.escape(reason)):
            plugins.method_class(name)


def deep_toml(path: Path) -> None:
    path.write_text("rows = " + "[" * 100_000)


ENTRIES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a dangling link": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path),
    "noise": lambda path: path.write_bytes(b"\xff\x00 class Method METRIC = 1"),
    "deep lists": deep_toml,
    "a huge number": lambda path: path.write_text("rows = " + "9" * 10_000),
    "an import that exits": lambda path: path.write_text("raise SystemExit(3)\nclass Method: 1"),
    "an import that never ends": lambda path: path.write_text("while True:\n  class Method: x = 1"),
}


@pytest.mark.parametrize("subfolder", ["", "methods", "datasets", "leaderboards"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_one_bad_entry_stops_no_listing(folder: Path, entry: str, subfolder: str) -> None:
    (folder / subfolder).mkdir(exist_ok=True)
    suffix = ".py" if subfolder in ("", "methods") else ".toml"
    ENTRIES[entry](folder / subfolder / f"bad{suffix}")
    methods = {line.name: line for line in plugins.list_methods()}
    cards = {line.name: line for kind in plugins.CARDS for line in plugins.list_cards(kind)}
    assert methods["sasrec"].error == cards["ml-100k"].error == cards["quick"].error == ""
    if subfolder:  # a module that imports badly is found out when it is asked for
        line = (methods if suffix == ".py" else cards)["bad"]
        assert line.error or entry.startswith("an import")
    assert plugins.method_class("sasrec").__doc__
    assert plugins.dataset_card("ml-100k").title
    assert get_metric("HR@5").family == "HR"


def test_an_import_that_never_ends_is_refused_after_a_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = partial(plugins.foreign_code, seconds=0.2)
    monkeypatch.setattr(plugins, "foreign_code", limited)
    ENTRIES["an import that never ends"](folder / "endless.py")
    with pytest.raises(BenchError, match="longer than the limit"):
        plugins.method_class("endless")


def test_a_failing_entry_point_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise SystemExit(4)

    point = SimpleNamespace(name="installed", load=load)
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: [point])
    with pytest.raises(BenchError, match="'installed' cannot be imported: SystemExit: 4"):
        plugins.method_class("installed")


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


@pytest.mark.parametrize(
    ("kind", "load", "file"),
    [
        ("methods", plugins.method_class, "left.py"),
        ("datasets", plugins.dataset_card, "left.toml"),
        ("leaderboards", plugins.board_card, "left.toml"),
    ],
)
def test_a_file_in_an_unsearched_folder_is_named_with_the_path_that_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, load: Callable[..., Any], file: str
) -> None:
    (tmp_path / "earlier").mkdir()
    (tmp_path / kind).mkdir()
    (tmp_path / kind / file).write_text(GOOD if kind == "methods" else "title = 3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_PATH", "earlier")
    with pytest.raises(BenchError, match="'left'") as error:
        load("left")
    command = f"export BENCH_PATH={tmp_path}:{tmp_path / 'earlier'}"
    assert error.value.hint == f"{kind}/{file} is found after: {command}"
    monkeypatch.setenv("BENCH_PATH", command.partition("=")[2])
    assert search_path.extend_path(Path(kind), kind) == ""
    assert "left" in {**plugins.card_paths(kind), **dict.fromkeys(plugins.method_names())}


def test_only_metrics_of_a_checkout_need_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_PATH", raising=False)
    root = search_path.PACKAGE.parent
    assert search_path.extend_path(root / "methods", "methods") == ""
    assert search_path.extend_path(root / "metrics", "metrics") == f"BENCH_PATH={root}"
    assert search_path.extend_path(Path("/a b"), "metrics") == "BENCH_PATH='/a b'"


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
