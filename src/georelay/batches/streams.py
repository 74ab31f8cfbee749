"""Streams of batches from a tile store: labelled, unlabelled and target tiles, each a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from georelay.batches.augment import recolour, strengthen
from georelay.batches.cutmix import CutMix, draw_cutmix
from georelay.batches.geometry import Move, common_grid, crop_side, identity
from georelay.batches.modality import Modality, modalities_of
from georelay.batches.rescale import draw_move
from georelay.batches.sampling import generator, positions
from georelay.batches.varied import varied
from georelay.errors import UserError
from georelay.tiles.read import Budget

PRELOADED_BYTES = 1 << 29  # smaller streams are read once and kept; larger ones are read batch by batch
STREAMS = ("labelled", "unlabelled", "target")


class Store(Protocol):
    """What is needed of a tile store."""

    def array(self, name: str) -> np.ndarray:
        """All tiles of a modality, of `label` or of `valid`."""
        ...

    def select(self, split: str, domain: str | None = None, budget: Budget = None) -> np.ndarray:
        """Tile ids."""
        ...


class FeatureReader(Protocol):
    """What is needed of the stored maps of a teacher: it saw each tile of the store once, as it is."""

    @property
    def taps(self) -> Sequence[Mapping[str, Any]]:
        """Of each map its `cells` a side and the `span` of tile pixels that they cover."""
        ...

    def read(self, ids: np.ndarray) -> list[Tensor]:
        """The maps (len(ids), C, cells, cells) of some tiles, one a tap."""
        ...


@dataclass(frozen=True)
class Batch:
    """Tensors of one step. `label` is `ignore` wherever `valid` is false, and `image` is 0 there if it is not `padding`.

    `features` holds the maps of each teacher by its name: of the tile before colour changes, moved as the image was.
    `strong` are further views of the image, changed in colour alone and not mixed yet; `mixes` are their boxes.
    `padding` is where black was added: it belongs to the picture, whoever looks at it, and to no loss.
    """

    image: Tensor
    label: Tensor
    valid: Tensor
    index: Tensor
    geometry: Move
    pair: Tensor | None = None
    features: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    strong: tuple[Tensor, ...] = ()
    mixes: tuple[CutMix, ...] = ()
    padding: Tensor | None = None

    @property
    def shown(self) -> Tensor:
        """Where the image holds a picture: valid pixels and black padding."""
        return self.valid if self.padding is None else self.valid | self.padding

    def to(self, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """The same batch elsewhere."""
        marks = self._present("label", "valid", "index", "padding")
        moved: dict[str, Any] = {name: tensor.to(device, non_blocking=True) for name, tensor in marks}
        image = self.image.to(device, memory_format=memory_format, non_blocking=True)
        pair = None if self.pair is None else self.pair.to(device, memory_format=memory_format, non_blocking=True)
        features = self._changed_features(lambda map_: map_.to(device, non_blocking=True))
        strong = tuple(view.to(device, memory_format=memory_format, non_blocking=True) for view in self.strong)
        return replace(self, image=image, pair=pair, features=features, strong=strong, **moved)

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` equal parts."""
        size = len(self.index) // count
        return [self._take(slice(part * size, (part + 1) * size)) for part in range(count)]

    def _take(self, samples: slice) -> Batch:
        names = ("image", "label", "valid", "index", "pair", "padding")
        taken = {name: tensor[samples] for name, tensor in self._present(*names)}
        features = self._changed_features(lambda map_: map_[samples])
        strong, mixes = tuple(view[samples] for view in self.strong), tuple(mix.take(samples) for mix in self.mixes)
        geometry = self.geometry.take(samples)
        return replace(self, geometry=geometry, features=features, strong=strong, mixes=mixes, **taken)

    def _present(self, *names: str) -> list[tuple[str, Tensor]]:
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]

    def _changed_features(self, change: Callable[[Tensor], Tensor]) -> dict[str, tuple[Tensor, ...]]:
        return {name: tuple(map(change, maps)) for name, maps in self.features.items()}


