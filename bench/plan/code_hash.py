"""The code behind a stage, as a hash that ignores comments, docstrings, layout and module names.

A stage's code is what its `run` reaches: functions, classes and constants of `bench`, followed by
name through imports. Definitions are numbered in the order in which they are reached, and a
reference is hashed as that number. So moving or renaming a module, reordering imports, or adding a
definition that nothing reaches keeps every hash, and a changed definition changes the hashes of
exactly those stages that reach it. Methods of a class count as a whole.

Statements that define no name (calls, conditions, `TABLE["x"] = 1`) belong to every definition of
their module. Names of other packages are hashed as written in their import ("numpy.mean"). Trees
are walked field by field and empty fields are skipped, since `ast.dump` and `ast.unparse` differ
between Python versions.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.config.plugins import method_module
from bench.config.scoped_cache import once
from bench.errors import BenchError, unknown
from bench.metrics import plugins as metric_plugins

PACKAGE = Path(__file__).parents[1]
SHORT = 12
ENTRY = "run"
EFFECTS = ""  # name of a module's statements that define no name
WHOLE = "*"  # name of a module that is used as a value, with all its definitions

# These plan, read text, find files, raise errors and report progress. What affects a stage is in
# its config, and rewording an error message must not void a week of GPU time.
PLUMBING = (
    "bench.errors",
    "bench.config",
    "bench.data.sources",
    "bench.data.assets",
    "bench.plan",
    "bench.metrics.plugins",
    "bench.models.progress",
)


class Ref(NamedTuple):
    """A definition: a module ("bench.…", a method's name, "metrics/…") and a top-level name."""

    module: str
    name: str


@dataclass(frozen=True)
class Definition:
    """What a definition contributes to a hash.

    Attributes:
        digest: Hash of its statements, with references numbered by first occurrence.
        refs: Those references, in that order.
    """

    digest: str
    refs: tuple[Ref, ...]


@dataclass(frozen=True)
class Scope:
    """The top level of a module.

    Attributes:
        statements: Statements by the name that they define; `EFFECTS` for those without one.
        imports: Dotted target by local name.
    """

    module: str
    statements: Mapping[str, tuple[ast.stmt, ...]]
    imports: Mapping[str, str]
    cache: dict[str, Definition] = field(default_factory=dict)


@once
def module_hash(name: str) -> str:
    """Hash what a module's `run` reaches; without one, all that its definitions reach."""
    return _hash(_entry(name))


def function_hash(reference: str) -> str:
    """Hash what "module:function" reaches, in a method's module or in one of ours."""
    module, _, function = reference.partition(":")
    return _hash(Ref(module, function))


@once
def plugin_hash(module: str) -> str:
    """Hash all that a plug-in's module defines, shortened; "" for a module of this project."""
    if module.startswith("bench."):
        return ""
    if not module.startswith(f"{metric_plugins.FOLDER}/"):
        source = method_module(module).__file__
        if source and Path(source).parent in (PACKAGE / "methods", PACKAGE.parent / "methods"):
            return ""
    return _hash(Ref(module, WHOLE))[:SHORT]


@once
def code_parts(module: str, functions: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Return the hash of what is reached in each module, by module name, shortened."""
    roots = [_entry(module), *(Ref(*reference.split(":", 1)) for reference in functions)]
    parts: dict[str, list[str]] = defaultdict(list)
    for root in roots:
        for ref, definition in _reach(root).items():
            parts[ref.module].append(f"{ref.name} {definition.digest}")
    return {
        name: hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()[:SHORT]
        for name, lines in sorted(parts.items())
    }


@once
def _hash(root: Ref) -> str:
    reached = _reach(root)
    number = {ref: index for index, ref in enumerate(reached)}
    lines = (
        f"{definition.digest} {[number[ref] for ref in definition.refs if ref in number]}"
        for definition in reached.values()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _entry(module: str) -> Ref:
    return Ref(module, ENTRY if ENTRY in _scope(module).statements else WHOLE)


def _reach(root: Ref) -> dict[Ref, Definition]:
    """Return all that a definition reaches, in an order that no module name decides.

    Raises:
        BenchError: The module has no such definition.
    """
    scopes = {root.module: _scope(root.module)}
    if root.name not in (WHOLE, *scopes[root.module].statements):
        raise unknown("function", root.name, scopes[root.module].statements)
    reached: dict[Ref, Definition] = {}
    waiting = [root]
    while waiting:
        ref = waiting.pop()
        if ref in reached:
            continue
        if ref.module not in scopes:
            scopes[ref.module] = _scope(ref.module)
        scope = scopes[ref.module]
        reached[ref] = definition = _definition(scope, ref.name)
        effects = [Ref(ref.module, EFFECTS)] if EFFECTS in scope.statements else []
        waiting.extend(reversed([*definition.refs, *effects]))
    return reached


def _definition(scope: Scope, name: str) -> Definition:
    if name not in scope.cache:
        if name == WHOLE:
            refs = tuple(Ref(scope.module, member) for member in scope.statements if member)
            scope.cache[name] = Definition(WHOLE, refs)
        else:
            scope.cache[name] = _Speller(scope).spell(scope.statements.get(name, ()))
    return scope.cache[name]


class _Speller:
    """Writes statements as a sequence of words, references to definitions as numbers."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.refs: dict[Ref, int] = {}

    def spell(self, statements: tuple[ast.stmt, ...]) -> Definition:
        """Hash statements, and list what they refer to."""
        self.imports = dict(self.scope.imports)
        for statement in statements:
            self.imports |= _imports(ast.walk(statement))
        hasher = hashlib.sha256()
        for statement in statements:
            for word in self.words(statement):
                hasher.update(word.encode() + b"\0")
        return Definition(hasher.hexdigest(), tuple(self.refs))

    def words(self, node: ast.AST) -> Iterator[str]:
        """Yield the words of a node and all below it."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.Name | ast.Attribute):
            resolved = self.resolve(node)
            if resolved is not None:
                yield resolved
                return
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
                        yield from self.words(child)
                    else:
                        yield f"{type(child).__name__}={child!r}"
        yield "."

    def resolve(self, node: ast.Name | ast.Attribute) -> str | None:
        """Return the word of a name that the module defines or imports, else None."""
        path = _split_name(node)
        if path is None:
            return None
        head, *rest = path
        if head in self.imports:
            target = _member(self.imports[head], rest)
        elif head in self.scope.statements:
            target = Ref(self.scope.module, head), rest
        else:
            return None
        if isinstance(target, str):
            return target
        ref, attributes = target
        if ref.module.startswith(PLUMBING):
            return ".".join([ref.name, *attributes])
        number = self.refs.setdefault(ref, len(self.refs))
        return ".".join([f"#{number}", *attributes])


def _split_name(node: ast.AST) -> list[str] | None:
    """Return `a.b.c` as its names; None where it does not begin with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return [node.id, *reversed(names)]


def _member(target: str, attributes: list[str]) -> str | tuple[Ref, list[str]]:
    """Follow a dotted import target and attributes to a definition and what is left of them.

    Returns:
        The definition with the attributes that are looked up in it, or the full dotted name where
        it belongs to another package.
    """
    names = [*target.split("."), *attributes]
    if names[0] != "bench":
        return ".".join(names)
    module, rest = names[0], names[1:]
    while rest and _path(f"{module}.{rest[0]}").is_file():
        module, rest = f"{module}.{rest[0]}", rest[1:]
    if not rest:
        return Ref(module, WHOLE), []
    scope = _scope(module) if not module.startswith(PLUMBING) else None
    if scope is not None and rest[0] in scope.imports and rest[0] not in scope.statements:
        return _member(scope.imports[rest[0]], rest[1:])
    return Ref(module, rest[0]), rest[1:]


def _path(module: str) -> Path:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _scope(module: str) -> Scope:
    """Return a module's top level, of the file as it is now."""
    if module.partition(".")[0] == "bench":
        path = _path(module)
    elif module.startswith(f"{metric_plugins.FOLDER}/"):
        path = metric_plugins.find_plugin(module)
    else:
        source = method_module(module).__file__
        assert source is not None
        path = Path(source)
    state = path.stat()
    return _cached_scope(module, path, state.st_mtime_ns, state.st_size)


@cache
def _cached_scope(module: str, path: Path, *_state_that_voids: int) -> Scope:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise BenchError(f"{path} does not parse: {error.msg}, line {error.lineno}.") from error
    statements: dict[str, list[ast.stmt]] = defaultdict(list)
    body = tree.body[1:] if _has_docstring(tree) else tree.body
    for node in body:
        for name in _defined_names(node):
            statements[name].append(node)
    statements.pop("__all__", None)
    outside = [node for node in body if not isinstance(node, _BLOCKS)]
    imports = _imports(child for node in outside for child in ast.walk(node))
    return Scope(module, {name: tuple(nodes) for name, nodes in statements.items()}, imports)


_BLOCKS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _defined_names(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines, `EFFECTS` if it does more than define."""
    if isinstance(node, _BLOCKS):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return []
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        names = [child for target in node.targets for child in _targets(target)]
        if all(isinstance(name, ast.Name) for name in names):
            return [name.id for name in names if isinstance(name, ast.Name)]
    for_types = (
        isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse
    )
    return [] if for_types else [EFFECTS]


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _targets(element)
    else:
        yield target


def _imports(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Map the local names of import statements among the nodes to their dotted targets."""
    imports: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    imports[alias.asname] = alias.name
                else:
                    head = alias.name.partition(".")[0]
                    imports[head] = head
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return imports


def _has_docstring(node: ast.AST) -> bool:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
