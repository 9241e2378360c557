"""The image directories of a TIFF, followed to their end: nothing may point past it."""

from __future__ import annotations

import struct

from monitor.capture.formats.image import MAX_PAGES, refuse
from monitor.capture.formats.tiff_rows import FileBytes


def check_ifd_chain(data: bytes | FileBytes) -> None:
    """Follow the chain of image directories to its end. tifffile stops quietly where it breaks."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        if len(data) < 16:
            refuse("truncated", f"ends after {len(data)} bytes, within its header")
        if struct.unpack_from(order + "HH", data[:16], 4) != (8, 0):
            refuse("corrupt", "has a damaged BigTIFF header")
        first, pointer, count_format, entry_bytes = 8, "Q", "Q", 20
    else:
        if len(data) < 8:
            refuse("truncated", f"ends after {len(data)} bytes, within its header")
        first, pointer, count_format, entry_bytes = 4, "I", "H", 12
    seen: set[int] = set()
    (offset,) = struct.unpack_from(order + pointer, data[:16], first)
    if offset == 0:
        refuse("truncated", "has no image directory yet")
    while offset:
        if offset in seen:
            refuse("corrupt", "has image directories that form a loop")
        if len(seen) >= MAX_PAGES:
            refuse("unsupported", f"has more than {MAX_PAGES} pages")
        seen.add(offset)
        count_bytes = struct.calcsize(order + count_format)
        if offset + count_bytes > len(data):
            refuse("truncated", f"an image directory should be at byte {offset} of {len(data)}")
        (count,) = struct.unpack(order + count_format, data[offset : offset + count_bytes])
        if count == 0 or count > 4096:
            reason = "corrupt" if any(data[offset : offset + (1 << 24)]) else "truncated"
            refuse(reason, f"has an image directory with {count} entries at byte {offset}")
        next_at = offset + count_bytes + count * entry_bytes
        if next_at + struct.calcsize(order + pointer) > len(data):
            refuse("truncated", f"ends within its image directory (byte {len(data)})")
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
            refuse("truncated", f"should have {value_at + length} bytes and has {len(data)}")
        said = tag == _DESCRIPTION and length > inline
        if said and not data[value_at : value_at + length].strip(b"\0"):
            refuse("truncated", "has only zeros where its description should be")
