"""Weights that others trained: from the Hugging Face hub or from a file, never by half and never unchecked."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from torch import Tensor

from georelay.errors import UserError
from georelay.files import sha256_file
from georelay.models.backbones import hub_repository
from georelay.models.weights import read_foreign, require_keys
from georelay.teachers.network import build_network

FILE = "model.safetensors"
PROBE_SECONDS = 3.0  # whoever is offline learns it now, not after a library's retries


def obtain(name: str, settings: Mapping[str, Any], root: Path) -> dict[str, Tensor]:
    """The tensors of a hub or file teacher under timm's names; `root` is the folder that a relative file is meant from."""
    path = _from_hub(name, settings) if settings["origin"] == "hub" else _from_file(name, settings, root)
    with torch.device("meta"):  # names and shapes cost nothing there
        network = build_network(settings, None, None)
    tensors = read_foreign(path)
    require_keys(path, network.net, tensors, settings["ignored_keys"])
    return {key: tensors[key] for key in network.net.state_dict()}


def _from_file(name: str, settings: Mapping[str, Any], root: Path) -> Path:
    where = f"teachers.{name}"
    if settings["file"] is None:
        raise UserError("the file is not named", f"{where}.file", "origin file needs `file` and `sha256`")
    path = root / str(settings["file"])
    if not path.is_file():
        raise UserError("weight file is missing", path, f"put it there, or mend `{where}.file`")
    if settings["sha256"] is None:
        hint = f"set `sha256: {sha256_file(path)}` if this is the file you mean"
        raise UserError("the digest of the file is not given", f"{where}.sha256", hint)
    _require_sha256(path, settings["sha256"], where)
    return path


def _from_hub(name: str, settings: Mapping[str, Any]) -> Path:
    repository = hub_repository(settings["network"])
    path = _cached(repository) or _downloaded(repository, f"teachers.{name}")
    if settings["sha256"] is not None:
        _require_sha256(path, settings["sha256"], f"teachers.{name}")
    return path


def _require_sha256(path: Path, expected: str, where: str) -> None:
    found = sha256_file(path)
    if found != expected.lower():
        hint = f"its sha256 is {found}; `{where}.sha256` says {expected}"
        raise UserError("is not the file that the settings name", path, hint)


def _cached(repository: str) -> Path | None:
    found = try_to_load_from_cache(repository, FILE)
    return Path(found) if isinstance(found, str) else None


def _downloaded(repository: str, where: str) -> Path:
    endpoint = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        raise _offline("HF_HUB_OFFLINE forbids to fetch it", endpoint, repository, where)
    if not _answers(endpoint):
        raise _offline(f"{endpoint} does not answer", endpoint, repository, where)
    try:
        return Path(hf_hub_download(repository, FILE, endpoint=endpoint, etag_timeout=PROBE_SECONDS))
    except Exception as error:  # the library's and its HTTP client's errors share no base of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _offline(f"could not be fetched ({reason})", endpoint, repository, where) from error


def _offline(reason: str, endpoint: str, repository: str, where: str) -> UserError:
    url = f"{endpoint}/{repository}/resolve/main/{FILE}"
    hint = f"fetch {url} by any other way, then set `origin: file`, `file: <its path>` and `sha256: <its digest>`"
    return UserError(f"{repository} is not in the local cache, and {reason}", where, hint)


def _answers(endpoint: str) -> bool:
    """Whether anything answers there, were it with an error page."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
