"""Zeiss CZI, by czifile (BSD-3). The extra ``colonywatch[czi]``.

The library's own way to a picture goes on with zeros where a tile cannot be decoded, so tiles are
laid here, and every pixel must have come from one. Its last release for Python 3.11 does not know
ZSTD, which newer instruments write, so tiles are unpacked here too (imagecodecs).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import czifile
import imagecodecs
import numpy as np
import numpy.typing as npt

from monitor.capture.formats.image import ends_as_jpeg, ends_in_zeros
from monitor.capture.formats.metadata import Element, XmlRefusedError, elements, in_utc, real
from monitor.capture.formats.vendor import Stack, VendorRefusedError, refuse_more_than_one

T = TypeVar("T")


def _heights_and_channels(
    places: Sequence[Mapping[str, tuple[int, int]]],
) -> tuple[list[int], list[int]]:
    """Starts along both axes. Raises VendorRefusedError where there are more than these two."""
    starts = {
        axis: sorted({place.get(axis, (0, 1))[0] for place in places}) for axis in "STZCBHRIV"
    }
    refuse_more_than_one(len(starts.pop("S")), len(starts.pop("T")))
    heights, channels = starts.pop("Z"), starts.pop("C")
    if any(len(found) > 1 for found in starts.values()):
        raise VendorRefusedError(
            "unsupported", "has more dimensions than focal planes and channels"
        )
    return heights, channels


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Open the file's bytes and hand its one field of view, or one mosaic, to `use`.

    zone : of a time that carries none
    """
    with czifile.CziFile(io.BytesIO(data)) as file:
        # Smaller copies of a mosaic say that they stand for more pixels than they hold.
        tiles = [one for one in file.subblock_directory if one.shape == one.stored_shape]
        if not tiles:
            raise VendorRefusedError("truncated", "has no pixels at full size")
        places = [
            {d.dimension: (int(d.start), int(d.size)) for d in t.dimension_entries} for t in tiles
        ]
        for tile in tiles:
            if tile.file_position <= 0 or tile.file_position >= len(data):
                raise VendorRefusedError("truncated", "ends before all of its tiles")
        heights, channels = _heights_and_channels(places)
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
                decoded = _decoded(tile, rows[1], columns[1])
                if pixels is None:
                    pixels = np.zeros((*shape, decoded.shape[2]), dtype=decoded.dtype)
                where = np.s_[
                    rows[0] - top : rows[0] - top + rows[1],
                    columns[0] - left : columns[0] - left + columns[1],
                ]
                pixels[where] = decoded
                laid[where] = True
            if pixels is None or not laid.all():
                raise VendorRefusedError("truncated", "has no pixels for part of its field")
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


# --- a tile's pixels ----------------------------------------------------------------------------

_PLAIN, _JPEG, _LZW, _JPEG_XR, _ZSTD, _ZSTD_WITH_HEADER = 0, 1, 2, 4, 5, 6


def _decoded(tile: Any, rows: int, columns: int) -> npt.NDArray[Any]:
    """(rows, columns, samples) grey or RGB of one entry of the directory."""
    kind = np.dtype(tile.dtype)
    samples = kind.shape[0] if kind.shape else 1
    segment = tile.data_segment()
    packed = segment.data(raw=True)
    if len(packed) < segment.data_size:
        raise VendorRefusedError("truncated", "ends within a tile")
    if tile.compression in (_JPEG, _JPEG_XR):
        whole = ends_as_jpeg(packed) if tile.compression == _JPEG else not ends_in_zeros(packed)
        if not whole:
            raise VendorRefusedError("truncated", "has a truncated tile")
        # As pictures of their own they have red first.
        decode = imagecodecs.jpeg_decode if tile.compression == _JPEG else imagecodecs.jpegxr_decode
        pixels = np.asarray(decode(packed))
        if pixels.size != rows * columns * samples:
            raise VendorRefusedError("corrupt", "has a tile whose size is not the declared one")
        return pixels.reshape(rows, columns, samples)[:, :, :3]
    values = np.frombuffer(
        _unpacked(packed, tile.compression, rows * columns * kind.itemsize), kind.base
    )
    if values.size != rows * columns * samples:
        raise VendorRefusedError("corrupt", "has a tile whose size is not the declared one")
    pixels = values.reshape(rows, columns, samples)
    return pixels if samples == 1 else pixels[:, :, 2::-1]  # CZI has blue first


def _unpacked(packed: bytes, compression: int, size: int) -> bytes:
    """The bytes of a tile as they would lie in memory.

    size : how many there must be
    zstd0 is the bare stream. zstd1 has a header before it, which may say that all low bytes come
    first, then all high ones (libCZI, documentation of its ZSTD compression).
    """
    if compression == _PLAIN:
        return packed
    if compression == _LZW:
        return bytes(imagecodecs.lzw_decode(packed))
    if compression not in (_ZSTD, _ZSTD_WITH_HEADER):
        raise VendorRefusedError(
            "unsupported",
            f"has tiles compressed in a way (number {compression}) that is not read",
            "save it uncompressed, or compressed with ZSTD or JPEG XR",
        )
    header, is_split = (0, False) if compression == _ZSTD else _zstd_header(packed)
    unpacked = bytes(imagecodecs.zstd_decode(packed[header:], out=size))
    if not is_split:
        return unpacked
    halves = np.frombuffer(unpacked, np.uint8).reshape(2, -1)
    return halves.T.tobytes()


def _zstd_header(packed: bytes) -> tuple[int, bool]:
    """Length of the header, and whether low and high bytes lie apart."""
    length = packed[0] if packed else 0
    if length == 1:
        return length, False
    if length != 3 or len(packed) < length or packed[1] != 1:
        raise VendorRefusedError(
            "unsupported", "has tiles with a ZSTD header of a kind that is not read"
        )
    return length, bool(packed[2] & 1)


# --- metadata -----------------------------------------------------------------------------------


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
        raise VendorRefusedError("corrupt", f"has damaged metadata ({problem})") from problem
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
