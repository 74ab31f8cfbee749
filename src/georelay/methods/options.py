"""The table of methods, and the settings of each. Light: no torch, so that settings can be checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from georelay.settings.base import Strict


class Supervised(Strict):
    """Cross-entropy on labelled tiles, and nothing else."""

    label_smoothing: float = Field(ge=0, lt=1, description="share of the target spread evenly over all classes")


class Pretext(Strict):
    """A paired raster told from an image of which parts are hidden: how the embedded teachers are taught."""

    targets: list[str] = Field(min_length=1, description="bands of the pair")
    edges: list[float] = Field(description="between the levels of a target that are told apart, in its sds; none: regression")
    masked: float = Field(ge=0, lt=1, description="share of the image's blocks that are hidden")
    block: int = Field(gt=0, description="side of a hidden block in pixels")
    band_dropout: float = Field(ge=0, lt=1, description="chance that a band is hidden, in half of the images")


class Distil(Strict):
    """Cross-entropy on labelled tiles, and features of frozen teachers on all tiles."""

    weight: float = Field(ge=0, description="of the mean squared error to each teacher's standardised maps")
    unlabelled: bool = Field(description="also on a batch of unlabelled tiles, where most of the gain is")


class Modulation(Strict):
    """KTDA's FMM; docs/ktda.md has the public code's values."""

    kind: Literal["none", "mlp", "vit"] = Field(description="none: no modulation; vit: transformer blocks")
    depth: int = Field(gt=0, description="blocks a level")
    rank_dim: int = Field(gt=0, description="mlp: the middle layer has channels // rank_dim")
    residual: bool = Field(description="mlp: add to the features (ours) or replace them (public code)")
    heads: int = Field(gt=0, description="vit: of the attention")
    mlp_ratio: float = Field(gt=0, description="vit: width of the middle layer over channels")
    eps: float = Field(gt=0, description="vit: of the norms")
    layer_scale: float = Field(ge=0, description="vit: first value of the branches' factors; 0 is none")
    position: Literal["after_neck", "before_neck"] = Field(description="of FMM; before: fewer cells attend to each other")


class Auxiliary(Strict):
    """FCN heads on maps that the decoder reads, in training only; their mean counts `weight`."""

    levels: list[int] = Field(description="one head each, 0 is the finest")
    weight: float = Field(ge=0, description="of the mean of their losses; 0: no heads")
    width: int = Field(gt=0, description="of their hidden layer")


class Focal(Strict):
    """A sigmoid focal loss beside the cross-entropy."""

    weight: float = Field(ge=0, description="0 is off")
    gamma: float = Field(ge=0, description="how much pixels that are told well count less")
    alpha: float = Field(ge=0, le=1, description="weight of a class's own pixels, 1 - alpha of the others")


class Divergence(Strict):
    """How two maps are compared: alpha * KL + (1 - alpha) * MSE."""

    alpha: float = Field(ge=0, le=1, description="share of the KL divergence, the rest is the squared error")
    temperature: float = Field(gt=0, description="that maps are divided by before the softmax")
    axis: Literal["channel", "spatial", "width"] | None = Field(description="of the softmax; null: the mode's")
    reduction: Literal["distributions", "batch"] | None = Field(description="what the sum is divided by; null: the mode's")


class Ktda(Strict):
    """Feature alignment to a frozen teacher and feature modulation (arXiv 2412.06664)."""

    channels: int | list[int] = Field(description="of FAM's maps: the widths of the teacher's taps")
    stride: int | list[int] = Field(description="image pixels per cell of FAM's maps: the strides of the teacher's taps")
    fuse: bool = Field(description="sum the aligned levels into one, the teacher's too")
    output_norm: bool = Field(description="a LayerNorm behind every stage of the backbone, as for the paper's ConvNeXt")
    freeze_backbone: bool = Field(description="keep the backbone as it starts")
    modulation: Modulation = Field(description="FMM")
    auxiliary: Auxiliary = Field(description="heads beside the decoder")
    focal: Focal = Field(description="a loss beside the cross-entropy")
    kd_mode: Literal["channel", "spatial", "official"] = Field(description="what is a distribution; docs/ktda.md argues it")
    kd: Divergence = Field(description="the terms of the distillation loss")
    distill_weight: float = Field(ge=0, description="of the distillation loss; 0 leaves the teacher out")
    supervised_weight: float = Field(ge=0, description="of all other losses together: 1, but for matched controls")
    second_forward: Literal["none", "official"] = Field(description="official: distil from a second pass of the student")
    unlabelled: bool = Field(description="also distil on a batch of unlabelled tiles (ours)")
    divide_by: Literal["counted", "all"] = Field(description="cross-entropy: mean over labelled pixels, or all (public code)")
    decay_norms: bool = Field(description="weight decay for LayerNorms too")


class Transfer(Supervised):
    """A teacher's own network under a fresh decoder, or with its own classifier."""

    frozen: bool = Field(description="false: it is trained on with the decoder")
    whole: bool = Field(description="the teacher answers by its own classifier; frozen, too, nothing is trained: `steps: 1`")


