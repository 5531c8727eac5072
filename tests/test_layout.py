"""The house keeps its own rules: one-way imports, light listing, no shadowing packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room may import itself and the rooms before it.
ORDER = [
    {"errors", "once"},
    {"records"},
    {"data.catalogue", "data.windows"},
    {"metrics"},
    {"config"},
    {"cards"},
    {"plugins"},
    {"published"},
    {"codehash", "versions"},
    {"data"},
    {"settings"},
    {"plan"},
    {"api"},
    {"trials"},
    {"graph"},
    {"results", "rankings", "rows", "store", "why"},
    {"score", "export", "trec", "every_eval_ever"},
    {"merge"},
    {"lm"},
    {"sprec_files"},
    {"seqrec"},
    {"rerank"},
    {"stages"},
    {"runner"},
    {"packing"},
    {"retention"},
    {"stats"},
    {"claims"},
    {"board"},
    {"connections"},
    {"tuning"},
    {"comparison"},
    {"testing", "checkup"},
    {"cli", "__main__"},
]
FREE = {"methods", "datasets", "leaderboards"}


def room(module: str) -> int:
    parts = module.split(".")[1:]
    for number, names in enumerate(ORDER):
        if any(".".join(parts[: len(n.split("."))]) == n for n in names):
            return number
    raise AssertionError(f"{module} is in no room; add it to ORDER")


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted((ROOT / "bench").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name != "bench" and parts[1] not in FREE:
            found.append((name, path))
    return found


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module.startswith("bench"):
                base = ROOT.joinpath(*node.module.split("."))
                found |= {
                    f"{node.module}.{alias.name}"
                    for alias in node.names
                    if (base / f"{alias.name}.py").exists() or (base / alias.name).is_dir()
                }
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value))
def test_imports_go_one_way(name: str, path: Path) -> None:
    for imported in imports(path):
        if imported.startswith("bench.") and imported.split(".")[1] not in FREE:
            assert room(imported) <= room(name), f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value))
def test_a_file_is_a_room(name: str, path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500, f"{name} has {text.count(chr(10))} lines"
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), f"{name} has no docstring"


def test_torch_stays_below() -> None:
    allowed = {"lm", "seqrec", "rerank", "stages"}
    for name, path in modules():
        if name.split(".")[1] not in allowed:
            heavy = {module.split(".")[0] for module in imports(path)} & {"torch", "transformers"}
            assert not heavy, f"{name} imports {heavy}"


def test_plugin_folders_are_no_packages() -> None:
    for folder in ("methods", "datasets", "leaderboards", "tests", "tests/datasets"):
        assert not (ROOT / folder / "__init__.py").exists()
    assert not (ROOT / "conftest.py").exists()


def test_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys; from bench.cli.app import app\n"
        "app(['list'], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'scipy', 'ray', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sasrec" in done.stdout
