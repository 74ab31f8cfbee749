"""Descriptions of public data sets: what they say is well formed, and params.yaml may change any of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from georelay.datasets import dataset, names
from georelay.errors import UserError
from georelay.params import load_params
from georelay.reading import load_yaml, validated
from georelay.settings.data import Folder, Paired
from georelay.sources.encoding import check_encoding
from published import REPOSITORY


@pytest.fixture(scope="module")
def sources() -> dict[str, Any]:
    """Every source of params.yaml as the program sees it."""
    return dict(load_params(REPOSITORY / "params.yaml").sources)


@pytest.mark.parametrize("name", names())
def test_a_source_is_whole_and_listed(sources: dict[str, Any], name: str) -> None:
    described = dict(dataset(name).settings)
    source = validated({"folder": Folder, "paired": Paired}[described["kind"]], described, name)
    check_encoding(source, name)
    assert source == sources[name]
    assert re.fullmatch("[a-z0-9-]+", name)
    colours = [tuple(entry.colour) for entry in source.classes]
    assert len(colours) == len(set(colours)) >= 2
    assert len({entry.name for entry in source.classes}) == len(colours)


@pytest.mark.parametrize("name", names())
def test_downloads_are_addresses_and_digests_or_a_sentence(name: str) -> None:
    described = dataset(name)
    files = [file.name for file in described.downloads]
    assert files or " " in described.source["by_hand"], "nobody could get it"
    assert len(files) == len(set(files))
    assert not files or not all(file.sample for file in described.downloads)
    for file in described.downloads:
        assert file.urls or file.manual, "nobody could get it"
        assert file.manual is None or (file.manual.endswith(".") and " " in file.manual)
        for url in file.urls:
            parts = urlsplit(url)
            assert parts.scheme in ("https", "ftp") and "." in parts.netloc and "@" not in parts.netloc
            endings = {"".join(Path(place).suffixes[-2:]) for place in (parts.path.rstrip("/"), file.name)}
            assert len(endings) == 1, "another kind of file than its name says"
        assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0
        assert not Path(file.unpack or "").is_absolute() and ".." not in Path(file.unpack or "").parts


@pytest.mark.parametrize("name", names())
def test_terms_are_said(name: str) -> None:
    described = dataset(name)
    open_terms = re.match("CC0|CC-BY-(SA-)?[0-9]|images CC-BY-4.0", described.licence)
    assert described.accept == (open_terms is None)
    assert described.title and urlsplit(described.licence_url or "").scheme == "https"


def test_params_yaml_is_read_without_numpy() -> None:
    code = "import sys; from georelay.params import load_params; load_params(); print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "False"


def loaded(folder: Path, name: str, **changes: Any) -> Any:
    values = load_yaml(REPOSITORY / "params.yaml")
    values["sources"][name] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_params(folder / "params.yaml").sources[name]


def test_what_params_yaml_says_counts_key_by_key(tmp_path: Path, sources: dict[str, Any]) -> None:
    changed = loaded(tmp_path, "loveda", path="elsewhere", gsd=None, domains={"urban": "City"})
    expected = {"path": "elsewhere", "gsd": None, "domains": {"rural": "Rural", "urban": "City"}}
    assert changed == sources["loveda"].model_copy(update=expected)
    assert dataset("loveda").source["domains"] == {"rural": "Rural", "urban": "Urban"}, "the description itself is as it was"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clases": []}, r'params.yaml: sources.loveda.clases: unknown key\n.*did you mean "classes"'),
        ({"modalities": {}}, "sources.loveda.modalities: unknown key"),
        ({"splits": {"tain": "Train"}}, r'sources.loveda.splits.tain: unknown key\n.*"train"'),
        ({"dataset": "love-da"}, r'sources.loveda.dataset: unknown data set "love-da"\n.*did you mean "loveda"'),
        ({"dataset": None}, "sources.loveda.dataset: input should be a valid string"),
        ({"gsd": {"rural": 0.3}}, "sources.loveda.gsd: says nothing of domain urban"),
    ],
)
def test_what_does_not_fit_is_said_with_its_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, "loveda", **changes)
    assert re.search(words, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("name", names())
def test_the_guide_lists_every_data_set_and_its_terms(name: str) -> None:
    lines = [line for line in (REPOSITORY / "docs/data.md").read_text().splitlines() if f"`{name}`" in line and "|" in line]
    assert len(lines) == 1 and ("(accept)" in lines[0]) == dataset(name).accept
    assert ("by hand" in lines[0]) == all(not download.urls for download in dataset(name).downloads)
    assert ("--subset" in lines[0]) == any(download.sample for download in dataset(name).downloads)
