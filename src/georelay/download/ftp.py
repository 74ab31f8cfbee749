"""Files over FTP, for the archives that are nowhere else."""

from __future__ import annotations

import ftplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from georelay.download.part import Dropped, Part, Refused

BLOCK = 1 << 18


def size_of(url: str, timeout: float) -> int | None:
    """The size that a server tells without sending the file."""
    with _connected(url, timeout) as (ftp, path):
        return ftp.size(path)


def stream(url: str, part: Part, timeout: float) -> None:
    """Bring the bytes of `url` that are still missing."""
    with _connected(url, timeout) as (ftp, path):
        total, changed = ftp.size(path), _changed(ftp, path)
        validator = f"{total} {changed}"
        if part.validator(url) == validator:
            part.resume()
        else:
            part.restart(url, validator, total)
        try:
            ftp.retrbinary(f"RETR {path}", part.write, BLOCK, rest=part.size or None)
        except (OSError, EOFError, ftplib.Error):
            # The line for commands idles meanwhile and may be cut, which no longer matters after the last byte.
            if part.size != total:
                raise
    part.require_whole()


@contextmanager
def _connected(url: str, timeout: float) -> Iterator[tuple[ftplib.FTP, str]]:
    parts = urlsplit(url)
    try:
        with ftplib.FTP(timeout=timeout) as ftp:
            ftp.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
            ftp.login(unquote(parts.username or ""), unquote(parts.password or ""))
            ftp.voidcmd("TYPE I")  # sizes are of bytes from here on
            yield ftp, unquote(parts.path)
    except (ftplib.error_perm, socket.gaierror) as error:
        raise Refused(str(error)) from None
    except (OSError, EOFError, ftplib.Error) as error:
        raise Dropped(str(error) or "the connection was closed") from None


def _changed(ftp: ftplib.FTP, path: str) -> str:
    with suppress(ftplib.error_perm):  # not every server tells times
        return ftp.sendcmd(f"MDTM {path}")
    return ""
