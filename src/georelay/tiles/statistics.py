"""Normalisation and class statistics; the numbers that students may know come from training tiles alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from georelay.tiles.schema import SPLITS
from georelay.tiles.split import TRAIN
from georelay.tiles.survey import Facts

CONSTANT = 1e-6  # relative spread below which a band is constant up to rounding


def class_counts(facts: Facts, split: np.ndarray) -> dict[str, list[int]]:
    """Valid pixels per class, split by split."""
    return {name: facts.classes[split == code].sum(axis=0).tolist() for code, name in enumerate(SPLITS)}


def with_statistics(
    modalities: Mapping[str, Mapping[str, Any]], facts: Facts, split: np.ndarray, domain: np.ndarray, domains: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The modalities with mean and standard deviation per band; per domain too where there are several."""
    train = split == TRAIN
    result = {}
    for name, entry in modalities.items():
        card = dict(entry) | _normalisation(facts, name, train)
        if len(domains) > 1:
            given = entry.get("domains", {})
            mine = {d: train & (domain == code) for code, d in enumerate(domains)}
            card["domains"] = {d: {**given.get(d, {}), **_normalisation(facts, name, mask)} for d, mask in mine.items()}
        result[name] = card
    return result


def _normalisation(facts: Facts, modality: str, chosen: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation over the valid pixels of some tiles; nothing when there are none."""
    pixels = int(facts.valid[chosen].sum())
    if not pixels:
        return {}
    mean = facts.sums[modality][chosen].sum(axis=0) / pixels
    variance = facts.squares[modality][chosen].sum(axis=0) / pixels - mean**2
    std = np.sqrt(np.maximum(variance, 0))
    std[std <= CONSTANT * np.abs(mean)] = 1.0  # nothing to scale, and dividing by its zero would give NaN
    return {"mean": _rounded(mean), "std": _rounded(std)}


def _rounded(values: np.ndarray) -> list[float]:
    """Nine digits: more than the pixels carry, few enough to hide in which order a processor adds."""
    return [float(f"{value:.9g}") for value in values]
