"""RS-MTDF and its relatives against arrays from their public code: translators and fusion, losses, dropout, hard examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import dpt_state
from torch import Tensor

from georelay.batches.cutmix import CutMix
from georelay.models.consistency import complementary_factors, confident_cross_entropy, hard_cross_entropy, pseudo_labels
from georelay.models.decoders.dpt import DptDecoder
from georelay.models.fusion import TeacherFusion, translation_error
from georelay.models.losses import cross_entropy

DATA = Path(__file__).parent / "data"
# Their names to ours.
FUSION_NAMES = {
    "feature_translator_for_": "translators.",
    ".layer.": ".",
    "project_": "back.",
}


def recorded(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(DATA / f"mtdf_{name}.npz"))


def assert_close(ours: Tensor, theirs: np.ndarray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=atol, rtol=1e-5)


def as_map(tokens: np.ndarray) -> Tensor:
    """Tokens (B, N, C) of a square grid as a map that takes gradients."""
    side = round(tokens.shape[1] ** 0.5)
    return torch.from_numpy(tokens).transpose(1, 2).reshape(len(tokens), -1, side, side).requires_grad_()


def as_tokens(map_: Tensor) -> Tensor:
    return map_.flatten(2).transpose(1, 2)


def fusion_state(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    state = {}
    for name, array in arrays.items():
        if name.startswith(prefix) and ".head." not in name:
            ours = name.removeprefix(prefix)
            for theirs, replacement in FUSION_NAMES.items():
                ours = ours.replace(theirs, replacement)
            state[ours] = torch.from_numpy(array[..., None, None] if array.ndim == 2 else array)  # Linear as 1x1 convolution
    return state


def test_translators_and_fusion_match_with_gradients() -> None:
    arrays = recorded("fuse_small")
    fusion = TeacherFusion(16, {"dino": 24, "clip": 12}, 10, own=0.8, share=0.1)
    fusion.load_state_dict(fusion_state(arrays, "w."))
    head = DptDecoder([16] * 4, [14] * 4, 8, 3, 0.0, levels=[4, 6, 8, 10])
    head.load_state_dict(dpt_state(arrays, "w.head."))
    maps = [as_map(arrays[f"student_feat{level}"]) for level in range(4)]
    seen_by_clip = as_map(arrays["student_clip_feat"])
    translated = fusion.translated({"dino": maps[-1], "clip": seen_by_clip})
    fused = fusion(maps[-1], translated)
    error = translation_error(translated, {name: as_map(arrays[f"teacher_{name}"]).detach() for name in ("dino", "clip")})
    logits = head([*maps[:-1], fused])
    for name, words in translated.items():
        assert_close(as_tokens(words), arrays[f"translated_{name}"])
    assert_close(as_tokens(fused), arrays["fused_last"])
    assert_close(error, arrays["loss"])
    assert_close(logits, arrays["logits"])
    (100 * error + (logits * torch.from_numpy(arrays["grad_seed"])).sum()).backward()
    assert_close(as_tokens(maps[-1].grad), arrays["grad_student_feat3"], 1e-4)  # type: ignore[arg-type]
    assert_close(as_tokens(seen_by_clip.grad), arrays["grad_student_clip_feat"], 1e-4)  # type: ignore[arg-type]
    own = dict(fusion.named_parameters())
    for name, gradient in fusion_state(arrays, "grad.").items():
        assert_close(own[name].grad, gradient.numpy(), 1e-4)  # type: ignore[arg-type]


def formula(number: int, shape: tuple[int, ...], scale: float) -> Tensor:
    """Tensor `number` of the case that is too large to be stored: waves by its flat index."""
    index = np.arange(1, np.prod(shape) + 1, dtype=np.float64)
    wave = np.sin(0.7310585 * index + 1.618 * number + 0.25 * np.cos(0.013 * index))
    return torch.from_numpy((scale * wave).astype(np.float32).reshape(shape))


def test_translators_of_the_published_sizes_have_the_recorded_errors() -> None:
    """518 and 224 pixels, 384 channels to 768 and 1024 through 1024."""
    fusion = TeacherFusion(384, {"dino": 768, "clip": 1024}, 1024, own=0.8, share=0.1)
    for first, layers in ((72, fusion.translators["dino"]), (76, fusion.translators["clip"])):
        for number, parameter in enumerate(layers.parameters(), start=first):
            shape = tuple(parameter.shape)
            parameter.data = formula(number, shape, float(np.sqrt(2 / shape[1])) if len(shape) > 1 else 0.01)
    student = {"dino": formula(3, (1, 1369, 384), 1), "clip": formula(4, (1, 256, 384), 1)}
    taught = {"dino": formula(5, (1, 1369, 768), 1), "clip": formula(6, (1, 256, 1024), 2)}
    with torch.no_grad():
        words = fusion.translated({name: as_map(tokens.numpy()) for name, tokens in student.items()})
        maps = {name: as_map(tokens.numpy()) for name, tokens in taught.items()}
        errors = {name: translation_error({name: words[name]}, {name: maps[name]}).item() for name in words}
        both = translation_error(words, maps).item()
    assert errors == pytest.approx({"dino": 0.677108, "clip": 2.181424}, abs=1e-6)
    assert both == pytest.approx(1.429266, abs=1e-6)


def boxes(mask: np.ndarray) -> CutMix:
    """A recorded box mask (B, S, S) as boxes."""
    found = []
    for one in mask:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        found.append((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows.size else (0, 0, 0, 0))
    return CutMix(mask.shape[-1], np.array(found))


def unsupervised(arrays: Mapping[str, np.ndarray], logits: Tensor, mask: np.ndarray) -> Tensor:
    mix = boxes(mask)
    label, confidence = pseudo_labels(torch.from_numpy(arrays["ema_logits"]))
    ignored = torch.from_numpy(arrays["ignore_mask"])
    mixed = (mix.apply(label, nearest=True), mix.apply(confidence, nearest=True), mix.apply(ignored, nearest=True) != 255)
    return confident_cross_entropy(logits, *mixed, float(arrays["conf_thresh"]))


def supervised(logits: Tensor, arrays: Mapping[str, np.ndarray]) -> Tensor:
    return cross_entropy(logits, torch.from_numpy(arrays["mask_x"]), stride=1, ignore=255, at="label")


@pytest.mark.parametrize("name", ["fixmatch_step", "step"])
def test_one_step_of_fixmatch_and_of_rs_mtdf(name: str) -> None:
    arrays = recorded(name)
    logits = torch.from_numpy(arrays["student_logits"]).requires_grad_()
    mixed = boxes(arrays["cutmix_box"]).apply(torch.from_numpy(arrays["img_u_s"]))
    assert_close(torch.cat([torch.from_numpy(arrays["img_x"]), mixed]), arrays["student_input"])
    parts = [supervised(logits[:4], arrays), unsupervised(arrays, logits[4:], arrays["cutmix_box"])]
    assert_close(parts[0], arrays["loss_x"])
    assert_close(parts[1], arrays["loss_u_s"])
    if name == "step":
        parts.append(torch.from_numpy(arrays["dis_loss"]))
    loss = torch.stack(parts).mean()
    assert_close(loss, arrays["loss"])
    loss.backward()
    assert_close(logits.grad, arrays["grad_logits"])  # type: ignore[arg-type]


def test_one_step_of_unimatch_v2() -> None:
    arrays = recorded("unimatch_v2_step")
    labelled, strong = (torch.from_numpy(arrays[key]).requires_grad_() for key in ("logits_x", "logits_u"))
    views = [boxes(arrays[f"cutmix_box{view}"]).apply(torch.from_numpy(arrays[f"img_u_s{view}"])) for view in (1, 2)]
    assert_close(torch.cat(views), arrays["student_input"])
    errors = [unsupervised(arrays, part, arrays[f"cutmix_box{view}"]) for view, part in enumerate(strong.chunk(2), start=1)]
    for view, error in enumerate(errors, start=1):
        assert_close(error, arrays[f"loss_u_s{view}"])
    loss = (supervised(labelled, arrays) + torch.stack(errors).mean()) / 2
    assert_close(loss, arrays["loss"])
    loss.backward()
    assert_close(labelled.grad, arrays["grad_x"])  # type: ignore[arg-type]
    assert_close(strong.grad, arrays["grad_u"])  # type: ignore[arg-type]


def test_complementary_dropout() -> None:
    arrays = recorded("comp_dropout")
    draw, kept = (torch.from_numpy(arrays[key]) for key in ("bernoulli_draw", "kept_indexes"))
    factors = torch.cat(complementary_factors(draw.float(), kept))[:, None]
    for level in range(4):
        assert_close(torch.from_numpy(arrays[f"feat{level}"]) * factors, arrays[f"masked{level}"])


@pytest.mark.parametrize("case", range(6))
def test_hard_examples(case: int) -> None:
    arrays = recorded("prob_ohem")
    logits, label = torch.from_numpy(arrays["pred"]).requires_grad_(), torch.from_numpy(arrays["target"])
    threshold, least = arrays["cases"][case]
    loss = hard_cross_entropy(logits, label, ignore=255, threshold=float(threshold), least=int(least))
    assert_close(loss, arrays[f"loss{case}"])
    loss.backward()
    assert_close(logits.grad, arrays[f"grad{case}"])  # type: ignore[arg-type]
