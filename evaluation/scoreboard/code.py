"""Which code a figure came from: a hash of the definitions behind it, blind to comments, docstrings and all other code."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OUTSIDE = ("pipelines", "cli", "train", "augment.presets", "evaluation.scoreboard", "evaluation.ablate", "evaluation.command",
           "models.published", "models.training.process", "models.training.stopping", "models.training.checkpoint",
           "models.training.errors", "models.training.saving", "models.training.resuming", "models.training.staging",
           "models.training.parts")
"""Not looked into: what only shows, saves or starts; the pipelines, whose order and pixels tests hold to the bit; presets,
since a cell's configuration has its whole recipe."""

Definition = tuple[str, str]
"""(module, name): ("models.simclr", "SimCLR"), modules without the package's name."""


def code_of(definitions: Iterable[Definition]) -> str:
    """A hash of these definitions and of all that they use within the package, however far. It changes with what the code
    does, not with comments, docstrings, annotations of functions, layout, or what nobody here uses.
    Raises ValueError for a definition that is not there."""
    digest = blake2b(digest_size=8)
    for module, name in sorted(reached(definitions)):
        digest.update(f"{module}.{name}\n{_read(module).essence(name)}\n".encode())
    return digest.hexdigest()


def reached(definitions: Iterable[Definition]) -> set[Definition]:
    """The definitions and all that they use."""
    found: set[Definition] = set()
    todo = [_settled(module, name) for module, name in definitions]
    missing = [each for each, settled in zip(definitions, todo, strict=True) if settled is None]
    if missing:
        raise ValueError(f"there is no {missing[0][1]} in {missing[0][0]}")
    while todo:
        each = todo.pop()
        if each is None or each in found or _outside(each[0]):
            continue
        found.add(each)
        module = _read(each[0])
        todo += [used for name in module.used_by(each[1]) for used in module.resolve(*name)]
        todo += [(each[0], "")] if module.loose else []
    return found


def _outside(module: str) -> bool:
    return any(module == out or module.startswith(f"{out}.") for out in OUTSIDE)


def _settled(module: str, name: str) -> Definition | None:
    """Where a name is defined, through whatever hands it on."""
    if _outside(module) or not _is_module(module):
        return None
    there = _read(module)
    if name == "" or name in there.statements:
        return module, name
    if name in there.imports:
        source, original = there.imports[name]
        return _settled(source, original)
    return None


@dataclass
class _Module:
    """statements: of each name, those at the top of the file that bind it; loose: those that bind none and run on import;
    imports: of each name, (module, name there), at the top or inside functions."""

    name: str
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)
    imports: dict[str, Definition] = field(default_factory=dict)
    _essences: dict[str, str] = field(default_factory=dict, repr=False)
    _used: dict[str, tuple[tuple[str, str | None], ...]] = field(default_factory=dict, repr=False)

    def essence(self, name: str) -> str:
        if name not in self._essences:
            self._essences[name] = "\n".join(ast.dump(statement) for statement in (self.statements[name] if name else self.loose))
        return self._essences[name]

    def used_by(self, name: str) -> tuple[tuple[str, str | None], ...]:
        """(name, attribute of it or None) of all that a definition mentions."""
        if name not in self._used:  # most of the code is behind every cell
            self._used[name] = tuple(dict.fromkeys(self._mentioned(name)))
        return self._used[name]

    def _mentioned(self, name: str) -> Iterator[tuple[str, str | None]]:
        for statement in self.statements[name] if name else self.loose:
            for node in ast.walk(statement):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    yield node.value.id, node.attr
                elif isinstance(node, ast.Name):
                    yield node.id, None

    def resolve(self, name: str, attribute: str | None) -> list[Definition]:
        if name in self.statements:
            return [(self.name, name)]
        if name not in self.imports:
            return []
        module, original = self.imports[name]
        inner = f"{module}.{original}"
        if _is_module(inner) and not _outside(inner):  # a module by its own name: of it, what is asked for
            settled = _settled(inner, attribute) if attribute else None
            return [settled] if settled else []
        settled = _settled(module, original)
        return [settled] if settled else []


@cache
def _read(name: str) -> _Module:
    path = _path(name)
    assert path is not None
    module, tree = _Module(name), _stripped(ast.parse(path.read_text()))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            words = (node.module or "").split(".")
            if not node.level and words[0] != "viewmill":
                continue
            source = ".".join([*base, *(words if node.level else words[1:])]).strip(".")
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (source, alias.name)
    for statement in tree.body:
        bound = _bound(statement)
        for each in bound:
            module.statements.setdefault(each, []).append(statement)
        if not bound and not isinstance(statement, ast.Import | ast.ImportFrom):
            module.loose.append(statement)
    return module


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else (
        [statement.target] if isinstance(statement, ast.AnnAssign | ast.AugAssign) else [])
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])]
    return [part.id for part in parts if isinstance(part, ast.Name)]  # an entry or an attribute binds no name: it is loose


def _stripped(tree: ast.Module) -> ast.Module:
    """Without docstrings, the bare strings that describe a constant, and annotations of functions."""
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not _is_text(each)]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str))


def _path(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def _is_module(name: str) -> bool:
    return _path(name) is not None