class Tiles:
    """Tiles of a store by position in a list of ids, as tensors; kept in memory where they are few."""

    def __init__(self, store: Store, ids: np.ndarray, modalities: list[Modality], inputs: int, ignore: int) -> None:
        self.store, self.ids, self.modalities, self.inputs, self.ignore = store, ids, modalities, inputs, ignore
        self.side = int(store.array("label").shape[-1])
        values = 2 + 4 * sum(len(modality.bands) for modality in modalities)
        fits = len(ids) * self.side**2 * values <= PRELOADED_BYTES
        self.kept = self._load(np.arange(len(ids))) if fits else None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> tuple[list[Tensor], Tensor]:
        """Normalised values of each modality, 0 in gaps; label and valid mask as bytes (B, 2, H, W)."""
        if self.kept is None:
            return self._load(places)
        index = torch.from_numpy(places)
        return [image[index] for image in self.kept[0]], self.kept[1][index]

    def _load(self, places: np.ndarray) -> tuple[list[Tensor], Tensor]:
        label, valid = (torch.from_numpy(self._read(name, places)) for name in ("label", "valid"))
        seen = (valid != 0).unsqueeze(1)
        raws = [torch.from_numpy(self._read(m.name, places).astype(np.float32)) for m in self.modalities]
        return [m.normalised(raw, seen) for m, raw in zip(self.modalities, raws, strict=True)], torch.stack([label, valid], dim=1)

    def _read(self, name: str, places: np.ndarray) -> np.ndarray:
        tiles: np.ndarray = self.store.array(name)[self.ids[places]]
        return tiles

    def batch(
        self, images: list[Tensor], marks: Tensor, places: np.ndarray, geometry: Move, padding: Tensor | None = None
    ) -> Batch:
        """Stack what `take` gave, changed or not: the first `inputs` modalities are the image, the others its pair."""
        label, seen = marks[:, 0], marks[:, 1] != 0
        if not seen.all():
            label = torch.where(seen, label, self.ignore)
            shown = seen if padding is None else seen | padding
            images = [torch.where(shown.unsqueeze(1), image, 0.0) for image in images]
        pair = torch.cat(images[self.inputs :], dim=1) if images[self.inputs :] else None
        index = torch.from_numpy(self.ids[places].astype(np.int64))
        return Batch(torch.cat(images[: self.inputs], dim=1), label.long(), seen, index, geometry, pair, padding=padding)

    def whole(self, places: np.ndarray) -> Batch:
        """Tiles as they are, for scoring."""
        images, marks = self.take(places)
        return self.batch(images, marks, places, identity(len(places), self.side))


class CachedMaps:
    """The maps of a teacher by position in a list of ids; kept in memory where they are few."""

    def __init__(self, reader: FeatureReader, ids: np.ndarray) -> None:
        self.reader, self.ids = reader, ids
        fits = len(ids) * sum(map_.nbytes for map_ in reader.read(ids[:1])) <= PRELOADED_BYTES
        self.kept = reader.read(ids) if fits else None

    def take(self, places: np.ndarray) -> list[Tensor]:
        """The maps of the tiles at `places`, one a tap."""
        if self.kept is None:
            return self.reader.read(self.ids[places])
        return [map_[torch.from_numpy(places)] for map_ in self.kept]


class Stream:
    """Random batches of some tiles: the batch of a step is the same whatever came before, on any number of ranks."""

    def __init__(
        self,
        name: str,
        tiles: Tiles,
        augment: Mapping[str, Any],
        features: Mapping[str, FeatureReader],
        *,
        seed: int,
        batch: int,
        views: int = 0,
    ) -> None:
        self.name, self.tiles, self.views = name, tiles, views
        own = augment["target"] if name == "target" else None
        self.augment = {**augment, **(own or {})}
        self.seed, self.size = seed, batch
        self.grid = feature_grid(features, tiles.side, self.augment)
        self.features = {teacher: CachedMaps(reader, tiles.ids) for teacher, reader in features.items()}

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """This rank's share of the batch of a step."""
        share = self.size // world
        samples = slice(rank * share, (rank + 1) * share)
        rng = generator(self.seed, f"augment/{self.name}", step)
        geometry = draw_move(rng, self.size, self.tiles.side, self.augment, self.grid).take(samples)
        places = positions(len(self.tiles), self.size, step, self.seed, self.name)[samples]
        images, marks = self.tiles.take(places)
        geometry = self._varied(geometry, marks, step, samples)
        padding = self._padding(geometry, marks)
        moved = [_padded(geometry.apply(image), m, padding) for image, m in zip(images, self.tiles.modalities, strict=True)]
        pairs = zip(moved, self.tiles.modalities, strict=True)
        images = [recolour(image, modality, self.augment, rng, self.size, samples) for image, modality in pairs]
        batch = self.tiles.batch(images, geometry.apply(marks, nearest=True), places, geometry, padding)
        features = {teacher: tuple(map(geometry.apply, cached.take(places))) for teacher, cached in self.features.items()}
        batch = replace(batch, features=features)
        return self._with_strong_views(batch, step, samples) if self.views else batch

    def _varied(self, geometry: Move, marks: Tensor, step: int, samples: slice) -> Move:
        """Crops of more than one class; only labelled tiles have labels to look at."""
        share, ignore = self.augment["crop_share"], self.tiles.ignore
        if self.name != "labelled" or share == 1:
            return geometry
        label, rng = torch.where(marks[:, 1:] != 0, marks[:, :1], ignore), generator(self.seed, f"varied/{self.name}", step)
        return varied(geometry, label, share, ignore, rng, self.size, samples, self.grid)

    def _with_strong_views(self, batch: Batch, step: int, samples: slice) -> Batch:
        rng, boxes = generator(self.seed, f"strong/{self.name}", step), self.augment["cutmix"]
        strong = tuple(self._strengthened(batch, rng, samples) for _ in range(self.views))
        side, shape = batch.image.shape[-1], (boxes["chance"], boxes["area"], boxes["ratio"])
        mixes = tuple(draw_cutmix(rng, self.size, side, *shape, self.grid).take(samples) for _ in range(self.views))
        return replace(batch, strong=strong, mixes=mixes)

    def _strengthened(self, batch: Batch, rng: np.random.Generator, samples: slice) -> Tensor:
        shown, strong = self.tiles.modalities[: self.tiles.inputs], self.augment["strong"]
        parts = zip(torch.split(batch.image, [len(modality.bands) for modality in shown], dim=1), shown, strict=True)
        view = torch.cat([strengthen(part, modality, strong, rng, self.size, samples) for part, modality in parts], dim=1)
        return view if batch.shown.all() else torch.where(batch.shown.unsqueeze(1), view, 0.0)

    def _padding(self, geometry: Move, marks: Tensor) -> Tensor | None:
        """Where tiles are padded with black."""
        inside = torch.ones_like(marks[:, :1])
        return geometry.apply(inside, nearest=True)[:, 0] == 0 if self.augment["padding"] == "black" else None


