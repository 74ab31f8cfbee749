"""Every kind of figure that a study has: what it is called, what its signs mean, and which module draws it.

Light: no numpy, no matplotlib. The Snakefile reads the kinds from here, and the modules count for the digest of `compare`.
The captions stand once more in workflow/report, where Snakemake wants files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Figure:
    """One kind of figure; `alt` says in words what it shows of a {study}; `published`: committed with results/reference."""

    title: str
    caption: str
    alt: str
    module: str
    published: bool = False

    def draw(self, study: Any) -> Drawing:
        """The figure of a `Study`, whose module is not light; one that says what is missing where there is nothing to see."""
        drawing: Drawing = import_module(self.module).draw(study)
        return drawing


def figure_path(study: str, kind: str, root: Path) -> Path:
    """Where a study's figure lies; `kind` is a key of `FIGURES`."""
    return root / "results/figures" / f"{study}-{kind}.png"


FIGURES: Mapping[str, Figure] = {
    "forest": Figure(
        title="Differences with their intervals",
        caption=(
            "Rows stand under their parents. A dot is the mean of the paired differences in mIoU, the bar its 95 % interval; "
            "filled and in colour where the interval leaves zero out, a square where it is worse; open and grey where it does "
            "not. An arrow ends a bar that goes on, a number stands for a dot far outside. Where rows have other parents than "
            "the study's first row, the difference to that one stands beside it; where the study names two bounds, so does the "
            "share of the gap between them. On the right, mean and standard deviation of mIoU over n seeds, in points."
        ),
        alt="Forest plot of study {study}: each row's mIoU minus its parent's with the 95 % interval; mean and spread beside it",
        module="georelay.report.forest",
        published=True,
    ),
    "curves": Figure(
        title="Learning curves",
        caption=(
            "Lines are means over seeds, bands one standard deviation to each side. Validation tiles are no test tiles. Loss and "
            "pseudo-labels, where a row makes any, are means over 1/40 of the steps: sure is what reaches the row's threshold, "
            "right what agrees with labels that nothing is learnt from. Where rows differ in their share of labels, test "
            "scores by that share stand on top."
        ),
        alt="Validation mIoU, training loss and pseudo-labels, if any, against the step, one line for each row of study {study}",
        module="georelay.report.curves",
        published=True,
    ),
    "classes": Figure(
        title="IoU of each class",
        caption=(
            "A dot is the mean over seeds in points, the bar one standard deviation to each side, the small strokes are the "
            "seeds. Filled and in colour where the 95 % interval of the difference to the parent row leaves zero out, a square "
            "where it is worse; open where it does not; the diamond is a row without a parent here, the dashed "
            "line the first row. Each pair of axes has a scale of its own."
        ),
        alt="Dot plots of mIoU and of the IoU of each class for the rows of study {study}, with their spread over seeds",
        module="georelay.report.classes",
    ),
    "confusion": Figure(
        title="Confusion",
        caption=(
            "Confusion of the short comparison's rows on all test scenes and seeds together. Each line is a true class and says "
            "in percent what its pixels were predicted as, rounded: the diagonal is the recall. Empty lines are classes without "
            "a counted pixel."
        ),
        alt="Confusion matrices of study {study}, a line for each true class, in percent of its pixels",
        module="georelay.report.confusions",
    ),
    "reliability": Figure(
        title="Reliability",
        caption=(
            "Share of right pixels among those of about the same predicted probability: on the diagonal where the probability "
            "can be taken at its word, below it where the student is too sure. The line is all seeds together, thin lines are "
            "the seeds; grey bars are the share of pixels. ECE is the mean distance to the diagonal over pixels, "
            "± its standard deviation over seeds."
        ),
        alt="Reliability diagrams of study {study}: accuracy against confidence with a histogram of pixels, one for each row",
        module="georelay.report.reliability",
    ),
    "features": Figure(
        title="Features",
        caption=(
            "First two principal components of what the last convolution of each student reads, at the same pixels of test "
            "tiles, as many of each class; for a teacher with stored features, of its last map. Each panel has components of "
            "its own, in units of the first one's spread; above it stands the share of variance that the two hold. At most "
            "nine rows, each with its lowest seed. A picture to look at, not a measurement."
        ),
        alt="Scatter plots of two principal components of features of study {study}, coloured by true class, one for each row",
        module="georelay.report.features",
    ),
    "panel": Figure(
        title="Maps",
        caption=(
            "Fixed test scenes, each seen through a window in its middle. Below every prediction its errors (red; pixels that "
            "do not count are black), and where maps of it are kept the entropy of the class probabilities, in parts of "
            "the largest possible. The number above a map is the mIoU of the whole scene in points."
        ),
        alt="Image, truth, and each row's prediction, errors and entropy for fixed test scenes of study {study}",
        module="georelay.report.panel",
        published=True,
    ),
}
