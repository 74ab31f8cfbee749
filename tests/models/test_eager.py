"""The import remedies, in a fresh process: what they promise can only be seen before the first import."""

from __future__ import annotations

import subprocess
import sys

IMPORT = """
import sys, torch
from georelay.models.eager import without_compiler, define_missing_operators
import georelay.models.backbones as backbones
"""


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", IMPORT + code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_training_never_imports_the_compiler_which_works_later_and_operators_are_defined_once() -> None:
    code = """
from georelay.models import eager
before = list(eager._definitions)
define_missing_operators()  # a second definition would raise
print(eager._definitions == before, hasattr(torch.ops.torchvision, "nms"))
net = backbones.timm.create_model("test_resnet", in_chans=4, num_classes=3)
with without_compiler():
    optimiser = torch.optim.AdamW(net.parameters(), fused=True)
for _ in range(2):
    net(torch.ones(2, 4, 32, 32)).sum().backward()
    with without_compiler():
        optimiser.step()
        optimiser.zero_grad()
print("imported" if any(name.startswith("torch._dynamo") for name in sys.modules) else "absent")
print(torch.compile(lambda x: 2 * x + 1, backend="eager")(torch.ones(2)).tolist())
with without_compiler():
    import torch._dynamo
    print("real" if hasattr(torch._dynamo, "optimize") else "stand-in")
    optimiser.step()
"""
    assert run(code).splitlines() == ["True True", "absent", "[3.0, 3.0]", "real"]
