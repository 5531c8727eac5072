"""Every method keeps the contract; a method that breaks a rule is told which."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.new import read_example
from bench.config import plugins
from bench.testing import check_method

EXAMPLE = read_example("method")


@pytest.mark.parametrize("name", plugins.method_names())
def test_methods_keep_the_contract(name: str, tmp_path: Path) -> None:
    problems = [check for check in check_method(name, tmp_path) if check.problem]
    assert not problems


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    monkeypatch.setenv("BENCH_PATH", str(plugin))
    return plugin


def test_the_template_keeps_the_contract(folder: Path, tmp_path: Path) -> None:
    (folder / "fresh.py").write_text(EXAMPLE.format(name="fresh"))
    assert len(EXAMPLE.splitlines()) <= 45
    checks = check_method("fresh", tmp_path)
    assert [check.problem for check in checks] == [""] * 8


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "from bench.api import",
            "import bench.runner.store\nfrom bench.api import",
            "bench.runner.store",
        ),
        ("smoothing: float = 0.01", "smoothing: float", "has no default"),
        ('    """{name}: items', '    pass; """{name}: items', "no docstring"),
        ('{{"smoothing": self.smoothing}}', '{{"smoothing": np.float32(1)}}', "no plain value"),
        ("steps[_last(histories)]", "steps[_last(histories)] * np.nan", "not finite"),
        ("steps[_last(histories)]", "steps[_last(histories)][:, 1:]", "returned shape"),
        ("steps[_last(histories)]", "steps.names", "no attribute 'names' (rule_"),
        (
            "steps[_last(histories)]",
            "np.random.default_rng().random((len(histories), num_items))",
            "another ranking the second time",
        ),
        ("settings = {{", "import time; settings = {{'time': time.perf_counter(), ", "different"),
    ],
)
def test_a_broken_rule_is_named(
    folder: Path, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    name = f"rule_{abs(hash((old, new)))}"
    assert old in EXAMPLE
    (folder / f"{name}.py").write_text(EXAMPLE.replace(old, new).format(name=name))
    assert problem in check_method(name, tmp_path)[-1].problem
