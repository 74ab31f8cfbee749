"""What the numbers on the page mean, by the headings they stand under."""

from __future__ import annotations

from georelay.evaluate.confusion import DEFINITIONS

TERMS = {
    "n": "number of seeds with a finished, evaluated run",
    **DEFINITIONS,
    "mIoU ± sd": "mean and standard deviation over seeds of mIoU, in points: 100 times the fraction",
    "Δ": "the row minus its parent in points of mIoU, paired by seed, mean over the seeds that both have",
    "95 % interval": "bootstrap of Δ over test scenes and seeds together, the seeds' part stretched to the width of a t interval",
    "p": "two-sided paired t-test of Δ over seeds, test scenes taken as given, for this comparison alone",
    "p (Holm)": "p corrected by Holm's method for the number of comparisons in the study",
    "effect": "mean paired difference over seeds in units of its standard deviation, with Hedges' correction for few seeds; "
    "test scenes count for nothing in it",
    "Δ to baseline": "the row minus the study's baseline, its first row without a parent in it; with interval and p as for Δ",
    "verdict": "helps, hurts or undecided, by the rule in the summary",
    "boundary f1": "F1 of class boundaries that lie within a few pixels of each other in truth and prediction, "
    "mean over the classes present",
    "ece": "expected calibration error: mean distance between confidence and accuracy over bins of confidence, "
    "weighted by pixels; 0 is perfect",
    "parameters": "numbers that the exported student has learnt",
    "macs": "multiply-accumulates of the exported student for one tile",
    "seconds per step": "wall time of a training step, the machine being as busy as it was",
    "peak mb": "most memory that a training took, in megabytes",
    "joules": "energy of a whole training, where the machine's counters tell it",
    "entropy": "of a pixel's class probabilities, as a share of its largest value ln(classes): "
    "0 is sure, 1 is no idea; no measure of being right",
    "parent": "the row that a row was derived from; what it changes stands beside its name",
    "core": "the rows of a study's short comparison, which the summary keeps to",
    "plan": "the file that a run depends on, and on nothing else: settings, digests of data and code, versions",
}
