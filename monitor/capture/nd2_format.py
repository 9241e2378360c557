"""Nikon ND2, by nd2 (BSD-3). The extra ``colonywatch[nd2]``."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import tzinfo
from typing import Any, TypeVar

import nd2
import numpy.typing as npt

from monitor.capture.foreign import ForeignRefusedError, Stack, refuse_more_than_one
from monitor.culture import StagePosition

T = TypeVar("T")


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Open the file's bytes and hand its one field of view to `use`.

    The file gives no time in a form that all versions share; the name or the file's date has it.
    """
    del zone
    with nd2.ND2File(io.BytesIO(data)) as file:
        sizes: dict[str, int] = {str(axis): int(size) for axis, size in file.sizes.items()}
        refuse_more_than_one(sizes.pop("P", 1), sizes.pop("T", 1))
        heights, channels = sizes.pop("Z", 1), sizes.pop("C", 1)
        rows, columns, samples = sizes.pop("Y"), sizes.pop("X"), sizes.pop("S", 1)
        if sizes:
            raise ForeignRefusedError("unsupported", f"has axes {', '.join(sizes)}")

        def plane(z: int, c: int) -> npt.NDArray[Any]:
            frame = file.read_frame(z)
            return frame if channels == 1 else frame[c]

        voxel = file.voxel_size()
        return use(
            Stack(
                shape=(rows, columns),
                bytes_a_pixel=samples * file.dtype.itemsize,
                heights=heights,
                channels=_channels(file, channels),
                plane=plane,
                pixel_size_um=(voxel.x, voxel.y),
                stage=_stage(file),
            )
        )


def _channels(file: Any, count: int) -> tuple[str, ...]:
    try:
        names = [str(one.channel.name) for one in file.metadata.channels]
    except (AttributeError, TypeError):
        names = []
    return tuple([*names, *[""] * count][:count])


def _stage(file: Any) -> StagePosition | None:
    try:
        at = file.frame_metadata(0).channels[0].position.stagePositionUm
        return StagePosition(float(at.x), float(at.y), float(at.z))
    except (AttributeError, TypeError, ValueError, IndexError, KeyError):
        return None
