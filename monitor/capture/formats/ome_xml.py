"""What the OME-XML of a file says of its one image."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from monitor.capture.formats.image import (
    MAX_COMPANION_BYTES,
    MAX_PAGES,
    ONE_EACH,
    choose_channel,
    refuse,
)
from monitor.capture.formats.metadata import length_um, real, square_pixel_um
from monitor.capture.names.light import NO_CHANNEL, Channel, Light, channels_called
from monitor.capture.names.parts import shown_name
from monitor.culture import StagePosition
from monitor.culture.local_times import by_zone

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class _OmePlane:
    page: int
    z: int
    c: int


@dataclass(frozen=True)
class OmeWell:
    """The well of a plate that an image lies in.

    name : as the plate's conventions have it, ``B2``
    field : number of the image within the well, from 1
    """

    name: str
    field: int


@dataclass(frozen=True)
class OmeSaid:
    """What is said of one plane, with what holds for its image.

    acquired_at : aware UTC
    stage : centre of the field
    is_chosen : False where another file of a set holds the channel that is looked at
    beside : hash of what another file says of the image; empty where the file says it itself
    """

    pixel_size_um: float | None
    acquired_at: datetime | None
    stage: StagePosition | None
    channel: Channel
    is_chosen: bool
    beside: str


class Ome:
    """What the OME-XML of a file says of its one image."""

    def __init__(self, text: str, zone: tzinfo, path: Path) -> None:
        root = _parse_xml(text)
        namespace = _namespace(root)
        uuid = root.get("UUID")
        elsewhere = root.find(f"{namespace}BinaryOnly")
        self.is_elsewhere = elsewhere is not None and not root.findall(f"{namespace}Image")
        if elsewhere is not None and self.is_elsewhere:
            uuid = elsewhere.get("UUID")
            root = _parse_xml(_companion(path, elsewhere.get("MetadataFile", "")))
            namespace = _namespace(root)
        self._root = root
        self._namespace = namespace
        self._zone = zone
        self._uuid = uuid
        images = root.findall(f"{namespace}Image")
        if len(images) > 1 and uuid is not None:
            # The description of a set names all fields of view; this file holds one of them.
            place = f"{namespace}Pixels/{namespace}TiffData/{namespace}UUID"
            images = [
                image for image in images if any(one.text == uuid for one in image.findall(place))
            ] or images
        if len(images) != 1:
            refuse(
                "unsupported",
                f"holds {len(images)} images; one field of view per file is read",
                ONE_EACH,
            )
        self._image = images[0]
        pixels = self._image.find(f"{namespace}Pixels")
        if pixels is None:
            refuse("corrupt", "has OME-XML without Pixels")
        self._pixels = pixels

    @cached_property
    def _size(self) -> Mapping[str, int]:
        return {axis: self._count(f"Size{axis}") for axis in "ZCT"}

    def planes(self, pages: int, samples: int, channel: str | None) -> list[_OmePlane]:
        """The planes of the chosen channel. Raises where a declared plane is not in the file."""
        size = dict(self._size)
        if samples > 1 and size["C"] % samples == 0:
            size["C"] //= samples
        if size["T"] > 1:
            refuse("unsupported", f"holds {size['T']} time points; one per file is read", ONE_EACH)
        order = self._pixels.get("DimensionOrder", "XYZCT")[2:]
        if sorted(order) != ["C", "T", "Z"]:
            refuse("corrupt", f"has OME-XML with the dimension order {order!r}")
        total = size["Z"] * size["C"]
        where: dict[tuple[int, int], int] = {}
        for page, position in self._declared(total):
            z, c, _ = _position(position, order, size)
            where[z, c] = page
        if any(page >= pages for page in where.values()):
            refuse("truncated", f"declares {total} planes and has {pages}")
        chosen = self._chosen(size["C"], channel)
        planes = [_OmePlane(page, z, c) for (z, c), page in sorted(where.items()) if c == chosen]
        if not planes and where and self._is_one_of_a_set() and channel is None:
            first = min(c for _, c in where)
            planes = [_OmePlane(page, z, c) for (z, c), page in sorted(where.items()) if c == first]
        if not planes and self._is_one_of_a_set():
            refuse("unsupported", "keeps the planes of the wanted channel in another file")
        if len(planes) < size["Z"] and not self._is_one_of_a_set():
            refuse("truncated", f"declares {size['Z']} planes per channel and has {len(planes)}")
        return planes

    def _declared(self, total: int) -> list[tuple[int, Mapping[str, int] | int]]:
        """(page, plane) of every plane that the XML says is in this file."""
        declared: list[tuple[int, Mapping[str, int] | int]] = []
        elements = self._pixels.findall(f"{self._namespace}TiffData")
        order = self._pixels.get("DimensionOrder", "XYZCT")[2:]
        if not elements:
            return [(index, index) for index in range(total)]
        for element in elements:
            if self._is_elsewhere(element):
                continue
            first = {axis: whole_number(element.get(f"First{axis}", "0")) for axis in "ZCT"}
            page = whole_number(element.get("IFD", "0"))
            given = element.get("PlaneCount")
            count = whole_number(given) if given else (1 if element.get("IFD") else total)
            if count > MAX_PAGES or page > MAX_PAGES:
                refuse("corrupt", f"has OME-XML with {count} planes from page {page}")
            start = _index(first, order, self._size)
            declared += [(page + step, start + step) for step in range(count)]
        return declared

    def _is_elsewhere(self, tiff_data: ElementTree.Element) -> bool:
        uuid = tiff_data.find(f"{self._namespace}UUID")
        return uuid is not None and self._uuid is not None and uuid.text != self._uuid

    def _is_one_of_a_set(self) -> bool:
        return any(map(self._is_elsewhere, self._pixels.findall(f"{self._namespace}TiffData")))

    def _chosen(self, count: int, wanted: str | None) -> int:
        return 0 if count == 1 else choose_channel(self._channels(), count, wanted)

    def _channels(self) -> list[Channel]:
        elements = self._pixels.findall(self._namespace + "Channel")
        by_name = channels_called([element.get("Name") or "" for element in elements])
        return [
            replace(channel, light=_light_of(element, channel))
            for element, channel in zip(elements, by_name, strict=True)
        ]

    def said_of(self, plane: _OmePlane, wanted: str | None) -> OmeSaid:
        """wanted : the channel that is looked at"""
        channel, is_chosen = self.shown(plane, wanted)
        return OmeSaid(
            self._pixel_size_um(),
            self._time_of(plane),
            self._stage_of(plane),
            channel,
            is_chosen,
            self.beside(),
        )

    def shown(self, plane: _OmePlane, wanted: str | None) -> tuple[Channel, bool]:
        """What is said of the plane's channel, and whether it is the one that is looked at."""
        return self._channel_of(plane), self._is_chosen(plane, wanted)

    def _channel_of(self, plane: _OmePlane) -> Channel:
        """What is said of the plane's channel."""
        known = self._channels()
        return known[plane.c] if plane.c < len(known) else NO_CHANNEL

    def _is_chosen(self, plane: _OmePlane, wanted: str | None) -> bool:
        """False where another file of a set holds the channel that is looked at."""
        return not self._is_one_of_a_set() or plane.c == self._chosen(self._size["C"], wanted)

    def _count(self, name: str) -> int:
        count = whole_number(self._pixels.get(name, "1"))
        if not 1 <= count <= MAX_PAGES:
            refuse("corrupt", f"has OME-XML with {name} {count}")
        return count

    def _pixel_size_um(self) -> float | None:
        # A unit given for one side only holds for both (seen in files of several writers).
        unit_x = self._pixels.get("PhysicalSizeXUnit") or self._pixels.get("PhysicalSizeYUnit")
        unit_y = self._pixels.get("PhysicalSizeYUnit") or unit_x
        x = length_um(self._pixels.get("PhysicalSizeX"), unit_x or "µm")
        y = length_um(self._pixels.get("PhysicalSizeY"), unit_y or "µm")
        return square_pixel_um(x, y)

    def beside(self) -> str:
        """Hash of what another file says of the image; empty where the file says it itself."""
        if not self.is_elsewhere:
            return ""
        said = ElementTree.tostring(self._image, encoding="unicode") + repr(self.well())
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def well(self) -> OmeWell | None:
        """Where the image lies in a plate; None where no plate names it."""
        wanted = self._image.get("ID")
        for plate in _all(self._root, "Plate"):
            for well in _all(plate, "Well"):
                samples = sorted(
                    _all(well, "WellSample"), key=lambda one: _number_or(one.get("Index"), 0)
                )
                for number, sample in enumerate(samples, 1):
                    if any(ref.get("ID") == wanted for ref in _all(sample, "ImageRef")):
                        return _named_well(plate, well, number)
        return None

    def _plane(self, plane: _OmePlane) -> ElementTree.Element | None:
        for element in self._pixels.findall(f"{self._namespace}Plane"):
            if (element.get("TheZ"), element.get("TheC")) == (str(plane.z), str(plane.c)):
                return element
        return None

    def _stage_of(self, plane: _OmePlane) -> StagePosition | None:
        element = self._plane(plane)
        if element is None:
            return None
        x, y, z = (
            # By the schema a position without unit is in a frame of the instrument's own.
            length_um(
                element.get(f"Position{axis}"),
                element.get(f"Position{axis}Unit", "reference frame"),
            )
            for axis in "XYZ"
        )
        return None if x is None or y is None else StagePosition(x, y, z)

    def _time_of(self, plane: _OmePlane) -> datetime | None:
        text = self._image.findtext(f"{self._namespace}AcquisitionDate")
        if not text:
            return None
        element = self._plane(plane)
        delta, unit = (
            (None, "s")
            if element is None
            else (element.get("DeltaT"), element.get("DeltaTUnit", "s"))
        )
        seconds = real(delta)
        try:
            at = datetime.fromisoformat(text.strip())
            at = at.astimezone(UTC) if at.tzinfo else by_zone(at, self._zone)
            if seconds is not None and unit in _SECONDS:
                at += timedelta(seconds=seconds * _SECONDS[unit])
        except (ValueError, OverflowError):
            return None
        return at


