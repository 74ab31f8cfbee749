"""Settings of a student: its network, its optimisation, its maps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from georelay.settings.base import Count, NonNegative, Positive, Share, Strict


class Model(Strict):
    """The student network."""

    backbone: str = Field(description="a timm model name")
    arguments: dict[str, Any] = Field(description="more arguments for timm, such as patch_size")
    stages: list[Count] = Field(min_length=1, description="which feature stages the decoder reads (timm out_indices)")
    normed: list[Count] = Field(description="blocks of a transformer whose maps pass its final norm")
    positions: Literal["timm", "exact", "dinov2"] = Field(description="how a transformer's position table is resampled")
    neck: list[Annotated[float, Field(gt=0)]] = Field(description="scales of a neck, one a level; none: no neck")
    decoder: Literal[
        "fpn",
        "segformer",
        "uper",
        "dpt",
        "deeplab",
        "hfam-none",
        "hfam-concat",
        "hfam-flow",
        "hfam-biflow",
        "hfam-deformable",
    ]
    width: Positive
    dropout: Share
    weights: str | None = Field(description="file to start from, safetensors or plain torch.save; null is random")


class Train(Strict):
    """Optimisation. `threads` is part of the result: another count gives other bits."""

    steps: Positive
    batch: Positive
    optimizer: Literal["adamw", "sgd"]
    lr: float = Field(gt=0)
    weight_decay: NonNegative
    momentum: Share
    betas: list[Share] = Field(min_length=2, max_length=2)
    schedule: Literal["cosine", "poly", "constant"]
    schedule_count: Literal["mmengine", "mmcv", "late"] = Field(description="whose count of steps: they differ by one")
    power: float = Field(gt=0, description="exponent of the poly schedule")
    poly_begin: Count = Field(description="step at which the poly decay begins")
    warmup_steps: Count
    warmup_start: Share = Field(description="share of lr at the first warm-up step")
    final: Share = Field(description="share of lr at the last step")
    floor: NonNegative = Field(
        description="rate that no decay falls below, whatever a group's own rate (mmcv's min_lr); 0 is off"
    )
    clip: NonNegative = Field(description="gradient norm bound; 0 is off")
    accumulate: Positive
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    ema: Share = Field(description="decay of the averaged student; 0 is off")
    loss_at: Literal["output", "label"] = Field(description="resolution at which the loss is taken")
    threads: Positive
    evaluate_every: Positive
    checkpoint_every: Positive
    device: Literal["auto", "cpu", "cuda"]


class Predict(Strict):
    """Whole-scene inference with overlapping, blended windows."""

    window: Positive
    overlap: Count
    batch: Positive
    multiple: Count = Field(description="windows are brought to sides that are multiples of it, logits back; 0 is off")
    blend: Literal["smooth", "uniform"] = Field(description="where windows overlap: fading, or each the same")
    scales: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1,
        description="of whole scenes, which then lie in memory; the mean of what is answered at each; [1.0]: as they are",
    )
    missing: list[str] = Field(description="inputs that are gone at test time: their mean is shown, no file of theirs is read")
