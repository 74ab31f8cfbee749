"""What a study's table says in words: which changes help, which hurt, and where there is no evidence either way.

Plain sentences with names between backticks, made of the numbers in results/tables/<study>.csv and of nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from georelay.report.tables import interval, p_value, points, spread

Line = Mapping[str, Any]
HELPS, HURTS, UNDECIDED = "helps", "hurts", "undecided"
SPACE = "\N{NO-BREAK SPACE}"
LEVEL = 0.05  # of the test, as of the 95 % interval
RULE = (
    "A change helps or hurts where the 95 % interval of its paired difference leaves zero out and its p-value, "
    "Holm-corrected for the comparisons of its study, is below 0.05. Everything else is undecided, which is no proof "
    "that two rows are equal. Figures colour by the interval alone."
)
UNCORRECTED = (
    "A change helps or hurts where the 95 % interval of its paired difference leaves zero out. Everything else is undecided, "
    "which is no proof that two rows are equal. Of twenty changes that do nothing, about one would be called one or the other."
)


def compared(lines: Sequence[Line]) -> list[Line]:
    """The rows that have a difference to their parent."""
    return [line for line in lines if not math.isnan(line["difference"])]


def corrected(line: Line) -> bool:
    """Whether the table has this comparison's p-value corrected for the number of comparisons."""
    return not math.isnan(line["p_holm"])


def has_base(line: Line) -> bool:
    """Whether the table holds the row against the study's baseline."""
    return not math.isnan(line["base_difference"])


def sure_p(line: Line) -> float:
    """The p-value that decides: the corrected one where the table has it."""
    return float(line["p_holm"] if corrected(line) else line["p"])


def judge(line: Line) -> str:
    """What a row's difference to its parent is called. Where there is no p, as of one pair of seeds, nothing is decided."""
    p = sure_p(line)
    if not _leaves_zero_out(line) or math.isnan(p) or (corrected(line) and p >= LEVEL):
        return UNDECIDED
    return HELPS if line["difference"] > 0 else HURTS


def _leaves_zero_out(line: Line) -> bool:
    return bool(line["low"] > 0 or line["high"] < 0)


def sentence(study: str, line: Line) -> str:
    """One comparison in a sentence: by how much, how sure, and what follows."""
    gap = line["difference"]
    side = "over" if gap >= 0 else "against"
    ends = interval(line["low"], line["high"])
    return (
        f"On {study}, `{line['row']}` is {points(gap, True)} points {ends} {side} its parent `{line['parent']}`"
        f" ({_surety(line)}): {_outcome(line)}."
    )


def _surety(line: Line) -> str:
    pairs = line["n"] if math.isnan(line["pairs"]) else line["pairs"]  # a parent may lack seeds
    seeds = f"n{SPACE}={SPACE}{pairs:g}"
    p = sure_p(line)
    if math.isnan(p):
        return f"{seeds}, no p"
    shown = p_value(p) if p < 0.001 else f"= {p_value(p)}"
    return f"{seeds}, p {shown}".replace(" ", SPACE) + (" after Holm" if corrected(line) else ", uncorrected")


def _outcome(line: Line) -> str:
    verdict = judge(line)
    if verdict != UNDECIDED:
        return f"it {verdict}"
    if not _leaves_zero_out(line):
        return "undecided, no evidence either way"
    if math.isnan(sure_p(line)):
        return "undecided, as one pair of seeds, or several all alike, says nothing of other seeds"
    way = "up" if line["difference"] > 0 else "down"
    return f"undecided, it points {way}, but so would one of as many comparisons by chance"


def rule(lines: Sequence[Line]) -> str:
    """By what rows are judged: with corrected p-values where there are any."""
    return RULE if any(corrected(line) for line in lines) else UNCORRECTED


def tally(lines: Sequence[Line]) -> str:
    """All comparisons in a sentence."""
    if not lines:
        return "There is no comparison with a parent yet."
    verdicts = [judge(line) for line in lines]
    helps, hurts, undecided = (verdicts.count(kind) for kind in (HELPS, HURTS, UNDECIDED))
    return (
        f"Rows compared with their parent: {len(lines)}, of which {_counted(helps, 'helps', 'help')}, "
        f"{_counted(hurts, 'hurts', 'hurt')} and {_counted(undecided, 'is', 'are')} undecided."
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def best(lines: Sequence[Line]) -> Line | None:
    """The row with the highest mean, picked after looking; None where nothing was scored."""
    scored = [line for line in lines if not math.isnan(line["mean"])]
    return max(scored, key=lambda line: float(line["mean"]), default=None)


def study_sentences(lines: Sequence[Line]) -> Iterator[str]:
    """What is to be said of a study as a whole."""
    if (top := best(lines)) is None:
        yield "No row has been scored yet."
        return
    count = "the only row" if len(lines) == 1 else f"the highest of {len(lines)} rows"
    flattered = ", picked after looking at the test scenes, so its score flatters it" if len(lines) > 1 else ""
    yield f"`{top['row']}` has {spread(top['mean'], top['sd'])} points mIoU (n = {top['n']}), {count}{flattered}."
    if top is lines[0] and len(lines) > 1:
        yield "It is the study's first row: no change to it has a higher mean."
    if has_base(top):
        ends = interval(top["base_low"], top["base_high"])
        yield f"That is {points(top['base_difference'], True)} points {ends} against the study's baseline `{top['base']}`."
    if told := compared(lines):
        yield tally(told)
