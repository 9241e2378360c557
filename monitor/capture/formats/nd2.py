"""Nikon ND2, by nd2 (BSD-3). The extra ``colonywatch[nd2]``."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar

import nd2
import numpy.typing as npt

from monitor.capture.formats.vendor import Stack, VendorRefusedError, refuse_more_than_one
from monitor.culture import StagePosition

T = TypeVar("T")

_JULIAN_DAY_OF_1970 = 2440587.5

# What the library runs into where a file leaves something out; NameError for a channel without
# a fluorescent probe.
_NOT_SAID = (AttributeError, TypeError, ValueError, LookupError, NameError)


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Open the file's bytes and hand its one field of view to `use`.

    zone : not needed, the file's Julian days are in UTC
    """
    del zone
    with nd2.ND2File(io.BytesIO(data)) as file:
        sizes: dict[str, int] = {str(axis): int(size) for axis, size in file.sizes.items()}
        refuse_more_than_one(sizes.pop("P", 1), sizes.pop("T", 1))
        heights, channels = sizes.pop("Z", 1), sizes.pop("C", 1)
        rows, columns, samples = sizes.pop("Y"), sizes.pop("X"), sizes.pop("S", 1)
        if sizes:
            raise VendorRefusedError("unsupported", f"has axes {', '.join(sizes)}")

        def plane(z: int, c: int) -> npt.NDArray[Any]:
            frame = file.read_frame(z)
            if not frame.any():
                # The library gives zeros for a frame that an interrupted run never wrote.
                raise VendorRefusedError("truncated", f"has no pixels for focal plane {z + 1}")
            return frame if channels == 1 else frame[c]

        return use(
            Stack(
                shape=(rows, columns),
                bytes_a_pixel=samples * file.dtype.itemsize,
                heights=heights,
                channels=_channels(file, channels),
                plane=plane,
                pixel_size_um=_pixel_size_um(file),
                acquired_at=_time(file),
                stage=_stage(file, heights),
            )
        )


def _pixel_size_um(file: Any) -> tuple[float | None, float | None]:
    """Only where the file says that it is calibrated: the library's default is 1 um."""
    try:
        volume = file.metadata.channels[0].volume
        x, y = (
            float(size) if is_known else None
            for size, is_known in zip(
                volume.axesCalibration[:2], volume.axesCalibrated[:2], strict=True
            )
        )
    except _NOT_SAID:
        return None, None
    return x, y


def _channels(file: Any, count: int) -> tuple[str, ...]:
    try:
        names = [str(one.channel.name) for one in file.metadata.channels]
    except _NOT_SAID:
        names = []
    return tuple([*names, *[""] * count][:count])


def _time(file: Any) -> datetime | None:
    """Of the first frame. A file that leaves it out gives a day before Christ."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `_stage`
            day = float(file.frame_metadata(0).channels[0].time.absoluteJulianDayNumber)
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day - _JULIAN_DAY_OF_1970)
    except (*_NOT_SAID, OverflowError):
        return None
    # A microscope whose clock was never set is no witness.
    return at.replace(microsecond=0) if 1990 <= at.year < 2100 else None


def _stage(file: Any, heights: int) -> StagePosition | None:
    try:
        with warnings.catch_warnings():
            # It also wants the frames' times, and warns where there are none.
            warnings.simplefilter("ignore")
            at = file.frame_metadata(0).channels[0].position.stagePositionUm
        # Where the file has no position the library says zero.
        if at.x == at.y == 0:
            return None
        # Which of several heights is the sharpest is not known here.
        return StagePosition(float(at.x), float(at.y), float(at.z) if heights == 1 else None)
    except _NOT_SAID:
        return None
