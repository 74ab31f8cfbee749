"""What the numbers on the page mean, by the headings they stand under; those of quality and cost are told beside them."""

from __future__ import annotations

from georelay.evaluate.confusion import DEFINITIONS

TERMS = {
    "row, study": "a row is one method with its settings, run once for every seed; a study is the rows that are compared",
    "n": "number of seeds with a finished, evaluated run",
    **DEFINITIONS,
    "TP, FP, FN": "pixels that are of a class and taken for it, taken for it only, of it only",
    "mIoU ± sd": "mean and standard deviation over seeds of mIoU, in points: 100 times the fraction",
    "Δ": "the row minus its parent in points of mIoU, paired by seed, mean over the seeds that both have",
    "95 % interval": "bootstrap of Δ over test scenes and seeds together, what each draw moves stretched to a t interval's width",
    "p": "the larger p of two t-tests of Δ paired by seed, both two-sided: over seeds, and with the error of the test scenes "
    "added; for this comparison alone",
    "p (Holm)": "p corrected by Holm's method for the number of comparisons in the study",
    "effect": "mean paired difference over seeds in units of its standard deviation, with Hedges' correction for few seeds; "
    "test scenes count for nothing in it",
    "Δ to baseline": "the row minus the study's baseline, its first row without a parent in it; with interval and p as for Δ",
    "verdict": "helps, hurts or undecided, by the rule in the summary",
    "entropy": "of a pixel's class probabilities, as a share of its largest value ln(classes): "
    "0 is sure, 1 is no idea; no measure of being right",
    "parent": "the row that a row was derived from; what it changes stands beside its name",
    "FAM, FMM, HFAM": "parts of methods, the first two of KTDA, the third of HFD-Net: feature alignment, feature modulation, "
    "heterogeneous feature alignment",
    "EO, SAR": "two ways to see the same ground: electro-optical images, and synthetic aperture radar",
    "core": "the rows of a study's short comparison, which the summary keeps to",
    "plan": "the file that a run depends on, and on nothing else: settings, digests of data and code, versions",
}
