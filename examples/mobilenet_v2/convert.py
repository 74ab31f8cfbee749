"""MobileNetV2's weights from a TFLite file, unpacked to an .npz, become a safetensors file for timm's `mobilenetv2_100`.

    python examples/mobilenet_v2/convert.py mobilenet_v2_imagenet_dequant.npz data/weights/mobilenet_v2.safetensors

The .npz holds one `<layer>.weight` and `<layer>.bias` a convolution, batch norms folded in, in the order of the network,
and a classifier of 1001 classes whose first is "background". timm keeps its batch norms: they get the bias, and are the
identity otherwise. Every number of the file is used, but for the background's, and every key of the network is filled.
TensorFlow pads on the right and at the bottom: build the network with `arguments: {pad_type: same}`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from georelay.models.backbones import create_network

NETWORK = "mobilenetv2_100"


def converted(layers: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The state of timm's network; both list their convolutions in the order in which an image passes them."""
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
    return {key: tensor.contiguous() for key, tensor in network.state_dict().items()}


def fill(conv: Any, norm: Any, weight: Tensor, bias: Tensor) -> None:
    """A convolution with a bias as one without, and a norm that adds it."""
    if conv.weight.shape != weight.shape:
        sys.exit(f"the file has a convolution of {tuple(weight.shape)} where {NETWORK} has one of {tuple(conv.weight.shape)}")
    conv.weight.copy_(weight)
    norm.bias.copy_(bias)
    norm.weight.fill_((1 + norm.eps) ** 0.5)  # running mean 0 and variance 1, as they are at first


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    with np.load(options.source, allow_pickle=False) as file:
        state = converted({name: file[name] for name in file.files})
    options.target.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, options.target)
    print(f"{options.target}: {len(state)} tensors, {sum(tensor.numel() for tensor in state.values())} numbers")


if __name__ == "__main__":
    main()