def _padded(image: Tensor, modality: Modality, padding: Tensor | None) -> Tensor:
    return image if padding is None else torch.where(padding.unsqueeze(1), modality.black, image)


def open_tiles(store: Store, plan: Mapping[str, Any], ids: np.ndarray) -> Tiles:
    """Tiles with the modalities of a plan."""
    inputs, pair = plan["inputs"], plan.get("pair", [])
    return Tiles(store, ids, modalities_of(plan, [*inputs, *pair]), len(inputs), plan["ignore"])


def open_stream(
    store: Store, plan: Mapping[str, Any], name: str, seed: int, features: Mapping[str, FeatureReader] = {}, views: int = 0
) -> Stream:
    """The stream a method asked for, with the stored maps of teachers by their names, and `views` strong views."""
    settings = plan["settings"]
    tiles = open_tiles(store, plan, _ids(store, plan, name))
    return Stream(name, tiles, settings["augment"], features, seed=seed, batch=settings["train"]["batch"], views=views)


def feature_grid(features: Mapping[str, FeatureReader], side: int, augment: Mapping[str, Any]) -> int:
    """The grid in pixels that crops of tiles must keep to, so that stored maps are cut and not resampled."""
    if augment["scaling"] != "window":
        if features:
            what = f"stored maps of {', '.join(features)} cannot follow tiles that are resized and padded"
            raise UserError(what, "augment.scaling", "use `teacher_view: online`, or `scaling: window`")
        return 1
    cells = []
    for teacher, reader in features.items():
        padded = any(tap["span"] > side for tap in reader.taps)
        if padded and _moves(augment, side):
            hint = "use `fit: resize`, `teacher_view: online`, or switch augment.flip/turn/crop/scale off"
            raise UserError(f"teacher {teacher} saw a padded tile", f"teachers.{teacher}.fit", hint)
        cells += [tap["cells"] for tap in reader.taps if tap["span"] == side]
    grid = common_grid(side, cells)
    crop_side(side, augment, grid)  # a crop that does not fit is refused now, not at the first step
    return grid


def _moves(augment: Mapping[str, Any], side: int) -> bool:
    return bool(augment["flip"] or augment["turn"] or augment["crop"] not in (0, side) or tuple(augment["scale"]) != (1, 1))


def _ids(store: Store, plan: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in STREAMS:
        raise ValueError(f"no stream {name}; known: {', '.join(STREAMS)}")
    domain = plan["test_domain" if name == "target" else "train_domain"]
    budget = plan["labels"] if name == "labelled" else None
    ids = store.select("train", domain, budget)
    least = sum(budget.values()) if isinstance(budget, Mapping) else budget or 1
    if len(ids) < least:
        what = f"{len(ids)} training tiles for the {name} stream, {least if budget else 'at least 1'} asked for"
        raise UserError(what, f"task {plan['task']}, domain {domain}", "lower `labels`")
    return ids
