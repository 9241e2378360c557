"""Leica LIF, by liffile (BSD-3). The extra ``colonywatch[lif]``."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import liffile
import numpy as np
import numpy.typing as npt

from monitor.capture.formats.metadata import in_utc
from monitor.capture.formats.vendor import Stack, VendorRefusedError, refuse_more_than_one

T = TypeVar("T")


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Open the file's bytes and hand its one field of view to `use`.

    zone : not needed, LIF has its times in UTC
    """
    del zone
    with liffile.LifFile(io.BytesIO(data), squeeze=False) as file:
        images: list[Any] = list(file.images)
        refuse_more_than_one(len(images), 1)
        image = images[0]
        sizes = {str(axis): int(size) for axis, size in image.sizes.items()}
        refuse_more_than_one(sizes.pop("M", 1), sizes.pop("T", 1))
        heights, channels = sizes.pop("Z", 1), sizes.pop("C", 1)
        rows, columns, samples = sizes.pop("Y"), sizes.pop("X"), sizes.pop("S", 1)
        if any(size > 1 for size in sizes.values()):
            raise VendorRefusedError("unsupported", f"has axes {', '.join(sizes)}")
        block = image.memory_block
        needed = rows * columns * samples * heights * channels * image.dtype.itemsize
        if block.size < needed or block.offset + block.size > len(data):
            raise VendorRefusedError(
                "truncated", f"has {block.size} of {needed} bytes of pixels, or ends before them"
            )

        def plane(z: int, c: int) -> npt.NDArray[Any]:
            where = {axis: at for axis, at, n in (("Z", z, heights), ("C", c, channels)) if n > 1}
            return np.asarray(image.frame(**where)).reshape(
                (rows, columns) if samples == 1 else (rows, columns, samples)
            )

        return use(
            Stack(
                shape=(rows, columns),
                bytes_a_pixel=samples * image.dtype.itemsize,
                heights=heights,
                channels=("",) * channels,
                plane=plane,
                pixel_size_um=(_step_um(image, "X"), _step_um(image, "Y")),
                acquired_at=_time(image),
            )
        )


def _step_um(image: Any, axis: str) -> float | None:
    places = image.coords.get(axis)  # metres, pixel centres
    if places is None or len(places) < 2:
        return None
    return float(f"{(places[-1] - places[0]) / (len(places) - 1) * 1e6:.7g}")


def _time(image: Any) -> datetime | None:
    try:
        stamps = image.timestamps
        if stamps is None or not len(stamps):
            return None
        return in_utc(stamps[0].astype("datetime64[ms]").astype(datetime), UTC)
    except (ValueError, AttributeError, OverflowError):
        return None
