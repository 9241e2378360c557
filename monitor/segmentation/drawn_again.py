"""Overlays that were removed, drawn again from the capture and its label map, without a network."""

from __future__ import annotations

import hashlib
import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.capture.filesets import look_at_file, read_file
from monitor.capture.formats.reading import open_picture
from monitor.errors import CaptureError
from monitor.segmentation.label_maps import decoded_label_map
from monitor.segmentation.overlay import draw_overlay, encode_jpeg

log = logging.getLogger(__name__)

# Of larger captures the overlay is not drawn while somebody waits for a page.
LARGEST_BYTES = 256 * 2**20
SIDE_PX = 1600


@dataclass(frozen=True)
class FormerOverlay:
    """What an overlay was drawn from. sha256 : of the capture's bytes; taken_at : aware

    channel : as of the source's settings; title : of the dish
    pixel_size_um, assumed_um : um/px that is known, or else was assumed; None = neither
    """

    capture: Path
    sha256: str
    label_map: str
    shape: tuple[int, int]
    taken_at: datetime
    title: str
    channel: str | None = None
    pixel_size_um: float | None = None
    assumed_um: float | None = None


def draw_again(folder: Path, former: FormerOverlay) -> bytes | None:
    """JPEG; None where the capture or its label map is gone or is another one by now.

    folder : the record's. Nothing is said of where it is uncertain: that was not kept.
    """
    labels = _labels(folder / former.label_map, former.shape)
    data = _own_bytes(former)
    if labels is None or data is None:
        return None
    try:
        # The time was read when it was measured; what a file says of it plays no part here.
        opened = open_picture(
            former.capture, zone=ZoneInfo("UTC"), data=data, channel=former.channel
        )
    except CaptureError as problem:
        log.warning("an overlay cannot be drawn again: %s", problem)
        return None
    with closing(opened) as picture:
        if picture.pixels.shape[:2] != labels.shape:
            return None
        drawn = draw_overlay(
            picture.pixels,
            labels,
            pixel_size_um=former.pixel_size_um or former.assumed_um,
            title=f"{former.title}   {former.taken_at:%Y-%m-%d %H:%M} UTC   drawn again",
            max_side=SIDE_PX,
            assumed=former.pixel_size_um is None,
        )
    return encode_jpeg(drawn)


def _labels(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    try:
        labels = decoded_label_map(path)
    except (OSError, cv2.error):
        return None
    if labels is None or labels.dtype != np.uint8 or labels.shape != shape:
        return None
    return labels


def _own_bytes(former: FormerOverlay) -> bytes | None:
    """Of the capture, if they are what was measured."""
    try:
        if look_at_file(former.capture).size > LARGEST_BYTES:
            return None
        data = read_file(former.capture)
    except (OSError, CaptureError):
        return None
    return data if hashlib.sha256(data).hexdigest() == former.sha256 else None