def _all(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Elements below of a name, in whichever namespace: older files have plates in another."""
    return [one for one in element.iter() if str(one.tag).rpartition("}")[2] == name]


def _number_or(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else otherwise


def _named_well(
    plate: ElementTree.Element, well: ElementTree.Element, field: int
) -> OmeWell | None:
    row, column = _number_or(well.get("Row"), -1), _number_or(well.get("Column"), -1)
    if row < 0 or column < 0:
        return None
    rows = plate.get("RowNamingConvention", "letter")
    columns = plate.get("ColumnNamingConvention", "number")
    return OmeWell(_counted(row, rows) + _counted(column, columns), field)


def _counted(index: int, convention: str) -> str:
    """(1, "letter") -> ``B``; (26, "letter") -> ``AA``; (1, "number") -> ``2``"""
    if convention != "letter":
        return str(index + 1)
    letters = ""
    index += 1
    while index:
        index, left = divmod(index - 1, 26)
        letters = chr(ord("A") + left) + letters
    return letters


_CONTRAST = {
    "brightfield": Light.TRANSMITTED,
    "phase": Light.TRANSMITTED,
    "dic": Light.TRANSMITTED,
    "hoffmanmodulation": Light.TRANSMITTED,
    "obliqueillumination": Light.TRANSMITTED,
    "fluorescence": Light.FLUORESCENCE,
}
_ILLUMINATION = {
    "transmitted": Light.TRANSMITTED,
    "oblique": Light.TRANSMITTED,
    "epifluorescence": Light.FLUORESCENCE,
}


def _light_of(element: ElementTree.Element, called: Channel) -> Light | None:
    """By the contrast, else the name, else the illumination (some writers have one for all
    channels), else a fluorophore.
    """
    contrast = _CONTRAST.get((element.get("ContrastMethod") or "").strip().lower())
    illumination = _ILLUMINATION.get((element.get("IlluminationType") or "").strip().lower())
    has_dye = bool((element.get("Fluor") or "").strip())
    by_dye = Light.FLUORESCENCE if has_dye else None
    return contrast or called.light or illumination or by_dye


def _namespace(root: ElementTree.Element) -> str:
    return root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""


def _companion(path: Path, name: str) -> str:
    """The OME-XML that a file of a set leaves to another: a companion, or the set's first TIFF.

    Only a file of the same folder: a name in a picture must not make us read anything else.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        refuse("unsupported", "has its description in a file that is not in its folder")
    beside = path.parent / name
    try:
        about = beside.lstat()
        if not stat.S_ISREG(about.st_mode):
            refuse("unsupported", "has its description in what is not a regular file")
        if name.lower().endswith((".tif", ".tiff", ".btf", ".tf8")):
            with tifffile.TiffFile(beside, _multifile=False) as tiff:
                return str(tiff.pages.first.description or "")
        if about.st_size > MAX_COMPANION_BYTES:
            refuse("too-large", f"has a description of {about.st_size / 2**20:.0f} MiB")
        return beside.read_text(encoding="utf-8")
    except FileNotFoundError:
        refuse("no-companion", f"has its description in {shown_name(name)}, which is not there")
    except (OSError, UnicodeDecodeError, tifffile.TiffFileError) as problem:
        why = shown_name(str(problem))[:200]
        refuse("no-companion", f"has its description in {shown_name(name)} ({why})")


def ome_of(description: str, zone: tzinfo, path: Path) -> Ome | None:
    """None where the description of a TIFF is no OME-XML."""
    return Ome(description, zone, path) if is_ome(description) else None


def is_ome(description: str) -> bool:
    head = description.lstrip()[:8192]
    return head.startswith("<") and re.search(r"<(?:\w+:)?OME[\s>]", head) is not None


def _parse_xml(text: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        refuse("corrupt", "has OME-XML with entities, which no instrument writes")
    if not re.search(r"</(\w+:)?OME\s*>\s*$", text[-4096:].rstrip("\0 \r\n\t")):
        refuse("truncated", "has truncated OME-XML")
    try:
        # Entities were refused above.
        return ElementTree.fromstring(text.rstrip("\0").strip())  # nosec B314
    except (ElementTree.ParseError, ValueError) as problem:
        refuse("corrupt", f"has damaged OME-XML ({problem})")


def _position(
    plane: Mapping[str, int] | int, order: str, size: Mapping[str, int]
) -> tuple[int, int, int]:
    """Number of a plane in the file's order -> (z, c, t)."""
    index = plane if isinstance(plane, int) else _index(plane, order, size)
    found = {}
    for axis in order:
        index, found[axis] = divmod(index, size[axis])
    return found["Z"], found["C"], found["T"]


def _index(position: Mapping[str, int], order: str, size: Mapping[str, int]) -> int:
    first, second, third = tuple(order)
    return position[first] + size[first] * (position[second] + size[second] * position[third])


def whole_number(text: str) -> int:
    """A number of planes or the like in a description."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        refuse("corrupt", f"has OME-XML with {shown_name(text[:40])!r} for a number")
    return int(text)