class HardExamples(Strict):
    """Only the pixels that are told worst teach (OHEM)."""

    threshold: float = Field(gt=0, le=1, description="highest probability of the true class that still counts")
    least: int = Field(ge=0, description="pixels that count at least; 0 switches it off")


class FixMatch(Strict):
    """Labels, and one's own sure answers to a weak view as labels of a strong one."""

    threshold: float = Field(ge=0, le=1, description="how sure an answer must be")
    decay: float = Field(ge=0, lt=1, description="of the averaged student that answers")
    tested: Literal["student", "average"] = Field(description="which of the two is saved and scored")
    supervised_weight: float = Field(ge=0, description="of the labelled loss")
    consistency_weight: float = Field(ge=0, description="of the loss on strong views")
    hard: HardExamples = Field(description="of the labelled loss")
    head_rate: float = Field(gt=0, description="learning rate of all but the backbone, as a multiple")


class UniMatch(FixMatch):
    """FixMatch with two strong views, which share the channels of the features between them (UniMatch V2)."""

    dropout: float = Field(ge=0, le=1, description="share of the samples whose channels are shared out")


class Mtdf(FixMatch):
    """FixMatch with several frozen teachers, told in their words and those words fused into the student (RS-MTDF)."""

    distill_weight: float = Field(ge=0, description="of the mean error to all teachers")
    hidden: int = Field(gt=0, description="width of a translator's middle layer")
    own: float = Field(ge=0, description="share of the student's own map in the fused one")
    share: float = Field(ge=0, description="share of each teacher's words")
    fusion: Literal["sum", "attention", "attention-to-resized", "none"] = Field(
        description="how words come back: summed; attended to, all or those of teachers with a size of their own; not at all"
    )
    place: Literal["encoder", "decoder"] = Field(description="what is translated: the deepest map, or what the classifier reads")
    student_view: Literal["resized", "shared"] = Field(
        description="for a teacher with a size of its own: another pass at that size (public code), or the same map"
    )
    error: Literal["mse", "affinity", "mmd"] = Field(description="mmd: beside the squared error")


class StyleWeights(Strict):
    """Weights of classes in the cross-entropy of each style's decoder; null: all 1."""

    source: list[float] | None
    target: list[float] | None


class Adversary(Strict):
    """The discriminators: what they look at, how they are built, how they learn."""

    level: int = Field(description="which of the backbone's maps they see; -1 is the last")
    halvings: int = Field(ge=0, description="convolutions of stride 2")
    width: int = Field(gt=0, description="channels of the first convolution")
    lr: float = Field(gt=0, description="of their own Adam")
    betas: list[float] = Field(min_length=2, max_length=2)


class StDaSegNet(Strict):
    """Self-training guided disentangled adaptation: two styles, two decoders, two discriminators (ST-DASegNet)."""

    gate: bool = Field(description="the styles share out each channel between them")
    universal: bool = Field(description="what both styles share, behind the last stage")
    narrow: int = Field(gt=0, description="least width of the neck's narrow layers")
    adversarial_weight: float = Field(ge=0, description="0: no discriminators")
    scale_discriminators: bool = Field(description="that weight on the discriminators' own errors too, as in the public code")
    discriminator: Adversary = Field(description="of either style")
    pseudo_weight: float = Field(ge=0, description="of the loss on the target; 0: no self-training")
    threshold: float = Field(ge=0, le=1, description="an answer is sure from here on; the share of sure ones weighs all")
    low: float | None = Field(ge=0, le=1, description="below, an answer counts half; null: all count alike")
    class_weights: StyleWeights = Field(description="of the cross-entropy on both domains")
    pixel_weights: list[float] | None = Field(description="of a target pixel by its answered class")
    published_table: bool = Field(description="look those up as the public code does, in place")
    teacher: Literal["decoder_only", "single_target"] = Field(
        description="who answers: averages of both decoders, or of the target's backbone and decoder"
    )
    teacher_start: Literal["random", "student"] = Field(description="what the averaged decoders start from")
    own_buffers: bool = Field(description="averages answer in training mode with statistics of their own (public code)")
    decay: float = Field(ge=0, lt=1, description="of the averages")
    head_rate: float = Field(gt=0, description="learning rate of the decoders, as a multiple")
    decay_norms: bool = Field(description="weight decay for the backbones' norms too")
    tested: Literal["student", "adapted"] = Field(
        description="what is scored: the students, or (ours) their copy with the target's BatchNorm statistics alone"
    )


