"""Settings of the random changes of training tiles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from georelay.settings.base import Count, NonNegative, Share, Strict


class Jitter(Strict):
    """Colour jitter of pictures, each factor from 1 - x to 1 + x (hue: turned by up to x of the circle)."""

    chance: Share
    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Photometric(Strict):
    """mmsegmentation's photometric distortion (reflectance)."""

    chance: Share = Field(description="of each part; 0 is off")
    white: float = Field(gt=0, description="physical value that is white")
    brightness: NonNegative = Field(description="added, as a share of white")
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Blur(Strict):
    """Gaussian blur."""

    chance: Share
    sigma: list[NonNegative] = Field(min_length=2, max_length=2, description="least and most, in pixels")


class Strong(Strict):
    """What is done to a strong view on top of the rest, by methods that learn from their own answers to the weak one."""

    gain: NonNegative = Field(description="this and the next four as in augment")
    offset: NonNegative
    noise: NonNegative
    sar_offset: NonNegative
    speckle_looks: NonNegative
    white: float = Field(gt=0, description="physical value that is white to jitter, grey and blur (reflectance)")
    jitter: Jitter
    grey: Share = Field(description="chance that colours go")
    blur: Blur


class Boxes(Strict):
    """CutMix between the strong views of a batch."""

    chance: Share
    area: list[Share] = Field(min_length=2, max_length=2, description="least and most of the image")
    ratio: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2, description="of height to width")


class Moves(Strict):
    """Random geometry of training tiles, which acts on image and label alike."""

    flip: bool
    turn: bool = Field(description="quarter turns")
    crop: Count = Field(description="side in pixels; 0 keeps the tile; larger than the tile where the image is scaled")
    scale: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2)
    scaling: Literal["window", "image", "fit"] = Field(
        description="what is scaled: a window, which never leaves the tile; the whole tile, padded right and below to the crop; "
        "or fit: the whole tile is brought to the crop's side, whatever `scale` says"
    )
    resizing: Literal["pillow", "opencv"] = Field(
        description="how whole tiles are resized: averaged where they shrink, as Pillow does, or sampled, as OpenCV does"
    )
    padding: Literal["mean", "black"] = Field(
        description="what a scaled tile is padded with: the mean, unseen like gaps; or reflectance 0, part of the picture"
    )


class Augment(Moves):
    """Random changes of training tiles: their geometry, and colours of the image alone."""

    crop_share: float = Field(
        gt=0, le=1, description="labelled crops with this share of one class are drawn again, up to ten times; 1 is off"
    )
    target: Moves | None = Field(description="geometry of the target stream; null: as of the others")
    gain: NonNegative = Field(description="sd of a per-band factor (reflectance)")
    offset: NonNegative = Field(description="sd of a per-band offset in sds of the band (reflectance)")
    noise: NonNegative = Field(description="sd of pixel noise in sds of the band (reflectance)")
    sar_offset: NonNegative = Field(description="sd of a per-tile offset in dB")
    speckle_looks: NonNegative = Field(description="looks of extra gamma speckle; 0 is off")
    photometric: Photometric
    strong: Strong
    cutmix: Boxes
