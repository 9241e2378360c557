"""Draw what the segmentation saw over the capture, so that a person can judge it at a glance.

The capture is stretched by local contrast, since brightfield colonies often differ from bare
plastic by a few grey levels only. Nothing is written over the cells but thin outlines, a light
tint, stripes where the classes are uncertain, and the scale bar: title, legend and what is in doubt
stand in strips above and below the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.preprocessing import shrunk, spread_evenly
from model.strips import Rows, WholeImage, as_rows, in_strips
from monitor.culture import FieldAreas
from monitor.segmentation.colonies import measure_areas
from monitor.segmentation.overlay_strips import (
    DIFFERENTIATED_BGR,
    UNCERTAIN_BGR,
    UNDIFFERENTIATED_BGR,
    Pixels,
    doubt_strip,
    is_striped,
    legend_strip,
    letter_size,
    letters,
    title_height,
    title_strip,
    write,
)

__all__ = [
    "DIFFERENTIATED_BGR",
    "UNCERTAIN_BELOW",
    "UNCERTAIN_BGR",
    "UNDIFFERENTIATED_BGR",
    "Trust",
    "draw_overlay",
    "draw_scale_bar",
    "encode_jpeg",
    "encode_labels",
    "encode_png",
    "field_of_view",
    "stretch_contrast",
    "stretched_rows",
]

UNCERTAIN_BELOW: Final = 2 / 3
"""Where no class is twice as probable as the others together, the overlay marks the place."""

_TINT = {CellClass.UNDIFFERENTIATED: 0.13, CellClass.DIFFERENTIATED: 0.28}
_OUTSIDE_VESSEL = 0.35
_STRIPE = 0.75
# Levels of grey from -8 to 8 times the usual scatter; the arc tangent's soft ends keep some drawing
# in what is very dark or very bright.
_LEVELS = 1024
_SOFT = (124 + 150 * np.arctan(np.linspace(-8, 8, _LEVELS) / 2.4)).clip(0, 255).astype(np.uint8)
_SMALLEST_SIDE = 480
_COARSE_SIDE = 128
_SAMPLED_SIDE = 256
# So much at a time stays in the processor's cache.
_STRIP_PIXELS = 131_072


@dataclass(frozen=True, eq=False)
class Trust:
    """How far a segmentation may be trusted, as far as an overlay shows it.

    certainty : (h, w) float32, probability of the most probable class, spread evenly over the
        image; None = it is not known where it is uncertain
    in_doubt : why the image as a whole is in doubt, in words
    """

    certainty: NDArray[np.float32] | None = None
    in_doubt: tuple[str, ...] = ()


def draw_overlay(
    pixels: NDArray[Any] | Rows,
    labels: NDArray[np.uint8],
    *,
    pixel_size_um: float | None,
    title: str = "",
    max_side: int | None = None,
    assumed: bool = False,
    areas: FieldAreas | None = None,
    trust: Trust | None = None,
) -> Pixels:
    """Capture, outlines of both classes, scale bar, legend.

    pixels : (H, W) or (H, W, 3), any number type; rows only where they are to be made smaller
    labels : (H, W) uint8, 0, 1, 2 or 255; where it is 255 the capture is dimmed
    pixel_size_um : of the capture; None: the scale bar is in pixels
    max_side : longest side of the picture in pixels, strips not counted; small captures are
        enlarged, so that text fits
    assumed : the pixel size is a guess, and the scale bar says so
    areas : of the label map, where they were measured already
    trust : None = nothing is said of it
    Returns (h, w, 3) uint8, BGR.

    Raises ValueError where capture and label map differ in shape.
    """
    if pixels.shape[:2] != labels.shape:
        raise ValueError(f"capture {pixels.shape} and label map {labels.shape} differ in shape")
    if areas is None:
        areas = measure_areas(labels)
    zoom = _zoom(labels.shape, max_side)
    classes = _resized(labels, zoom, cv2.INTER_NEAREST)
    if zoom > 1:
        # Enlarged afterwards: there is no more light to even out between copies of a pixel.
        own = _Levels(_grey(np.asarray(pixels)), labels != UNKNOWN).rows(0, labels.shape[0])
        levels: Rows = WholeImage(_resized(own, zoom, cv2.INTER_NEAREST))
    else:
        if isinstance(pixels, np.ndarray):
            grey = _resized(_grey(pixels), zoom, cv2.INTER_AREA)
        else:
            rows, columns = (max(1, round(length * zoom)) for length in labels.shape)
            grey = shrunk(pixels, (rows, columns))
        levels = _Levels(grey, classes != UNKNOWN)
    trust = trust or Trust()
    picture, uncertain = _coloured(levels, classes, trust.certainty)

    width = picture.shape[1]
    draw_scale_bar(picture, None if pixel_size_um is None else pixel_size_um / zoom, zoom,
                    assumed=assumed, size=letter_size(width))  # fmt: skip
    strips = [picture]
    if title:
        strips.insert(0, title_strip(title, width))
    if trust.in_doubt:
        strips.append(doubt_strip(trust.in_doubt, width))
    strips.append(legend_strip(areas, width, uncertain=uncertain))
    return np.concatenate(strips)


def stretch_contrast(grey: NDArray[Any], seen: NDArray[np.bool_]) -> Pixels:
    """Even out the light and bring faint structure to the full range of grey.

    grey : (H, W), any number type
    seen : (H, W), True where the vessel is; the rest neither shapes the stretch nor matters
    Returns (H, W) uint8; a capture without any structure becomes middle grey.
    """
    return np.concatenate([rows for _, rows in stretched_rows(grey, seen)])


def stretched_rows(
    grey: NDArray[Any] | Rows, seen: NDArray[np.bool_]
) -> Iterator[tuple[int, Pixels]]:
    """As `stretch_contrast`, some rows at a time: (first row, (h, W) uint8), from the top."""
    levels = _Levels(grey, seen)
    for top, bottom in in_strips(levels.shape[0], levels.shape[1], _STRIP_PIXELS):
        yield top, _SOFT[levels.rows(top, bottom)]


class _Levels:
    """A capture's grey with the light evened out and the contrast stretched, some rows at a time.

    Both are maps of a few pixels, spread over the picture: a level is grey * slope + shift.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self, grey: NDArray[Any] | Rows, seen: NDArray[np.bool_]) -> None:
        self._grey = as_rows(grey)
        self.shape: tuple[int, int] = (grey.shape[0], grey.shape[1])
        # Some rows and columns say enough about light and contrast.
        step = max(1, max(self.shape) // _SAMPLED_SIDE)
        self._maps = _slope_and_shift(_finite(_every(grey, step)), seen[::step, ::step])

    def rows(self, top: int, bottom: int) -> NDArray[np.uint16]:
        """Rows ``top`` to ``bottom``: (bottom - top, W), 0 .. 1023."""
        levels, shift = spread_evenly(self._maps, self._grey.shape, top, bottom)
        levels *= _finite(self._grey.rows(top, bottom))
        levels += shift
        np.clip(levels, 0, _LEVELS - 1, out=levels)
        return np.asarray(levels, np.uint16)


def _every(grey: NDArray[Any] | Rows, step: int) -> NDArray[Any]:
    """Each `step`-th row and column."""
    if isinstance(grey, np.ndarray):
        return grey[::step, ::step]
    rows = range(0, grey.shape[0], step)
    return np.stack([grey.rows(row, row + 1)[0, ::step] for row in rows])


def _finite(grey: NDArray[Any]) -> NDArray[np.float32]:
    values = grey.astype(np.float32)
    if grey.dtype.kind == "f":
        np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)
    return values


