"""Is a capture fit to be judged?

Refused is only what cannot be a picture of a dish: nothing there, a part of it never written, no
light, too much light, nothing but noise. A dish without cells is a valid capture. What is merely
bad is a doubt: shown, and left to the decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import cv2
import numpy as np
import numpy.typing as npt

from model.burnt_in import BurntIn, imaged
from model.strips import Rows, as_rows, in_strips
from monitor.errors import CaptureError

_Pixels = npt.NDArray[Any]
_Mask = npt.NDArray[np.bool_]

# Parts of the area; grey values are on a scale of 0..255 whatever the depth.
MAX_CLIPPED = 0.5
MAX_NEVER_WRITTEN = 0.02
MAX_ONE_VALUE = 0.5
MAX_NOISE = 35.0
DARKEST_LIGHT = 10.0
DOUBTFUL_CLIPPED = 0.05
DOUBTFUL_FLAT = 0.1
DOUBTFUL_MEDIAN = 20.0
DOUBTFUL_BLUR_PX = 4.0

_SAMPLES = 400_000
_STRIP_PIXELS = 16_000_000
# Beyond so many rows nothing shapes what regions of one value border on.
_REACH = 16
_BLOCK = 32
_TILE = 256
_TILES_A_SIDE = 3
_FINE, _COARSE = 1.0, 3.0
_PAINTED_FROM_PX = 5


@dataclass(frozen=True)
class Quality:
    """What was measured, and what makes the capture doubtful.

    measures : grey values on a scale of 0..255
        median, range (0.1 to 99.9 %), tilt (-1: all of the range lies below the median, 1: above;
        an inverted picture has the opposite), noise (standard deviation of the camera's noise);
        clipped_dark, clipped_bright, flat (parts of the area at either end of the scale, and in
        regions of one exact value); blur_px (standard deviation of the blur of the strongest
        edges; left out where no edge stands out of the noise); burnt_in (part of the picture that
        scale bars, text and the like cover; left out where there are none)
    doubts : of "very-dark", "partly-saturated", "partly-black", "partly-flat", "out-of-focus"
    """

    measures: dict[str, float]
    doubts: tuple[str, ...]


def judge(
    pixels: _Pixels | Rows,
    inside: _Mask | Rows | None = None,
    burnt_in: BurntIn | None = None,
) -> Quality:
    """Measure a capture; refuse it where no honest reading can come of it.

    pixels : (H, W) uint8, uint16 or float32
    inside : (H, W), what of it counts; None = everything
    burnt_in : scale bars, text and the like: they count for nothing, and their edges do not make
        a blurred picture sharp
    Raises CaptureError with reason constant, blank, black, saturated or noise. Its text does not
    name the file, which is not known here.
    """
    picture = as_rows(pixels)
    vessel = None if inside is None else as_rows(inside)
    mask = imaged(vessel, burnt_in)
    sample = _sample(picture, mask)
    if sample.size == 0:
        _refuse("blank", "shows nothing of the vessel")
    greys = _Greys(sample)
    lowest, highest = greys.lowest, greys.highest
    if lowest == highest:
        _refuse("constant", f"has the same grey value ({lowest:g}) everywhere")
    top = _top(picture.dtype, highest)
    scale = 255.0 / top if top > 0 else 1.0
    low, median, high = greys.percentiles((0.1, 50.0, 99.9))
    bottom = 0.0 if picture.dtype.kind == "u" else lowest
    measures = {
        "median": median * scale,
        "range": (high - low) * scale,
        "tilt": ((high - median) - (median - low)) / max(high - low, 1e-12),
        "clipped_dark": greys.part(bottom),
        "clipped_bright": greys.part(highest) if highest >= 0.98 * top else 0.0,
    }
    if measures["clipped_bright"] > MAX_CLIPPED:
        _refuse("saturated", f"is saturated on {measures['clipped_bright']:.0%} of its area")
    if measures["clipped_dark"] > MAX_CLIPPED or high * scale <= DARKEST_LIGHT:
        _refuse("black", "is nearly black")
    last = picture.shape[0] if burnt_in is None else _first_of_last_strip(burnt_in)
    band = _last_band(picture, last) if vessel is None else 0.0
    measures["flat"] = _flat(picture, mask, bottom, median, band)

    tiles = _tiles(picture, vessel, burnt_in)
    noise = _noise([tile.pixels for tile in tiles])
    measures["noise"] = noise * scale
    if measures["noise"] > MAX_NOISE:
        _refuse("noise", "is nothing but noise, as if its data were damaged")
    blur_px = _blur_px(tiles, noise)
    if blur_px is not None:
        measures["blur_px"] = blur_px
    if burnt_in is not None:
        measures["burnt_in"] = burnt_in.area_px / math.prod(picture.shape)
    return Quality({name: round(value, 4) for name, value in measures.items()}, _doubts(measures))


def _refuse(reason: str, what: str) -> NoReturn:
    raise CaptureError(f"the image {what}; check the imager, and take it again", reason=reason)


def _doubts(measures: dict[str, float]) -> tuple[str, ...]:
    found = {
        "very-dark": measures["median"] < DOUBTFUL_MEDIAN,
        "partly-saturated": measures["clipped_bright"] > DOUBTFUL_CLIPPED,
        "partly-black": measures["clipped_dark"] > DOUBTFUL_CLIPPED,
        "partly-flat": measures["flat"] > DOUBTFUL_FLAT,
        "out-of-focus": measures.get("blur_px", 0.0) > DOUBTFUL_BLUR_PX,
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _sample(picture: Rows, mask: Rows | None) -> _Pixels:
    """Pixels on a grid, those inside: (N,)."""
    height, width = picture.shape
    step = max(1, math.isqrt(height * width // _SAMPLES))
    found = []
    for top, bottom in in_strips(height, width, _STRIP_PIXELS, step):
        some = picture.rows(top, bottom)[::step, ::step]
        found.append(some.ravel() if mask is None else some[mask.rows(top, bottom)[::step, ::step]])
    return found[0] if len(found) == 1 else np.concatenate(found)


class _Greys:
    """How often a sample has which grey values; of whole numbers by counting, without sorting."""

    def __init__(self, sample: _Pixels) -> None:
        self._sample = sample
        self._counts: npt.NDArray[np.int64] | None = None
        if sample.dtype in (np.uint8, np.uint16):
            values = 2 ** (8 * sample.dtype.itemsize)
            plane = sample.reshape(1, -1)
            counts = cv2.calcHist([plane], [0], None, [values], [0, values]).ravel()
            self._counts = counts.astype(np.int64)
            found = np.flatnonzero(self._counts)
            self.lowest, self.highest = float(found[0]), float(found[-1])
        else:
            self.lowest, self.highest = float(sample.min()), float(sample.max())

    def percentiles(self, wanted: tuple[float, ...]) -> list[float]:
        """As `np.percentile`."""
        if self._counts is None:
            return [float(value) for value in np.percentile(self._sample, wanted)]
        up_to = np.cumsum(self._counts)
        found = []
        for percent in wanted:
            place = percent / 100 * (self._sample.size - 1)
            below, above = np.searchsorted(
                up_to, [math.floor(place), math.ceil(place)], side="right"
            )
            found.append(float(below + (above - below) * (place - math.floor(place))))
        return found

    def part(self, value: float) -> float:
        """The share of the sample that has exactly that value."""
        if self._counts is None:
            return float(np.count_nonzero(self._sample == value)) / self._sample.size
        return float(self._counts[int(value)]) / self._sample.size


def _top(dtype: np.dtype[Any], highest: float) -> float:
    """Grey value at which the camera saturates.

    Cameras of 10, 12 and 14 bit write into 16: the highest value found tells which.
    """
    if dtype == np.uint8:
        return 255.0
    if dtype == np.uint16:
        return next(top for top in (1023.0, 4095.0, 16383.0, 65535.0) if highest <= top)
    return highest


def _flat(picture: Rows, mask: Rows | None, bottom: float, median: float, band: float) -> float:
    """Part of the area in blocks of one exact value; refuses what was never written.

    band : part of the picture that its last rows take in one single value

    No camera is so quiet. Strong JPEG compression makes an even background flat too, but in many
    values, and a shadow or a reflex may lie beyond the scale; what was never written is zero with
    a sharp border, or one band of one value down to the last row.
    """
    if min(picture.shape) < _BLOCK:
        return 0.0
    columns = picture.shape[1] // _BLOCK
    found, total = [], 0
    whole = picture.shape[0] // _BLOCK * _BLOCK
    for top, end in in_strips(whole, picture.shape[1], _STRIP_PIXELS, _BLOCK):
        rows = (end - top) // _BLOCK
        part = picture.rows(top, end)[::4, : columns * _BLOCK]
        blocks = part.reshape(rows, _BLOCK // 4, columns, _BLOCK)
        values = blocks[:, 0, :, 0]
        is_flat = blocks.max(axis=(1, 3)) == blocks.min(axis=(1, 3))
        if mask is None:
            counted = np.ones_like(is_flat)
        else:
            within = mask.rows(top, end)[:, : columns * _BLOCK]
            within = within.reshape(rows, _BLOCK, columns, _BLOCK)
            counted = within[:, :: _BLOCK - 1, :, :: _BLOCK - 1].all(axis=(1, 3))
        found.append(values[is_flat & counted])
        total += int(np.count_nonzero(counted))
    flat_values, total = np.concatenate(found), max(1, total)
    zero = float(np.count_nonzero(flat_values == bottom)) / total
    if zero > MAX_NEVER_WRITTEN and not _ends_sharply(picture, mask, bottom, median):
        zero = 0.0
    most = int(np.unique(flat_values, return_counts=True)[1].max(initial=0)) / total
    never_written = max(zero, band)
    if never_written > MAX_NEVER_WRITTEN or most > MAX_ONE_VALUE:
        _refuse(
            "blank",
            f"has one exact grey value over whole regions ({max(never_written, most):.0%} of its "
            "area), as if a part was never written",
        )
    return float(flat_values.size) / total


def _ends_sharply(picture: Rows, mask: Rows | None, value: float, median: float) -> bool:
    """Whether regions of `value` border on light at once. A shadow fades into them."""
    height, width = picture.shape
    found = []
    for top, bottom in in_strips(height, width, _STRIP_PIXELS):
        first, last = max(0, top - _REACH), min(height, bottom + _REACH)
        inner = slice(top - first, bottom - first)
        pixels = picture.rows(first, last)
        region = cv2.morphologyEx(
            (pixels == value).astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)
        )
        touching = np.asarray(cv2.dilate(region, np.ones((3, 3), np.uint8)) > 0)
        near = np.asarray(cv2.dilate(region, np.ones((7, 7), np.uint8)) > 0) & ~touching
        near = near[inner] if mask is None else near[inner] & mask.rows(top, bottom)
        found.append(pixels[inner][near])
    beside = np.concatenate(found)
    return beside.size == 0 or float(np.median(beside)) - value > 0.25 * (median - value)


def _first_of_last_strip(burnt_in: BurntIn) -> int:
    """The row where a strip of facts begins that ends the picture; the height where none does."""
    height, width = burnt_in.shape
    strips = [
        top
        for top, left, bottom, right in (item.box for item in burnt_in.items)
        if (left, bottom, right) == (0, height, width) and top > 0
    ]
    return min(strips, default=height)


def _last_band(picture: Rows, height: int) -> float:
    """Part of the first `height` rows that ends them in one single value."""
    width = picture.shape[1]
    last = picture.rows(height - 1, height)[0]
    if (last != last[0]).any():
        return 0.0
    for top, bottom in reversed(in_strips(height, width, _STRIP_PIXELS)):
        differs = (picture.rows(top, bottom) != last[0]).any(axis=1)
        if differs.any():
            return 1 - (top + int(np.flatnonzero(differs)[-1]) + 1) / height
    return 1.0


class _Tile(NamedTuple):
    """A part of a picture at full resolution, painted over where something is burnt in.

    hidden : (H, W) of 0 and 1, where it is painted over and near to that; None where nothing is
    """

    pixels: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.uint8] | None = None


def _tiles(picture: Rows, mask: Rows | None, burnt_in: BurntIn | None) -> list[_Tile]:
    """Up to nine tiles, spread over what counts."""
    first_row, last_row, first_column, last_column = 0, picture.shape[0], 0, picture.shape[1]
    if mask is not None:
        rows, columns = _extent(mask)
        first_row, last_row = int(rows[0]), int(rows[-1]) + 1
        first_column, last_column = int(columns[0]), int(columns[-1]) + 1
    found: list[_Tile] = []
    partly: list[_Tile] = []
    for row in _starts(first_row, last_row):
        bottom = min(row + _TILE, last_row)
        band = picture.rows(row, bottom)
        within = None if mask is None else mask.rows(row, bottom)
        burnt = None if burnt_in is None else burnt_in.rows(row, bottom).astype(np.uint8)
        for column in _starts(first_column, last_column):
            here = slice(column, min(column + _TILE, last_column))
            tile = _Tile(np.ascontiguousarray(band[:, here], dtype=np.float32))
            if burnt is not None and burnt[:, here].any():
                tile = _painted(tile.pixels, np.ascontiguousarray(burnt[:, here]))
            whole = within is None or bool(within[:, here].all())
            (found if whole else partly).append(tile)
    return found or partly[len(partly) // 2 :][:1]


def _painted(pixels: npt.NDArray[np.float32], burnt: npt.NDArray[np.uint8]) -> _Tile:
    smooth = cv2.inpaint(pixels, burnt, _PAINTED_FROM_PX, cv2.INPAINT_TELEA)
    side = 2 * _PAINTED_FROM_PX + 1
    hidden = cv2.dilate(burnt, np.ones((side, side), np.uint8))
    return _Tile(np.asarray(smooth, np.float32), np.asarray(hidden, np.uint8))


def _extent(mask: Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of a mask in which anything is set."""
    height, width = mask.shape
    rows, columns = [], np.zeros(width, bool)
    for top, bottom in in_strips(height, width, _STRIP_PIXELS):
        strip = mask.rows(top, bottom)
        rows.append(strip.any(axis=1))
        columns |= strip.any(axis=0)
    return np.flatnonzero(np.concatenate(rows)), np.flatnonzero(columns)


def _starts(first: int, last: int) -> list[int]:
    room = last - first - _TILE
    if room <= 0:
        return [first]
    return sorted({first + room * step // (_TILES_A_SIDE - 1) for step in range(_TILES_A_SIDE)})


def _median(values: npt.NDArray[np.float32]) -> float:
    """As `np.median` of finite values, in a tenth of its time: sorting has wide instructions."""
    ordered = np.sort(values)
    return float(ordered[(values.size - 1) // 2 : values.size // 2 + 1].mean())


_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def _noise(tiles: list[npt.NDArray[np.float32]]) -> float:
    """Standard deviation of the noise, after Immerkaer (1996), by the median of the quietest half.

    The kernel answers neither to slopes nor to straight edges; cells add to it all the same.
    """
    answers = [
        _median(np.abs(cv2.filter2D(tile, cv2.CV_32F, _NOISE_KERNEL)[::2, ::2]).ravel())
        for tile in tiles
    ]
    quietest = sorted(answers)[: (len(answers) + 1) // 2]
    return float(np.mean(quietest)) / 0.6745 / 6.0


def _blur_px(tiles: list[_Tile], noise: float) -> float | None:
    """Standard deviation of the blur of the strongest edges, in pixels.

    A step blurred by b has the slope 1 / sqrt(b^2 + s^2) when seen at scale s; the ratio of the
    slopes at two scales gives b (after Elder and Zucker 1998). Projecting the fine slope on the
    coarse one's direction lets the noise average out.
    """
    tiles = [tile for tile in tiles if min(tile.pixels.shape) >= 16]
    if not tiles:
        return None
    fine_slopes, coarse_slopes = (_slopes(tiles, scale) for scale in (_FINE, _COARSE))
    strength = coarse_slopes[0] ** 2 + coarse_slopes[1] ** 2
    count = max(20, strength.size // 200)
    strongest = np.argpartition(strength, -count)[-count:]
    # What white noise alone would give at that scale.
    of_noise = noise / (math.sqrt(8 * math.pi) * _COARSE**2)
    if float(strength[strongest].min()) < (6.0 * of_noise) ** 2:
        return None
    along = float((fine_slopes[:, strongest] * coarse_slopes[:, strongest]).sum())
    ratio = along / float(strength[strongest].sum())
    if ratio <= 1.02:
        return 20.0
    squared = (_COARSE**2 - ratio**2 * _FINE**2) / (ratio**2 - 1.0)
    return math.sqrt(max(0.0, squared))


def _slopes(tiles: list[_Tile], scale: float) -> npt.NDArray[np.float32]:
    """(2, N) across and down, at every second pixel of each tile, away from its border; 0 where it
    is hidden.
    """
    inner, before, after = slice(4, -4, 2), slice(3, -5, 2), slice(5, -3, 2)
    counts = [math.prod(-(-(length - 8) // 2) for length in tile.shape) for tile, _ in tiles]
    found = np.empty((2, sum(counts)), np.float32)
    first = 0
    for (tile, hidden), count in zip(tiles, counts, strict=True):
        smooth = cv2.GaussianBlur(tile, (0, 0), scale)
        place = slice(first, first + count)
        found[0, place] = (smooth[inner, after] - smooth[inner, before]).ravel()
        found[1, place] = (smooth[after, inner] - smooth[before, inner]).ravel()
        if hidden is not None:
            found[:, place][:, hidden[inner, inner].ravel() > 0] = 0
        first += count
    found *= np.float32(0.5)
    return found
