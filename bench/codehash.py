"""The code behind a stage, as a hash that ignores comments, docstrings and layout.

A stage's code is its module and all modules of `bench` that it imports, transitively. Of a
plug-in's module only what a named function reaches counts, so that a method's settings and plan can
be edited without touching artefacts. Trees are walked field by field and empty fields are skipped,
since `ast.dump` and `ast.unparse` differ between Python versions.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from bench.errors import BenchError, unknown
from bench.once import once
from bench.plugins import method_module

PACKAGE = Path(__file__).parent
SHORT = 12

# These read text, find files and raise errors. What they return to a stage stands in its arguments,
# and a new sentence in an error message must not cost anybody a week of GPU time.
PLUMBING = frozenset(
    f"bench{name}"
    for name in (
        "",
        ".errors",
        ".config",
        ".cards",
        ".plugins",
        ".data.archives",
        ".data.assets",
        ".data.encoders",
    )
)


@once
def module_hash(name: str) -> str:
    """Hash a module of `bench` with all that it imports from `bench`."""
    return _combine(_module_parts(name))


@once
def function_hash(reference: str) -> str:
    """Hash what "module:function" reaches.

    For a method's module ("popularity:fit") these are the function, the module-level names it uses
    and the `bench` modules behind them; for one of ours ("bench.seqrec.sasrec:scorer") the module.
    """
    return _combine(_function_parts(reference))


@once
def code_parts(module: str, functions: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Return what the hashes of a module and of functions are made of, by name, shortened.

    The names are modules of `bench`, and "method:number" for the statements of a plug-in.
    """
    parts = _module_parts(module)
    for reference in functions:
        parts |= _function_parts(reference)
    return {name: value[:SHORT] for name, value in sorted(parts.items())}


def _module_parts(name: str) -> dict[str, str]:
    return {module: _facts(_path(module))[0] for module in sorted(_closure({name}))}


def _function_parts(reference: str) -> dict[str, str]:
    module, _, function = reference.partition(":")
    if module.startswith("bench."):
        return _module_parts(module)
    source = method_module(module).__file__
    assert source is not None
    state = Path(source).stat()
    nodes, imported = _cached_reach(Path(source), function, state.st_mtime_ns, state.st_size)
    parts = {f"{module}:{number}": node for number, node in enumerate(nodes)}
    return parts | {name: _facts(_path(name))[0] for name in sorted(_closure(imported))}


@cache
def _cached_reach(
    path: Path, function: str, *_state_that_voids: int
) -> tuple[tuple[str, ...], frozenset[str]]:
    nodes, imported = _reached(_parse(path), function)
    return tuple(map(_tree_hash, nodes)), frozenset(imported)


def _combine(parts: dict[str, str]) -> str:
    text = "\n".join(f"{name} {value}" for name, value in parts.items())
    return hashlib.sha256(text.encode()).hexdigest()


def _path(module: str) -> Path:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _exists(module: str) -> bool:
    return module.partition(".")[0] == "bench" and _path(module).is_file()


def _closure(start: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = [name for name in start if not _is_plumbing(name)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting.extend(module for module in _facts(_path(name))[1] if not _is_plumbing(module))
    return found


def _is_plumbing(module: str) -> bool:
    """Tell whether a module only plans or reads text: stages see its results as config values."""
    return module in PLUMBING or module.split(".")[:2] == ["bench", "plan"]


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Name the `bench` modules that import statements among the nodes bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _exists(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "bench.api":
                yield from _behind_api({alias.name for alias in node.names})
            elif _exists(node.module):
                yield node.module
                members = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (member for member in members if _exists(member))


def _behind_api(names: set[str]) -> Iterator[str]:
    """Follow names of `bench.api` to the modules that define them."""
    for node in _parse(_path("bench.api")).body:
        if isinstance(node, ast.ImportFrom) and node.module and names & set(_bindings(node)):
            yield node.module


def _reached(tree: ast.Module, function: str) -> tuple[list[ast.stmt], set[str]]:
    """Return the module-level statements that a function reaches, in order, and its imports.

    Statements that define nothing by name (assignments, conditions, calls) always count: what they
    change cannot be told from their text.
    """
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    body = tree.body[1:] if _has_docstring(tree) else tree.body
    defined = {name: node for node in body if isinstance(node, named) for name in _bindings(node)}
    if function not in defined:
        raise unknown("function", function, defined)
    kept = [node for node in body if not isinstance(node, named)]
    waiting = [function, *(name for node in kept for name in _names(node))]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in defined and name not in reached:
            reached.add(name)
            waiting.extend(_names(defined[name]))
    kept += [node for node in body if isinstance(node, named) and reached & set(_bindings(node))]
    statements = [node for node in kept if not isinstance(node, ast.Import | ast.ImportFrom)]
    inside = set(_imports(child for node in statements for child in ast.walk(node)))
    for node in kept:
        if isinstance(node, ast.ImportFrom) and node.module == "bench.api":
            inside |= set(_behind_api(reached & set(_bindings(node))))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            inside |= set(_imports([node]))
    return statements, inside


def _names(tree: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _bindings(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    assert isinstance(node, ast.Import | ast.ImportFrom)
    return [(alias.asname or alias.name).split(".")[0] for alias in node.names]


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise BenchError(f"{path} does not parse: {error.msg}, line {error.lineno}.") from error


def _facts(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a module's own hash and the `bench` modules it imports."""
    state = path.stat()
    return _cached_facts(path, state.st_mtime_ns, state.st_size)


@cache
def _cached_facts(path: Path, *_state_that_voids: int) -> tuple[str, tuple[str, ...]]:
    tree = _parse(path)
    return _tree_hash(tree), tuple(_imports(ast.walk(tree)))


def _tree_hash(tree: ast.AST) -> str:
    hasher = hashlib.sha256()
    for piece in _spell(tree):
        hasher.update(piece.encode())
        hasher.update(b"\0")
    return hasher.hexdigest()


def _spell(node: ast.AST) -> Iterator[str]:
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        if name == "body" and _has_docstring(node):
            children = children[1:]
        children = [child for child in children if child is not None]
        if children and name not in ("ctx", "type_comment", "kind"):
            yield name
            for child in children:
                if isinstance(child, ast.AST):
                    yield from _spell(child)
                else:
                    yield f"{type(child).__name__}={child!r}"
    yield "."


def _has_docstring(node: ast.AST) -> bool:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
