"""Overlays made small enough for mailboxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

_PICTURE_WIDTH_PX, _JPEG_QUALITY = 1200, 82
_SMALL_WIDTH_PX, _SMALL_QUALITY = 480, 60


def picture_for_mail(path: Path, *, small: bool = False) -> bytes | None:
    """The overlay small enough for a mailbox, or None where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content:
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if picture is None:
        return None
    rows, columns = picture.shape[:2]
    width, quality = _PICTURE_WIDTH_PX, _JPEG_QUALITY
    if small:
        width, quality = _SMALL_WIDTH_PX, _SMALL_QUALITY
    if columns > width:
        size = width, max(1, round(rows * width / columns))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes() if done else None
