"""Files over HTTP: going on where a transfer broke off, and never taking a page of a web site for the file."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from requests import exceptions as failures
from urllib3.exceptions import HTTPError

from georelay.download.check import PAGE, PAGE_SUFFIXES
from georelay.download.part import Dropped, Part, Refused

BLOCK = 1 << 18  # bytes: what a connection that is reset may lose
HOPELESS = (
    failures.InvalidURL,
    failures.MissingSchema,
    failures.InvalidSchema,
    failures.TooManyRedirects,
    failures.SSLError,
)
WORTH_WAITING = (408, 425, 429)  # the server asks for patience; so do all of 5xx
LOG_IN = (401, 403)
BEYOND = 416  # the file ends before the span that was asked for


def size_of(url: str, timeout: float) -> int | None:
    """The size that a server tells without sending the file."""
    with _answer("HEAD", url, timeout, {}) as response:
        return None if _is_page(response) else _length(response)


def stream(url: str, part: Part, timeout: float) -> None:
    """Bring the bytes of `url` that are still missing."""
    validator = part.validator(url)
    # Without a validator nothing tells whether the file is still the same: it is fetched anew.
    span = {"Range": f"bytes={part.size}-", "If-Range": validator} if validator else {}
    with _answer("GET", url, timeout, span) as response:
        if span and response.status_code != 200:
            _require_same(response, part, validator)
            part.resume()
        elif _is_page(response) and not part.wanted.name.lower().endswith(PAGE_SUFFIXES):
            raise Refused(PAGE)
        else:
            part.restart(url, _validator(response), _length(response))
        # Not decoded: a .tar.gz that is sent "with gzip encoding" is meant as it is.
        try:
            for block in response.raw.stream(BLOCK, decode_content=False):
                part.write(block)
        except HTTPError:
            part.require_whole()  # says it better
            raise
    part.require_whole()


@contextmanager
def _answer(method: str, url: str, timeout: float, span: dict[str, str]) -> Iterator[requests.Response]:
    headers = {"Accept-Encoding": "identity", **span}
    try:
        with requests.request(method, url, headers=headers, timeout=timeout, stream=True, allow_redirects=True) as response:
            if not (span and response.status_code == BEYOND):
                _require_good(response)
            yield response
    except HOPELESS as error:
        raise Refused(str(_root(error))) from None
    except failures.Timeout:
        raise Dropped(f"did not answer within {timeout:g} s") from None
    except (requests.RequestException, HTTPError) as error:
        root = _root(error)
        raise (Refused if isinstance(root, socket.gaierror) else Dropped)(str(root) or type(root).__name__) from None


def _require_good(response: requests.Response) -> None:
    code = response.status_code
    if code in (200, 206):
        return
    said = f"answers {code} {response.reason or ''}".rstrip()
    if code in WORTH_WAITING or code >= 500:
        raise Dropped(said)
    raise Refused(f"{said}: it may ask for a log-in" if code in LOG_IN else said)


def _require_same(response: requests.Response, part: Part, validator: str) -> None:
    """The bytes that follow are of the file that the bytes here are of, even where a server knows no If-Range."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    same_size = span is not None and (part.total is None or span[2] in ("*", str(part.total)))
    if span is None or int(span[1]) != part.size or not same_size or _validator(response) not in ("", validator):
        part.discard()
        raise Dropped("the file has changed on the server")


def _validator(response: requests.Response) -> str:
    """What names these very bytes: a strong ETag, or the time of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def _root(error: BaseException) -> BaseException:
    """The first cause: what the libraries wrap it in is long and says no more."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error
