"""Do label maps mean what we read in them? Other programs count otherwise, and nothing in a file
says so: what is refused, and what is asked, before anything is learnt from it.

What shows it: values that are no classes; no background anywhere; nothing but background and
unknown; labels that are one component each in every field, as numbered objects are; and a
background with more texture than the cells. On phase-contrast and brightfield fields of cells,
background has less than half of the texture of cells, with every microscope tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass

CELLS: Final = (int(CellClass.UNDIFFERENTIATED), int(CellClass.DIFFERENTIATED))
BACKGROUND: Final = int(CellClass.BACKGROUND)

MUCH_ROUGHER: Final = 2.0
"""Ratio of texture from which on what is called background looks like cells, and cells like
background. Stained tissue, where background is no bare plastic, comes to 1.4, at most 2.0."""

_BOX_PX: Final = 9
_LOOKED_AT_PX: Final = 4096
_LEAST_SHARE: Final = 0.002
_SHOWN: Final = 5


@dataclass(frozen=True)
class MapFacts:
    """What a label map shows of how it is meant.

    name : of its file
    values : those that occur
    components : how many connected components each class of cells makes
    touching : do undifferentiated and differentiated touch anywhere?
    texture : of the image, by value: median of the spread of grey levels nearby
    """

    name: str
    values: frozenset[int]
    components: Mapping[int, int]
    touching: bool
    texture: Mapping[int, float]

    def rougher(self, one: int, other: int) -> float | None:
        """How many times the texture of one value that of the other is; None where not known."""
        if one not in self.texture or other not in self.texture:
            return None
        least = max(self.texture[other], 1e-6 * max(self.texture.values()))
        return self.texture[one] / least if least > 0 else None


def facts_of(name: str, labels: NDArray[np.uint8], image: NDArray[Any]) -> MapFacts:
    """Look at a label map and its image, both (H, W)."""
    values = frozenset(np.unique(labels).tolist())
    components = {
        value: cv2.connectedComponents((labels == value).astype(np.uint8), connectivity=8)[0] - 1
        for value in CELLS
        if value in values
    }
    touching = False
    if len(components) == 2:
        near = cv2.dilate((labels == CELLS[0]).astype(np.uint8), np.ones((3, 3), np.uint8))
        touching = bool((near.astype(bool) & (labels == CELLS[1])).any())
    return MapFacts(name, values, components, touching, _texture(labels, image))


def _texture(labels: NDArray[np.uint8], image: NDArray[Any]) -> dict[int, float]:
    """Of the middle of the image, where it is large."""
    place = tuple(
        slice(max(0, (side - _LOOKED_AT_PX) // 2), (side + _LOOKED_AT_PX) // 2 + 1)
        for side in labels.shape
    )
    some, grey = labels[place], np.nan_to_num(np.asarray(image[place], np.float32))
    grey = grey - float(grey.mean())
    box = (_BOX_PX, _BOX_PX)
    spread = cv2.blur(grey * grey, box) - cv2.blur(grey, box) ** 2
    rough = np.sqrt(np.maximum(spread, 0))
    least = max(1, int(_LEAST_SHARE * some.size))
    found = {}
    for value in (BACKGROUND, *CELLS, UNKNOWN):
        here = some == value
        if np.count_nonzero(here) >= least:
            found[value] = float(np.median(rough[here]))
    return found


def questions(maps: Sequence[MapFacts], *, background_elsewhere: bool) -> list[str]:
    """What to ask before these label maps are used; empty where nothing is strange.

    background_elsewhere : do outlines of other fields say where background is?
    """
    if not maps:
        return []
    found = [*_no_cells(maps), *_no_background(maps, background_elsewhere)]
    return found or _rough_background(maps) or _numbered_objects(maps)


def _names(maps: Sequence[MapFacts]) -> str:
    some = ", ".join(one.name for one in maps[:_SHOWN])
    return some + (f" and {len(maps) - _SHOWN} more" if len(maps) > _SHOWN else "")


def _no_cells(maps: Sequence[MapFacts]) -> list[str]:
    masks = [one for one in maps if one.values == {BACKGROUND, UNKNOWN}]
    if len(masks) < len(maps):
        # Between others a dish without cells is one; what is unknown there should not be cells.
        masks = [one for one in masks if (one.rougher(UNKNOWN, BACKGROUND) or 0) > MUCH_ROUGHER]
    if not masks:
        return []
    return [
        f"{_names(masks)}: no cell is labelled: 0 is background and 255 is unknown, and there is "
        "nothing else. If 255 is to mean cells, write 1 (undifferentiated) or 2 (differentiated) "
        "in its place"
    ]


def _no_background(maps: Sequence[MapFacts], background_elsewhere: bool) -> list[str]:
    both = [one for one in maps if set(CELLS) <= one.values and BACKGROUND not in one.values]
    if not both:
        return []
    anywhere = background_elsewhere or any(BACKGROUND in one.values for one in maps)
    doubtful = both
    if anywhere:
        doubtful = [one for one in both if _contrast(one) > MUCH_ROUGHER]
    if not doubtful:
        return []
    where = _names(doubtful) if anywhere else f"{_names(doubtful)}: no field has background"
    tail = ": there is no background in it" if anywhere else ""
    return [
        f"{where}{tail}: the values are 1 and 2, and 0 (background) is missing. If 1 is background "
        "and 2 cells (as ilastik and others count), subtract 1 from each value; if cells cover the "
        "fields entirely, say that the labels are right"
    ]


def _contrast(one: MapFacts) -> float:
    return max(one.rougher(*CELLS) or 0.0, one.rougher(*CELLS[::-1]) or 0.0)


def _numbered_objects(maps: Sequence[MapFacts]) -> list[str]:
    """Objects 1 and 2 of each field, taken for classes."""
    if any(count > 1 for one in maps for count in one.components.values()):
        return []
    both = [one for one in maps if len(one.components) == 2]
    apart = [one for one in both if not one.touching]
    # One part of a colony differentiates: then the two touch. In every field, that is strange too.
    if not both or (len(both) < 3 and len(apart) < len(both)):
        return []
    return [
        f"{_names(both)}: each label is one connected component in every field, as if 1 and 2 were "
        "numbers of objects (an instance map) and not classes. If so, write the class of "
        "each object instead of its number: 1 undifferentiated, 2 differentiated"
    ]


def _rough_background(maps: Sequence[MapFacts]) -> list[str]:
    for value in CELLS[::-1]:
        ratios = [one.rougher(BACKGROUND, value) for one in maps]
        known = [one for one in ratios if one is not None]
        if known and median(known) > MUCH_ROUGHER:
            strange = [
                one
                for one, ratio in zip(maps, ratios, strict=True)
                if ratio is not None and ratio > MUCH_ROUGHER
            ]
            return [
                f"{_names(strange)}: what is labelled 0 (background) has {median(known):.1f} times "
                f"the texture of what is labelled {value}: is {value} the background there? Label "
                "maps hold 0 background, 1 undifferentiated, 2 differentiated"
            ]
    return []


# --- values that are no classes -------------------------------------------------------------------


def what_colours(values: NDArray[Any]) -> str:
    """What a colour picture in place of a label map holds. values : (H, W, 2 to 4)"""
    plain = values[..., : 3 if values.shape[-1] > 2 else 1]
    if (plain == plain[..., :1]).all():
        return "its channels are all the same: save one of them"
    flat = plain.reshape(-1, 3)[: 4 << 20]
    colours, counts = np.unique(flat, axis=0, return_counts=True)
    order = np.argsort(-counts)[:_SHOWN]
    told = ", ".join(
        f"rgb({', '.join(str(part) for part in colours[i])}) {counts[i] / len(flat):.0%}"
        for i in order
    )
    more = f" and {len(colours) - len(order)} more" if len(colours) > len(order) else ""
    return f"its colours are {told}{more}: write the class of each in its place"


def what_values(strange: Sequence[float], every: Sequence[float]) -> str:
    """What values that are no classes may be, and what to do.

    strange : those; every : all that occur
    """
    if any(value != int(value) for value in every if np.isfinite(value)) or not all(
        map(np.isfinite, every)
    ):
        low, high = min(every), max(every)
        return (
            f"numbers with fractions from {low:.3g} to {high:.3g} (probabilities?): export the "
            "class of each pixel"
        )
    whole = sorted(int(value) for value in every)
    if set(whole) <= {1, 2, 3}:
        return "counted from 1, as by ilastik? Subtract 1 from each value"
    step = whole[1] if len(whole) > 1 and whole[0] == 0 else 0
    if len(whole) <= 4 and step > 2 and all(value in _stretched(whole) for value in whole):
        return "stretched over the grey levels for display? Write 0, 1 and 2 in their place"
    if len(whole) > 4 or whole[-1] > 4:
        return (
            f"{len(whole)} different values up to {whole[-1]}: numbers of objects (an instance "
            "map, as of cellpose)? Write the class of each object in place of its number"
        )
    return "more classes than there are here? Write 255 (unknown) for the others"


def _stretched(whole: Sequence[int]) -> set[int]:
    top = max(whole)
    parts = max(1, len(whole) - 1)
    return {round(top * part / parts) + slack for part in range(parts + 1) for slack in (-1, 0, 1)}
