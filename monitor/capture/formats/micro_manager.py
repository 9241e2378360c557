"""What Micro-Manager writes of each page of a TIFF: NDTiff and image stacks, private tag 51123."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from monitor.capture.formats.image import ONE_EACH, choose_channel, refuse
from monitor.capture.formats.metadata import in_utc, square_pixel_um
from monitor.capture.names.light import channels_called
from monitor.culture import StagePosition

TAG = 51123

_CHANNEL, _HEIGHT = "channel", "z"
# What one page of an image stack is, in writers that do not give axes.
_NUMBERS = {
    "ChannelIndex": _CHANNEL,
    "SliceIndex": _HEIGHT,
    "FrameIndex": "time",
    "PositionIndex": "position",
}
_COUNTED = {"time": "time points", "position": "positions", "row": "rows", "column": "columns"}


@dataclass(frozen=True)
class MicroManagerPage:
    """One page as Micro-Manager describes it.

    axes : place along each axis: number or name; empty where it is not said
    channel : name, where it is said
    """

    pixel_size_um: float | None = None
    acquired_at: datetime | None = None
    stage: StagePosition | None = None
    axes: Mapping[str, str] = field(default_factory=dict)
    channel: str = ""


def page_of(
    said: object, zone: tzinfo, summary: Mapping[str, Any] | None = None
) -> MicroManagerPage | None:
    """What the tag of a page says; None where it is not Micro-Manager's.

    said : the tag's JSON, decoded
    zone : of a time that carries none
    summary : what the file says of all pages
    """
    if not isinstance(said, Mapping):
        return None
    x, y, z = (_number(said.get(f"{axis}PositionUm")) for axis in "XYZ")
    size = _number(said.get("PixelSizeUm")) or _number((summary or {}).get("PixelSize_um"))
    axes = said.get("Axes")
    if isinstance(axes, Mapping):
        places = {str(axis): str(place) for axis, place in axes.items()}
    else:
        places = {axis: str(said[name]) for name, axis in _NUMBERS.items() if name in said}
    name = said.get("Channel", places.get(_CHANNEL, ""))
    return MicroManagerPage(
        pixel_size_um=square_pixel_um(size, None),
        acquired_at=_time(said, zone),
        stage=None if x is None or y is None else StagePosition(x, y, z),
        axes=places,
        channel="" if str(name).isdecimal() else str(name),
    )


def pages_to_read(pages: Sequence[MicroManagerPage], channel: str | None) -> list[int]:
    """Numbers of the pages of the wanted channel of the one field of view.

    Raises UnreadableError where they show several, or where nothing says what they show.
    """
    if len(pages) == 1:
        return [0]
    for axis in dict.fromkeys(axis for page in pages for axis in page.axes):
        count = len({page.axes.get(axis) for page in pages})
        if axis not in (_CHANNEL, _HEIGHT) and count > 1:
            what = _COUNTED.get(axis, f"positions along the axis {axis[:20]!r}")
            refuse("unsupported", f"holds {count} {what}; one per file is read", ONE_EACH)
    places = [page.stage and (page.stage.x_um, page.stage.y_um) for page in pages]
    if len(set(places)) > 1:
        count = len(set(places))
        refuse("unsupported", f"holds {count} stage positions; one per file is read", ONE_EACH)
    if len({tuple(sorted(page.axes.items())) for page in pages}) < len(pages):
        refuse(
            "unsupported",
            f"does not say which of its {len(pages)} pages are focal planes, channels, "
            "times or positions (no Axes in the pages' metadata)",
            ONE_EACH,
        )
    keys = [page.axes.get(_CHANNEL, "") for page in pages]
    known = list(dict.fromkeys(keys))
    names = [next(page.channel for page, of in zip(pages, keys, strict=True) if of == key)
             for key in known]  # fmt: skip
    channels = channels_called(names)
    wanted = known[choose_channel(channels, len(known), channel) if len(known) > 1 else 0]
    return [number for number, key in enumerate(keys) if key == wanted]


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,9})? ?(Z|[+-]\d\d:?\d\d)?")


def _time(said: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    for name in ("ReceivedTime", "Time"):
        found = _MOMENT.fullmatch(str(said.get(name, "")).strip())
        if found is None:
            continue
        date, clock, part, offset = found.groups(default="")
        try:
            return in_utc(datetime.fromisoformat(f"{date}T{clock}{part[:7]}{offset}"), zone)
        except ValueError:
            continue
    return None
