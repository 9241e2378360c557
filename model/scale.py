"""How large is a pixel of images that do not say it? Estimated over several that belong together.

Cells that are shown at a wrong scale look like nothing that the network has learnt, so that its
distributions are then flat. One image says little by that; several of the same microscope, pooled,
say which scale to read them at. Two cues that need no network, how wide a field of view usually is
and how fine the structure of cells is, count a little beside it: they are what is left where the
network cannot tell. How far this is off: `python -m tools.bench.pixel_size`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.segmentation import Segmentation, Segmenter
from model.strips import Rows, as_rows

CANDIDATE_SIZES_UM: Final = tuple(round(0.45 * 2 ** (step / 3), 3) for step in range(12))
"""Pixel sizes in um that an image is read at: 20x to 4x with the usual cameras."""
LEAST_UM: Final = CANDIDATE_SIZES_UM[0]
LARGEST_UM: Final = CANDIDATE_SIZES_UM[-1]

USUAL_VIEW_UM: Final = 1500.0
USUAL_GRAIN_UM: Final = 12.0
"""Wavelength of what stands out of cells in transmitted light: about the distance of nuclei."""
# In units of mean entropy (0..1), for a size that is wrong by a factor of e.
_VIEW_WEIGHT: Final = 0.05
_GRAIN_WEIGHT: Final = 0.1

GRAIN_SIDE_PX: Final = 512
_GRAIN_RANGE: Final = (0.008, 0.5)

STEADY: Final = 1.15
"""By so much no image may move an estimate that is called steady."""
KEPT_WITHIN: Final = 1.15
"""An estimate that moves by less is as good as the one before, which is kept."""
ENOUGH: Final = 5
"""Images that a steady estimate rests on at least."""


@dataclass(frozen=True)
class ScaleEvidence:
    """What one image says of its own pixel size.

    doubts : for each of `CANDIDATE_SIZES_UM`, the mean entropy (0..1) of the network's
        distributions where the image is taken for that
    side_px : square root of its pixels
    grain_px : mean wavelength of its fine structure; None where it has none
    """

    doubts: tuple[float, ...]
    side_px: float
    grain_px: float | None


@dataclass(frozen=True)
class ScaleEstimate:
    """A pixel size for images that belong together.

    low_um, high_um : how far it moves where any one image is left out; the same for one image
    images : that it rests on
    """

    um: float
    low_um: float
    high_um: float
    images: int

    @property
    def is_steady(self) -> bool:
        """Whether it rests on enough images, none of which matters much."""
        return self.images >= ENOUGH and max(self.high_um / self.um, self.um / self.low_um) < STEADY


@runtime_checkable
class FindsScale(Protocol):
    """A network that can say at which scale an image looks familiar.

    assumed_pixel_size_um : that it takes for every image without one, since it was trained so;
        None: it is to be estimated
    """

    assumed_pixel_size_um: float | None

    def scale_evidence(
        self,
        image: NDArray[Any] | Rows,
        inside: NDArray[np.bool_] | Rows | None = None,
        *,
        quick: bool = False,
    ) -> ScaleEvidence:
        """What an image says of its pixel size.

        image : (H, W), any real dtype
        quick : more roughly, at about the cost of a segmentation
        """
        ...


def estimate_scale(evidence: Sequence[ScaleEvidence]) -> ScaleEstimate:
    """The pixel size of images that belong together.

    Each image counts the same; of the grain the median counts. Raises ValueError without any.
    """
    if not evidence:
        raise ValueError("without an image there is no pixel size to estimate")
    whole = _likeliest(evidence)
    others = [
        _likeliest([*evidence[:left_out], *evidence[left_out + 1 :]])
        for left_out in range(len(evidence))
        if len(evidence) > 1
    ]
    low, high = min([whole, *others]), max([whole, *others])
    return ScaleEstimate(_short(whole), _short(low), _short(high), len(evidence))


def kept_or_new(before_um: float | None, estimate: ScaleEstimate) -> float:
    """The size to go on with: the one before, unless the estimate has moved away from it."""
    if before_um is None or max(before_um / estimate.um, estimate.um / before_um) > KEPT_WITHIN:
        return estimate.um
    return before_um


def _short(um: float) -> float:
    """To three digits: more is not known, and fewer would show in the segmentation."""
    return float(f"{um:.3g}")


def _likeliest(evidence: Sequence[ScaleEvidence]) -> float:
    sizes = np.log(CANDIDATE_SIZES_UM)
    doubt = np.mean([one.doubts for one in evidence], axis=0)
    side = float(np.median([one.side_px for one in evidence]))
    doubt = doubt + _VIEW_WEIGHT * (sizes + math.log(side / USUAL_VIEW_UM)) ** 2
    grains = [math.log(one.grain_px) for one in evidence if one.grain_px is not None]
    if grains:
        far = sizes - math.log(USUAL_GRAIN_UM) + float(np.median(grains))
        doubt = doubt + _GRAIN_WEIGHT * far**2
    return float(math.exp(_lowest(sizes, doubt)))


def _lowest(places: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Where a curve through evenly spaced points is lowest: the parabola through three of them."""
    least = int(np.argmin(values))
    if not 0 < least < len(values) - 1:
        return float(places[least])
    before, here, after = values[least - 1 : least + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(places[least] + shift * (places[1] - places[0]))


def grain_px(image: NDArray[Any] | Rows) -> float | None:
    """Mean wavelength (px) of the fine structure of an image's middle; None where it is flat.

    The power spectrum, averaged over directions and weighted by the cube of the frequency, so that
    what cells are made of counts, not how colonies and light are distributed.
    image : (H, W), any real dtype
    """
    source = as_rows(image)
    side = min(GRAIN_SIDE_PX, *source.shape)
    top, left = ((length - side) // 2 for length in source.shape)
    part = source.rows(top, top + side)[:, left : left + side].astype(np.float64)
    part = np.where(np.isfinite(part), part, 0.0)
    window = np.hanning(side)
    part = (part - part.mean()) * np.outer(window, window)
    power = np.abs(np.fft.rfft2(part)) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    lowest, highest = _GRAIN_RANGE
    seen = (frequency >= lowest) & (frequency < highest)
    # A ring holds as many points as it is long; per step of log frequency that is its square.
    weight = power[seen] * frequency[seen]
    total = float(weight.sum())
    if not total > 0:
        return None
    return float(np.exp(-(weight * np.log(frequency[seen])).sum() / total))


def segment_as(
    segmenter: Segmenter,
    image: NDArray[Any] | Rows,
    assumed_um: float,
    inside: NDArray[np.bool_] | Rows | None = None,
) -> Segmentation:
    """`Segmenter.segment` at a pixel size that is assumed, and is said to be."""
    found = segmenter.segment(image, assumed_um, inside=inside)
    return replace(found, pixel_size_um=None, assumed_pixel_size_um=assumed_um)
