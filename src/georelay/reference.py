"""What the rows and studies of the published reference are called: as the plain ones, with an ending.

A module of its own, so that figures can name rows without depending on the settings classes.
"""

from __future__ import annotations

ENDING = "-reference"


def reference_name(name: str) -> str:
    """What a row or study is called where it is trained for publication."""
    return f"{name}{ENDING}"


def plain_name(name: str) -> str:
    """What the row or study behind such a name is called; any other name stays."""
    return name.removesuffix(ENDING)
