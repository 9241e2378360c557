"""OME-Zarr as a folder or in one file (a ZIP, ``.ozx``), by zarr (MIT). The extra
``colonywatch[zarr]``. A folder comes packed as a ZIP.
"""

from __future__ import annotations

import io
import itertools
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import ZipStore

from monitor.capture.formats.image import ONE_EACH
from monitor.capture.formats.ngff import (
    SAVE_AS,
    Level,
    Multiscale,
    multiscale_of,
    ome_of,
    series_of,
    step_um,
)
from monitor.capture.formats.vendor import Stack, VendorRefusedError, refuse_more_than_one
from monitor.capture.names.parts import shown_name

T = TypeVar("T")
_Place = tuple[int, ...]

MAX_MEMBERS = 200_000
MAX_CHUNK_BYTES = 2**30
_MAX_SHRINKAGE = 250
_SMALL_BYTES = 64 * 2**20
# So many parts that were left out are looked up in the smaller copies of a picture.
_MOST_LOOKED_UP = 20_000


def read_stack(
    data: bytes, zone: tzinfo, use: Callable[[Stack], T], *, is_folder: bool = False
) -> T:
    """Hand the store's one field of view, at full size, to `use`.

    zone : not needed, the format has no time
    is_folder : the store may still grow; a ZIP is whole or is none
    """
    del zone
    names = _check_members(data, is_folder=is_folder)
    with tempfile.NamedTemporaryFile(suffix=".zip") as copy:
        # The library only opens by name, and the file of that name may be another by now.
        copy.write(data)
        copy.flush()
        store = ZipStore(copy.name, mode="r")
        try:
            group = _picture_of(_root(store, is_folder=is_folder), is_folder=is_folder)
            about = multiscale_of(dict(group.attrs))
            return use(_stack(group, about, names, len(data)))
        finally:
            store.close()


