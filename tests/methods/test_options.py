"""The table of methods: strict settings, and light enough for every command to read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from georelay.methods.options import METHODS


def test_settings_are_strict() -> None:
    settings = METHODS["supervised"].settings
    assert settings.model_validate({"label_smoothing": 0.1}).model_dump() == {"label_smoothing": 0.1}
    for wrong in ({"label_smoothing": "0.1"}, {"label_smoothing": 1.0}, {}, {"label_smoothing": 0.0, "smooth": 1}):
        with pytest.raises(ValidationError):
            settings.model_validate(wrong)


def test_every_setting_is_described() -> None:
    fields = [field for entry in METHODS.values() for field in entry.settings.model_fields.values()]
    assert all(field.description for field in fields)


def test_reading_the_table_imports_nothing_heavy() -> None:
    code = "import sys, georelay.methods.options; print({'torch', 'numpy', 'timm'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
