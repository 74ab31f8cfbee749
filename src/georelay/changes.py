"""What differs between two plans of a row, in words: settings, data, teachers, code, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from georelay.files import canonical_json
from georelay.plan import RUN_STAGES, SHORT, predict_key, run_fingerprint

ABSENT = object()
DIGEST = 64  # letters of a sha256 in hex
LONGEST = 60
Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One value that is another now."""

    key: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def plan_changes(old: Plan, new: Plan) -> list[Change]:
    """Every dotted key whose value differs between two plans; code by its modules where both plans name them."""
    before, after = _flat(_compared(old, new)), _flat(_compared(new, old))
    keys = [key for key in {**after, **before} if before.get(key, ABSENT) != after.get(key, ABSENT)]
    return [Change(_said(key, new), _short(before.get(key, ABSENT)), _short(after.get(key, ABSENT))) for key in keys]


def same_run(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether both plans give the same weights."""
    return run_fingerprint(old, 0) == run_fingerprint(new, 0)


def same_maps(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether both plans give the same weights and, of them, the same maps."""
    return same_run(old, new) and predict_key(old) == predict_key(new)


def _compared(plan: Plan, other: Plan) -> dict[str, Any]:
    """What of a plan is worth comparing: not its name, and of two ways to say which code it is the finer one."""
    kept = {key: value for key, value in plan.items() if key != "experiment"}
    code = kept.pop("code")
    named = "modules" in code and "modules" in other["code"]
    return kept | {"code": code["modules"] if named else {stage: code[stage] for stage in RUN_STAGES}}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found


def _said(key: str, plan: Plan) -> str:
    """Settings as params.yaml has them below `set`; code of before modules were named by what it belongs to."""
    if key in ("code.train", "code.predict"):
        return f"code that would {key.removeprefix('code.')} method {plan['method']}"
    if key.startswith("code."):
        return f"code of georelay.{key.removeprefix('code.')}"
    return key.removeprefix("settings.").removeprefix("method.") if key.startswith("settings.") else key


def _short(value: Any) -> str:
    if value is ABSENT:
        return "(absent)"
    text = value if isinstance(value, str) else canonical_json(value)
    if len(text) == DIGEST and set(text) <= set("0123456789abcdef"):
        return text[:SHORT]
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
