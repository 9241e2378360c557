"""Regions as an ImageJ ROI set (``.zip``): one file a capture, in its pixels. Only user of roifile.

x is the column and y the row, counted from the top left corner of the picture, so that pixel
centres stand at a half.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from monitor.culture import Target
from monitor.outlets.picking.handout import Contents, Handout, capture_part, to_corner
from monitor.outlets.rings import turned

if TYPE_CHECKING:
    from roifile import ROI_TYPE, ImagejRoi

# Steps of a path, as ImageJ and the Java library under it number them.
_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0


def imagej_rois(handout: Handout) -> Contents:
    """An outline a target and a point a hit, in the order in which to set them."""
    return {
        capture_part(sha256): _zip(handout, targets)
        for sha256, targets in handout.by_capture().items()
    }


def _zip(handout: Handout, targets: list[Target]) -> bytes:
    from roifile import ROI_TYPE

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for target in targets:
            rois = [_region(target, f"{handout.label(target)} region")]
            rois += [
                _roi(f"{handout.label(target, hit)} pick", ROI_TYPE.POINT, (hit.pick_px,))
                for hit in target.hits
            ]
            for roi in rois:
                # A fixed time: the same plan gives the same bytes.
                entry = zipfile.ZipInfo(f"{roi.name}.roi", (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, roi.tobytes())
    return buffer.getvalue()


def _region(target: Target, name: str) -> ImagejRoi:
    """A polygon; with holes a composite of a path a ring."""
    from roifile import ROI_TYPE, ImagejRoi

    if not target.holes_px:
        return _roi(name, ROI_TYPE.POLYGON, target.polygon_px)
    path: list[float] = []
    for ring in turned(target.polygon_px, target.holes_px):
        for number, point in enumerate(ring):
            path += [_LINE_TO if number else _MOVE_TO, *to_corner(point)]
        path.append(_CLOSE)
    x, y = zip(*map(to_corner, target.polygon_px), strict=True)
    return ImagejRoi(
        roitype=ROI_TYPE.RECT,
        name=name,
        left=math.floor(min(x)),
        top=math.floor(min(y)),
        right=math.ceil(max(x)),
        bottom=math.ceil(max(y)),
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, np.float32),
    )


def _roi(name: str, kind: ROI_TYPE, points: Sequence[tuple[float, float]]) -> ImagejRoi:
    from roifile import ImagejRoi

    corners = np.array([to_corner(point) for point in points], np.float32)
    roi = ImagejRoi.frompoints(corners, name=name)
    roi.roitype = kind
    return roi
