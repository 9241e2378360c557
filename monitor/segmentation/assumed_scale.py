"""The pixel size that an image is read at which does not say it: that of its source's scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from model import scale
from model.predict import Segmenter
from model.scale import FindsScale, estimate_scale, kept_or_new
from model.setups import Setup
from model.strips import Rows, as_rows
from monitor.culture import AtScale, ScaleEvidence, ScaleInUse


@dataclass(frozen=True)
class Assumption:
    """um/px to read an image at, and how that was found."""

    um: float
    at_scale: AtScale


def assume_scale(
    segmenter: Segmenter,
    pixels: NDArray[np.generic] | Rows,
    inside: Rows | None,
    *,
    name: str,
    scales: Sequence[ScaleInUse],
) -> Assumption | None:
    """What to take for the pixel size of an image; None where the network goes by one of its own.

    A person's word comes first, then the size that the network was trained to assume, then what
    the images of the source say together, this one with them.
    name : of the image's file
    scales : those that are known of its source
    """
    setup = Setup.of(name, as_rows(pixels).shape)
    known = next(
        (one for one in scales if setup.is_like(Setup(one.magnification, one.shape))), None
    )
    if known is not None and known.is_set:
        return Assumption(known.um, AtScale(setup.magnification))
    if not isinstance(segmenter, FindsScale) or segmenter.assumed_pixel_size_um is not None:
        return None
    if known is not None and known.evidence is None and not known.is_checked:
        return Assumption(known.um, AtScale(setup.magnification))
    is_check = known is not None and known.evidence is None
    own = segmenter.scale_evidence(pixels, inside, quick=is_check)
    said = ScaleEvidence(own.doubts, own.side_px, own.grain_px)
    if known is None:
        return Assumption(estimate_scale([own]).um, AtScale(setup.magnification, said))
    if known.evidence is None:
        return Assumption(known.um, AtScale(setup.magnification, said, is_check=True))
    earlier = [as_model(one) for one in known.evidence]
    um = kept_or_new(known.um, estimate_scale([*earlier, own]))
    return Assumption(um, AtScale(setup.magnification, said))


def as_model(evidence: ScaleEvidence) -> scale.ScaleEvidence:
    """The same value as `model.scale` knows it."""
    return scale.ScaleEvidence(*astuple(evidence))
