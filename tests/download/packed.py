"""Small archives for tests, good and bad."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence


def zipped(*members: tuple[str, bytes], mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of names and bytes; `mode` is what Unix calls the kind of each."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, body in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, body)
    return stream.getvalue()


def tarred(members: Sequence[tuple[str, bytes]], compression: str = "", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A tar file of names and bytes, all of one kind."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(body)
            archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()
