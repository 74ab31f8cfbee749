"""Digests of our own code: the syntax trees of the Python files that a stage imports, so comments do not count.

Parsing all of them takes 0.4 s, which every look at the workflow would pay; what a file's text amounts to is
therefore noted in `.georelay/code.json`, by the digest of that text.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from georelay.files import digest, write_text

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name
NOTES = Path(".georelay/code.json")
# They word messages, draw bars and check settings; what they decide stands in the plan as values.
WITHOUT_EFFECT = frozenset({f"{NAME}.errors", f"{NAME}.progress", f"{NAME}.methods.options"})


class Facts(NamedTuple):
    """What a file's text amounts to."""

    tree: str
    imports: tuple[str, ...]


def code_digest(roots: tuple[str, ...]) -> str:
    """Digest of all modules of ours that `roots` import, directly or not, anywhere in their text."""
    return digest(module_digests(roots))


@cache
def module_digests(roots: tuple[str, ...]) -> dict[str, str]:
    """The same, of each module."""
    notes = _read_notes()
    before = len(notes)
    trees = {module: facts.tree for module, facts in sorted(_closure(roots, notes).items())}
    if len(notes) > before:
        _write_notes(notes)
    return trees


def imports(path: Path) -> tuple[str, ...]:
    """Modules of ours that a file imports, those inside functions too; packages on the way are included."""
    return _facts(path, {}).imports


def _closure(roots: tuple[str, ...], notes: dict[str, Facts]) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        path = _module_path(module)
        if module in found or module in WITHOUT_EFFECT or path is None:
            continue
        found[module] = _facts(path, notes)
        waiting.extend(found[module].imports)
    return found


def _facts(path: Path, notes: dict[str, Facts]) -> Facts:
    text = path.read_bytes()
    key = hashlib.sha256(text).hexdigest()
    if key not in notes:
        tree = ast.parse(text, filename=str(path))
        names = {name for node in ast.walk(tree) for name in _imported(node) if name.split(".")[0] == NAME}
        notes[key] = Facts(_tree_digest(tree), tuple(sorted(names)))
    return notes[key]


def _tree_digest(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _read_notes() -> dict[str, Facts]:
    """What earlier commands noted; nothing where the file is missing, broken, or from another Python's syntax trees."""
    try:
        notes = json.loads(NOTES.read_text())
        known = notes["files"] if notes["python"] == platform.python_version() else {}
        return {key: Facts(tree, tuple(names)) for key, (tree, names) in known.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_notes(notes: dict[str, Facts]) -> None:
    # A checkout that cannot be written to is no reason to fail: the notes only save time.
    try:
        write_text(NOTES, json.dumps({"python": platform.python_version(), "files": notes}))
    except OSError:
        return


@cache
def _module_path(module: str) -> Path | None:
    """The file of one of our modules; None for other people's and for names inside a module."""
    if module.split(".")[0] != NAME:
        return None
    base = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


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
