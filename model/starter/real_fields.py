"""The few real images that the starter model learns from, and the labels that it learns there.

Of healthy cultures it is known that nothing in them is differentiated, debris and dead cells
included, even where nobody can say how far a colony reaches: pixels along unsure borders are
`NOT_DIFFERENTIATED`. Only what was not imaged, such as a burnt-in bar, is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.dataset import (
    PIXEL_SIZES,
    LabelledImage,
    TrainingField,
    prepare,
    read_pixel_sizes,
)
from model.labelled_files import read_image, read_labels
from model.preprocessing import Normalisation, at_working_scale, normalise
from model.starter.held_out import (
    HIPSC,
    PASSAGE,
    SIX_WELL,
    SPREAD,
    WHOLE_WELLS,
    is_held_out,
)
from model.starter.local_contrast import local_contrast_labels, well_of
from model.starter.progress import say
from model.starter.real_images import burnt_in, images_of
from model.starter.settings import (
    SPREAD_CELLS_PIXEL_SIZE_UM,
    UM_PER_PIXEL,
    WELL_DIAMETER_UM,
)
from model.train import FieldGroup

WALL_UM: Final = 150.0
SCALE_SPREADS: Final[Mapping[str, float]] = {
    HIPSC: 0.3,
    PASSAGE: 0.25,
    SIX_WELL: 0.25,
    WHOLE_WELLS: 0.2,
    SPREAD: 0.3,
}
SURE_CELLS_UM: Final = 0.0
SURE_BACKGROUND_UM: Final = 3.0
"""How far inside a draft's outline cells, and background, are taken for sure."""
LEAST_GAP_UM2: Final = 40_000.0
"""In grown cultures smaller holes of a draft may be dense centres of colonies that it missed."""
NUCLEUS_UM2: Final = 400.0
"""Holes of a draft up to this size are bright middles of cells."""
GAP_UM: Final = 3.0
GAP_SHARE: Final = 0.5
AROUND_CELL_UM: Final = 3.0


def real_groups(
    data: Path, shares: Mapping[str, float]
) -> tuple[list[FieldGroup], dict[str, list[TrainingField]]]:
    """Real fields to train on by kind, and those held back. Kinds that are missing are left out.

    shares : of the crops, for each kind
    Raises DataError.
    """
    groups: list[FieldGroup] = []
    held: dict[str, list[TrainingField]] = {}
    for kind, read in _READERS.items():
        fields = list(read(data, kind))
        kept = [one for one in fields if not is_held_out(kind, one.name)]
        held[kind] = [one for one in fields if is_held_out(kind, one.name)]
        if kept:
            groups.append(FieldGroup(kind, kept, shares[kind], SCALE_SPREADS[kind]))
        say(f"{kind}: {len(kept)} fields to train on, {len(held[kind])} held back")
    return groups, held


def _labelled(data: Path, kind: str) -> Iterator[tuple[Path, NDArray[Any], NDArray[np.uint8]]]:
    for path in images_of(data, kind):
        labels = read_labels(data / kind / "labels" / f"{path.stem}.png")
        yield path, read_image(path), labels


def _hipsc(data: Path, kind: str) -> Iterator[TrainingField]:
    sizes = read_pixel_sizes(data / kind / PIXEL_SIZES)
    for path, image, drawn in _labelled(data, kind):
        labels = np.where(drawn == UNKNOWN, np.uint8(NOT_DIFFERENTIATED), drawn)
        labels[burnt_in(drawn)] = UNKNOWN
        yield _prepared(path.name, image, labels, sizes[path.name])


def _passage(data: Path, kind: str) -> Iterator[TrainingField]:
    sizes = read_pixel_sizes(data / kind / PIXEL_SIZES)
    for path, image, draft in _labelled(data, kind):
        labels = sure_of(draft, sizes[path.name], grown="_D1_" not in path.name)
        yield _prepared(path.name, image, labels, sizes[path.name])


