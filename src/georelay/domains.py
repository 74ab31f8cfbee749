"""Settings that are one value, or one for each domain of a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from georelay.errors import UserError, suggestion

MAIN = "main"  # the domain of a source that does not tell any


def of_domain(setting: Any, domain: str) -> Any:
    """What a setting is for a domain."""
    return setting[domain] if isinstance(setting, Mapping) else setting


def require_each(setting: Any, domains: Collection[str], where: str) -> None:
    """A setting that differs by domain has every domain, and no other."""
    if not isinstance(setting, Mapping):
        return
    for name in setting:
        if name not in domains:
            raise UserError(f'unknown domain "{name}"', where, suggestion(name, domains))
    if lacking := [name for name in domains if name not in setting]:
        raise UserError(f"says nothing of domain {lacking[0]}", where, "give every domain its own, or all of them one")
