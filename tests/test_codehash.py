from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import codehash
from bench.errors import BenchError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `bench` of three modules, the first importing the second."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("")
    (tmp_path / "stages" / "train.py").write_text(
        '"""A stage."""\nfrom bench.maths import add\n\ndef run(x):\n    return add(x, 1)\n'
    )
    (tmp_path / "maths.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "other.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(codehash, "PACKAGE", tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = codehash.module_hash("bench.stages.train")
    edit(package / "stages" / "train.py", '"""A stage."""', '"""Another sentence."""\n# why\n')
    edit(package / "maths.py", "return a + b", '"""Add."""\n    return (a +\n        b)')
    assert codehash.module_hash("bench.stages.train") == before


def test_an_imported_function_counts(package: Path) -> None:
    before = codehash.module_hash("bench.stages.train")
    edit(package / "maths.py", "a + b", "a - b")
    assert codehash.module_hash("bench.stages.train") != before


def test_a_module_that_is_not_imported_does_not_count(package: Path) -> None:
    before = codehash.module_hash("bench.stages.train")
    edit(package / "other.py", "1", "2")
    assert codehash.module_hash("bench.stages.train") == before


def test_a_changed_constant_type_counts(package: Path) -> None:
    before = codehash.module_hash("bench.stages.train")
    edit(package / "stages" / "train.py", "(x, 1)", "(x, True)")
    assert codehash.module_hash("bench.stages.train") != before


PLUGIN = """
from dataclasses import dataclass
from bench.api import rank
import math

SCALE = 2

def inner(x):
    return SCALE * x

def fit(train, catalogue):
    return lambda histories: inner(histories)

@dataclass(frozen=True, kw_only=True)
class Method:
    depth: int = 3
    def plan(self, data, model, seed):
        return rank(data.test, scorer="plug:fit")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hash_plugin.py"
    path.write_text(PLUGIN)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "bench.methods.hash_plugin", raising=False)
    return path


def test_of_a_plugin_only_what_the_function_reaches_counts(plugin: Path) -> None:
    before = codehash.function_hash("hash_plugin:fit")
    edit(plugin, "depth: int = 3", "depth: int = 4")
    assert codehash.function_hash("hash_plugin:fit") == before
    edit(plugin, "SCALE = 2", "SCALE = 3")
    assert codehash.function_hash("hash_plugin:fit") != before


def test_a_function_that_is_not_there_is_refused(plugin: Path) -> None:
    with pytest.raises(BenchError, match="no function named 'fitt'"):
        codehash.function_hash("hash_plugin:fitt")


def test_a_statement_that_changes_something_counts(plugin: Path) -> None:
    before = codehash.function_hash("hash_plugin:fit")
    plugin.write_text(plugin.read_text() + "\nSCALE += 1\n")
    assert codehash.function_hash("hash_plugin:fit") != before
