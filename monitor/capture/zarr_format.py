"""OME-Zarr as a folder or in one file (a ZIP, ``.ozx``), by zarr (MIT). The extra
``colonywatch[zarr]``. A folder comes packed as a ZIP.
"""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import ZipStore

from monitor.capture.foreign import ForeignRefusedError, Stack, refuse_more_than_one
from monitor.capture.metadata import length_um

T = TypeVar("T")

MAX_MEMBERS = 200_000
MAX_CHUNK_BYTES = 2**30
_MAX_SHRINKAGE = 250
_SMALL_BYTES = 64 * 2**20
_UNITS = {
    "micrometer": "um",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}


def read_stack(data: bytes, zone: tzinfo, use: Callable[[Stack], T]) -> T:
    """Hand the file's one field of view, at full size, to `use`.

    zone : not needed, the format has no time
    """
    del zone
    _check_members(data)
    with tempfile.NamedTemporaryFile(suffix=".zip") as copy:
        # The library only opens by name, and the file of that name may be another by now.
        copy.write(data)
        copy.flush()
        store = ZipStore(copy.name, mode="r")
        try:
            group = zarr.open_group(store, mode="r")
            group = _picture_of(group)
            about = _multiscale(dict(group.attrs))
            level = about["datasets"][0]
            array = group[str(level["path"])]
            if not isinstance(array, zarr.Array):
                raise ForeignRefusedError("corrupt", "has no array where it says")
            return use(_stack(array, about, level, dict(group.attrs), len(data)))
        finally:
            store.close()


def _check_members(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as problem:
        raise ForeignRefusedError("truncated", f"is a ZIP without an end ({problem})") from problem
    if not {"zarr.json", ".zattrs"} & {member.filename for member in members}:
        raise ForeignRefusedError("unsupported", "is a ZIP that holds no OME-Zarr")
    if len(members) > MAX_MEMBERS:
        raise ForeignRefusedError("too-large", f"has {len(members)} parts")
    for member in members:
        size = member.file_size
        if size > MAX_CHUNK_BYTES or (
            size > _SMALL_BYTES and size > _MAX_SHRINKAGE * max(1, member.compress_size)
        ):
            raise ForeignRefusedError("too-large", f"has a part that unpacks to {size} bytes")


def _picture_of(group: zarr.Group) -> zarr.Group:
    """The group itself, or the one picture in a group of pictures (as of bioformats2raw)."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, Mapping) or "bioformats2raw.layout" not in ome or "multiscales" in ome:
        return group
    refuse_more_than_one(sum(name.isdecimal() for name, _ in group.groups()), 1)
    inner = group["0"]
    if not isinstance(inner, zarr.Group):
        raise ForeignRefusedError("corrupt", "has no picture where it says")
    return inner


def _multiscale(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(found, Sequence) or not found:
        raise ForeignRefusedError("unsupported", "has no picture of its own (a plate is not read)")
    refuse_more_than_one(len(found), 1)
    about: Mapping[str, Any] = found[0]
    return about


def _stack(
    array: zarr.Array[Any],
    about: Mapping[str, Any],
    level: Mapping[str, Any],
    attributes: Mapping[str, Any],
    file_bytes: int,
) -> Stack:
    axes = [axis if isinstance(axis, str) else str(axis["name"]) for axis in about["axes"]]
    if len(axes) != array.ndim or axes[-2:] != ["y", "x"] or not set(axes) <= set("tczyx"):
        raise ForeignRefusedError("unsupported", f"has axes {', '.join(axes)[:80]}")
    sizes = {axis: int(size) for axis, size in zip(axes, array.shape, strict=True)}
    refuse_more_than_one(1, sizes.get("t", 1))
    chunk_bytes = math.prod(array.shards or array.chunks) * array.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES or (
        chunk_bytes > _SMALL_BYTES and chunk_bytes > _MAX_SHRINKAGE * file_bytes
    ):
        raise ForeignRefusedError("too-large", f"has chunks of {chunk_bytes} bytes")
    # A chunk that is not there would be read as zeros.
    whole = math.prod(
        math.ceil(size / chunk)
        for size, chunk in zip(array.shape, array.shards or array.chunks, strict=True)
    )
    if array.nchunks_initialized < whole:
        raise ForeignRefusedError(
            "truncated", f"has {array.nchunks_initialized} of {whole} parts of its picture"
        )

    def plane(z: int, c: int) -> npt.NDArray[Any]:
        where = {"t": 0, "z": z, "c": c}
        return np.asarray(array[tuple(where[axis] for axis in axes[:-2])])

    scale = next(
        (
            one["scale"]
            for one in level.get("coordinateTransformations", [])
            if one.get("type") == "scale"
        ),
        [1.0] * len(axes),
    )
    size_um = {
        axis: length_um(str(step), _UNITS.get(_unit(about["axes"], number), "?"))
        for number, (axis, step) in enumerate(zip(axes, scale, strict=True))
    }
    return Stack(
        shape=(sizes["y"], sizes["x"]),
        bytes_a_pixel=array.dtype.itemsize,
        heights=sizes.get("z", 1),
        channels=_channels(attributes, sizes.get("c", 1)),
        plane=plane,
        pixel_size_um=(size_um["x"], size_um["y"]),
    )


def _unit(axes: Sequence[Any], number: int) -> str:
    axis = axes[number]
    return str(axis.get("unit", "")) if isinstance(axis, Mapping) else ""


def _channels(attributes: Mapping[str, Any], count: int) -> tuple[str, ...]:
    ome = attributes.get("ome", attributes)
    said = ome.get("omero", {}).get("channels", []) if isinstance(ome, Mapping) else []
    names = [str(one.get("label", "")) for one in said if isinstance(one, Mapping)]
    return tuple([*names, *[""] * min(count, 5000)][: min(count, 5000)])
