"""Image file -> grey pixels and what its own metadata says.

Everything that is not whole is an error. The libraries below fill what is missing with zeros or
grey, and a dish would then be counted as empty; so each container's structure is checked to its
end before its pixels are decoded.
"""

from __future__ import annotations

import importlib
import io
import logging
import math
import os
import re
import stat
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from model.rows import Rows, as_rows, in_strips
from monitor.capture.bundles import BundleTooLargeError, is_bundle, read_file
from monitor.capture.descriptions import said_by
from monitor.capture.foreign import ForeignRefusedError, Stack
from monitor.capture.metadata import (
    UM,
    Said,
    XmlRefusedError,
    length_um,
    real,
    square_pixel_um,
)
from monitor.capture.name_parts import shown_name
from monitor.capture.tiff_rows import LARGE_PIXELS, FileBytes, TiffRows, is_readable_by_rows
from monitor.culture import StagePosition
from monitor.errors import CaptureError

MAX_PIXELS = 2_500_000_000
MAX_FILE_BYTES = 8 * 2**30
MAX_PAGES = 4096
MAX_COMPANION_BYTES = 64 * 2**20
# Noise alone keeps a real capture from shrinking more than about 40 times, even with the dark
# outside of a round well; above this a small file is a trap or holds no picture.
MAX_SHRINKAGE = 250
_SMALL_BYTES = 64 * 2**20

