"""Digests of our own code: the syntax trees of the Python files that a stage imports, so comments do not count."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Iterator

from georelay.files import digest

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name
# They word messages, draw bars and check settings; what they decide stands in the plan as values.
WITHOUT_EFFECT = frozenset({f"{NAME}.errors", f"{NAME}.progress", f"{NAME}.methods.options"})


@lru_cache(maxsize=None)
def code_digest(roots: tuple[str, ...]) -> str:
    """Digest of all modules of ours that `roots` import, directly or not, anywhere in their text."""
    return digest({module: _tree_digest(path) for module, path in sorted(_closure(roots).items())})


def _closure(roots: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        path = _module_path(module)
        if module in found or module in WITHOUT_EFFECT or path is None:
            continue
        found[module] = path
        waiting.extend(imports(path))
    return found


@lru_cache(maxsize=None)
def _module_path(module: str) -> Path | None:
    """The file of one of our modules; None for other people's and for names inside a module."""
    if module.split(".")[0] != NAME:
        return None
    base = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=None)
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@lru_cache(maxsize=None)
def imports(path: Path) -> tuple[str, ...]:
    """Modules of ours that a file imports, those inside functions too; packages on the way are included."""
    return tuple(sorted({name for node in ast.walk(_tree(path)) for name in _imported(node) if name.startswith(NAME)}))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


@lru_cache(maxsize=None)
def _tree_digest(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
