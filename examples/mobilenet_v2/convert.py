"""MobileNetV2's weights from a TFLite file, unpacked to an .npz, become a safetensors file for timm's `mobilenetv2_100`.

    python examples/mobilenet_v2/convert.py mobilenet_v2_imagenet_dequant.npz data/weights/mobilenet_v2.safetensors
    python examples/mobilenet_v2/convert.py mobilenet_v2_imagenet_dequant.npz data/weights/mobilenet_v2_start.safetensors \
        --images data/raw/mine/train-*/optical.tif

The .npz holds one `<layer>.weight` and `<layer>.bias` a convolution, batch norms folded in, in the order of the network,
and a classifier of 1001 classes whose first is "background". timm keeps its batch norms: they get the bias, and are the
identity otherwise. Every number of the file is used, but for the background's, and every key of the network is filled.
TensorFlow pads on the right and at the bottom: build the network with `arguments: {pad_type: same}`.

A frozen teacher needs no more. A student that is trained on does: it normalises by the statistics of its batches, which undoes
an identity. With `--images` the norms are told what they meet on some pictures (8-bit red, green, blue; no labels are read),
and scale and shift so that the network still answers the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from georelay.geo.raster import open_grid, read_window
from georelay.models.backbones import create_network

NETWORK = "mobilenetv2_100"


def converted(layers: Mapping[str, np.ndarray], images: Sequence[Tensor] = ()) -> dict[str, Tensor]:
    """The state of timm's network; both list their convolutions in the order in which an image passes them.

    `images` (1, 3, H, W) are values from -1 to 1 on which its norms are measured.
    """
    network = create_network(NETWORK, {"pad_type": "same"})
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in layers))
    *convolutions, classifier = [(layers[f"{name}.weight"], layers[f"{name}.bias"]) for name in names]
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    pairs = [(conv, norm) for conv, norm in pairwise(modules) if isinstance(conv, nn.Conv2d)]
    with torch.no_grad():
        for (conv, norm), (weight, bias) in zip(pairs, convolutions, strict=True):
            fill(conv, norm, torch.from_numpy(weight), torch.from_numpy(bias))
        weight, bias = (torch.from_numpy(values[1:]) for values in classifier)  # without the background
        network.classifier.weight.copy_(weight.flatten(1))
        network.classifier.bias.copy_(bias)
        if images:
            measure(network.eval(), images)
    return {key: tensor.contiguous() for key, tensor in network.state_dict().items()}


def fill(conv: Any, norm: Any, weight: Tensor, bias: Tensor) -> None:
    """A convolution with a bias as one without, and a norm that adds it."""
    if conv.weight.shape != weight.shape:
        sys.exit(f"the file has a convolution of {tuple(weight.shape)} where {NETWORK} has one of {tuple(conv.weight.shape)}")
    conv.weight.copy_(weight)
    norm.bias.copy_(bias)
    norm.weight.fill_((1 + norm.eps) ** 0.5)  # running mean 0 and variance 1, as they are at first


def measure(network: nn.Module, images: Sequence[Tensor]) -> None:
    """Give every norm the mean and spread of what it meets, and scale and shift that leave its answers as they are."""
    met: dict[Any, list[Tensor]] = {module: [] for module in network.modules() if isinstance(module, nn.BatchNorm2d)}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1).double()
        met[norm].append(torch.stack([values.mean(1), values.square().mean(1)]))

    hooks = [norm.register_forward_pre_hook(look) for norm in met]
    for image in images:
        network(image)
    for norm, found in met.items():
        mean, square = torch.stack(found).mean(0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(square - mean**2)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)
    for hook in hooks:
        hook.remove()


def picture(path: Path) -> Tensor:
    """An 8-bit picture as the network knows it: x / 127.5 - 1."""
    grid = open_grid(path)
    return torch.from_numpy(read_window(path, 0, 0, grid.height, grid.width).astype(np.float32))[None] / 127.5 - 1


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--images", type=Path, nargs="+", default=[], help="pictures on which the norms are measured")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same sums however many cores there are
    images = [picture(path) for path in options.images]
    with np.load(options.source, allow_pickle=False) as file:
        state = converted({name: file[name] for name in file.files}, images)
    options.target.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, options.target)
    print(f"{options.target}: {len(state)} tensors, {sum(tensor.numel() for tensor in state.values())} numbers")


if __name__ == "__main__":
    main()
