"""`georelay fetch` of sources that are downloaded: terms first, then the files, then rasters with a receipt that tells of it."""

from __future__ import annotations

import contextlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from served import Server

from georelay.cli import main
from georelay.datasets import dataset, fake, names
from georelay.files import read_json
from georelay.params import load_params
from georelay.plan import source_key
from published import REPOSITORY

# Which archive holds what, of the data sets that come in several; of others the only one holds everything.
ARCHIVES: dict[str, Callable[[str], str]] = {
    "loveda": lambda file: f"{file.split('/')[0]}.zip",
    "l8-biome": lambda file: f"{file.split('/')[0]}.tar.gz",
    "hot-fair": lambda file: f"{file.split('/')[0]}.tar.xz",
}
ONLINE = [name for name in names() if any(download.urls for download in dataset(name).downloads)]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GEORELAY_CACHE", "cache")
    with contextlib.chdir(tmp_path):
        yield tmp_path


def packed(name: str, files: dict[str, bytes]) -> bytes:
    """An archive of the kind that its name says."""
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w") as archive:
            for path, body in files.items():
                archive.writestr(path, body)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode=f"w:{name.rpartition('.')[2]}") as archive:
        for path, body in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()


def published(name: str, server: Server) -> list[dict[str, Any]]:
    """A data set's archives in miniature, on a server of this machine; its downloads with their addresses there."""
    fake(name, Path("made"), np.random.default_rng(0))
    bodies = {
        path.relative_to("made").as_posix(): path.read_bytes() for path in sorted(Path("made").rglob("*")) if path.is_file()
    }
    where = ARCHIVES.get(name, lambda file: dataset(name).downloads[0].name)
    downloads = []
    for entry in dataset(name).settings["downloads"]:
        below = f"{entry['unpack']}/" if entry["unpack"] else ""
        held = {file.removeprefix(below): body for file, body in bodies.items() if where(file) == entry["name"]}
        if held:
            server.put(entry["name"], packed(entry["name"], held))
            downloads.append(entry | {"urls": [server.url(entry["name"])], "md5": None})
    assert downloads
    return downloads


def written(**source: Any) -> None:
    """A params.yaml whose source `demo` is as said."""
    values: dict[str, Any] = {key: [] for key in ("sources", "tasks", "teachers", "studies", "experiments")}
    active = values | {"features": {}, "seeds": [0]}
    text = {"like": str(REPOSITORY / "params.yaml"), "sources": {"demo": {"kind": "dataset", "path": "data/demo"} | source}}
    Path("params.yaml").write_text(yaml.safe_dump(text | {"active": active}))


def fetch(*options: str) -> int:
    return main(["fetch", "demo", *options])


def key() -> dict[str, Any]:
    return source_key(load_params(), "demo")


@pytest.mark.parametrize("name", ONLINE)
def test_archives_of_every_data_set_become_rasters(server: Server, name: str) -> None:
    downloads = published(name, server)
    written(dataset=name, downloads=downloads, licence_accepted=True if dataset(name).accept else None)
    assert fetch() == 0
    receipt = read_json(Path("data/raw/demo/receipt.json"))
    assert receipt["brought"]["licence_accepted"] == dataset(name).accept and not receipt["brought"]["subset"]
    assert [(entry["name"], entry["url"]) for entry in receipt["brought"]["files"]] == [
        (entry["name"], entry["urls"][0]) for entry in downloads
    ]
    assert all(len(entry["sha256"]) == 64 and entry["members"] > 0 for entry in receipt["brought"]["files"])
    assert receipt["scenes"] and receipt["licence"] == dataset(name).licence


