"""Settings for a folder that was looked at, as text for params.yaml; a comment says where they are guessed."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from georelay.sources.findings import Findings
from georelay.sources.listed import slug
from georelay.sources.sampled import Facts

TILES = (256, 128, 64, 32)
MANY = 64  # tiles: fewer give a split of a few only
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
SHARES = 3  # scenes, from which on whole ones can be drawn for three splits
GAPS = 32  # values up to here are taken for places in a list, those between that the sample lacks too
BYTE, FLOOR_DB = 255, -40.0
BANDS = {
    "sar": {1: ["vv"], 2: ["vv", "vh"], 4: ["hh", "hv", "vh", "vv"]},
    "eo": {
        1: ["grey"],
        3: ["red", "green", "blue"],
        4: ["red", "green", "blue", "nir"],
        13: ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12"],
    },
}
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./ -]*[A-Za-z0-9]|[A-Za-z]")
NOT_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
GUESSED = "guessed from the number of bands"


@dataclass(frozen=True)
class Class:
    """A line of the list of classes."""

    name: str
    colour: Sequence[int]
    value: int | str | None = None
    why: str = ""


def snippet(found: Findings) -> str:
    """Entries of `sources`, `tasks` and `experiments`."""
    name = slug(found.folder.resolve().name)
    parts = {"sources": _source(found), "tasks": _task(found, name), "experiments": _row(name)}
    text = ((f"{section}:", f"  {name}:", *(f"    {line}" for line in lines)) for section, lines in parts.items())
    then = f"# Then: georelay fetch {name}, georelay tile {name}; to train the row, add all three names to `active`."
    return "\n".join([*(line for part in text for line in part), then]) + "\n"


def _line(key: str, value: Any, why: str = "") -> str:
    return f"{key}: {_yaml(value)}{f' # {why}' if why else ''}"


def _yaml(value: Any) -> str:
    """A value on one line, without quotes where YAML needs none."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_yaml(key)}: {_yaml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    plain = isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_WORDS
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _source(found: Findings) -> Iterator[str]:
    several = len(found.images) > 1
    yield _line("kind", "paired" if several else "folder")
    yield _line("path", found.folder.as_posix(), "" if found.folder.is_absolute() else "relative to params.yaml")
    if several:
        yield "modalities:"
    for name, sheaf in found.images.items():
        lines = [_line("images", sheaf.pattern), *_imagery(name, found.facts[name])]
        yield from [f"  {name}:", *(f"    {line}" for line in lines)] if several else [*lines, _line("modality", name)]
    yield from _labels(found)
    yield from _splits(found)
    yield from _gsd(found)
    yield from _classes(found)
    yield _line("licence", "unknown", "say whose the files are")
    yield _line("url", None)


def _imagery(name: str, facts: Facts) -> Iterator[str]:
    count, kind = facts.first.count, np.dtype(facts.first.dtype)
    sort = "sar" if name.startswith("sar") else "eo"
    known = BANDS[sort].get(count)
    yield _line("bands", known or [f"b{index + 1}" for index in range(count)], GUESSED if known else "name them")
    low = -np.inf if facts.low is None else float(facts.low.min())
    high = np.inf if facts.high is None else float(facts.high.max())
    if sort == "sar" and kind.kind == "f":
        yield _line("unit", "dB" if low < 0 else "power", "guessed: " + ("some are negative" if low < 0 else "none is negative"))
        yield _line("scale", 1.0)
        if low >= 0:
            yield _line("floor_db", FLOOR_DB, "what is weaker becomes this")
    else:
        yield _line("unit", "reflectance", "radar as whole numbers, too: there only ratios count" if sort == "sar" else "")
        scale = 1 / BYTE if kind == np.uint8 else 1.0 if kind.kind == "f" and high <= 2 else 1e-4
        yield _line("scale", scale, "" if kind == np.uint8 else "guessed: a raster value times this is reflectance")
    nodata = facts.first.nodata
    holds = nodata is not None and nodata == nodata
    yield _line("nodata", nodata if holds else None, "as the files say" if holds else "")


def _labels(found: Findings) -> Iterator[str]:
    if found.labels is None:
        yield _line("labels", "labels/*.png", "none were found: say where they are, and what the classes below are")
        return
    yield _line("labels", found.label_pattern, "guessed: one file for all scenes" if found.whole else "")
    if found.polygons:
        yield _line("labels_as", "polygons")
        if found.attribute:
            yield _line("attribute", found.attribute, "guessed: the column that tells classes")
    elif found.label_facts and found.label_facts.grids and found.label_facts.first.count >= 3:
        yield _line("labels_as", "colour")
    elif found.label_facts and found.label_facts.grids and found.label_facts.first.count == 2:
        yield _line("labels_band", 1, "guessed: labels have two bands")


def _splits(found: Findings) -> Iterator[str]:
    if not found.splits:
        yield _line("splits", None, "nothing tells them; the task draws")
        return
    table = found.table
    facts: dict[str, Any] = {"csv": table.name, "scene": table.scene, "split": table.split} if table else {}
    facts |= {"domain": table.domain} if table and table.domain else {}
    alone = found.splits["val"] is None and found.splits["test"] not in (None, "test")
    yield _line("splits", facts | found.splits, "one held-out part is there: it tests" if alone else "")
    domains = table.domains if table and table.domain else found.domains
    if domains:
        yield _line("domains", domains)


def _gsd(found: Findings) -> Iterator[str]:
    if not found.splits and found.domains:
        yield _line("domains", found.domains)
    facts = next(iter(found.facts.values()))
    if facts.systems == [None]:
        yield _line("gsd", None, "metres a pixel, if you know them: files do not say where they lie")
    else:
        yield _line("gsd", facts.gsd if len(facts.systems) > 1 else None, "of one file" if len(facts.systems) > 1 else "")


