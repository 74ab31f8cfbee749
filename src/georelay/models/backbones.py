"""Feature extractors: any timm network, any number of bands, maps at several strides. The only module importing timm.

Mix Transformers, which timm lacks, are made known to it as mit_b0 to mit_b5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.errors import UserError, suggestion
from georelay.models.eager import define_missing_operators, without_compiler
from georelay.models.mit import SIZES, MixTransformer

with without_compiler():
    define_missing_operators()
    import timm

# Vision transformers are built for one image size; this makes them take any. Other networks refuse the word.
ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True}
TIMM_BANDS = 3  # what timm can adapt a first convolution from


class Backbone(nn.Module):
    """A timm network that answers an image with a list of maps, finest first.

    `channels[i]` and `strides[i]` describe map i. An image that the largest stride does not divide is padded on the
    right and at the bottom, whatever the network would do, and its maps overhang it there. A vision transformer gives
    maps of one stride.
    """

    def __init__(self, name: str, stages: Sequence[int], in_channels: int, arguments: Mapping[str, Any] = {}) -> None:
        super().__init__()
        self.net = _create(name, stages, in_channels, arguments)
        self.channels: list[int] = self.net.feature_info.channels()
        self.strides: list[int] = self.net.feature_info.reduction()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of a normalised image (B, bands, H, W)."""
        over_y, over_x = (-size % self.strides[-1] for size in image.shape[-2:])
        maps: list[Tensor] = self.net(F.pad(image, (0, over_x, 0, over_y)) if over_y or over_x else image)
        return maps


def create_network(name: str, arguments: Mapping[str, Any]) -> Any:
    """A whole timm network with random weights, its own band count and classifier, for images of any size where it can."""
    _require_known(name, "teacher.network")
    try:
        return _any_size(name, {"pretrained": False, **arguments})
    except TypeError as error:
        raise UserError(f"{name} refuses its arguments ({error})", "teacher.arguments") from error


def transformer_block(width: int, heads: int, mlp_ratio: float, eps: float, layer_scale: float) -> nn.Module:
    """timm's pre-norm block: x + attention(norm x), then x + MLP(norm x); attention is fused where torch can.

    The norm's eps is said here because timm's own has changed, from 1e-5 to 1e-6 in 1.0.16.
    """
    from timm.models.vision_transformer import Block

    norm: Any = partial(nn.LayerNorm, eps=eps)
    return Block(width, heads, mlp_ratio, qkv_bias=True, init_values=layer_scale or None, norm_layer=norm)


def hub_repository(name: str) -> str:
    """Where on the Hugging Face hub the weights of a timm name lie."""
    _require_known(name, "teacher.network")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"timm names no weights for {name}", "teacher.network", "give a file instead: `origin: file`")
    return str(config.hf_hub_id)


def band_count(net: Any) -> int:
    """How many bands a network reads."""
    return int(_stem(net).in_channels)


def stem_keys(net: nn.Module) -> list[str]:
    """The keys of the first convolution's numbers in the state of a network, or of a part of one under changed names."""
    place, stem = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    return [f"{place}.{key}" for key in stem.state_dict()]


def adapt_stem(net: Any, bands: int) -> str:
    """Give the first convolution another number of bands as timm does; the sentence that says what was done.

    Sensible for bands that look like those of the weights (RGB and near infrared), a mere start for others (SAR).
    """
    stem = _stem(net)
    own = stem.in_channels
    if own == bands:
        return ""
    if own != TIMM_BANDS:
        raise UserError(f"a stem of {own} bands cannot be adapted to {bands}", "teacher.bands", "name the bands it was made for")
    weight = timm.models.adapt_input_conv(bands, stem.weight.detach())
    stem.weight, stem.in_channels = nn.Parameter(weight, stem.weight.requires_grad), bands
    how = "summed into one" if bands == 1 else f"{'cut' if bands < own else 'repeated'} to {bands}, times {own}/{bands}"
    return f"the stem's {own} bands are {how}"


def _mix_transformer(name: str) -> Callable[..., Any]:
    """What timm calls to make one; it may ask for feature maps as of its own networks."""
    widths, depths = SIZES[name]

    def entry(pretrained: bool = False, **options: Any) -> Any:
        options |= {"pretrained_cfg": {"architecture": name, "num_classes": 0, "first_conv": "stages.0.embed.proj"}}
        features = {"out_indices": tuple(range(len(widths))), "flatten_sequential": True}
        build: Any = timm.models.build_model_with_cfg
        return build(MixTransformer, name, pretrained, feature_cfg=features, widths=widths, depths=depths, **options)

    entry.__name__ = name
    return entry


for _name in SIZES:
    timm.models.register_model(_mix_transformer(_name))


def _require_known(name: str, where: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(f'unknown network "{architecture}"', where, suggestion(architecture, timm.list_models()))
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(f'timm knows no weights "{tag}" of {architecture}', where, suggestion(tag, tags))


def _stem(net: Any) -> Any:
    path = net.pretrained_cfg.get("first_conv")
    stem = net.get_submodule(path) if isinstance(path, str) else None
    if not isinstance(stem, nn.Conv2d):
        raise UserError("the first layer is no single convolution, its bands are fixed", "teacher.network")
    return stem


def _create(name: str, stages: Sequence[int], in_channels: int, arguments: Mapping[str, Any]) -> Any:
    if not timm.is_model(name):
        raise UserError(f'unknown backbone "{name}"', "model.backbone", suggestion(name, timm.list_models()))
    options = {"pretrained": False, "features_only": True, "in_chans": in_channels, "out_indices": tuple(stages)}
    options |= arguments
    try:
        return _any_size(name, options)
    except (IndexError, AssertionError) as error:
        known = _stage_count(name)
        raise UserError(f"{name} has stages 0 to {known - 1}, not {list(stages)}", "model.stages") from error
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"{name} cannot give feature maps ({error})", "model.backbone", "choose another timm network") from error


def _any_size(name: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, **options, **ANY_SIZE)
    except TypeError:
        return timm.create_model(name, **options)


def _stage_count(name: str) -> int:
    """How many maps a network can give; nothing is computed on the meta device."""
    with torch.device("meta"):
        model: Any = timm.create_model(name)
        return len(model.feature_info)