# What tifffile has to say about odd files is said by our own checks, once and with the file's name.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
# Start of the file, extra (and module) that reads it, name.
_FOREIGN = (
    (b"ZISRAWFILE", "czi", "Zeiss CZI"),
    (b"\xda\xce\xbe\x0a", "nd2", "Nikon ND2"),
    (b"\x70\0\0\0", "lif", "Leica LIF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "oib", "Olympus OIB"),
    (b"PK\x03\x04", "zarr", "OME-Zarr"),
)
_OTHER_FORMATS = (
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP or AVI"),
    (b"%PDF", "PDF"),
)

_NOW = {
    "empty": "the imager may still be writing it; if it stays so, export it again",
    "truncated": "the imager may still be writing it; if it stays so, export it again",
    "corrupt": "export or copy it again",
    "no-companion": "copy it into the same folder, then colonywatch retry",
    "needs-extra": "install it, then colonywatch retry",
    "not-an-image": "TIFF, PNG and JPEG can be read; remove it or correct its name",
    "other-format": "export it from the microscope's program as OME-TIFF",
    "unsupported": "export one grey or RGB plane as TIFF or PNG",
    "too-large": "export it smaller, or in tiles",
    "no-permission": "let the user that colonywatch runs as read it",
    "io-error": "look at the disk or the share that it lies on",
    "missing": "it was removed or renamed, or its share is not mounted",
}
_TRANSIENT = {"no-permission", "io-error", "missing"}


@dataclass(frozen=True, eq=False)
class Picture:
    """One capture's pixels and what the file itself says about them.

    pixels : (H, W) uint8, uint16 or float32, grey; an array, or rows that are read when they are
        wanted (see `open_picture`)
    pixel_size_um : from the instrument's metadata only; dots per inch are no calibration
    acquired_at : aware UTC
    stage : centre of the field as the file says it
    format : "TIFF", "BigTIFF", "OME-TIFF", "ImageJ TIFF", "PNG", "JPEG" or, where the extra is
        installed, "Nikon ND2", "Leica LIF", "Zeiss CZI", "Olympus OIB",
        "OME-Zarr"
    """

    pixels: npt.NDArray[Any] | Rows
    pixel_size_um: float | None
    acquired_at: datetime | None
    stage: StagePosition | None
    format: str

    def close(self) -> None:
        """Let go of the file, where pixels are still read from it."""
        if isinstance(self.pixels, TiffRows):
            self.pixels.close()


@dataclass(frozen=True, eq=False)
class WholePicture(Picture):
    """A picture whose pixels are in memory."""

    pixels: npt.NDArray[Any]


def read_picture(
    path: Path, *, zone: ZoneInfo, data: bytes | None = None, channel: str | None = None
) -> WholePicture:
    """Read one capture whole, or say why that cannot be done.

    zone : of times in the metadata that carry none
    data : the file's bytes, where they were read already
    channel : name or number (from 1) of the channel of a file with several; None takes one that
        is labelled as brightfield or phase contrast, else the first

    A Z-stack gives its sharpest plane. RGB becomes luminance, a palette its grey values.
    Raises CaptureError with reason empty, not-an-image, truncated, corrupt, too-large, unsupported,
    needs-extra, no-companion or, transient, no-permission, io-error, missing. Nothing else,
    whatever the bytes.
    """
    with _refusing(path):
        picture = _read(_read_bytes(path) if data is None else data, zone, channel, path, None)
        assert isinstance(picture.pixels, np.ndarray)
        _check_numbers(picture.pixels)
        return WholePicture(
            picture.pixels,
            picture.pixel_size_um,
            picture.acquired_at,
            picture.stage,
            picture.format,
        )


def open_picture(
    path: Path,
    *,
    zone: ZoneInfo,
    data: bytes | FileBytes | None = None,
    channel: str | None = None,
    large_pixels: int = LARGE_PIXELS,
) -> Picture:
    """As `read_picture`, but the pixels of a large TIFF are read a few rows at a time.

    data : the file's bytes, or the open file, which is the picture's from then on

    The picture must be closed. Raises CaptureError as `read_picture` does; while rows are read
    later, a damaged file raises what its decoder raises.
    """
    file: FileBytes | None = data if isinstance(data, FileBytes) else None
    picture: Picture | None = None
    try:
        with _refusing(path):
            if data is None and is_bundle(path):
                data = _read_bytes(path)
            elif data is None:
                data = file = FileBytes(_opened(path))
            picture = _read(data, zone, channel, path, large_pixels)
            for top, bottom in in_strips(*as_rows(picture.pixels).shape, LARGE_PIXELS):
                _check_numbers(as_rows(picture.pixels).rows(top, bottom))
            return picture
    finally:
        is_used = picture is not None and isinstance(picture.pixels, TiffRows)
        if file is not None and not (is_used and sys.exc_info()[0] is None):
            file.file.close()


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the bytes is a CaptureError that names the file."""
    try:
        yield
    except _UnreadableError as unreadable:
        raise _refusal(path, unreadable.reason, str(unreadable)) from unreadable
    except MemoryError as problem:
        raise _refusal(path, "too-large", "does not fit into memory") from problem
    except Exception as problem:  # decoders raise whatever they like on broken bytes
        why = f"{type(problem).__name__}: {shown_name(str(problem))[:200]}"
        raise _refusal(path, "corrupt", f"cannot be decoded ({why})") from problem


class _UnreadableError(Exception):
    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def _refuse(reason: str, what: str) -> NoReturn:
    raise _UnreadableError(reason, what)


def _refusal(path: Path, reason: str, what: str) -> CaptureError:
    return CaptureError(
        f"{shown_name(path)}: {what}; {_NOW[reason]}",
        reason="unsupported" if reason == "other-format" else reason,
        transient=reason in _TRANSIENT,
    )


def _read_bytes(path: Path) -> bytes:
    try:
        if is_bundle(path):
            return read_file(path)
        with _opened(path) as file:
            return file.read()
    except BundleTooLargeError as problem:
        _refuse("too-large", str(problem))
    except PermissionError:
        _refuse("no-permission", "may not be read")
    except FileNotFoundError:
        _refuse("missing", "is not there")
    except OSError as problem:
        _refuse("io-error", f"cannot be read ({problem})")


def _opened(path: Path) -> io.BufferedReader:
    def without_waiting(name: str, flags: int) -> int:
        # Without O_NONBLOCK a FIFO that took the file's place would hold the reader for ever.
        return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # To open a device can already do something: wind a tape, take an input's data.
            _refuse("not-an-image", "is no regular file")
        file = open(path, "rb", opener=without_waiting)  # noqa: SIM115 - Path has no opener
    except PermissionError:
        _refuse("no-permission", "may not be read")
    except FileNotFoundError:
        _refuse("missing", "is not there")
    except IsADirectoryError:
        _refuse("not-an-image", "is a folder")
    except (OSError, ValueError) as problem:
        _refuse("io-error", f"cannot be read ({problem})")
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_FILE_BYTES:
        file.close()
        if stat.S_ISREG(about.st_mode):
            _refuse("too-large", f"has {about.st_size / 2**30:.1f} GiB")
        _refuse("not-an-image", "is no regular file")
    return file


# By the name: the first is a TIFF whose only pictures are previews.
_ONLY_IN_PARTS = {".vsi": "Olympus VSI", ".oir": "Olympus OIR"}


def _read(
    data: bytes | FileBytes, zone: tzinfo, channel: str | None, path: Path, large: int | None
) -> Picture:
    """large : pages of a TIFF with more pixels are left in the file; None = none are"""
    if not len(data):
        _refuse("empty", "is empty (0 bytes)")
    name = _ONLY_IN_PARTS.get(path.suffix.lower())
    if name is not None:
        _refuse("other-format", f"is a file of format {name}, which is not read here")
    if data[:8].startswith(_TIFF_MAGIC):
        return _read_tiff(data, zone, channel, path, large)
    if isinstance(data, FileBytes):
        data = data[:]
    if data.startswith(_PNG_MAGIC):
        return _read_png(data, zone)
    if data.startswith(_JPEG_MAGIC):
        return _read_jpeg(data, zone)
    if any(magic.startswith(data[:8]) for magic in (*_TIFF_MAGIC, _PNG_MAGIC, _JPEG_MAGIC)):
        _refuse("truncated", f"ends after {len(data)} bytes")
    if not any(data[:4096]):
        _refuse("empty", "starts with zeros only")
    if path.suffix.lower() == ".oif":
        return _read_foreign(data, zone, channel, "oif", "Olympus OIF", "oib")
    for magic, extra, name in _FOREIGN:
        if data.startswith(magic):
            return _read_foreign(data, zone, channel, extra, name)
    for magic, name in _OTHER_FORMATS:
        if data.startswith(magic):
            _refuse("other-format", f"is a file of format {name}, which is not read here")
    _refuse("not-an-image", f"is no TIFF, PNG or JPEG (starts with {data[:8]!r})")


def _read_foreign(
    data: bytes, zone: tzinfo, channel: str | None, kind: str, name: str, extra: str | None = None
) -> Picture:
    """A microscope's own format, by the library that is an extra of this package."""
    extra = extra or kind
    try:
        reader = importlib.import_module(f"monitor.capture.{kind}_format")
    except ModuleNotFoundError:
        _refuse(
            "needs-extra",
            f"is a file of format {name}, whose reader is not installed: "
            f'pip install "colonywatch[{extra}]"',
        )

    def choose(stack: Stack) -> Picture:
        height, width = stack.shape
        _check_size(height, width, height * width * stack.bytes_a_pixel, len(data))
        if not 1 <= stack.heights <= MAX_PAGES or not 1 <= len(stack.channels) <= MAX_PAGES:
            _refuse("corrupt", f"declares {stack.heights} heights")
        chosen = 0
        if len(stack.channels) > 1:
            chosen = _choose_channel(stack.channels, len(stack.channels), channel)
        best, best_sharpness = None, -1.0
        for z in range(stack.heights):
            pixels = _plain(_grey(np.asarray(stack.plane(z, chosen))))
            if pixels.shape != stack.shape:
                _refuse("corrupt", f"declares {width} x {height} pixels and has others")
            sharpness = _sharpness(pixels) if stack.heights > 1 else 0.0
            if sharpness > best_sharpness:
                best, best_sharpness = pixels, sharpness
        if best is None:
            _refuse("corrupt", "holds no plane whose sharpness can be told")
        size_um = square_pixel_um(*stack.pixel_size_um)
        return Picture(best.copy(), size_um, stack.acquired_at, stack.stage, name)

    try:
        with warnings.catch_warnings():
            # A library that only warns goes on with a blank plane.
            warnings.simplefilter("error", UserWarning)
            picture = reader.read_stack(data, zone, choose)
    except ForeignRefusedError as problem:
        _refuse(problem.reason, str(problem))
    assert isinstance(picture, Picture)
    return picture


def _check_size(height: int, width: int, decoded_bytes: int, file_bytes: int) -> None:
    """Refuse before anything is allocated for it."""
    if height < 1 or width < 1:
        _refuse("corrupt", f"declares {width} x {height} pixels")
    if height * width > MAX_PIXELS:
        _refuse("too-large", f"declares {width} x {height} pixels")
    if decoded_bytes > _SMALL_BYTES and decoded_bytes > MAX_SHRINKAGE * file_bytes:
        _refuse(
            "too-large",
            f"declares {width} x {height} pixels in only {file_bytes} bytes, which no real "
            "capture fits in",
        )


def _check_numbers(pixels: npt.NDArray[Any]) -> None:
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        _refuse("corrupt", "holds pixels that are not a number or infinite")


# --- grey ---------------------------------------------------------------------------------------


def _grey(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W), (H, W, 1), grey + alpha, RGB or RGBA -> (H, W). Transparency is ignored."""
    if samples.ndim == 2:
        return samples
    if samples.shape[2] < 3:
        return samples[:, :, 0]
    # OpenCV's weights add up to exactly 1 in integers, so that equal channels stay as they are.
    colours = np.ascontiguousarray(samples[:, :, :3])
    if colours.dtype not in (np.uint8, np.uint16, np.float32):
        colours = colours.astype(np.float32)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


def _plain(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """To uint8, uint16 or float32 in native byte order, contiguous."""
    kind = pixels.dtype.kind
    if kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif kind == "i" and pixels.dtype.itemsize <= 2 and pixels.min() >= 0:
        pixels = pixels.astype(f"u{pixels.dtype.itemsize}")
    elif kind in "iuf" and pixels.dtype not in (np.uint8, np.uint16):
        with np.errstate(over="ignore", invalid="ignore"):
            pixels = pixels.astype(np.float32)
    elif kind not in "iuf":
        _refuse("unsupported", f"has pixels of type {pixels.dtype}")
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _sharpness(pixels: npt.NDArray[Any] | Rows) -> float:
    """Variance of the Laplacian of the middle of the plane (Pech-Pacheco 2000)."""
    (top, bottom), (left, right) = (
        (max(0, n // 2 - 1024), min(n, n // 2 + 1024)) for n in pixels.shape
    )
    middle = as_rows(pixels).rows(top, bottom)[:, left:right]
    middle = np.ascontiguousarray(middle, dtype=np.float32)
    return float(cv2.Laplacian(middle, cv2.CV_32F).var())


# --- TIFF ---------------------------------------------------------------------------------------


def _read_tiff(
    data: bytes | FileBytes, zone: tzinfo, channel: str | None, path: Path, large: int | None
) -> Picture:
    _check_ifd_chain(data)
    # tifffile would look for the other files of an OME-TIFF set; bytes have no neighbours, and
    # an open file is not asked for any.
    source = data.file if isinstance(data, FileBytes) else io.BytesIO(data)
    source.seek(0)
    decode = _decode_page if large is None else partial(_decode_large, data=data, large=large)
    with tifffile.TiffFile(source, _multifile=False) as tiff:
        tiff.pages.useframes = False
        pages: list[Any] = list(tiff.pages)
        description = str(pages[0].description or "")
        is_big = tiff.is_bigtiff
        for page in pages:
            _check_page(page, data)

        if _is_ome(description):
            ome = _Ome(description, zone, path)
            planes = ome.planes(len(pages), int(pages[0].samplesperpixel), channel)
            best = _sharpest([plane.page for plane in planes], pages, decode)
            plane = next(plane for plane in planes if plane.page == best[0])
            return Picture(
                best[1], ome.pixel_size_um(), ome.time_of(plane), ome.stage_of(plane), "OME-TIFF"
            )
        said = _said(pages[0], zone)
        if said is not None:
            # Gen5 writes a page a channel, MetaMorph a page a file.
            chosen = _pages_of_channel(pages, zone, channel) if len(pages) > 1 else [0]
            return Picture(
                _sharpest(chosen, pages, decode)[1],
                said.pixel_size_um,
                said.acquired_at,
                said.stage,
                "BigTIFF" if is_big else "TIFF",
            )
        acquired_at = _time_from_exif(pages[0].tags.valueof(34665), zone)
        if description.startswith("ImageJ="):
            settings = _imagej_settings(description)
            chosen = _imagej_pages(settings, len(pages), channel)
            return Picture(
                _sharpest(chosen, pages, decode)[1],
                _imagej_pixel_size_um(settings, pages[0]),
                acquired_at,
                None,
                "ImageJ TIFF",
            )
        pixels = _sharpest(_full_size_pages(pages), pages, decode)[1]
        return Picture(pixels, None, acquired_at, None, "BigTIFF" if is_big else "TIFF")


def _said(page: Any, zone: tzinfo) -> Said | None:
    try:
        return said_by(str(page.description or ""), zone)
    except XmlRefusedError as problem:
        _refuse("corrupt", f"has a description with XML that is not read ({problem})")


def _pages_of_channel(pages: Sequence[Any], zone: tzinfo, wanted: str | None) -> list[int]:
    """The pages of the wanted channel, among those of the first one's size."""
    chosen = _full_size_pages(pages)
    said = [_said(pages[index], zone) or Said() for index in chosen]
    names = [one.channel or "" for one in said]
    known = list(dict.fromkeys(names))
    if len(known) == 1 and len(chosen) > 1 and not known[0]:
        known, names = [str(n + 1) for n in range(len(chosen))], [str(n + 1) for n in chosen]
    transmitted = [one.channel or "" for one in said if one.transmitted]
    if wanted is None and transmitted:
        name = transmitted[0]
    else:
        name = known[_choose_channel(known, len(known), wanted)]
    return [index for index, of in zip(chosen, names, strict=True) if of == name]


def _check_ifd_chain(data: bytes | FileBytes) -> None:
    """Follow the chain of image directories to its end. tifffile stops quietly where it breaks."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        if len(data) < 16:
            _refuse("truncated", f"ends after {len(data)} bytes, within its header")
        if struct.unpack_from(order + "HH", data[:16], 4) != (8, 0):
            _refuse("corrupt", "has a damaged BigTIFF header")
        first, pointer, count_format, entry_bytes = 8, "Q", "Q", 20
    else:
        if len(data) < 8:
            _refuse("truncated", f"ends after {len(data)} bytes, within its header")
        first, pointer, count_format, entry_bytes = 4, "I", "H", 12
    seen: set[int] = set()
    (offset,) = struct.unpack_from(order + pointer, data[:16], first)
    if offset == 0:
        _refuse("truncated", "has no image directory yet")
    while offset:
        if offset in seen:
            _refuse("corrupt", "has image directories that run in a circle")
        if len(seen) >= MAX_PAGES:
            _refuse("unsupported", f"has more than {MAX_PAGES} pages")
        seen.add(offset)
        count_bytes = struct.calcsize(order + count_format)
        if offset + count_bytes > len(data):
            _refuse("truncated", f"an image directory should be at byte {offset} of {len(data)}")
        (count,) = struct.unpack(order + count_format, data[offset : offset + count_bytes])
        if count == 0 or count > 4096:
            reason = "corrupt" if any(data[offset : offset + (1 << 24)]) else "truncated"
            _refuse(reason, f"has an image directory with {count} entries at byte {offset}")
        next_at = offset + count_bytes + count * entry_bytes
        if next_at + struct.calcsize(order + pointer) > len(data):
            _refuse("truncated", f"ends within its image directory (byte {len(data)})")
        _check_entries(data, offset + count_bytes, count, order, pointer)
        end = next_at + struct.calcsize(order + pointer)
        (offset,) = struct.unpack(order + pointer, data[next_at:end])


_DESCRIPTION = 270
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES_OF_TYPE |= {13: 4, 16: 8, 17: 8, 18: 8}


def _check_entries(
    data: bytes | FileBytes, start: int, count: int, order: str, pointer: str
) -> None:
    """An entry whose value lies past the end would be left out, and with it the pixel size."""
    entry = struct.Struct(f"{order}HH{pointer}{pointer}")
    inline = struct.calcsize(order + pointer)
    for tag, kind, values, value_at in entry.iter_unpack(data[start : start + count * entry.size]):
        length = values * _BYTES_OF_TYPE.get(kind, 0)
        if length > inline and value_at + length > len(data):
            _refuse("truncated", f"should have {value_at + length} bytes and has {len(data)}")
        said = tag == _DESCRIPTION and length > inline
        if said and not data[value_at : value_at + length].strip(b"\0"):
            _refuse("truncated", "has only zeros where its description should be")


def _check_page(page: Any, data: bytes | FileBytes) -> None:
    """Everything that a page declares must be there; nothing is decoded or allocated yet."""
    if not isinstance(page, tifffile.TiffPage):
        _refuse("corrupt", "has an image directory that cannot be read")
    if page.dtype is None or not page.shaped:
        reason = "unsupported" if page.bitspersample else "corrupt"
        _refuse(reason, f"has pixels of {page.bitspersample} bits of an unknown kind")
    decoded_bytes = math.prod(page.shaped) * page.dtype.itemsize
    _check_size(int(page.imagelength), int(page.imagewidth), decoded_bytes, len(data))
    if page.tags.valueof(277) == 0:
        _refuse("corrupt", "declares no samples a pixel")
    if page.imagedepth != 1:
        _refuse("unsupported", "has three-dimensional tiles")
    offsets, byte_counts = page.dataoffsets, page.databytecounts
    expected = math.prod(page.chunked)
    if len(offsets) < expected or len(byte_counts) < expected:
        _refuse("corrupt", f"has {len(offsets)} of {expected} strips or tiles")
    for offset, count in zip(offsets[:expected], byte_counts[:expected], strict=True):
        if offset <= 0 or count <= 0:
            _refuse("truncated", "has strips or tiles that were never written")
        if offset + count > len(data):
            _refuse("truncated", f"should have {offset + count} bytes and has {len(data)}")
        if page.compression in _JPEG_IN_TIFF and not _ends_as_jpeg(data[offset : offset + count]):
            _refuse("truncated", "has a JPEG strip or tile without an end")
    if page.compression == 1:
        packed = math.prod(page.shaped) * int(page.bitspersample) // 8
        if sum(byte_counts[:expected]) < packed:
            _refuse("truncated", f"has {sum(byte_counts)} of {packed} bytes of pixels")


_JPEG_IN_TIFF = (6, 7, 34892, 33007)


def _ends_as_jpeg(strip: bytes) -> bool:
    return strip.rstrip(b"\0").endswith(b"\xff\xd9")


def _full_size_pages(pages: Sequence[Any]) -> list[int]:
    """Pages of the first one's size: the others are thumbnails or a pyramid."""
    first = pages[0]
    chosen = [
        index
        for index, page in enumerate(pages)
        if page.shape == first.shape and page.dtype == first.dtype and not int(page.subfiletype) & 5
    ]
    return chosen or [0]


_Pixels = npt.NDArray[Any] | Rows


def _sharpest(
    chosen: Sequence[int], pages: Sequence[Any], decode: Callable[[Any], _Pixels]
) -> tuple[int, _Pixels]:
    """Number and grey pixels of the sharpest of the chosen pages."""
    best = chosen[0], decode(pages[chosen[0]])
    if len(chosen) == 1:
        return best
    best_sharpness = _sharpness(best[1])
    for index in chosen[1:]:
        pixels = decode(pages[index])
        sharpness = _sharpness(pixels)
        if sharpness > best_sharpness or pixels.shape != best[1].shape:
            best, best_sharpness = (index, pixels), sharpness
    return best


def _decode_large(page: Any, data: bytes | FileBytes, large: int) -> _Pixels:
    """A page of a large picture is left in its file; what can be told before is checked."""
    if page.imagelength * page.imagewidth <= large or not is_readable_by_rows(page):
        return _decode_page(page)
    _check_colours(page)
    return TiffRows(page, data, partial(_finish, page=page))


def _decode_page(page: Any) -> npt.NDArray[Any]:
    _check_colours(page)
    decoded = page.asarray(squeeze=False, maxworkers=1)  # (planes, 1, H, W, samples)
    decoded = decoded[0, 0] if decoded.shape[0] == 1 else np.moveaxis(decoded[:, 0, :, :, 0], 0, -1)
    return _finish(decoded, page)


def _check_colours(page: Any) -> None:
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    if photometric not in (0, 1, 2, 3, 6):
        _refuse("unsupported", f"has colours of kind {page.photometric!r}")
    if photometric in (2, 6) and samples < 3:
        _refuse("corrupt", f"declares colour with {samples} samples a pixel")
    if photometric == 6 and page.compression not in _JPEG_IN_TIFF:
        _refuse("unsupported", "has YCbCr colours without JPEG compression")
    if photometric == 0 and page.dtype.kind == "f":
        _refuse("unsupported", "has floating-point pixels with white as zero")
    if page.compression in _DEFLATE:
        _check_deflate(page)


def _finish(decoded: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    """(h, W, samples) as they are stored -> (h, W) grey, row by row."""
    photometric = int(page.photometric)
    if photometric == 3:
        return _from_palette(decoded[:, :, 0], page)
    if photometric in (0, 1):
        decoded = decoded[:, :, 0]
    pixels = _plain(_grey(decoded))
    bits = int(page.bitspersample)
    if pixels.dtype == np.uint8 and 1 < bits < 8:
        pixels = (pixels.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    if photometric == 0:
        if pixels.dtype == np.float32:
            _refuse("unsupported", "has floating-point pixels with white as zero")
        top = 2**bits - 1 if 8 < bits < 16 else np.iinfo(pixels.dtype).max
        pixels = pixels.dtype.type(top) - pixels
    return pixels


_DEFLATE = (8, 32946)


def _check_deflate(page: Any) -> None:
    """zlib's checksum lies past the last pixel, where the decoder of the pixels stops reading."""
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        stream = zlib.decompressobj()
        rest = file.read(count)
        try:
            while rest and not stream.eof:
                stream.decompress(rest, 1 << 20)
                rest = stream.unconsumed_tail
        except zlib.error as problem:
            _refuse("corrupt", f"has damaged pixels ({problem})")
        if not stream.eof:
            _refuse("truncated", "has a strip or tile that ends too early")


def _from_palette(indices: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    colours = page.colormap
    if colours is None or indices.dtype not in (np.uint8, np.uint16):
        _refuse("corrupt", "is a palette picture without a palette")
    colours = np.asarray(colours, dtype=np.uint16)
    if colours.ndim != 2 or colours.shape[0] != 3 or indices.max() >= colours.shape[1]:
        _refuse("corrupt", "has a palette that does not fit its pixels")
    table = _grey(np.ascontiguousarray(colours.T)[None])[0]
    # Palettes hold 16-bit values; some writers fill in 8-bit ones.
    if indices.dtype == np.uint8:
        table = table.astype(np.uint8) if colours.max() < 256 else (table >> 8).astype(np.uint8)
    return np.ascontiguousarray(table[indices])


# --- OME-XML ------------------------------------------------------------------------------------


_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}
_TRANSMITTED = re.compile(
    r"bright|\bbf\b|phase|\bph\d?\b|\bdic\b|trans|\btl\b|\btd\b", re.IGNORECASE
)


@dataclass(frozen=True)
class _OmePlane:
    page: int
    z: int
    c: int


class _Ome:
    """What the OME-XML of a file says of its one image."""

    def __init__(self, text: str, zone: tzinfo, path: Path) -> None:
        root = _parse_xml(text)
        namespace = _namespace(root)
        uuid = root.get("UUID")
        elsewhere = root.find(f"{namespace}BinaryOnly")
        if elsewhere is not None and not root.findall(f"{namespace}Image"):
            uuid = elsewhere.get("UUID")
            root = _parse_xml(_companion(path, elsewhere.get("MetadataFile", "")))
            namespace = _namespace(root)
        self._namespace = namespace
        self._zone = zone
        self._uuid = uuid
        images = root.findall(f"{namespace}Image")
        if len(images) > 1 and uuid is not None:
            # The description of a set names all fields of view; this file holds one of them.
            place = f"{namespace}Pixels/{namespace}TiffData/{namespace}UUID"
            images = [
                image for image in images if any(one.text == uuid for one in image.findall(place))
            ] or images
        if len(images) != 1:
            _refuse("unsupported", f"holds {len(images)} images; one field of view a file is read")
        self._image = images[0]
        pixels = self._image.find(f"{namespace}Pixels")
        if pixels is None:
            _refuse("corrupt", "has OME-XML without Pixels")
        self._pixels = pixels

    def planes(self, pages: int, samples: int, channel: str | None) -> list[_OmePlane]:
        """The planes of the chosen channel. Raises where a declared plane is not in the file."""
        size = {axis: self._count(f"Size{axis}") for axis in "ZCT"}
        if samples > 1 and size["C"] % samples == 0:
            size["C"] //= samples
        if size["T"] > 1:
            _refuse("unsupported", f"holds {size['T']} time points; one a file is read")
        order = self._pixels.get("DimensionOrder", "XYZCT")[2:]
        if sorted(order) != ["C", "T", "Z"]:
            _refuse("corrupt", f"has OME-XML with the dimension order {order!r}")
        total = size["Z"] * size["C"]
        where: dict[tuple[int, int], int] = {}
        for page, position in self._declared(total):
            z, c, _ = _position(position, order, size)
            where[z, c] = page
        if any(page >= pages for page in where.values()):
            _refuse("truncated", f"declares {total} planes and has {pages}")
        chosen = self._channel(size["C"], channel)
        planes = [_OmePlane(page, z, c) for (z, c), page in sorted(where.items()) if c == chosen]
        if not planes and where and self._is_one_of_a_set() and channel is None:
            first = min(c for _, c in where)
            planes = [_OmePlane(page, z, c) for (z, c), page in sorted(where.items()) if c == first]
        if not planes and self._is_one_of_a_set():
            _refuse("unsupported", "keeps the planes of the wanted channel in another file")
        if len(planes) < size["Z"] and not self._is_one_of_a_set():
            _refuse("truncated", f"declares {size['Z']} planes of a channel and has {len(planes)}")
        return planes

    def _declared(self, total: int) -> list[tuple[int, Mapping[str, int] | int]]:
        """(page, plane) of every plane that the XML says is in this file."""
        declared: list[tuple[int, Mapping[str, int] | int]] = []
        elements = self._pixels.findall(f"{self._namespace}TiffData")
        order = self._pixels.get("DimensionOrder", "XYZCT")[2:]
        size = {axis: self._count(f"Size{axis}") for axis in "ZCT"}
        if not elements:
            return [(index, index) for index in range(total)]
        for element in elements:
            if self._is_elsewhere(element):
                continue
            first = {axis: _whole(element.get(f"First{axis}", "0")) for axis in "ZCT"}
            page = _whole(element.get("IFD", "0"))
            given = element.get("PlaneCount")
            count = _whole(given) if given else (1 if element.get("IFD") else total)
            if count > MAX_PAGES or page > MAX_PAGES:
                _refuse("corrupt", f"has OME-XML with {count} planes from page {page}")
            start = _index(first, order, size)
            declared += [(page + step, start + step) for step in range(count)]
        return declared

    def _is_elsewhere(self, tiff_data: ElementTree.Element) -> bool:
        uuid = tiff_data.find(f"{self._namespace}UUID")
        return uuid is not None and self._uuid is not None and uuid.text != self._uuid

    def _is_one_of_a_set(self) -> bool:
        return any(map(self._is_elsewhere, self._pixels.findall(f"{self._namespace}TiffData")))

    def _channel(self, count: int, wanted: str | None) -> int:
        if count == 1:
            return 0
        names = [
            element.get("Name") or ""
            for element in self._pixels.findall(self._namespace + "Channel")
        ]
        return _choose_channel(names, count, wanted)

    def _count(self, name: str) -> int:
        count = _whole(self._pixels.get(name, "1"))
        if not 1 <= count <= MAX_PAGES:
            _refuse("corrupt", f"has OME-XML with {name} {count}")
        return count

    def pixel_size_um(self) -> float | None:
        unit_x = self._pixels.get("PhysicalSizeXUnit")
        # A unit given for X only holds for both (seen in files of several writers).
        unit_y = self._pixels.get("PhysicalSizeYUnit", unit_x)
        x = length_um(self._pixels.get("PhysicalSizeX"), unit_x or "µm")
        y = length_um(self._pixels.get("PhysicalSizeY"), unit_y or "µm")
        if x is None or not 0.01 <= x <= 100:
            return None
        if y is not None and abs(x - y) > 0.01 * x:
            _refuse("unsupported", f"has pixels of {x:g} x {y:g} um, which are not square")
        return x

    def _plane(self, plane: _OmePlane) -> ElementTree.Element | None:
        for element in self._pixels.findall(f"{self._namespace}Plane"):
            if (element.get("TheZ"), element.get("TheC")) == (str(plane.z), str(plane.c)):
                return element
        return None

    def stage_of(self, plane: _OmePlane) -> StagePosition | None:
        element = self._plane(plane)
        if element is None:
            return None
        x, y, z = (
            # By the schema a position without unit is in a frame of the instrument's own.
            length_um(
                element.get(f"Position{axis}"),
                element.get(f"Position{axis}Unit", "reference frame"),
            )
            for axis in "XYZ"
        )
        return None if x is None or y is None else StagePosition(x, y, z)

    def time_of(self, plane: _OmePlane) -> datetime | None:
        text = self._image.findtext(f"{self._namespace}AcquisitionDate")
        if not text:
            return None
        element = self._plane(plane)
        delta, unit = (
            (None, "s")
            if element is None
            else (element.get("DeltaT"), element.get("DeltaTUnit", "s"))
        )
        seconds = real(delta)
        try:
            at = datetime.fromisoformat(text.strip())
            at = (at if at.tzinfo else at.replace(tzinfo=self._zone)).astimezone(UTC)
            if seconds is not None and unit in _SECONDS:
                at += timedelta(seconds=seconds * _SECONDS[unit])
        except (ValueError, OverflowError):
            return None
        return at


def _namespace(root: ElementTree.Element) -> str:
    return root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""


def _companion(path: Path, name: str) -> str:
    """The OME-XML that a file of a set leaves to another: a companion, or the set's first TIFF.

    Only a file of the same folder: a name in a picture must not make us read anything else.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        _refuse("unsupported", "leaves its description to a file that is not in its folder")
    beside = path.parent / name
    try:
        about = beside.lstat()
        if not stat.S_ISREG(about.st_mode):
            _refuse("unsupported", "leaves its description to what is no regular file")
        if name.lower().endswith((".tif", ".tiff", ".btf", ".tf8")):
            with tifffile.TiffFile(beside, _multifile=False) as tiff:
                return str(tiff.pages.first.description or "")
        if about.st_size > MAX_COMPANION_BYTES:
            _refuse("too-large", f"has a description of {about.st_size / 2**20:.0f} MiB")
        return beside.read_text(encoding="utf-8")
    except FileNotFoundError:
        _refuse("no-companion", f"leaves its description to {shown_name(name)}, which is not there")
    except (OSError, UnicodeDecodeError, tifffile.TiffFileError) as problem:
        why = shown_name(str(problem))[:200]
        _refuse("no-companion", f"leaves its description to {shown_name(name)} ({why})")


def _is_ome(description: str) -> bool:
    head = description.lstrip()[:8192]
    return head.startswith("<") and re.search(r"<(?:\w+:)?OME[\s>]", head) is not None


def _parse_xml(text: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        _refuse("corrupt", "has OME-XML with entities, which no instrument writes")
    if not re.search(r"</(\w+:)?OME\s*>\s*$", text[-4096:].rstrip("\0 \r\n\t")):
        _refuse("truncated", "has OME-XML that ends too early")
    try:
        return ElementTree.fromstring(text.rstrip("\0").strip())
    except (ElementTree.ParseError, ValueError) as problem:
        _refuse("corrupt", f"has damaged OME-XML ({problem})")


def _position(
    plane: Mapping[str, int] | int, order: str, size: Mapping[str, int]
) -> tuple[int, int, int]:
    """Number of a plane in the file's order -> (z, c, t)."""
    index = plane if isinstance(plane, int) else _index(plane, order, size)
    found = {}
    for axis in order:
        index, found[axis] = divmod(index, size[axis])
    return found["Z"], found["C"], found["T"]


def _index(position: Mapping[str, int], order: str, size: Mapping[str, int]) -> int:
    first, second, third = tuple(order)
    return position[first] + size[first] * (position[second] + size[second] * position[third])


def _choose_channel(names: Sequence[str], count: int, wanted: str | None) -> int:
    names = [*names, *[""] * count][:count]
    if wanted is not None:
        for index, name in enumerate(names):
            if name.strip().lower() == wanted.strip().lower():
                return index
        number = re.fullmatch(r"(?:ch?)?0*([1-9]\d{0,3})", wanted.strip().lower())
        if number and int(number[1]) <= count:
            return int(number[1]) - 1
        known = ", ".join(name or str(index + 1) for index, name in enumerate(names))
        _refuse("unsupported", f"has no channel {wanted!r} (it has {shown_name(known)})")
    for index, name in enumerate(names):
        if _TRANSMITTED.search(name):
            return index
    return 0


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        _refuse("corrupt", f"has OME-XML with {shown_name(text[:40])!r} for a number")
    return int(text)


# --- ImageJ -------------------------------------------------------------------------------------


def _imagej_settings(description: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in description.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _imagej_pages(settings: Mapping[str, str], pages: int, channel: str | None) -> list[int]:
    channels, slices, frames = (
        _whole(settings.get(name, "1")) for name in ("channels", "slices", "frames")
    )
    images = _whole(settings.get("images", "1"))
    if images > pages:
        _refuse("truncated", f"declares {images} planes and has {pages}")
    if frames > 1:
        _refuse("unsupported", f"holds {frames} time points; one a file is read")
    if channels < 1 or channels * slices > pages:
        return list(range(pages))
    chosen = _choose_channel([], channels, channel) if channels > 1 else 0
    return [z * channels + chosen for z in range(max(1, slices))]


def _imagej_pixel_size_um(settings: Mapping[str, str], page: Any) -> float | None:
    unit = settings.get("unit", "").replace("\\u00B5", "µ")
    resolution = page.tags.valueof(282)
    # ImageJ writes the unit "inch" for any picture that came with dots per inch.
    if unit in ("", "in", "inch") or unit not in UM or not resolution:
        return None
    pixels, units = resolution
    if pixels <= 0 or units <= 0:
        return None
    # The fraction carries about seven digits.
    size_um = float(f"{UM[unit] * units / pixels:.7g}")
    return size_um if 0.01 <= size_um <= 100 else None


# --- PNG, JPEG ----------------------------------------------------------------------------------


def _read_png(data: bytes, zone: tzinfo) -> Picture:
    chunks: dict[bytes, bytes] = {}
    at, has_pixels = 8, False
    while b"IEND" not in chunks:
        if at + 12 > len(data):
            _refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            reason = "corrupt" if any(data[at:]) else "truncated"
            _refuse(reason, f"has no valid section at byte {at}")
        if at + 12 + length > len(data):
            _refuse("truncated", f"should have {at + 12 + length} bytes or more, has {len(data)}")
        body = memoryview(data)[at + 4 : at + 8 + length]
        if zlib.crc32(body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            _refuse("corrupt", f"has a wrong checksum in section {kind.decode('ascii')}")
        if at == 8 and (kind != b"IHDR" or length != 13):
            _refuse("corrupt", "does not start with its size")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind in (b"IHDR", b"eXIf", b"IEND"):
            chunks[kind] = bytes(body[4:])
        at += 12 + length
    if not has_pixels:
        _refuse("corrupt", "holds no pixels")
    width, height, bits, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    samples = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(colour, 4)
    _check_size(height, width, height * width * samples * max(1, bits // 8), len(data))
    pixels = _plain(_grey(np.asarray(_decode(imagecodecs.png_decode, data))))
    return Picture(pixels, None, _time_from_exif_block(chunks.get(b"eXIf"), zone), None, "PNG")


_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def _read_jpeg(data: bytes, zone: tzinfo) -> Picture:
    frame: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    is_adobe, has_pixels, at = False, False, 2
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 2 > len(data):
            _refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        if data[at] != 0xFF:
            reason = "corrupt" if any(data[at:]) else "truncated"
            _refuse(reason, f"has no valid section at byte {at}")
        marker = data[at + 1]
        at += 2
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        if at + 2 > len(data):
            _refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        (length,) = struct.unpack_from(">H", data, at)
        if at + length > len(data):
            _refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        body = data[at + 2 : at + length]
        if marker in _FRAME_MARKERS:
            if len(body) < 6:
                _refuse("corrupt", "does not say its size")
            frame = struct.unpack_from(">BHHB", body)
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = body[6:]
        elif marker == 0xEE and body.startswith(b"Adobe"):
            is_adobe = True
        at += max(2, length)
        if marker == 0xDA:
            has_pixels = True
            found = _NEXT_MARKER.search(data, at)
            if found is None:
                _refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
            at = found.start()
    if frame is None or not has_pixels:
        _refuse("corrupt", "holds no pixels")
    _, height, width, samples = frame
    if samples not in (1, 3) and not (samples == 4 and is_adobe):
        _refuse("unsupported", f"has {samples} colours (grey, RGB or CMYK is read)")
    _check_size(height, width, height * width * samples, len(data))
    decoded = np.asarray(_decode(imagecodecs.jpeg_decode, data))
    if samples == 4:
        decoded = _rgb_of_adobe_cmyk(decoded)
    pixels = _plain(_grey(decoded))
    if pixels.shape != (height, width):
        _refuse("corrupt", f"declares {width} x {height} pixels and has others")
    return Picture(pixels, None, _time_from_exif_block(exif, zone), None, "JPEG")


def _rgb_of_adobe_cmyk(inks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, 4) as Adobe's programs write it, 255 = no ink -> (H, W, 3)."""
    if inks.ndim != 3 or inks.shape[2] != 4 or inks.dtype != np.uint8:
        _refuse("corrupt", "does not hold the four colours that it declares")
    mixed = inks[:, :, :3].astype(np.uint16) * inks[:, :, 3:]
    return np.asarray((mixed + 127) // 255, dtype=np.uint8)


def _decode(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except MemoryError:
        raise
    except Exception as problem:
        _refuse("corrupt", f"cannot be decoded ({shown_name(str(problem))[:200]})")


# --- EXIF ---------------------------------------------------------------------------------------


def _time_from_exif_block(block: bytes | None, zone: tzinfo) -> datetime | None:
    if not block:
        return None
    try:
        _check_ifd_chain(block)
        with tifffile.TiffFile(io.BytesIO(block)) as tiff:
            return _time_from_exif(tiff.pages.first.tags.valueof(34665), zone)
    except Exception:  # a damaged side note does not make the pixels worse
        return None


def _time_from_exif(exif: object, zone: tzinfo) -> datetime | None:
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
