"""Olympus OIF, by oiffile (BSD-3). The extra ``colonywatch[oib]``.

A list of settings with a folder of TIFF files beside it, packed as a ZIP: see `filesets`.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path, PurePosixPath
from typing import TypeVar

import oiffile

from monitor.capture.formats.oib import use_stack
from monitor.capture.formats.vendor import Stack, VendorRefusedError

T = TypeVar("T")


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Hand the one field of view to `use`.

    zone : of the file's time, which carries none
    """
    with tempfile.TemporaryDirectory(prefix="colonywatch-oif-") as folder:
        main = Path(folder) / "capture.oif"
        parts = main.with_name("capture.oif.files")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.infolist():
                    inside = PurePosixPath(member.filename)
                    if len(inside.parts) == 1:
                        main.write_bytes(archive.read(member))
                    elif len(inside.parts) == 2 and inside.name not in ("", ".", ".."):
                        parts.mkdir(exist_ok=True)
                        (parts / inside.name).write_bytes(archive.read(member))
        except zipfile.BadZipFile as problem:
            raise VendorRefusedError("corrupt", f"is not an OIF file ({problem})") from problem
        if not parts.is_dir():
            raise VendorRefusedError("truncated", "has no folder .oif.files beside it")
        with oiffile.OifFile(main) as file:
            return use_stack(file, zone, use)
