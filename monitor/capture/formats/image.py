"""A capture's pixels, and what every reader needs: refusals, limits, grey."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import cv2
import numpy as np
import numpy.typing as npt

from model.strips import Rows, as_rows
from monitor.capture.formats.tiff_rows import TiffRows
from monitor.capture.names.light import NO_CHANNEL, Channel, best_channel
from monitor.capture.names.parts import shown_name
from monitor.culture import StagePosition

MAX_PIXELS = 2_500_000_000
MAX_FILE_BYTES = 8 * 2**30
MAX_PAGES = 4096
MAX_COMPANION_BYTES = 64 * 2**20
# Noise alone keeps a real capture from shrinking more than about 40 times, even with the dark
# outside of a round well; above this a small file is a trap or holds no picture.
MAX_SHRINKAGE = 250
_SMALL_BYTES = 64 * 2**20
# What now, where a file holds more than one reading can be made of.
ONE_EACH = "export one file for each field of view and each time point"


@dataclass(frozen=True, eq=False)
class Image:
    """One capture's pixels and what the file itself says about them.

    pixels : (H, W) uint8, uint16 or float32, grey; an array, or rows that are read when they are
        wanted (see `open_picture`)
    pixel_size_um : from the instrument's metadata only; dots per inch are no calibration
    acquired_at : aware UTC
    stage : centre of the field as the file says it
    beside : hash of what another file says of it, such as a companion; empty where none does
    channel : what the file itself says of its channel, or of the one that was chosen of several
    is_chosen : False where the file is one of a set, and another file of it has the channel that
        is looked at
    format : "TIFF", "BigTIFF", "OME-TIFF", "ImageJ TIFF", "PNG", "JPEG" or, where the extra is
        installed, "Nikon ND2", "Leica LIF", "Zeiss CZI", "Olympus OIB",
        "OME-Zarr"
    """

    pixels: npt.NDArray[Any] | Rows
    pixel_size_um: float | None
    acquired_at: datetime | None
    stage: StagePosition | None
    format: str
    channel: Channel = NO_CHANNEL
    is_chosen: bool = True
    beside: str = ""

    def close(self) -> None:
        """Let go of the file, where pixels are still read from it."""
        if isinstance(self.pixels, TiffRows):
            self.pixels.close()


@dataclass(frozen=True, eq=False)
class WholeImage(Image):
    """A picture whose pixels are in memory."""

    pixels: npt.NDArray[Any]


class UnreadableError(Exception):
    """Why no picture comes of the bytes, within the readers; `reading` makes a CaptureError of it.

    reason : one of those that `read_picture` lists, or "other-format"
    now : what a person can do, where that is more than the reason says by itself
    """

    def __init__(self, reason: str, what: str, now: str | None = None) -> None:
        super().__init__(what)
        self.reason, self.now = reason, now


def refuse(reason: str, what: str, now: str | None = None) -> NoReturn:
    """what : goes after the file's name, as in "is empty"."""
    raise UnreadableError(reason, what, now)


def check_size(height: int, width: int, decoded_bytes: int, file_bytes: int) -> None:
    """Refuse before anything is allocated for it."""
    if height < 1 or width < 1:
        refuse("corrupt", f"declares {width} x {height} pixels")
    if height * width > MAX_PIXELS:
        refuse("too-large", f"declares {width} x {height} pixels")
    if decoded_bytes > _SMALL_BYTES and decoded_bytes > MAX_SHRINKAGE * file_bytes:
        refuse(
            "too-large",
            f"declares {width} x {height} pixels in only {file_bytes} bytes, which no real "
            "capture fits in",
        )


def check_numbers(pixels: npt.NDArray[Any]) -> None:
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        refuse("corrupt", "holds pixels that are not a number or infinite")


def grey(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
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


def plain(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
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
        refuse("unsupported", f"has pixels of type {pixels.dtype}")
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def sharpness_of(pixels: npt.NDArray[Any] | Rows) -> float:
    """Variance of the Laplacian of the middle of the plane (Pech-Pacheco 2000)."""
    (top, bottom), (left, right) = (
        (max(0, n // 2 - 1024), min(n, n // 2 + 1024)) for n in pixels.shape
    )
    middle = as_rows(pixels).rows(top, bottom)[:, left:right]
    middle = np.ascontiguousarray(middle, dtype=np.float32)
    return float(cv2.Laplacian(middle, cv2.CV_32F).var())


def choose_channel(channels: Sequence[Channel], count: int, wanted: str | None) -> int:
    """Number from 0 of the channel of that name or number; without one, of the one that
    `best_channel` says."""
    channels = [*channels, *[NO_CHANNEL] * count][:count]
    names = [channel.name for channel in channels]
    if wanted is not None:
        for index, name in enumerate(names):
            if name.strip().lower() == wanted.strip().lower():
                return index
        number = re.fullmatch(r"(?:ch?|w)?0*([1-9]\d{0,3})", wanted.strip().lower())
        if number and int(number[1]) <= count:
            return int(number[1]) - 1
        known = ", ".join(name or str(index + 1) for index, name in enumerate(names))
        refuse("unsupported", f"has no channel {wanted!r} (it has {shown_name(known)})")
    return best_channel(channels)


MANY_ZEROS = 64


def ends_as_jpeg(packed: bytes) -> bool:
    """Whether JPEG or JPEG 2000 is there to its end mark; zeros may stand behind it."""
    return packed.rstrip(b"\0").endswith(b"\xff\xd9")


def ends_in_zeros(packed: bytes) -> bool:
    """Whether the end was never written: what is packed well does not end in so many zeros."""
    return len(packed) >= MANY_ZEROS and not any(packed[-MANY_ZEROS:])


def decoded_by(decode: Callable[[bytes], Any], data: bytes) -> Any:
    """What a library makes of the bytes; whatever it raises means that they are damaged."""
    try:
        return decode(data)
    except MemoryError:
        raise
    except Exception as problem:
        refuse("corrupt", f"cannot be decoded ({shown_name(str(problem))[:200]})")
