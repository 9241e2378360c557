"""What a file says of its channel, before its pixels are read: from its description, a sidecar.

Nothing here raises for a file that is missing, damaged or hostile: nothing is then known, and who
reads its pixels says what is the matter with it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO

import tifffile

from monitor.capture.formats import micro_manager
from monitor.capture.formats.image import MAX_PAGES
from monitor.capture.formats.micro_manager import page_of
from monitor.capture.formats.ome_xml import ome_of
from monitor.capture.formats.sidecars import read_beside
from monitor.capture.formats.vendor_tags import said_by
from monitor.capture.names.light import NO_CHANNEL, Channel, channel_called
from monitor.capture.names.parts import shown_name

log = logging.getLogger(__name__)

_TIFF_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8")
_LONGEST_DESCRIPTION = 64 * 2**20
_DESCRIPTION, _SAMPLES = 270, 277


def channel_shown(
    path: Path, pattern: str, named_channel: str | None, zone: tzinfo, wanted: str | None
) -> tuple[Channel, bool]:
    """What instrument and sidecar say of the channel that a reader would choose of the file.

    pattern, named_channel : what its name says
    wanted : the source's `channel`
    Returns it, and False where another file of its set holds the channel that is looked at.
    """
    shown, is_chosen = NO_CHANNEL, True
    if path.suffix.lower() in _TIFF_EXTENSIONS:
        try:
            shown, is_chosen = _in_tiff(path, zone, wanted)
        except Exception as problem:  # a damaged file raises whatever it likes; it is read later
            log.debug("%s: says nothing about its channel: %r", shown_name(path), problem)
    if shown.light is None:
        beside = read_beside(path, pattern, zone, named_channel)
        if beside is not None and beside.channel != NO_CHANNEL:
            shown = beside.channel
    return shown, is_chosen


def _in_tiff(path: Path, zone: tzinfo, wanted: str | None) -> tuple[Channel, bool]:
    with _opened(path) as file, tifffile.TiffFile(file, _multifile=False) as tiff:
        page = tiff.pages.first
        tag = page.tags.get(_DESCRIPTION)
        if tag is not None and tag.count > _LONGEST_DESCRIPTION:
            return NO_CHANNEL, True
        description = "" if tag is None else str(tag.value or "")
        ome = ome_of(description, zone, path)
        if ome is not None:
            # How many pages there are is for who reads them.
            planes = ome.planes(MAX_PAGES**2, int(page.tags.valueof(_SAMPLES) or 1), wanted)
            return ome.shown(planes[0], wanted)
        if len(tiff.pages) > 1:
            return NO_CHANNEL, True  # the reader chooses one
        said = said_by(description, zone)
        if said is not None:
            return said.channel, True
        manager = page_of(page.tags.valueof(micro_manager.TAG), zone)
        return channel_called(None if manager is None else manager.channel), True


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Raises OSError, also for what is not a regular file: to open a device can do something."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("is not a regular file")
    with open(path, "rb", opener=_without_waiting) as file:  # Path has no opener
        yield file


def _without_waiting(name: str, flags: int) -> int:
    # Without O_NONBLOCK a FIFO that took the file's place would hold us for ever.
    return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)
