"""Imports that would fail or idle: timm next to a torchvision that does not fit, and torch's compiler, which is not used.

Both remedies do nothing where they are not needed, and leave nothing behind in `sys.modules`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"
# torch.library forgets what it defined when the object dies.
_definitions: list[torch.library.Library] = []


def define_missing_operators() -> None:
    """Let `import torchvision` work where its compiled half does not load.

    pip may pair a CPU torch with a CUDA build of torchvision. That one still imports (timm needs no more of it) once
    the two operators it decorates at import have a schema; where they are registered already, nothing is done.
    """
    try:
        import_module("torchvision.extension")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    else:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _definitions.append(library)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside the block, code that merely asks torch's compiler to stay away gets that answer without importing it.

    torchvision, timm's decorators and every optimiser step do so; the import takes 4 s of CPU. When the compiler is
    already there it is used. After the block it is importable as ever; what was decorated inside runs uncompiled.
    """
    if COMPILER in sys.modules:
        yield
        return
    stand_ins = {COMPILER: _stand_in(), f"{COMPILER}.utils": ModuleType(f"{COMPILER}.utils")}
    stand_ins[f"{COMPILER}.utils"].is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _stand_in() -> ModuleType:
    module = ModuleType(COMPILER)
    module.__path__ = []
    for name, answer in {"disable": _unchanged, "graph_break": _nothing, "mark_static_address": _nothing}.items():
        setattr(module, name, answer)
    return module


def _unchanged(function: Callable[..., Any] | None = None, *args: Any, **options: Any) -> Any:
    return function if function is not None else _unchanged


def _nothing(*args: Any, **options: Any) -> None:
    return None
