"""What Gen5 and MetaMorph write into the description of a TIFF page."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, tzinfo

from monitor.capture.formats.metadata import (
    Said,
    XmlRefusedError,
    child_text,
    elements,
    in_utc,
    length_um,
    real,
    square_pixel_um,
)
from monitor.capture.names.light import Channel, Light, channel_called
from monitor.culture import StagePosition


def said_by(description: str, zone: tzinfo) -> Said | None:
    """None where it is neither, or too damaged to say anything.

    zone : of times that carry none
    Raises XmlRefusedError for XML with a document type.
    """
    head = description.lstrip()[:2000]
    if "BTIImageMetaData" in head:
        return _gen5(description, zone)
    if head.startswith("<MetaData>") or "<PlaneInfo>" in head:
        return _metamorph(description, zone)
    return None


def _xml(text: str) -> bytes:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise XmlRefusedError("it has a document type, which no instrument writes")
    # The text is decoded already; what it says of its encoding no longer holds.
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.strip("\0 \r\n\t"))
    return body.encode("utf-8", "replace")


def _gen5(description: str, zone: tzinfo) -> Said | None:
    pixels = width_um = height_um = rows = None
    date = time = colour = None
    transmitted = False
    try:
        for element in elements(_xml(description)):
            if element.name == "ImageAcquisition":
                pixels = real(child_text(element, "PixelWidth"))
                rows = real(child_text(element, "PixelHeight"))
                width_um = real(child_text(element, "ImageWidthMicrons"))
                height_um = real(child_text(element, "ImageHeightMicrons"))
            elif element.name == "ImageReference":
                date, time = child_text(element, "Date"), child_text(element, "Time")
            elif element.name == "Channel":
                colour = element.attributes.get("Color") or colour
            elif element.name in ("BrightField", "PhaseContrast"):
                transmitted = transmitted or element.text.strip().upper() == "TRUE"
    except XmlRefusedError as problem:
        if "document type" in str(problem):
            raise
        return None
    return Said(
        pixel_size_um=square_pixel_um(_ratio(width_um, pixels), _ratio(height_um, rows)),
        acquired_at=_time(f"{date} {time}", "%m/%d/%y %H:%M:%S", zone) if date and time else None,
        channel=_gen5_channel(colour, transmitted=transmitted),
    )


def _gen5_channel(colour: str | None, *, transmitted: bool) -> Channel:
    said = channel_called(colour)
    return replace(said, light=Light.TRANSMITTED) if transmitted else said


def _ratio(length: float | None, count: float | None) -> float | None:
    return None if length is None or not count or count < 0 else length / count


def _metamorph(description: str, zone: tzinfo) -> Said | None:
    said: dict[str, str] = {}
    try:
        for element in elements(_xml(description)):
            if element.name in ("prop", "custom-prop") and "id" in element.attributes:
                said.setdefault(element.attributes["id"], element.attributes.get("value", ""))
    except XmlRefusedError as problem:
        if "document type" in str(problem):
            raise
        return None
    unit = said.get("spatial-calibration-units", "")
    is_calibrated = said.get("spatial-calibration-state", "on").lower() in ("on", "true", "1")
    x, y = (length_um(said.get(f"spatial-calibration-{axis}"), unit) for axis in "xy")
    at_x, at_y = (real(said.get(f"stage-position-{axis}")) for axis in "xy")
    when = said.get("acquisition-time-local", "")
    return Said(
        pixel_size_um=square_pixel_um(x, y) if is_calibrated else None,
        acquired_at=_time(when, "%Y%m%d %H:%M:%S.%f", zone) or _time(when, "%Y%m%d %H:%M:%S", zone),
        stage=None if at_x is None or at_y is None else StagePosition(at_x, at_y),
        channel=channel_called(said.get("_IllumSetting_") or said.get("image-name")),
    )


def _time(text: str, form: str, zone: tzinfo) -> datetime | None:
    try:
        return in_utc(datetime.strptime(text.strip(), form), zone)  # noqa: DTZ007 - zone comes next
    except ValueError:
        return None
