"""Code digests: comments and docstrings do not count, imports anywhere in the text do."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from georelay import codebase

SOURCE = Path(codebase.__file__).parent

# The order in which packages may import each other; a package sees itself and what stands before it.
LAYERS = [
    {"errors"},
    {"files", "domains"},
    {"progress", "settings", "reference"},
    {"methods.options", "download.wanted", "report.gallery"},
    {"geo"},
    {"datasets"},
    {"params", "codebase"},
    {"plan", "cache", "stage"},
    {"stages", "changes"},
    {"outlook"},
    {"estimate"},
    {"download"},
    {"sources"},
    {"tiles"},
    {"batches"},
    {"models"},
    {"teachers"},
    {"methods"},
    {"train"},
    {"evaluate"},
    {"report"},
    {"track"},
    {"commands", "arguments"},
    {"cli"},
    {"__main__"},
]
OWNERS = {
    "timm": ("models/backbones.py",),
    "rasterio": ("geo/raster.py", "geo/vector.py"),
    "pyogrio": ("geo/vector.py",),
    "mlflow": tuple(f"track/{name}.py" for name in ("store", "server", "database", "live", "registry", "mlflow")),
    "requests": ("download/web.py",),
}
TILE_LIBRARIES = {"zarr", "xarray", "dask"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "georelay"
    (folder / "methods").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "loop.py": "def go():\n    from georelay import files\n",
        "files.py": "X = 1\n",
        "methods/__init__.py": "",
        "methods/a.py": "import georelay.loop\n",
        "methods/b.py": "import os\n",
        "cli.py": "import georelay.loop\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(codebase, "PACKAGE", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def fresh(roots: tuple[str, ...]) -> str:
    codebase._module_path.cache_clear()
    codebase.module_digests.cache_clear()
    return codebase.code_digest(roots)


def test_only_what_a_root_imports_changes_its_digest(package: Path) -> None:
    before = {root: fresh((root,)) for root in ("georelay.methods.a", "georelay.methods.b")}
    (package / "files.py").write_text("X = 2\n")
    assert fresh(("georelay.methods.a",)) != before["georelay.methods.a"], "imported inside a function of an import"
    assert fresh(("georelay.methods.b",)) == before["georelay.methods.b"]
    (package / "cli.py").write_text("import georelay.loop, georelay.methods.b\n")
    assert fresh(("georelay.methods.b",)) == before["georelay.methods.b"]


def test_comments_and_docstrings_do_not_count_but_values_do(package: Path) -> None:
    before = fresh(("georelay.files",))
    (package / "files.py").write_text('"""What this is."""\n\n# why\nX = 1  # one\n')
    assert fresh(("georelay.files",)) == before
    (package / "files.py").write_text("X = 1.0\n")
    assert fresh(("georelay.files",)) != before


@pytest.mark.parametrize("spoil", ["{", '{"python": "2.7.18", "files": {}}', '{"python": 3}'])
def test_notes_save_time_and_decide_nothing(package: Path, tmp_path: Path, spoil: str) -> None:
    before = fresh(("georelay.methods.a",))
    notes = tmp_path / codebase.NOTES
    assert notes.is_file() and fresh(("georelay.methods.a",)) == before
    notes.write_text(spoil)
    assert fresh(("georelay.methods.a",)) == before
    notes.unlink()
    assert fresh(("georelay.methods.a",)) == before


def layer_of(module: str) -> int | None:
    for index, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return index
    return None


def test_packages_import_only_what_stands_before_them() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        here = layer_of(module)
        for name in codebase.imports(path):
            if (SOURCE.parent / name.replace(".", "/")).is_dir():
                continue  # a package on the way to one of its modules
            there = layer_of(name.removeprefix("georelay."))
            if here is not None and there is not None and there > here and module != "__init__":
                wrong.append(f"{module} imports {name}")
    assert not wrong


def imported_libraries(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_benchmarks_import_what_there_is() -> None:
    """No other check runs them, and what they import may move."""
    for path in (SOURCE.parents[1] / "benchmarks").rglob("*.py"):
        for module, name in _taken(path):
            found = importlib.import_module(module)
            assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{path}: {module}.{name}"


def _taken(path: Path) -> list[tuple[str, str]]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in nodes if str(node.module).startswith("georelay") for alias in node.names]


def test_every_heavy_library_has_one_owner() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        libraries = imported_libraries(path)
        wrong += [f"{name}: {library}" for library, owners in OWNERS.items() if library in libraries and name not in owners]
        wrong += [f"{name}: {library}" for library in libraries & TILE_LIBRARIES if not name.startswith("tiles/")]
    assert not wrong