def _slope_and_shift(values: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(2, h, w) of `_Levels`; the slope is 0 where there is no structure at all.

    values : (H, W), changed
    """
    rows, columns = values.shape
    factor = min(1.0, _COARSE_SIDE / max(rows, columns))
    coarse = max(1, round(columns * factor)), max(1, round(rows * factor))
    blur = max(coarse) / 14
    everywhere = bool(seen.all())
    middle_grey = np.zeros((2, coarse[1], coarse[0]), np.float32)
    middle_grey[1] = _LEVELS // 2
    if not seen.any():
        return middle_grey

    def coarsened(field: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(field, coarse, interpolation=cv2.INTER_AREA))

    def blurred(field: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(field, (0, 0), blur))

    around = share = np.ones(coarse[::-1], np.float32)
    if everywhere:
        total = coarsened(values)
    else:
        weight = seen.astype(np.float32)
        share, total = coarsened(weight), coarsened(values * weight)
        around = np.maximum(blurred(share), np.float32(1e-6))
    # A level near the picture's own keeps small what rounding takes.
    level = np.float32(total.sum(dtype=np.float64) / share.sum(dtype=np.float64))
    total -= level * share
    # A local mean alone stays behind a slope at the picture's edge.
    slope = _smooth_light(total, share)
    total -= slope * share
    light = np.asarray(level + slope + blurred(total) / around, np.float32)

    # How far grey scatters about it:
    values -= cv2.resize(light, (columns, rows), interpolation=cv2.INTER_LINEAR)
    some = (values.ravel() if everywhere else values[seen])[::5]
    # Debris and the well's dark rim must not take the contrast away from the cells beside them.
    limit = 8 * float(np.sort(np.abs(some))[some.size // 2]) or np.inf
    np.clip(values, -limit, limit, out=values)
    values *= values
    if not everywhere:
        values *= weight
    spread = np.sqrt(np.maximum(blurred(coarsened(values)) / around, 0))
    # Bare plastic must not be blown up to the contrast of cells.
    floor = float(max(np.median(spread), 0.75 * np.percentile(spread, 97)))
    if floor <= 1e-6:
        floor = float(spread.max())
    if floor <= 1e-6:
        return middle_grey
    steep = np.float32(_LEVELS / 16) / np.maximum(spread, floor)
    return np.stack([steep, np.float32(_LEVELS // 2) - steep * light])


def _smooth_light(total: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Least-squares quadratic surface through total / share, weighted by share: slope, vignette."""
    rows, columns = total.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    weighed = terms * share.reshape(-1, 1)
    factors = np.linalg.pinv(weighed.T @ terms) @ (terms.T @ total.ravel())
    return np.asarray((terms @ factors).reshape(total.shape), dtype=np.float32)


def encode_png(image: Pixels) -> bytes:
    """(h, w) or (h, w, 3) BGR uint8 -> PNG."""
    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def encode_labels(labels: NDArray[np.uint8]) -> bytes:
    """(H, W) -> PNG. Each row is written as its difference from the one above, and what repeats in
    it by how often: few rows of a label map differ much from the one above, and other ways take
    longer for twice the size.
    """
    options = [
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    ]
    return _encoded(".png", labels, options)


def encode_jpeg(image: Pixels, *, quality: int = 88) -> bytes:
    """(h, w) or (h, w, 3) BGR uint8 -> JPEG: smaller than PNG, fit for mail."""
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(kind: str, image: Pixels, options: Sequence[int]) -> bytes:
    done, content = cv2.imencode(kind, image, options)
    if not done:
        raise ValueError(f"an image of {image.shape} {image.dtype} cannot be written as {kind}")
    return content.tobytes()


def _zoom(shape: tuple[int, ...], max_side: int | None) -> float:
    longest = max(shape)
    if max_side is not None and longest > max_side:
        return max_side / longest
    if longest < _SMALLEST_SIDE:
        times = -(-_SMALLEST_SIDE // longest)
        return float(times if max_side is None else max(1, min(times, max_side // longest)))
    return 1.0


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    return np.asarray(pixels[..., :3].mean(axis=2, dtype=np.float32))


def _resized(image: NDArray[Any], zoom: float, how: int) -> NDArray[Any]:
    if zoom == 1:
        return image
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        image = image.astype(np.float32)
    rows, columns = image.shape
    size = max(1, round(columns * zoom)), max(1, round(rows * zoom))
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=how))


def _coloured(
    levels: Rows, classes: NDArray[np.uint8], certainty: NDArray[np.float32] | None
) -> tuple[Pixels, float]:
    """Tints, outlines and stripes: each pixel's colour is looked up by what is there and its grey
    level. With the picture, the share of its imaged area that is uncertain.
    """
    what = np.asarray(cv2.LUT(classes, _WHAT), np.uint8)
    for outlined in (_OF_CELLS, _OF_DIFFERENTIATED):
        what = np.maximum(what, _rim(np.asarray(cv2.LUT(classes, outlined), np.uint8)))
    picture = np.empty((*classes.shape, 3), np.uint8)
    uncertain = 0
    for top, bottom in in_strips(classes.shape[0], classes.shape[1], _STRIP_PIXELS):
        if certainty is not None:
            uncertain += _stripe(what[top:bottom], certainty, classes.shape, top)
        index = what[top:bottom].astype(np.uint16) * np.uint16(_LEVELS)
        index += levels.rows(top, bottom)
        found = _COLOURS.take(index).view(np.uint8).reshape(*index.shape, 4)
        cv2.cvtColor(found, cv2.COLOR_BGRA2BGR, dst=picture[top:bottom])
    imaged = np.count_nonzero(what != _OUTSIDE)
    return picture, uncertain / imaged if imaged else 0.0


def _stripe(
    what: NDArray[np.uint8], certainty: NDArray[np.float32], shape: tuple[int, ...], top: int
) -> int:
    """Lay stripes where the classes are uncertain, outlines aside. Returns how many pixels are.

    what : rows from `top` on of a picture of `shape`, changed
    """
    rows, columns = what.shape
    scale = certainty.shape[0] / shape[0]
    # Where all round a strip the classes are sure, so they are between.
    around = slice(max(0, int(top * scale) - 2), int((top + rows) * scale) + 3)
    if float(certainty[around].min()) >= UNCERTAIN_BELOW:
        return 0
    # Not the planes of the classes are spread, then compared: a border between two classes would be
    # uncertain however sure both sides are.
    sure = spread_evenly(certainty[None], shape, top, top + rows)[0]
    uncertain = (sure < UNCERTAIN_BELOW) & (what != _OUTSIDE)
    count = int(np.count_nonzero(uncertain))
    if count:
        uncertain &= is_striped(rows, columns, top=top, size=letter_size(columns))
        uncertain &= what < _OUTSIDE
        np.putmask(what, uncertain, _STRIPED)
    return count


def _rim(solid: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost pixels of what is not 0."""
    thickness = max(1, round(max(solid.shape) / 900))
    brush = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    # The border stays solid at the picture's edge: a cut colony has no outline there.
    return solid - np.asarray(cv2.erode(solid, brush, borderType=cv2.BORDER_REPLICATE), np.uint8)


# What a pixel shows besides the classes, whose own values come first.
_OUTSIDE, _RIM_OF_CELLS, _RIM_OF_DIFFERENTIATED, _STRIPED = 3, 4, 5, 6


def _by_class(undifferentiated: int, differentiated: int, unknown: int = 0) -> NDArray[np.uint8]:
    """What each value of a label map is shown as."""
    table = np.zeros(256, np.uint8)
    table[CellClass.UNDIFFERENTIATED] = undifferentiated
    table[CellClass.DIFFERENTIATED] = differentiated
    table[UNKNOWN] = unknown
    return table


_WHAT = _by_class(CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED, _OUTSIDE)
_OF_CELLS = _by_class(_RIM_OF_CELLS, _RIM_OF_CELLS)
_OF_DIFFERENTIATED = _by_class(0, _RIM_OF_DIFFERENTIATED)


def _colours() -> NDArray[np.uint32]:
    """Blue, green, red and nothing in four bytes, by what is there and level."""
    table = np.zeros((7, _LEVELS, 4), np.uint8)
    for what, share, colour in (
        (CellClass.BACKGROUND, 0.0, (0, 0, 0)),
        (CellClass.UNDIFFERENTIATED, _TINT[CellClass.UNDIFFERENTIATED], UNDIFFERENTIATED_BGR),
        (CellClass.DIFFERENTIATED, _TINT[CellClass.DIFFERENTIATED], DIFFERENTIATED_BGR),
        (_OUTSIDE, 1 - _OUTSIDE_VESSEL, (0, 0, 0)),
        (_RIM_OF_CELLS, 1.0, UNDIFFERENTIATED_BGR),
        (_RIM_OF_DIFFERENTIATED, 1.0, DIFFERENTIATED_BGR),
        (_STRIPED, _STRIPE, UNCERTAIN_BGR),
    ):
        levels = _SOFT[:, None] * (1 - share) + np.array(colour) * share
        table[what, :, :3] = levels.round()
    return table.reshape(-1, 4).view(np.uint32).ravel()


_COLOURS = _colours()


def draw_scale_bar(
    picture: Pixels, pixel_size_um: float | None, zoom: float, *, assumed: bool, size: int
) -> None:
    """Into the lower right corner, where there is room.

    picture : (h, w, 3) BGR, changed
    pixel_size_um : of the picture; None: the bar is in pixels of the capture
    zoom : pixels of the picture to one of the capture
    size : of its letters
    """
    rows, columns = picture.shape[:2]
    step = 1 / zoom if pixel_size_um is None else pixel_size_um
    length = _round_length(columns / 5 * step)
    text = f"{length:g} px"
    if pixel_size_um is not None:
        text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
        if assumed:
            text = f"about {text} (pixel size assumed)"
    bar = max(1, round(length / step))
    font = letters(size)
    left, top, right, bottom = font.getbbox(text)
    width, height = max(bar, round(right - left)), round(bottom - top)
    pad = size // 2
    thickness = max(2, size // 5)
    box_rows, box_columns = height + thickness + 3 * pad, width + 2 * pad
    if box_rows + size > rows or box_columns + size > columns:
        return
    y, x = rows - box_rows - size // 2, columns - box_columns - size // 2
    box = picture[y : y + box_rows, x : x + box_columns]
    box[:] = (box * 0.35).astype(np.uint8)
    start = (box_columns - bar) // 2
    box[box_rows - pad - thickness : box_rows - pad, start : start + bar] = (255, 255, 255)
    write(box, text, (box_columns / 2, pad), font, anchor="mt")


def _round_length(longest: float) -> float:
    """The longest of 1, 2, 5, 10, 20, ... that is not above `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9)))


def field_of_view(overlay: Pixels, shape: tuple[int, int]) -> Pixels:
    """What an overlay shows of the capture, without its strips.

    overlay : as `draw_overlay` made it, with a title
    shape : (rows, columns) of the capture
    """
    width = overlay.shape[1]
    top = title_height(width)
    height = round(shape[0] * width / shape[1])
    return overlay[top : top + height]
