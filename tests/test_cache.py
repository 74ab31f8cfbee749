"""The cache: restores what it kept, notices damage, shares between clones, and makes room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from georelay.cache import Cache
from georelay.files import sha256_file

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "store", tmp_path / "clone")


def keep(cache: Cache, key: str, name: str, text: str) -> Path:
    path = cache.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    cache.save(key, f"make {name}", [Path(name)], seconds=1.0)
    return path


def objects(cache: Cache) -> list[Path]:
    return sorted(path for path in (cache.folder / "files").rglob("*") if path.is_file())


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_text("damaged")


def test_unknown_fingerprints_restore_nothing(cache: Cache) -> None:
    assert cache.restore(KEY, [Path("x.txt")]) is None


def test_a_then_b_then_a_again(cache: Cache) -> None:
    path = keep(cache, KEY, "out/x.txt", "first")
    path.unlink()
    keep(cache, OTHER, "out/x.txt", "second")
    assert cache.restore(KEY, [Path("out/x.txt")]) is not None
    assert path.read_text() == "first"
    assert cache.restore(OTHER, [Path("out/x.txt")]) is not None
    assert path.read_text() == "second"


def test_folders_are_kept_with_all_that_is_in_them(cache: Cache) -> None:
    folder = cache.root / "maps"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "deep/b").write_text("2")
    cache.save(KEY, "maps", [Path("maps")], 1.0)
    (folder / "a").unlink()
    (folder / "deep/b").unlink()
    assert cache.restore(KEY, [Path("maps")]) is not None
    assert ((folder / "a").read_text(), (folder / "deep/b").read_text()) == ("1", "2")


def test_a_second_clone_restores_from_the_same_store(cache: Cache, tmp_path: Path) -> None:
    keep(cache, KEY, "x.txt", "shared")
    clone = Cache(tmp_path / "store", tmp_path / "second")
    assert clone.restore(KEY, [Path("x.txt")]) is not None
    assert (tmp_path / "second/x.txt").read_text() == "shared"


def test_files_may_be_restored_to_another_place(cache: Cache) -> None:
    (cache.root / "old/deep").mkdir(parents=True)
    (cache.root / "old/deep/a").write_text("1")
    (cache.root / "old.json").write_text("2")
    cache.save(KEY, "a row", [Path("old"), Path("old.json")], 1.0)
    assert cache.restore(KEY, [Path("new"), Path("new.json")]) is not None
    assert ((cache.root / "new/deep/a").read_text(), (cache.root / "new.json").read_text()) == ("1", "2")


@pytest.mark.parametrize("victim", ["object", "entry", "missing object"])
def test_damage_is_noticed_dropped_and_can_be_kept_anew(cache: Cache, victim: str) -> None:
    path = keep(cache, KEY, "x.txt", "good")
    path.unlink()
    if victim == "entry":
        (entry,) = cache.folder.glob("entries/*/*.json")
        entry.write_text(entry.read_text().replace('"seconds": 1.0', '"seconds": 2.0'))
    elif victim == "object":
        damage(objects(cache)[0])
    else:
        objects(cache)[0].unlink()
    assert cache.restore(KEY, [Path("x.txt")]) is None
    assert not path.exists(), "nothing damaged may reach the checkout"
    assert list(cache.entries()) == []
    keep(cache, KEY, "x.txt", "good")
    path.unlink()
    assert cache.restore(KEY, [Path("x.txt")]) is not None and path.read_text() == "good"


def test_an_output_edited_in_place_does_not_poison_the_store(cache: Cache) -> None:
    path = keep(cache, KEY, "x.txt", "good")
    damage(path)  # the store may hold a hard link to this very file
    assert cache.restore(KEY, [Path("x.txt")]) is None or path.read_text() == "good"


def test_saving_over_a_damaged_object_heals_it(cache: Cache) -> None:
    keep(cache, KEY, "x.txt", "good").unlink()
    damage(objects(cache)[0])
    keep(cache, OTHER, "y.txt", "good").unlink()
    assert cache.restore(OTHER, [Path("y.txt")]) is not None and (cache.root / "y.txt").read_text() == "good"


def test_verify_names_what_it_drops(cache: Cache) -> None:
    keep(cache, KEY, "x.txt", "one")
    keep(cache, OTHER, "y.txt", "two")
    damage(Path(cache.objects.oid_to_path(sha256_file(cache.root / "x.txt"))))
    assert cache.verify() == ["make x.txt"]
    assert [entry.label for entry in cache.entries()] == ["make y.txt"]


def test_prune_drops_what_was_used_longest_ago(cache: Cache) -> None:
    keep(cache, KEY, "x.txt", "x" * 100)
    keep(cache, OTHER, "y.txt", "y" * 100)
    for index, key in enumerate((OTHER, KEY)):  # x was used last
        os.utime(cache._entry_path(key), (index, index))
    assert cache.prune(keep_bytes=150) == 100
    assert [entry.label for entry in cache.entries()] == ["make x.txt"]
    assert cache.prune(keep_bytes=0) == 100
    assert objects(cache) == []


def test_the_environment_names_a_shared_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEORELAY_CACHE", str(tmp_path / "lab"))
    assert Cache.here(tmp_path).folder == (tmp_path / "lab").resolve()
    monkeypatch.delenv("GEORELAY_CACHE")
    assert Cache.here(tmp_path).folder == (tmp_path / ".georelay/cache").resolve()
