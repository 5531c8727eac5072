"""Structure of the project: one-way imports, no cycles, light listing, no shadowing packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports its own package and lower levels only; packages of one level are independent.
LEVELS = [
    {"errors"},
    {"hashing", "files", "foreign_code"},
    {"config"},
    {"data"},
    {"metrics"},
    {"stats", "plan"},
    {"models", "api"},
    {"results"},
    {"stages"},
    {"runner"},
    {"report"},
    {"tuning", "testing"},
    {"cli"},
]
PLUGIN_FOLDERS = {"methods", "datasets", "leaderboards"}
# A board's card checks the names of its metrics.
EXCEPTIONS = {("bench.config.cards", "metrics")}
MAX_LINES = 500


def level(module: str) -> int:
    package = module.split(".")[1]
    for number, names in enumerate(LEVELS):
        if package in names:
            return number
    raise AssertionError(f"{module} is on no level; add {package!r} to LEVELS")


def modules() -> dict[str, Path]:
    paths = {}
    for path in sorted((ROOT / "bench").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(part for part in parts if part != "__init__")] = path
    return paths


def imports(path: Path) -> set[str]:
    """Modules imported anywhere in a file, inside functions and for type checking, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = members & MODULES.keys()
            names |= submodules if submodules == members else {node.module, *submodules}
    return names


MODULES = modules()
LEVELED = {
    name: path
    for name, path in MODULES.items()
    if "." in name and name.split(".")[1] not in PLUGIN_FOLDERS
}


@pytest.mark.parametrize("name", LEVELED)
def test_imports_go_one_way(name: str) -> None:
    for imported in imports(MODULES[name]) & LEVELED.keys():
        package = imported.split(".")[1]
        if package != name.split(".")[1] and (name, package) not in EXCEPTIONS:
            assert level(imported) < level(name), f"{name} imports {imported}"


def import_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the strongly connected components of two modules or more (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == index[name]:
            component = [stack.pop()]
            while component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1 or name in graph[name]:
                cycles.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return cycles


def test_no_module_is_in_an_import_cycle() -> None:
    graph = {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}
    assert import_cycles(graph) == []


def test_cycles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}}
    assert import_cycles(graph) == [["b", "c"], ["d"]]


@pytest.mark.parametrize("name", LEVELED)
def test_modules_are_short_and_documented(name: str) -> None:
    text = MODULES[name].read_text()
    assert text.count("\n") <= MAX_LINES, f"{name} has {text.count(chr(10))} lines"
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), f"{name} has no docstring"


def test_only_the_command_line_imports_from_it() -> None:
    for name, path in MODULES.items():
        if not name.startswith("bench.cli"):
            users = [each for each in imports(path) if each.startswith("bench.cli")]
            assert not users, f"{name} imports {users}"


def test_importing_bench_loads_nothing_and_its_names_exist() -> None:
    script = (
        "import sys, bench\n"
        "heavy = {'torch', 'pandas', 'scipy', 'ray', 'pyarrow', 'numpy', 'pydantic', 'typer'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert bench.RunRequest(suite='smoke').names_boards\n"
        "assert all(callable(getattr(bench, name)) for name in bench.MODULE_OF)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_torch_stays_in_models_and_stages() -> None:
    for name, path in LEVELED.items():
        if name.split(".")[1] not in {"models", "stages"}:
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
