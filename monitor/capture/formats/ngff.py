"""What the metadata of an OME-Zarr says of its picture: which one it is, its axes, its pixel size.

After the NGFF specifications 0.3, 0.4 and 0.5 (https://ngff.openmicroscopy.org). Nothing here reads
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from monitor.capture.formats.metadata import length_um
from monitor.capture.formats.vendor import VendorRefusedError, refuse_more_than_one
from monitor.capture.names.parts import shown_name

READ = ("0.3", "0.4", "0.5")
SAVE_AS = "save it as OME-Zarr 0.4 or 0.5, one field of view and one time point per store"


@dataclass(frozen=True)
class Level:
    """One array of a picture, at one size."""

    path: str
    transformations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Multiscale:
    """A picture at several sizes.

    axes : names in the order of the arrays' dimensions, "y" and "x" last
    units : of each axis, "" where none is given
    levels : the full size first
    transformations : of all levels, after their own
    """

    axes: tuple[str, ...]
    units: tuple[str, ...]
    levels: tuple[Level, ...]
    transformations: Sequence[Mapping[str, Any]]
    channels: tuple[str, ...]


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The OME part of a group's attributes; empty where it has none."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def multiscale_of(attributes: Mapping[str, Any]) -> Multiscale:
    """The one picture that a group's attributes describe.

    Raises VendorRefusedError where there is none, or one that is not read.
    """
    ome = ome_of(attributes)
    for kind in ("plate", "well"):
        if kind in ome and "multiscales" not in ome:
            raise VendorRefusedError(
                "unsupported",
                f"is a {kind} of many fields of view, which is not read",
                "export one store for each field of view",
            )
    found = ome.get("multiscales")
    if not _is_list(found) or not found:
        raise VendorRefusedError(
            "unsupported", "has no image of its own (no `multiscales` in its metadata)", SAVE_AS
        )
    refuse_more_than_one(len(found), 1)
    about = found[0]
    if not isinstance(about, Mapping):
        raise VendorRefusedError("corrupt", "has damaged metadata (multiscales)")
    version = str(ome.get("version") or about.get("version") or "")
    if (version and version not in READ) or "coordinateSystems" in about:
        raise VendorRefusedError(
            "unsupported",
            f"is OME-Zarr {shown_name(version[:20]) or '0.6'}, and {', '.join(READ)} are read",
            SAVE_AS,
        )
    axes, units = _axes(about.get("axes"))
    return Multiscale(
        axes=axes,
        units=units,
        levels=_levels(about.get("datasets")),
        transformations=_transformations(about),
        channels=_channels(ome),
    )


def step_um(picture: Multiscale, level: Level) -> dict[str, float | None]:
    """Length of a step along each axis, um; None where it is not said.

    A level's own scale and the one of all levels follow one another: they multiply.
    """
    steps = [1.0] * len(picture.axes)
    is_said = False
    for one in (*level.transformations, *picture.transformations):
        kind = one.get("type")
        if kind in ("identity", "translation"):
            continue
        if kind != "scale":
            raise VendorRefusedError(
                "unsupported", f"is placed by {shown_name(str(kind)[:40])!r}, which is not read"
            )
        scale = one.get("scale")
        if "path" in one:
            raise VendorRefusedError("unsupported", "keeps its scale in a separate array")
        if (
            not _is_list(scale)
            or len(scale) != len(steps)
            or not all(_is_number(step) for step in scale)
        ):
            raise VendorRefusedError("corrupt", "has a scale that does not fit its axes")
        steps = [step * float(more) for step, more in zip(steps, scale, strict=True)]
        is_said = True
    if not is_said:
        return dict.fromkeys(picture.axes)
    return {
        axis: length_um(str(step), unit)
        for axis, unit, step in zip(picture.axes, picture.units, steps, strict=True)
    }


def series_of(attributes: Mapping[str, Any]) -> list[str] | None:
    """The pictures that the group ``OME`` of a group of pictures names, in their order."""
    found = ome_of(attributes).get("series")
    if not _is_list(found):
        return None
    return [str(one) for one in found]


def _axes(said: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not _is_list(said):
        raise VendorRefusedError("unsupported", "does not name its axes", SAVE_AS)
    axes = tuple(str(one.get("name") if isinstance(one, Mapping) else one) for one in said)
    units = tuple(str(one.get("unit") or "") if isinstance(one, Mapping) else "" for one in said)
    if axes[-2:] != ("y", "x") or len(set(axes)) < len(axes) or not set(axes) <= set("tczyx"):
        raise VendorRefusedError(
            "unsupported",
            f"has axes {shown_name(', '.join(axes)[:80])} (t, c, z in any order, then y, x are "
            "read)",
            SAVE_AS,
        )
    return axes, units


def _levels(said: Any) -> tuple[Level, ...]:
    levels = []
    for one in said if _is_list(said) else []:
        if not isinstance(one, Mapping) or not isinstance(one.get("path"), str):
            raise VendorRefusedError("corrupt", "has damaged metadata (datasets)")
        levels.append(Level(one["path"], _transformations(one)))
    if not levels:
        raise VendorRefusedError("corrupt", "names no array of its image")
    return tuple(levels)


def _transformations(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    said = about.get("coordinateTransformations") or []
    if not _is_list(said) or not all(isinstance(one, Mapping) for one in said):
        raise VendorRefusedError("corrupt", "has damaged metadata (coordinateTransformations)")
    return list(said)


def _channels(ome: Mapping[str, Any]) -> tuple[str, ...]:
    omero = ome.get("omero")
    said = omero.get("channels") if isinstance(omero, Mapping) else None
    return tuple(
        str(one.get("label") or "") if isinstance(one, Mapping) else ""
        for one in (said if _is_list(said) else [])
    )


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0