def _classes(found: Findings) -> Iterator[str]:
    entries, ignore, ignored = classes(found)
    yield "classes: # names are yours to give"
    for entry in entries:
        facts = {"name": entry.name, "colour": list(entry.colour)} | ({} if entry.value is None else {"value": entry.value})
        yield f"  - {_yaml(facts)}{f' # {entry.why}' if entry.why else ''}"
    yield _line("ignore", ignore)
    if ignored:
        yield _line("ignored", ignored, "guessed: negative numbers are no class")


def classes(found: Findings) -> tuple[list[Class], int, list[int]]:
    """The list of classes, the number that is ignored, and others that are."""
    facts = found.label_facts
    if found.polygons:
        return _of_words(found.words) if found.attribute else _of_numbers([0, 1], "background", "inside"), BYTE, []
    if facts is None or not facts.grids:
        return _of_numbers([0, 1], "background", "foreground"), BYTE, []
    if facts.first.count >= 3:
        colours = sorted(value for value in facts.values if isinstance(value, tuple))[:GAPS]
        listed = [Class(f"class {place}", colour, None, _share(facts, colour)) for place, colour in enumerate(colours)]
        return listed or _of_numbers([0, 1]), BYTE, []
    values = sorted(value for value in facts.values if isinstance(value, int))
    kept = [value for value in values if value >= 0 and (value != BYTE or len([v for v in values if v >= 0]) == 2)]
    return _of_values(facts, kept[:BYTE]), BYTE - (BYTE in kept), [value for value in values if value < 0]


def _of_values(facts: Facts, values: Sequence[int]) -> list[Class]:
    """Values of the sample, those between that it lacks, and a second one where there is but one."""
    every = list(range(values[0], values[-1] + 1)) if values and values[-1] < GAPS else list(values)
    every += [value for value in (0, 1) if len(every) == 0 or every == [1 - value]]
    every += [every[-1] + 1] if len(every) == 1 else []
    named = ("background", "foreground") if len(every) == 2 else ()
    return [
        Class(entry.name, entry.colour, entry.value, _share(facts, every_value))
        for entry, every_value in zip(_of_numbers(sorted(every), *named), sorted(every), strict=True)
    ]


def _of_numbers(values: Sequence[int], *names: str) -> list[Class]:
    return [
        Class(names[place] if names else f"class {value}", _colour(place, len(values)), None if value == place else value)
        for place, value in enumerate(values)
    ]


def _of_words(words: Sequence[str]) -> list[Class]:
    """The words of a column, after what is in no polygon."""
    listed = [_word(word) for word in words]
    count = len(listed) + 1
    first = Class("background", _colour(0, count), "no polygon", "where there is no polygon")
    return [first, *(Class(str(word), _colour(place, count), word) for place, word in enumerate(listed, start=1))]


def _word(word: str) -> int | str:
    whole = word.removesuffix(".0")
    return int(whole) if whole.isdecimal() else word


def _share(facts: Facts, value: Any) -> str:
    if value not in facts.values:
        return "not in the sample"
    return f"{facts.values[value] / facts.values.total():.2%} of the sample"


def _colour(place: int, count: int) -> list[int]:
    """Grey for the first, and colours all around for the others."""
    if place == 0:
        return [60, 60, 60]
    return [round(BYTE * level) for level in colorsys.hsv_to_rgb((place - 1) / max(count - 1, 1), 0.75, 0.9)]


def _task(found: Findings, name: str) -> Iterator[str]:
    facts = next(iter(found.facts.values()))
    tile = _tile(facts, len(found.scenes))
    inputs = list(found.images)
    yield _line("source", name)
    yield _line("modalities", inputs)
    yield _line("tile", tile)
    yield _line("stride", tile)
    yield from _rule(found, facts, tile)
    yield _line("compression", "none")
    yield _line("inputs", inputs[:1], f"or {json.dumps(inputs)}" if len(inputs) > 1 else "")
    yield _line("labels", None, "all; or a count, or a share such as 5%")
    yield _line("train_domain", None, "all")
    yield _line("test_domain", None)


def _tile(facts: Facts, scenes: int) -> int:
    """The largest tile that gives many of them; none is larger than the smallest image."""
    least, _ = facts.sides
    fitting = [tile for tile in TILES if tile <= least] or [least]
    counts = {tile: scenes * (facts.first.height // tile) * (facts.first.width // tile) for tile in fitting}
    return next((tile for tile in fitting if counts[tile] >= MANY), fitting[-1])


def _rule(found: Findings, facts: Facts, tile: int) -> Iterator[str]:
    if found.splits:
        yield _line("split", {"rule": "scene", "buffer": 0.0}, "as the source says; `buffer`: metres kept free between them")
    elif len(found.scenes) >= SHARES:
        yield _line("split", {"rule": "scenes", "buffer": 0.0, "fractions": FRACTIONS, "seed": 0}, "whole scenes, drawn")
    else:
        block = round(2 * tile * (facts.gsd or 1.0), 1)
        blocks = {"rule": "blocks", "buffer": 0.0, "block": block, "fractions": FRACTIONS, "seed": 0}
        yield _line("split", blocks, "squares of two tiles a side, drawn: scenes are few")


def _row(name: str) -> Iterator[str]:
    yield _line("study", name)
    yield _line("method", "supervised")
    yield _line("task", name)
    yield _line("why", "a first look: what a student learns from these labels alone")
