"""The share of the gap between two bounds that each row of a study closes, such as adaptation between source only and target.

Only where params.yaml names a study's bounds under `compare.gaps`, and both were run. In the CSV a number that is no share
is an empty cell; where there is no gap, the interval beside it goes from -inf to inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from georelay.evaluate.statistics import NO_SHARE, Share

TITLE = "Share of the gap closed"
COLUMNS = ("gap", "gap low", "gap high")  # the same of each class follow: `gap of <class>`, ...
NO_GAP = "no gap"
Bounds = tuple[str, str]  # the names of the lower and of the upper row
Ends = tuple[float, float, float]  # share, low, high
Shares = Mapping[str, Mapping[str, Ends]]  # by row: of mIoU under the name "", then of each class


def missing_bounds(bounds: Bounds, ran: Sequence[str]) -> str:
    """Why a study has no such table, in a line; empty where both bounds ran."""
    missing = [name for name in bounds if name not in ran]
    return f"{NO_GAP}: {' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} not run" if missing else ""


def definition(bounds: Bounds) -> str:
    """What the table's numbers mean."""
    lower, upper = bounds
    return (
        f"What a row closes of the gap between {lower} (0 %) and {upper} (100 %): (row − lower) / (upper − lower) in mIoU, "
        "then in the IoU of each class, from means over the seeds that all three have. Below 0 % a row is worse than the lower "
        "bound, above 100 % better than the upper. The 95 % interval holds every share s for which "
        "row − lower − s (upper − lower), the three rows drawn together over test scenes and seeds as for Δ, may be zero "
        f'(Fieller\'s theorem). Where upper − lower may itself be zero or is less, there is "{NO_GAP}". A class is bold where '
        "its own interval leaves zero out: of as many cells as these, about one in twenty does so by chance."
    )


def ends_of(share: Share) -> Ends:
    """The numbers of a share as they stand in the CSV."""
    return share.mean, share.low, share.high


def header(classes: Sequence[str]) -> list[str]:
    """The columns of the CSV. "of" keeps classes apart from what is said of mIoU: there are classes called low and high."""
    return [*COLUMNS, *(f"{column} of {name}" for name in classes for column in COLUMNS)]


def classes_of(shares: Shares) -> list[str]:
    """The classes that any row has a share of, in their order."""
    return list(dict.fromkeys(name for each in shares.values() for name in each if name))


def cells_of(shares: Mapping[str, Ends], classes: Sequence[str]) -> list[float]:
    """A row's numbers under the columns of the header."""
    return [value for name in ("", *classes) for value in shares.get(name, ends_of(NO_SHARE))]


def read_shares(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Ends]]:
    """What the lines of a study's CSV say of its gap; nothing of rows that have no share of mIoU's."""
    before = f"{COLUMNS[0]} of "
    found: dict[str, dict[str, Ends]] = {}
    for line in lines:
        classes = [key.removeprefix(before) for key in line if key.startswith(before)]
        ends = {name: _read(line, f" of {name}" if name else "") for name in ("", *classes)} if COLUMNS[0] in line else {}
        if ends and not math.isnan(ends[""][1]):
            found[line["row"]] = ends
    return found


def _read(line: Mapping[str, Any], suffix: str) -> Ends:
    share, low, high = (float(line[f"{column}{suffix}"]) for column in COLUMNS)
    return share, low, high


def share_table(shares: Shares, strong: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Header and cells, classes made `strong` where their interval leaves zero out."""
    classes = classes_of(shares)
    body = [
        [row, _text(each[""]), _interval(each[""]), *(_class_cell(each.get(name), strong) for name in classes)]
        for row, each in shares.items()
    ]
    return ["row", "mIoU", "95 % interval", *classes], body


def _class_cell(ends: Ends | None, strong: Callable[[str], str]) -> str:
    if ends is None:
        return "–"
    return strong(_text(ends)) if ends[1] > 0 or ends[2] < 0 else _text(ends)


def _text(ends: Ends) -> str:
    share, low, _ = ends
    return NO_GAP if math.isinf(low) else "–" if math.isnan(share) else f"{_percent(share)} %"


def _interval(ends: Ends) -> str:
    return f"[{_percent(ends[1])}, {_percent(ends[2])}] %" if math.isfinite(ends[1]) else ""


def _percent(share: float) -> str:
    return f"{round(100 * share) + 0}".replace("-", "−")


def drawn_shares(shares: Shares) -> dict[str, Ends]:
    """What the figure shows: the shares of mIoU in percent."""
    found = {row: each[""] for row, each in shares.items() if not math.isnan(each[""][0])}
    return {row: (100 * share, 100 * low, 100 * high) for row, (share, low, high) in found.items()}
