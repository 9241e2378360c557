"""Zeiss CZI, by czifile (BSD-3). The extra ``colonywatch[czi]``.

The library's own way to a picture goes on with zeros where a tile cannot be decoded, so tiles are
laid here, and every pixel must have come from one.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import czifile
import numpy as np
import numpy.typing as npt

from monitor.capture.foreign import ForeignRefusedError, Stack, refuse_more_than_one
from monitor.capture.metadata import Element, XmlRefusedError, elements, in_utc, real

T = TypeVar("T")


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Open the file's bytes and hand its one field of view, or one mosaic, to `use`.

    zone : of a time that carries none
    """
    with czifile.CziFile(io.BytesIO(data)) as file:
        # Smaller copies of a mosaic say that they stand for more pixels than they hold.
        tiles = [one for one in file.subblock_directory if one.shape == one.stored_shape]
        if not tiles:
            raise ForeignRefusedError("truncated", "has no pixels at full size")
        places = [
            {d.dimension: (int(d.start), int(d.size)) for d in t.dimension_entries} for t in tiles
        ]
        for tile in tiles:
            if tile.file_position <= 0 or tile.file_position >= len(data):
                raise ForeignRefusedError("truncated", "ends before all of its tiles")
        starts = {
            axis: sorted({place.get(axis, (0, 1))[0] for place in places}) for axis in "STZCBHRIV"
        }
        refuse_more_than_one(len(starts.pop("S")), len(starts.pop("T")))
        heights, channels = starts.pop("Z"), starts.pop("C")
        if any(len(found) > 1 for found in starts.values()):
            raise ForeignRefusedError("unsupported", "has more than heights and channels")
        top, left = (min(place[axis][0] for place in places) for axis in "YX")
        bottom, right = (max(sum(place[axis]) for place in places) for axis in "YX")
        shape = (bottom - top, right - left)

        def plane(z: int, c: int) -> npt.NDArray[Any]:
            pixels: npt.NDArray[Any] | None = None
            laid = np.zeros(shape, dtype=np.bool_)
            for tile, place in zip(tiles, places, strict=True):
                if place.get("Z", (0, 1))[0] != heights[z]:
                    continue
                if place.get("C", (0, 1))[0] != channels[c]:
                    continue
                rows, columns = place["Y"], place["X"]
                decoded = np.asarray(tile.data_segment().data(resize=False))
                samples = decoded.shape[-1]
                if decoded.size != rows[1] * columns[1] * samples or samples not in (1, 3, 4):
                    raise ForeignRefusedError("corrupt", "has a tile of another size than it says")
                decoded = decoded.reshape(rows[1], columns[1], samples)
                if samples >= 3:
                    decoded = decoded[:, :, 2::-1]  # CZI has blue first
                if pixels is None:
                    pixels = np.zeros((*shape, decoded.shape[2]), dtype=decoded.dtype)
                where = np.s_[
                    rows[0] - top : rows[0] - top + rows[1],
                    columns[0] - left : columns[0] - left + columns[1],
                ]
                pixels[where] = decoded
                laid[where] = True
            if pixels is None or not laid.all():
                raise ForeignRefusedError("truncated", "has no pixels for a part of its field")
            return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels

        size, names, at = _metadata(file, zone)
        known = [names.get(start, "") for start in channels]
        return use(
            Stack(
                shape=shape,
                bytes_a_pixel=int(np.dtype(tiles[0].dtype).itemsize),
                heights=len(heights),
                channels=tuple(known),
                plane=plane,
                pixel_size_um=size,
                acquired_at=at,
            )
        )


def _metadata(
    file: Any, zone: tzinfo
) -> tuple[tuple[float | None, float | None], dict[int, str], datetime | None]:
    """Pixel size in um (x, y), names of the channels, time."""
    sizes: dict[str, float | None] = {}
    names: dict[int, str] = {}
    at: datetime | None = None
    try:
        text = file.metadata(raw=True)
        raw = text if isinstance(text, bytes) else str(text).encode()
        for element in elements(raw.strip(b"\0 \r\n\t")):
            if element.name == "Distance" and "Id" in element.attributes:
                metres = real(_text(element, "Value"))
                sizes[element.attributes["Id"]] = (
                    None if metres is None else float(f"{metres * 1e6:.7g}")
                )
            elif element.name == "Channel" and element.depth == 6:
                number = element.attributes.get("Id", "").rpartition(":")[2]
                if number.isdecimal():
                    names[int(number)] = element.attributes.get("Name", "")
            elif element.name == "AcquisitionDateAndTime" and at is None:
                at = _time(element.text, zone)
    except XmlRefusedError as problem:
        raise ForeignRefusedError("corrupt", f"has damaged metadata ({problem})") from problem
    return (sizes.get("X"), sizes.get("Y")), names, at


def _text(element: Element, name: str) -> str | None:
    child = element.children.get(name)
    return None if child is None else child.text.strip()


def _time(text: str, zone: tzinfo) -> datetime | None:
    text = text.strip()
    try:
        # Ten-millionths of a second are one digit more than Python reads.
        head, dot, rest = text.partition(".")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        moment = datetime.fromisoformat(head + dot + digits[:6].ljust(6, "0") if dot else text)
    except ValueError:
        return None
    return in_utc(moment, UTC if text.endswith("Z") else zone)
