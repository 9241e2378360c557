"""Image file -> grey pixels and what its own metadata says.

Everything that is not whole is an error. The libraries below fill what is missing with zeros or
grey, and a dish would then be counted as empty; so each container's structure is checked to its
end before its pixels are decoded.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from model.strips import as_rows, in_strips
from monitor.capture.filesets import FilesetTooLargeError, is_fileset, is_fileset_folder, read_file
from monitor.capture.formats.image import (
    MAX_FILE_BYTES,
    MAX_PAGES,
    Image,
    UnreadableError,
    WholeImage,
    check_numbers,
    check_size,
    choose_channel,
    grey,
    plain,
    refuse,
    sharpness_of,
)
from monitor.capture.formats.metadata import NotSquareError, square_pixel_um
from monitor.capture.formats.png_jpeg import read_jpeg, read_png
from monitor.capture.formats.tiff import read_tiff
from monitor.capture.formats.tiff_rows import LARGE_PIXELS, FileBytes, TiffRows
from monitor.capture.formats.vendor import Stack, VendorRefusedError
from monitor.capture.names.light import channels_called
from monitor.capture.names.parts import shown_name
from monitor.errors import CaptureError

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
# Of extras whose module has another name.
_MODULES = {"zarr": "ome_zarr"}
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
    "no-companion": "copy it into the same folder; it is retried automatically",
    "needs-extra": "install it, then colonywatch retry",
    "not-an-image": "TIFF, PNG and JPEG can be read; remove it or correct its name",
    "other-format": "export it from the microscope's software as OME-TIFF",
    "unsupported": "export one grey or RGB plane as TIFF or PNG",
    "too-large": "export it smaller, or in tiles",
    "no-permission": "give read access to the user that colonywatch runs as",
    "io-error": "check the disk or the share that it is on",
    "missing": "it was removed or renamed, or its share is not mounted",
}
_SQUARE = "correct its calibration, or export it with square pixels"
_TRANSIENT = {"no-permission", "io-error", "missing", "no-companion"}


def read_picture(
    path: Path, *, zone: ZoneInfo, data: bytes | None = None, channel: str | None = None
) -> WholeImage:
    """Read one capture whole, or say why that cannot be done.

    zone : of times in the metadata that carry none
    data : the file's bytes, where they were read already
    channel : name or number (from 1) of the channel of a file with several; None takes one that
        is labelled as brightfield or phase contrast, else the first

    A Z-stack gives its sharpest plane. RGB becomes luminance, a palette its grey values.
    Raises CaptureError with reason empty, not-an-image, truncated, corrupt, too-large, unsupported,
    needs-extra or, transient, no-companion, no-permission, io-error, missing. Nothing else,
    whatever the bytes.
    """
    with _refusing(path):
        picture = _read(_read_bytes(path) if data is None else data, zone, channel, path, None)
        assert isinstance(picture.pixels, np.ndarray)
        check_numbers(picture.pixels)
        return WholeImage(
            picture.pixels,
            picture.pixel_size_um,
            picture.acquired_at,
            picture.stage,
            picture.format,
            picture.channel,
            picture.is_chosen,
            picture.beside,
        )


def open_picture(
    path: Path,
    *,
    zone: ZoneInfo,
    data: bytes | FileBytes | None = None,
    channel: str | None = None,
    large_pixels: int = LARGE_PIXELS,
) -> Image:
    """As `read_picture`, but the pixels of a large TIFF are read a few rows at a time.

    data : the file's bytes, or the open file, which is the picture's from then on

    The picture must be closed. Raises CaptureError as `read_picture` does; while rows are read
    later, a damaged file raises what its decoder raises.
    """
    file: FileBytes | None = data if isinstance(data, FileBytes) else None
    picture: Image | None = None
    try:
        with _refusing(path):
            if data is None and is_fileset(path):
                data = _read_bytes(path)
            elif data is None:
                data = file = FileBytes(_opened(path))
            picture = _read(data, zone, channel, path, large_pixels)
            for top, bottom in in_strips(*as_rows(picture.pixels).shape, LARGE_PIXELS):
                check_numbers(as_rows(picture.pixels).rows(top, bottom))
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
    except UnreadableError as unreadable:
        raise _refusal(path, unreadable.reason, str(unreadable), unreadable.now) from unreadable
    except NotSquareError as problem:
        raise _refusal(path, "unsupported", str(problem), _SQUARE) from problem
    except MemoryError as problem:
        raise _refusal(path, "too-large", "does not fit into memory") from problem
    except Exception as problem:  # decoders raise whatever they like on broken bytes
        why = f"{type(problem).__name__}: {shown_name(str(problem))[:200]}"
        raise _refusal(path, "corrupt", f"cannot be decoded ({why})") from problem


def _refusal(path: Path, reason: str, what: str, now: str | None = None) -> CaptureError:
    return CaptureError(
        f"{shown_name(path)}: {what}; {now or _NOW[reason]}",
        reason="unsupported" if reason == "other-format" else reason,
        transient=reason in _TRANSIENT,
    )


def _read_bytes(path: Path) -> bytes:
    try:
        if is_fileset(path):
            return read_file(path)
        with _opened(path) as file:
            return file.read()
    except FilesetTooLargeError as problem:
        refuse("too-large", str(problem))
    except PermissionError:
        refuse("no-permission", "may not be read")
    except FileNotFoundError:
        refuse("missing", "is not there")
    except OSError as problem:
        refuse("io-error", f"cannot be read ({problem})")


def _opened(path: Path) -> io.BufferedReader:
    def without_waiting(name: str, flags: int) -> int:
        # Without O_NONBLOCK a FIFO that took the file's place would hold the reader for ever.
        return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # To open a device can already do something: wind a tape, take an input's data.
            refuse("not-an-image", "is not a regular file")
        file = open(path, "rb", opener=without_waiting)  # noqa: SIM115 - Path has no opener
    except PermissionError:
        refuse("no-permission", "may not be read")
    except FileNotFoundError:
        refuse("missing", "is not there")
    except IsADirectoryError:
        refuse("not-an-image", "is a folder")
    except (OSError, ValueError) as problem:
        refuse("io-error", f"cannot be read ({problem})")
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_FILE_BYTES:
        file.close()
        if stat.S_ISREG(about.st_mode):
            refuse("too-large", f"has {about.st_size / 2**30:.1f} GiB")
        refuse("not-an-image", "is not a regular file")
    return file


# By the name: the first is a TIFF whose only pictures are previews.
_ONLY_IN_PARTS = {".vsi": "Olympus VSI", ".oir": "Olympus OIR"}


def _read(  # noqa: RET503 - `refuse` never returns
    data: bytes | FileBytes, zone: tzinfo, channel: str | None, path: Path, large: int | None
) -> Image:
    """large : pages of a TIFF with more pixels are left in the file; None = none are"""
    if not len(data):
        refuse("empty", "is empty (0 bytes)")
    name = _ONLY_IN_PARTS.get(path.suffix.lower())
    if name is not None:
        refuse("other-format", f"is a file of format {name}, which is not read here")
    if data[:8].startswith(_TIFF_MAGIC):
        return read_tiff(data, zone, channel, path, large)
    if isinstance(data, FileBytes):
        data = data[:]
    if data.startswith(_PNG_MAGIC):
        return read_png(data, zone)
    if data.startswith(_JPEG_MAGIC):
        return read_jpeg(data, zone)
    if any(magic.startswith(data[:8]) for magic in (*_TIFF_MAGIC, _PNG_MAGIC, _JPEG_MAGIC)):
        refuse("truncated", f"ends after {len(data)} bytes")
    if not any(data[:4096]):
        refuse("empty", "starts with nothing but zeros")
    if path.suffix.lower() == ".oif":
        return _read_foreign(data, zone, channel, path, "oif", "Olympus OIF", "oib")
    for magic, extra, name in _FOREIGN:
        if data.startswith(magic):
            return _read_foreign(data, zone, channel, path, extra, name)
    for magic, name in _OTHER_FORMATS:
        if data.startswith(magic):
            refuse("other-format", f"is a file of format {name}, which is not read here")
    refuse("not-an-image", f"is not a TIFF, PNG or JPEG (starts with {data[:8]!r})")


def _read_foreign(
    data: bytes,
    zone: tzinfo,
    channel: str | None,
    path: Path,
    kind: str,
    name: str,
    extra: str | None = None,
) -> Image:
    """A microscope's own format, by the library that is an extra of this package."""
    extra = extra or kind
    try:
        reader = importlib.import_module(f"{__package__}.{_MODULES.get(kind, kind)}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("monitor"):
            raise  # a fault of ours: nothing that is installed would cure it
        refuse(
            "needs-extra",
            f"is a file of format {name}, whose reader is not installed: "
            f'pip install "colonywatch[{extra}]"',
        )

    def choose(stack: Stack) -> Image:
        height, width = stack.shape
        check_size(height, width, height * width * stack.bytes_a_pixel, len(data))
        if not 1 <= stack.heights <= MAX_PAGES or not 1 <= len(stack.channels) <= MAX_PAGES:
            refuse("corrupt", f"declares {stack.heights} focal planes")
        channels, chosen = channels_called(stack.channels), 0
        if len(channels) > 1:
            chosen = choose_channel(channels, len(channels), channel)
        best, best_sharpness = None, -1.0
        for z in range(stack.heights):
            pixels = plain(grey(np.asarray(stack.plane(z, chosen))))
            if pixels.shape != stack.shape:
                refuse("corrupt", f"declares {width} x {height} pixels and has a different number")
            sharpness = sharpness_of(pixels) if stack.heights > 1 else 0.0
            if sharpness > best_sharpness:
                best, best_sharpness = pixels, sharpness
        if best is None:
            refuse("corrupt", "holds no plane whose sharpness can be measured")
        size_um = square_pixel_um(*stack.pixel_size_um)
        return Image(best.copy(), size_um, stack.acquired_at, stack.stage, name, channels[chosen])

    try:
        with warnings.catch_warnings():
            # A library that only warns goes on with a blank plane.
            warnings.simplefilter("error", UserWarning)
            of = {"is_folder": is_fileset_folder(path.name)} if kind == "zarr" else {}
            picture = reader.read_stack(data, zone, choose, **of)
    except VendorRefusedError as problem:
        refuse(problem.reason, str(problem), problem.now)
    assert isinstance(picture, Image)
    return picture
