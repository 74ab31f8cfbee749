"""What a source says it is made of comes into its folder, once its terms are agreed to.

Files that someone else has put there are used as they are: nothing is downloaded, and nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from georelay.download.obtain import obtain
from georelay.download.wanted import FOLDER, Download, brought_by_hand
from georelay.errors import UserError
from georelay.files import read_json, write_json
from georelay.progress import say as speak
from georelay.reading import PARAMS

AGREED = "licence.json"  # beside the archives: the terms that were accepted on the command line


def bring(
    name: str, source: Any, settings: Any, *, accept: bool, subset: bool, say: Callable[[str], None] = speak
) -> dict[str, Any] | None:
    """Fetch, verify and unpack a source's downloads; what its receipt tells of them, None where there was nothing to bring."""
    if brought_by_hand(source):
        if source.downloads:
            say(f"{name}: {source.path} holds files of yours; they are used as they are, and nothing is downloaded")
        return None
    say(f"{name}: licence {source.licence}{f' ({source.licence_url})' if source.licence_url else ''}")
    _require_agreement(name, source, accept)
    files = obtain(
        _chosen(name, source, subset),
        Path(source.path),
        label=name,
        workers=settings.workers,
        keep_archives=settings.keep_archives,
        say=say,
    )
    return {"files": files, "licence_accepted": source.licence_accepted is not None, "subset": subset}


def _require_agreement(name: str, source: Any, accept: bool) -> None:
    """Terms that are not open are accepted once: in params.yaml, or on the command line, which is remembered."""
    if source.licence_accepted is not False:
        return
    path = Path(source.path) / FOLDER / AGREED
    if accept:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"licence": source.licence})
    if not path.is_file() or read_json(path).get("licence") != source.licence:
        read = f"read {source.licence_url or source.url or 'them'}, and if you agree "
        hint = f"{read}run `georelay fetch {name} --accept-licence`, or set licence_accepted: true there"
        raise UserError(f"the terms are not accepted yet: {source.licence}", f"{PARAMS}: sources.{name}", hint)


def _chosen(name: str, source: Any, subset: bool) -> list[Download]:
    listed = [Download(**{**entry.model_dump(), "urls": tuple(entry.urls)}) for entry in source.downloads]
    chosen = [download for download in listed if download.sample or not subset]
    if not chosen:
        hint = "fetch all of it, or mark downloads with `sample: true`"
        raise UserError("has no small part that could be fetched alone", f"{PARAMS}: sources.{name}.downloads", hint)
    return chosen
