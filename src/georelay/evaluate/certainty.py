"""How sure a map is, in a byte a pixel: the probability of its class, and the entropy of all of them.

    certainty = round(254 p(chosen class))        entropy = round(254 H / ln C), H = -sum over the C classes of p ln p

255 is a pixel without data. Of C classes that are all as likely the entropy is 254, of one that is certain 0.
"""

from __future__ import annotations

import math

import numpy as np

LEVELS = 254  # the value of a probability of 1
UNKNOWN = 255
# What is written beside a map, and what its values are once they are scaled by 1 / LEVELS.
LAYERS = {"certainty": "probability of the map's class", "entropy": "entropy of the classes' probabilities / ln(classes)"}


def read_off(probabilities: np.ndarray) -> np.ndarray:
    """Class, certainty and entropy as bytes [3, y, x] of probabilities [class, y, x] that add up to 1."""
    surprise = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))  # 0 ln 0 is 0
    entropy = -(probabilities * surprise).sum(axis=0) / math.log(len(probabilities))
    shares = np.stack([probabilities.max(axis=0), entropy])
    return np.concatenate([probabilities.argmax(axis=0)[None], np.rint(LEVELS * shares)]).astype(np.uint8)
