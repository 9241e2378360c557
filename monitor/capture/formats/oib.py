"""Olympus OIB, by oiffile (BSD-3). The extra ``colonywatch[oib]``. OIF: `oif`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import oiffile
import tifffile

from monitor.capture.formats.metadata import in_utc, length_um
from monitor.capture.formats.vendor import Stack, VendorRefusedError, refuse_more_than_one

T = TypeVar("T")


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Hand the file's one field of view to `use`.

    zone : of the file's time, which carries none
    """
    with tempfile.NamedTemporaryFile(suffix=".oib") as copy:
        # The library only opens by name, and the file of that name may be another by now.
        copy.write(data)
        copy.flush()
        with oiffile.OifFile(copy.name) as file:
            return use_stack(file, zone, use)


def use_stack(file: oiffile.OifFile, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Hand the one field of view of an opened OIB or OIF to `use`."""
    series = file.series
    refuse_more_than_one(len(series), 1)
    axes, shape = str(series[0].axes), tuple(int(size) for size in series[0].shape)
    sizes = dict(zip(axes, shape, strict=False))
    refuse_more_than_one(1, sizes.pop("T", 1))
    channels, heights = sizes.pop("C", 1), sizes.pop("Z", 1)
    # What the file's own settings say must be there: the library takes what it finds.
    declared = dict(zip(file.axes, file.shape, strict=False))
    if max(1, declared.get("C", 1)) > channels or max(1, declared.get("Z", 1)) > heights:
        raise VendorRefusedError("truncated", "has fewer planes than it declares")
    names = list(series[0])
    first = _decoded(file, names[0])
    rows, columns = (int(size) for size in first.shape[:2])

    def plane(z: int, c: int) -> npt.NDArray[Any]:
        where = {"C": c, "Z": z}
        number = 0
        for axis, size in zip(axes, shape, strict=False):
            if axis in "CZT" and size > 1:
                number = number * size + where.get(axis, 0)
        return _decoded(file, names[number])

    settings = file.mainfile
    return use(
        Stack(
            shape=(rows, columns),
            bytes_a_pixel=int(first.dtype.itemsize),
            heights=heights,
            channels=("",) * channels,
            plane=plane,
            pixel_size_um=(_size(settings, "Width"), _size(settings, "Height")),
            acquired_at=_time(settings, zone),
        )
    )


def _decoded(file: oiffile.OifFile, name: str) -> npt.NDArray[Any]:
    with file.open_file(name) as page:
        return np.asarray(tifffile.imread(io.BytesIO(page.read())))


def _size(settings: Any, side: str) -> float | None:
    said = settings.get("Reference Image Parameter", {})
    value, unit = said.get(f"{side}ConvertValue"), str(said.get(f"{side}Unit", ""))
    return length_um(None if value is None else str(value), unit)


def _time(settings: Any, zone: tzinfo) -> datetime | None:
    text = settings.get("Acquisition Parameters Common", {}).get("ImageCaputreDate")
    try:
        return in_utc(datetime.fromisoformat(str(text).strip("' ")), zone)
    except ValueError:
        return None
