"""PNG and JPEG, checked to their end marks before they are decoded."""

from __future__ import annotations

import re
import struct
import zlib
from datetime import tzinfo
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from monitor.capture.formats.exif import check_upright_block, time_from_exif_block
from monitor.capture.formats.image import Image, check_size, decoded_by, grey, plain, refuse


def read_png(data: bytes, zone: tzinfo) -> Image:
    """zone : of a time of exposure without one. Raises UnreadableError."""
    chunks: dict[bytes, bytes] = {}
    at, has_pixels = 8, False
    while b"IEND" not in chunks:
        if at + 12 > len(data):
            refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            reason = "corrupt" if any(data[at:]) else "truncated"
            refuse(reason, f"has no valid section at byte {at}")
        if at + 12 + length > len(data):
            refuse("truncated", f"should have {at + 12 + length} bytes or more, has {len(data)}")
        body = memoryview(data)[at + 4 : at + 8 + length]
        if zlib.crc32(body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            refuse("corrupt", f"has a wrong checksum in section {kind.decode('ascii')}")
        if at == 8 and (kind != b"IHDR" or length != 13):
            refuse("corrupt", "does not start with its size")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind in (b"IHDR", b"eXIf", b"IEND"):
            chunks[kind] = bytes(body[4:])
        at += 12 + length
    if not has_pixels:
        refuse("corrupt", "holds no pixels")
    width, height, bits, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    samples = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(colour, 4)
    check_size(height, width, height * width * samples * max(1, bits // 8), len(data))
    check_upright_block(chunks.get(b"eXIf"))
    pixels = plain(grey(np.asarray(decoded_by(imagecodecs.png_decode, data))))
    return Image(pixels, None, time_from_exif_block(chunks.get(b"eXIf"), zone), None, "PNG")


_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def read_jpeg(data: bytes, zone: tzinfo) -> Image:
    """zone : of a time of exposure without one. Raises UnreadableError."""
    frame: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    is_adobe, has_pixels, at = False, False, 2
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 2 > len(data):
            refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        if data[at] != 0xFF:
            reason = "corrupt" if any(data[at:]) else "truncated"
            refuse(reason, f"has no valid section at byte {at}")
        marker = data[at + 1]
        at += 2
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        if at + 2 > len(data):
            refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        (length,) = struct.unpack_from(">H", data, at)
        if at + length > len(data):
            refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
        body = data[at + 2 : at + length]
        if marker in _FRAME_MARKERS:
            if len(body) < 6:
                refuse("corrupt", "does not say its size")
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
                refuse("truncated", f"ends after {len(data)} bytes, before its end mark")
            at = found.start()
    if frame is None or not has_pixels:
        refuse("corrupt", "holds no pixels")
    _, height, width, samples = frame
    if samples not in (1, 3) and not (samples == 4 and is_adobe):
        refuse("unsupported", f"has {samples} colours (grey, RGB or CMYK is read)")
    check_size(height, width, height * width * samples, len(data))
    check_upright_block(exif)
    decoded = np.asarray(decoded_by(imagecodecs.jpeg_decode, data))
    if samples == 4:
        decoded = _rgb_of_adobe_cmyk(decoded)
    pixels = plain(grey(decoded))
    if pixels.shape != (height, width):
        refuse("corrupt", f"declares {width} x {height} pixels and has a different number")
    return Image(pixels, None, time_from_exif_block(exif, zone), None, "JPEG")


def _rgb_of_adobe_cmyk(inks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, 4) as Adobe's programs write it, 255 = no ink -> (H, W, 3)."""
    if inks.ndim != 3 or inks.shape[2] != 4 or inks.dtype != np.uint8:
        refuse("corrupt", "does not hold the four colours that it declares")
    mixed = inks[:, :, :3].astype(np.uint16) * inks[:, :, 3:]
    return np.asarray((mixed + 127) // 255, dtype=np.uint8)