def _check_members(data: bytes, *, is_folder: bool) -> frozenset[str]:
    """The names of all parts, none of which unpacks to too much."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as problem:
        raise VendorRefusedError("truncated", f"is a truncated ZIP file ({problem})") from problem
    names = frozenset(member.filename for member in members)
    if not {"zarr.json", ".zattrs", ".zgroup", ".zarray"} & names:
        if is_folder:
            raise VendorRefusedError(
                "truncated",
                "has no zarr.json, .zgroup or .zarray yet (some writers write it last)",
            )
        raise VendorRefusedError("unsupported", "is a ZIP file without an OME-Zarr", SAVE_AS)
    if len(members) > MAX_MEMBERS:
        raise VendorRefusedError("too-large", f"has {len(members)} parts")
    for member in members:
        size = member.file_size
        if size > MAX_CHUNK_BYTES or (
            size > _SMALL_BYTES and size > _MAX_SHRINKAGE * max(1, member.compress_size)
        ):
            raise VendorRefusedError("too-large", f"has a part that unpacks to {size} bytes")
    return names


def _root(store: ZipStore, *, is_folder: bool) -> zarr.Group:
    """The group that the whole store is."""
    opened = zarr.open(store, mode="r")
    if isinstance(opened, zarr.Array):
        raise VendorRefusedError(
            "unsupported",
            f"is a bare Zarr array of {' x '.join(map(str, opened.shape))} without OME metadata, "
            "so that its axes and its pixel size are not known",
            SAVE_AS,
        )
    if not ome_of(dict(opened.attrs)):
        arrays = ", ".join(sorted(name for name, _ in opened.arrays())[:5])
        held = f"; it holds arrays: {shown_name(arrays)}" if arrays else ""
        raise VendorRefusedError(
            "truncated" if is_folder else "unsupported",
            f"has no OME metadata (no `multiscales`){held}",
            f"some writers write it last; if it stays so, {SAVE_AS}" if is_folder else SAVE_AS,
        )
    return opened


def _picture_of(group: zarr.Group, *, is_folder: bool) -> zarr.Group:
    """The group itself, or the one picture in a group of pictures (as of bioformats2raw)."""
    ome = ome_of(dict(group.attrs))
    if "bioformats2raw.layout" not in ome or "multiscales" in ome or "plate" in ome:
        return group
    about = group.get("OME", None)
    named = series_of(dict(about.attrs)) if isinstance(about, zarr.Group) else None
    names = named or sorted((name for name, _ in group.groups() if name.isdecimal()), key=int)
    if not names:
        raise VendorRefusedError(
            "truncated" if is_folder else "unsupported", "names none of the images that it holds"
        )
    if len(names) > 1:
        shown = shown_name(", ".join(names[:6])[:120]) + (", ..." if len(names) > 6 else "")
        raise VendorRefusedError(
            "unsupported", f"holds {len(names)} fields of view ({shown}); one per store is read",
            ONE_EACH,
        )  # fmt: skip
    inner = group.get(names[0], None)
    if not isinstance(inner, zarr.Group):
        raise VendorRefusedError(
            "truncated", f"names an image {shown_name(names[0])!r} that is not there"
        )
    return inner


def _stack(group: zarr.Group, about: Multiscale, names: frozenset[str], file_bytes: int) -> Stack:
    level = about.levels[0]
    array = _array(group, level, about)
    axes = about.axes
    sizes = {axis: int(size) for axis, size in zip(axes, array.shape, strict=True)}
    refuse_more_than_one(1, sizes.get("t", 1))
    chunk_bytes = math.prod(_chunks(array)) * array.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES or (
        chunk_bytes > _SMALL_BYTES and chunk_bytes > _MAX_SHRINKAGE * file_bytes
    ):
        raise VendorRefusedError("too-large", f"has chunks of {chunk_bytes} bytes")
    _check_parts(group, array, about, names)

    def plane(z: int, c: int) -> npt.NDArray[Any]:
        where = {"t": 0, "z": z, "c": c}
        return np.asarray(array[tuple(where[axis] for axis in axes[:-2])])

    size_um = step_um(about, level)
    return Stack(
        shape=(sizes["y"], sizes["x"]),
        bytes_a_pixel=array.dtype.itemsize,
        heights=sizes.get("z", 1),
        channels=_named(about.channels, sizes.get("c", 1)),
        plane=plane,
        pixel_size_um=(size_um["x"], size_um["y"]),
    )


def _array(group: zarr.Group, level: Level, about: Multiscale) -> zarr.Array[Any]:
    array = group.get(level.path, None)
    if not isinstance(array, zarr.Array):
        raise VendorRefusedError(
            "truncated", f"has no array {shown_name(level.path)!r}, which its metadata names"
        )
    if array.ndim != len(about.axes):
        raise VendorRefusedError(
            "corrupt", f"names {len(about.axes)} axes of an array that has {array.ndim}"
        )
    return array


def _named(names: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple([*names, *[""] * min(count, 5000)][: min(count, 5000)])


# --- parts that are not there -------------------------------------------------------------------


def _check_parts(
    group: zarr.Group, array: zarr.Array[Any], about: Multiscale, names: frozenset[str]
) -> None:
    """Every part must be there, or be known to hold nothing.

    A part that is not there is read as the array's fill value, mostly zeros: as a dish without
    cells. Writers that leave out what holds nothing else do it on purpose; the smaller copies of
    the same picture tell which it was.
    """
    whole = math.prod(_grid(array))
    if whole > MAX_MEMBERS:
        raise VendorRefusedError("too-large", f"has {whole} parts")
    missing = [place for place in _places(array) if _part_name(array, place) not in names]
    if not missing:
        return
    empty = 0
    if len(missing) < min(whole, _MOST_LOOKED_UP):
        smaller = [_array(group, level, about) for level in about.levels[1:]]
        empty = sum(_is_empty(array, place, smaller, names) for place in missing)
    if empty < len(missing):
        raise VendorRefusedError(
            "truncated",
            f"has {whole - len(missing) + empty} of {whole} parts of its image",
            "the imager may still be writing it; if it stays so, copy it again, or have its writer "
            "write all parts, even those that hold only zeros",
        )


def _chunks(array: zarr.Array[Any]) -> _Place:
    """Size of what is one file: a chunk, or a shard of many."""
    return array.shards or array.chunks


def _grid(array: zarr.Array[Any]) -> _Place:
    return tuple(
        math.ceil(size / chunk) for size, chunk in zip(array.shape, _chunks(array), strict=True)
    )


def _places(array: zarr.Array[Any]) -> Iterator[_Place]:
    return itertools.product(*(range(count) for count in _grid(array)))


def _part_name(array: zarr.Array[Any], place: _Place) -> str:
    key = array.metadata.encode_chunk_key(place)
    return f"{array.path}/{key}" if array.path else key


def _is_empty(
    array: zarr.Array[Any],
    place: _Place,
    smaller: Sequence[zarr.Array[Any]],
    names: frozenset[str],
) -> bool:
    """Whether a smaller copy shows nothing but the fill value where a part is not there."""
    for copy in smaller:
        first, last = [], []
        for at, chunk, size, small in zip(
            place, _chunks(array), array.shape, copy.shape, strict=True
        ):
            ratio = size / small
            # A pixel at the border may be made of the neighbours' too.
            margin = 0 if ratio == 1 else 1
            begin, end = at * chunk, min((at + 1) * chunk, size)
            first.append(0 if begin == 0 else math.ceil(begin / ratio) + margin)
            last.append(small if end == size else math.floor(end / ratio) - margin)
        if any(begin >= end for begin, end in zip(first, last, strict=True)):
            return False  # too small by now to tell; and the next ones are smaller still
        covering = itertools.product(
            *(
                range(begin // chunk, (end - 1) // chunk + 1)
                for begin, end, chunk in zip(first, last, _chunks(copy), strict=True)
            )
        )
        if all(_part_name(copy, one) in names for one in covering):
            shown = np.asarray(copy[tuple(map(slice, first, last))])
            return bool((shown == (array.fill_value or 0)).all())
    return False
