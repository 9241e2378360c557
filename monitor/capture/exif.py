"""When a picture was exposed, as EXIF has it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

import tifffile

from monitor.capture.ifd_chain import check_ifd_chain


def time_from_exif_block(block: bytes | None, zone: tzinfo) -> datetime | None:
    """Of the block in a PNG or JPEG; None where it is damaged.

    zone : of times that carry none
    """
    if not block:
        return None
    try:
        check_ifd_chain(block)
        with tifffile.TiffFile(io.BytesIO(block)) as tiff:
            return time_from_exif(tiff.pages.first.tags.valueof(34665), zone)
    except Exception:  # a damaged side note does not make the pixels worse
        return None


def time_from_exif(exif: object, zone: tzinfo) -> datetime | None:
    """Time of exposure. The plain TIFF tag DateTime is when the file was last written."""
    if not isinstance(exif, Mapping):
        return None
    try:
        text = str(exif["DateTimeOriginal"]).strip("\0 ")
        at = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - the zone comes next
        offset = str(exif.get("OffsetTimeOriginal", "")).strip("\0 ")
        if offset:
            at = datetime.fromisoformat(at.isoformat() + offset)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None
