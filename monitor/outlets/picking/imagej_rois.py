"""Regions as an ImageJ ROI set (``.zip``): one file a capture, in its pixels. Only user of roifile.

x is the column and y the row, counted from the top left corner of the picture, so that pixel
centres stand at a half.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np

from monitor.culture import Target
from monitor.outlets.picking.handout import Contents, Handout, capture_part, to_corner


def imagej_rois(handout: Handout) -> Contents:
    """A polygon a target and a point a hit, in the order in which to set them."""
    return {
        capture_part(sha256): _zip(handout, targets)
        for sha256, targets in handout.by_capture().items()
    }


def _zip(handout: Handout, targets: list[Target]) -> bytes:
    from roifile import ROI_TYPE, ImagejRoi

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for target in targets:
            shapes = [(f"{handout.label(target)} region", ROI_TYPE.POLYGON, target.polygon_px)]
            shapes += [
                (f"{handout.label(target, hit)} pick", ROI_TYPE.POINT, (hit.pick_px,))
                for hit in target.hits
            ]
            for name, kind, points in shapes:
                corners = np.array([to_corner(point) for point in points], np.float32)
                roi = ImagejRoi.frompoints(corners, name=name)
                roi.roitype = kind
                # A fixed time: the same plan gives the same bytes.
                entry = zipfile.ZipInfo(f"{name}.roi", (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, roi.tobytes())
    return buffer.getvalue()