def sure_of(draft: NDArray[np.uint8], pixel_size_um: float, *, grown: bool) -> NDArray[np.uint8]:
    """What a drafted label map of a healthy culture is believed in.

    draft : (H, W) uint8, 0, 1 and 255
    grown : colonies have closed, so that small holes are rather what the draft missed
    Returns (H, W) uint8: also 254 along borders and in such holes; 255 in the burnt-in bar.
    """
    drawn = draft == CellClass.UNDIFFERENTIATED
    drawn |= _small(draft == CellClass.BACKGROUND, NUCLEUS_UM2 / pixel_size_um**2)
    cells = _well_inside(drawn, SURE_CELLS_UM / pixel_size_um)
    empty = _well_inside(draft == CellClass.BACKGROUND, SURE_BACKGROUND_UM / pixel_size_um)
    if grown:
        empty &= ~_small(empty, LEAST_GAP_UM2 / pixel_size_um**2)
    labels = np.full(draft.shape, NOT_DIFFERENTIATED, dtype=np.uint8)
    labels[empty] = CellClass.BACKGROUND
    labels[cells] = CellClass.UNDIFFERENTIATED
    labels[burnt_in(draft)] = UNKNOWN
    return labels


def _small(mask: NDArray[np.bool_], area_px: float) -> NDArray[np.bool_]:
    """The parts of a mask that are smaller than that."""
    _, parts, numbers, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    small = numbers[:, cv2.CC_STAT_AREA] < area_px
    small[0] = False
    return np.asarray(small[parts])


def _well_inside(mask: NDArray[np.bool_], distance_px: float) -> NDArray[np.bool_]:
    """Pixels of the mask at least so far from what is not of it; the image's edge is no border."""
    if mask.all():
        return mask.copy()
    away = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away > distance_px)


def _plate_imager(data: Path, kind: str) -> Iterator[TrainingField]:
    for path in images_of(data, kind):
        image = read_image(path)
        nothing = np.zeros(image.shape, dtype=np.uint8)
        one = _prepared(path.name, image, nothing, 1.0)
        flat = cast(NDArray[np.float32], one.flat)
        labels = local_contrast_labels(flat, UM_PER_PIXEL)
        labels[labels == UNKNOWN] = NOT_DIFFERENTIATED
        yield TrainingField(path.name, flat, labels)


def _whole_wells(data: Path, kind: str) -> Iterator[TrainingField]:
    for path in images_of(data, kind):
        image = read_image(path)
        inside, diameter = well_of(image)
        size = WELL_DIAMETER_UM / diameter
        height, width = (round(n * size / UM_PER_PIXEL / 8) * 8 for n in image.shape)
        levels, share = at_working_scale(image, (height, width), inside)
        flat = normalise(levels, share, UM_PER_PIXEL, Normalisation())
        wide = np.asarray(share, dtype=np.float32) > 0.5
        # The wall's shadow looks as rough as cells do: along it nobody says whether cells are.
        well = _well_inside(np.asarray(wide), WALL_UM / UM_PER_PIXEL)
        labels = local_contrast_labels(flat, UM_PER_PIXEL, inside=well)
        labels[wide & (labels == UNKNOWN)] = NOT_DIFFERENTIATED
        yield TrainingField(path.name, flat, labels)


def _spread_cells(data: Path, kind: str) -> Iterator[TrainingField]:
    for path, image, drawn in _labelled(data, kind):
        labels = as_regions(drawn > 0, SPREAD_CELLS_PIXEL_SIZE_UM)
        yield _prepared(path.name, image, labels, SPREAD_CELLS_PIXEL_SIZE_UM)


def as_regions(cells: NDArray[np.bool_], pixel_size_um: float) -> NDArray[np.uint8]:
    """Regions of differentiated cells from outlines of single ones.

    In a culture the narrow gaps between neighbours belong to their region; a strip along a cell is
    nobody's; all else is background.
    """
    sigma, strip = GAP_UM / pixel_size_um, AROUND_CELL_UM / pixel_size_um
    near = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), sigma) > GAP_SHARE
    labels = np.full(cells.shape, UNKNOWN, dtype=np.uint8)
    labels[_well_inside(~cells, strip)] = CellClass.BACKGROUND
    labels[near | cells] = CellClass.DIFFERENTIATED
    return labels


def _prepared(
    name: str, image: NDArray[Any], labels: NDArray[np.uint8], pixel_size_um: float
) -> TrainingField:
    one = LabelledImage(name, image, labels, pixel_size_um)
    return prepare(one, UM_PER_PIXEL, Normalisation())


_READERS: Final[Mapping[str, Callable[[Path, str], Iterator[TrainingField]]]] = {
    HIPSC: _hipsc,
    PASSAGE: _passage,
    SIX_WELL: _plate_imager,
    WHOLE_WELLS: _whole_wells,
    SPREAD: _spread_cells,
}
