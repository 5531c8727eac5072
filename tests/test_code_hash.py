from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plan import code_hash

FILES = {
    "stages/__init__.py": "",
    "stages/train.py": (
        '"""A stage."""\n'
        "import numpy as np\n"
        "from bench.maths import add\n"
        "from bench import tables\n\n"
        "def run(x):\n    return np.mean(add(x, 1)) + tables.SIZE\n"
    ),
    "stages/rank.py": (
        "from bench.maths import subtract\n\ndef run(x):\n    return subtract(x, 1)\n"
    ),
    "maths.py": (
        "def add(a, b):\n    return a + b\n\n"
        "def negate(a):\n    return -a\n\n"
        "def subtract(a, b):\n    return add(a, negate(b))\n"
    ),
    "tables.py": "SIZE = 3\nOTHER = 4\n",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `bench` of two stage kinds and two modules that they compute with."""
    write(tmp_path, FILES)
    monkeypatch.setattr(code_hash, "PACKAGE", tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def hashes() -> dict[str, str]:
    return {kind: code_hash.module_hash(f"bench.stages.{kind}") for kind in ("train", "rank")}


def changed(before: dict[str, str]) -> set[str]:
    return {kind for kind, value in hashes().items() if value != before[kind]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", '"""A stage."""', '"""Another sentence."""\n# why'),
        ("maths.py", "return a + b", '"""Add."""\n    return (a +\n        b)'),
        ("maths.py", "def add", "def helper(a):\n    return a\n\ndef add"),
        ("tables.py", "OTHER = 4", "OTHER = 5"),
        ("stages/train.py", "from bench.maths import add\nfrom bench import tables\n",
         "from bench import tables\nfrom bench.maths import add\n"),
        ("stages/train.py", "import numpy as np", "import os\nimport numpy as np"),
    ],
    ids=["comment", "layout", "helper", "unused constant", "import order", "unused import"],
)  # fmt: skip
def test_what_computes_nothing_for_a_stage_keeps_its_hash(
    package: Path, file: str, old: str, new: str
) -> None:
    before = hashes()
    edit(package / file, old, new)
    assert changed(before) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "kinds"),
    [
        ("maths.py", "a + b", "b + a", {"train", "rank"}),
        ("maths.py", "-a", "0 - a", {"rank"}),
        ("tables.py", "SIZE = 3", "SIZE = 3.0", {"train"}),
        ("stages/train.py", "(x, 1)", "(x, True)", {"train"}),
        ("stages/train.py", "np.mean", "np.median", {"train"}),
        ("stages/train.py", "import numpy as np", "import scipy as np", {"train"}),
        ("stages/train.py", "import add", "import subtract as add", {"train"}),
        ("tables.py", "OTHER = 4", "OTHER = 4\nSIZE += 1", {"train"}),
        ("maths.py", "add(a, negate(b))", "negate(add(a, b))", {"rank"}),
    ],
)
def test_a_changed_line_changes_exactly_the_hashes_that_reach_it(
    package: Path, file: str, old: str, new: str, kinds: set[str]
) -> None:
    before = hashes()
    edit(package / file, old, new)
    assert changed(before) == kinds


def test_two_functions_that_change_roles_are_noticed(package: Path) -> None:
    """Every definition is reached before and after; only who is called where differs."""
    write(package, {"other.py": "def add(a, b):\n    return a * b\n"})
    one = "from bench import maths, other\n\ndef run(x):\n    return {}.add({}.add(x, 1), 2)\n"
    (package / "stages" / "rank.py").write_text(one.format("maths", "other"))
    before = hashes()
    (package / "stages" / "rank.py").write_text(one.format("other", "maths"))
    assert changed(before) == {"rank"}


def test_a_module_can_be_renamed_moved_and_split(package: Path) -> None:
    before = hashes()
    maths = (package / "maths.py").read_text()
    (package / "maths.py").unlink()
    add, rest = maths.split("\n\ndef negate")
    write(package, {"models/__init__.py": "", "models/sums.py": add + "\n"})
    write(package, {"models/rest.py": f"from bench.models.sums import add\n\ndef negate{rest}"})
    edit(package / "stages" / "train.py", "bench.maths", "bench.models.sums")
    edit(package / "stages" / "rank.py", "bench.maths", "bench.models.rest")
    assert changed(before) == set()


@pytest.mark.parametrize(
    ("imported", "called"),
    [
        ("from bench import maths", "maths.add"),
        ("import bench.maths", "bench.maths.add"),
        ("import bench.maths as m", "m.add"),
        ("from bench.maths import add as plus", "plus"),
        ("from bench.exports import add", "add"),
    ],
)
def test_the_form_of_an_import_does_not_count(package: Path, imported: str, called: str) -> None:
    write(package, {"exports.py": "from bench.maths import add\n"})
    before = hashes()
    edit(package / "stages" / "train.py", "from bench.maths import add", imported)
    edit(package / "stages" / "train.py", "add(x, 1)", f"{called}(x, 1)")
    assert changed(before) == set()


def test_an_import_inside_a_function_counts(package: Path) -> None:
    text = "def run(x):\n    from bench.maths import negate\n    return negate(x)\n"
    (package / "stages" / "rank.py").write_text(text)
    before = hashes()
    edit(package / "maths.py", "-a", "0 - a")
    assert changed(before) == {"rank"}


def test_a_module_used_as_a_value_counts_as_a_whole(package: Path) -> None:
    edit(package / "stages" / "rank.py", "return", "from bench import tables; vars(tables); return")
    before = hashes()
    edit(package / "tables.py", "OTHER = 4", "OTHER = 5")
    assert changed(before) == {"rank"}


def test_no_stage_depends_on_what_it_does_not_compute_with() -> None:
    """Of the real stages: a split rule voids no preference step."""
    reached = code_hash._reach(code_hash.Ref("bench.stages.preference", "run"))
    assert "bench.data.split" not in {ref.module for ref in reached}


PLUGIN = """
from dataclasses import dataclass
from bench.api import rank
import math

SCALE = 2

def inner(x):
    return SCALE * x

def fit(train, catalog):
    return lambda histories: inner(histories)

@dataclass(frozen=True, kw_only=True)
class Method:
    depth: int = 3
    def plan(self, data, model, seed):
        return rank(data.test, scorer="plug:fit")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "hash_plugin.py"
    path.write_text(PLUGIN)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    yield path
    sys.modules.pop("bench.methods.hash_plugin", None)


def test_of_a_plugin_only_what_the_function_reaches_counts(plugin: Path) -> None:
    before = code_hash.function_hash("hash_plugin:fit")
    edit(plugin, "depth: int = 3", "depth: int = 4")
    assert code_hash.function_hash("hash_plugin:fit") == before
    edit(plugin, "SCALE = 2", "SCALE = 3")
    assert code_hash.function_hash("hash_plugin:fit") != before


def test_a_function_that_is_not_there_is_refused(plugin: Path) -> None:
    with pytest.raises(BenchError, match="no function named 'fitt'"):
        code_hash.function_hash("hash_plugin:fitt")


def test_a_statement_that_changes_something_counts(plugin: Path) -> None:
    before = code_hash.function_hash("hash_plugin:fit")
    plugin.write_text(plugin.read_text() + "\nSCALE += 1\n")
    assert code_hash.function_hash("hash_plugin:fit") != before