class HfdNet(Supervised):
    """Heterogeneous feature distillation from a frozen teacher of another sensor (arXiv 2210.08988), reconstructed."""

    at: Literal["encoder", "aligned", "fused", "logits"] = Field(
        description="whose maps are compared: the backbone's, the decoder's aligned levels, what the classifier reads, its answer"
    )
    loss: Literal["nl2", "mse", "cwd", "at", "aff"] = Field(
        description="cells by direction or by value, channels as distributions over cells, energy of cells, cosines of pairs"
    )
    adapter: Literal["identity", "mlp"] = Field(description="between the student's map and the teacher's; identity: one width")
    mode: Literal["mimic", "hallucinate"] = Field(
        description="mimic: adapters are left behind; hallucinate: what they tell is added to the student's maps for good"
    )
    feature_weight: float = Field(ge=0, description="of the distance between maps; with both weights 0 no teacher is read")
    logit_weight: float = Field(ge=0, description="of the divergence from the teacher's logits")
    temperature: float = Field(gt=0, description="that both logits are divided by")
    ramp: float = Field(ge=0, le=1, description="share of the steps in which both weights rise from 0")
    gate: Literal["none", "right", "sure"] = Field(
        description="believe the teacher everywhere; where it tells the label (unlabelled tiles: where it is sure); where sure"
    )
    gate_threshold: float = Field(ge=0, le=1, description="how probable a sure answer is at least")
    tolerance: int = Field(ge=0, description="cells around its own that a cell may be nearest to (nl2, mse): SAR displaces")
    pool: bool = Field(description="average both maps over 3 x 3 cells first")
    unlabelled: bool = Field(description="also distil on a batch of unlabelled tiles")
    supervised_weight: float = Field(ge=0, description="of the cross-entropy: 1, but for matched controls")
    start: Literal["random", "teacher"] = Field(description="teacher: the student starts as it, but for the first layer")


@dataclass(frozen=True)
class Entry:
    """Where a method lives, what can be set, and what teachers it takes: at least, at most."""

    module: str
    name: str
    settings: type[Strict]
    teachers: tuple[int, int] = (0, 0)
    views: tuple[str, ...] = ("cached", "online")  # of the teacher that it can work with


METHODS: dict[str, Entry] = {
    "supervised": Entry("georelay.methods.supervised", "SupervisedMethod", Supervised),
    "pretext": Entry("georelay.methods.pretext", "PretextMethod", Pretext),
    "distil": Entry("georelay.methods.distil", "DistilMethod", Distil, teachers=(1, 8)),
    "ktda": Entry("georelay.methods.ktda", "KtdaMethod", Ktda, teachers=(0, 1)),
    "fixmatch": Entry("georelay.methods.fixmatch", "FixMatchMethod", FixMatch),
    "unimatch": Entry("georelay.methods.unimatch", "UniMatchMethod", UniMatch),
    "mtdf": Entry("georelay.methods.mtdf", "MtdfMethod", Mtdf, teachers=(1, 8)),
    "adabn": Entry("georelay.methods.adabn", "AdaBnMethod", Supervised),
    "stdasegnet": Entry("georelay.methods.stdasegnet", "StDaSegNetMethod", StDaSegNet),
    "hfdnet": Entry("georelay.methods.hfdnet", "HfdNetMethod", HfdNet, teachers=(0, 1)),
    "transfer": Entry("georelay.methods.transfer", "TransferMethod", Transfer, teachers=(1, 1), views=("online",)),
}