def test_terms_come_first_and_are_accepted_once(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    written(dataset="loveda", downloads=published("loveda", server))
    assert fetch() == 2 and not server.asked, "nothing is asked for before"
    said = capsys.readouterr().err
    assert "params.yaml: sources.demo: the terms are not accepted yet: CC-BY-NC-SA-4.0" in said
    assert "https://creativecommons.org/licenses/by-nc-sa/4.0/" in said and "`georelay fetch demo --accept-licence`" in said
    assert not Path("data/raw/demo").exists()
    assert fetch("--accept-licence") == 0 and fetch() == 0
    assert read_json(Path("data/raw/demo/receipt.json"))["brought"]["licence_accepted"] is True
    written(dataset="loveda", downloads=published("loveda", server), licence="CC-BY-ND-4.0")
    assert fetch() == 2, "other terms are not those that were accepted"


def test_a_first_look_is_told_from_the_whole(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    written(dataset="hot-fair", downloads=published("hot-fair", server))
    assert fetch("--subset") == 0 and [path for method, path, _ in server.asked if method == "GET"] == ["/training_364.tar.xz"]
    assert read_json(Path("data/raw/demo/receipt.json"))["brought"]["subset"] is True
    values = yaml.safe_load(Path("params.yaml").read_text())
    task = {"source": "demo", "tile": 16, "stride": 16, "train_domain": "main", "test_domain": "main", "labels": None}
    task |= {"split": {"rule": "tiles", "buffer": 0.0, "seed": 0, "fractions": {"train": 0.5, "val": 0.0, "test": 0.5}}}
    task |= {"modalities": ["optical"], "inputs": ["optical"], "compression": "none"}
    Path("params.yaml").write_text(yaml.safe_dump(values | {"tasks": {"demo": task}}))
    capsys.readouterr()
    assert main(["tile", "demo"]) == 2
    assert "receipt.json: holds only a small part, fetched with --subset" in capsys.readouterr().err
    values["sources"]["demo"]["subset"] = True
    Path("params.yaml").write_text(yaml.safe_dump(values | {"tasks": {"demo": task}}))
    assert main(["tile", "demo"]) == 0


def test_what_has_no_small_part_says_so(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    written(dataset="ktda-grass", downloads=published("ktda-grass", server), licence_accepted=True)
    assert fetch("--subset") == 2 and not server.asked
    assert "sources.demo.downloads: has no small part" in capsys.readouterr().err


def test_files_of_ones_own_are_used_as_they_are(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    written(dataset="loveda", downloads=published("loveda", server))
    Path("made").rename("data_of_mine")
    written(dataset="loveda", downloads=load_params().model_dump()["sources"]["demo"]["downloads"], path="data_of_mine")
    before = key()
    assert fetch() == 0 and not server.asked, "no terms either: what is done with files that are there is not ours to ask"
    assert "data_of_mine holds files of yours" in capsys.readouterr().err
    assert "brought" not in read_json(Path("data/raw/demo/receipt.json"))
    assert key() == before
    next(Path("data_of_mine/Train").rglob("*.png")).touch()
    assert key() != before, "a file that changed is seen"


def test_what_is_downloaded_is_known_before_and_after_by_the_same_key(server: Server) -> None:
    written(dataset="loveda", downloads=published("loveda", server))
    before = key()
    assert fetch("--accept-licence") == 0
    assert key() == before, "an engine would fetch it again"
    written(dataset="loveda", downloads=published("loveda", server), licence_accepted=True)
    assert key() == before


def test_archives_fetched_by_hand_are_asked_for_and_then_taken(capsys: pytest.CaptureFixture[str]) -> None:
    written(dataset="deepglobe", licence_accepted=True)
    assert fetch() == 2
    said = capsys.readouterr().err
    assert "data/demo/.downloads/data.zip: Log in to Kaggle" in said
    fake("deepglobe", Path("made"), np.random.default_rng(0))
    files = {path.relative_to("made").as_posix(): path.read_bytes() for path in Path("made").rglob("*") if path.is_file()}
    Path("data/demo").mkdir(parents=True, exist_ok=True)
    Path("data/demo/data.zip").write_bytes(packed("data.zip", files))
    assert fetch() == 2
    assert "data/demo/data.zip: is not the file that is meant: its md5" in capsys.readouterr().err
    entry = dataset("deepglobe").settings["downloads"][0] | {"md5": None}
    written(dataset="deepglobe", licence_accepted=True, downloads=[entry])
    assert fetch() == 0 and len(read_json(Path("data/raw/demo/receipt.json"))["scenes"]) == 4


def test_a_source_of_a_labs_own_server(server: Server) -> None:
    """No data set of ours: any source of files may say where they come from."""
    source = dict(dataset("potsdam").source) | {"path": "data/demo", "licence_accepted": None}
    downloads = published("potsdam", server)
    downloads = [entry | {"manual": None} for entry in downloads]
    values = {"sources": {"demo": source | {"downloads": downloads}}, "like": str(REPOSITORY / "params.yaml")}
    active: dict[str, Any] = {name: [] for name in ("sources", "tasks", "teachers", "studies", "experiments")}
    Path("params.yaml").write_text(yaml.safe_dump(values | {"active": active | {"features": {}, "seeds": [0]}}))
    assert fetch() == 0 and len(read_json(Path("data/raw/demo/receipt.json"))["scenes"]) == 5
