"""What EXIF says of a picture: when it was exposed, and whether it lies upright."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

import tifffile

from monitor.capture.formats.ifd_chain import check_ifd_chain
from monitor.capture.formats.image import refuse
from monitor.culture.local_times import by_zone

_UPRIGHT = 1
_HOW_IT_LIES = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored and upside down",
    5: "mirrored and rotated by 90 degrees",
    6: "rotated by 90 degrees",
    7: "mirrored and rotated by 90 degrees",
    8: "rotated by 90 degrees",
}


def check_upright(orientation: object) -> None:
    """Refuse a picture that says it must be turned or mirrored to be seen.

    Some programs turn it and some do not. The camera's calibration, outlines for other programs and
    stage coordinates would be of one or the other, and nothing would tell.

    orientation : value of the tag Orientation; what is none of the eight means nothing
    """
    if not isinstance(orientation, int) or orientation not in _HOW_IT_LIES:
        return
    refuse(
        "unsupported",
        f"says that it is stored {_HOW_IT_LIES[orientation]} (EXIF orientation {orientation}), "
        "which some programs undo and some do not, so that positions in it are not certain",
        "switch off automatic rotation in the camera's software, or save it upright (orientation "
        "1)",
    )


def check_upright_block(block: bytes | None) -> None:
    """As `check_upright`, of the block in a PNG or JPEG."""
    check_upright(_orientation_in(block or b""))


def _orientation_in(block: bytes) -> int | None:
    """Of the first directory, whatever is damaged behind it."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(order + "I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(order + "H", block, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, values = struct.unpack_from(order + "HHI", block, entry)
        if tag == _ORIENTATION and values == 1 and kind in (_SHORT, _LONG):
            form = order + ("H" if kind == _SHORT else "I")
            return int(struct.unpack_from(form, block, entry + 8)[0])
    return None


_ORIENTATION, _SHORT, _LONG = 274, 3, 4


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
        return at.astimezone(UTC) if at.tzinfo else by_zone(at, zone)
    except (KeyError, ValueError, OverflowError):
        return None
