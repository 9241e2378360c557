"""What instruments write about a picture, apart from its pixels: lengths, times, their XML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import IO, Any
from xml.parsers import expat

from monitor.capture.names.light import NO_CHANNEL, Channel
from monitor.culture import StagePosition
from monitor.culture.local_times import by_zone

UM = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "pm": 1e-6,
    "Å": 1e-4,
    "in": 25400.0,
}
_NAMED_UM = {
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "meter": 1e6,
    "metre": 1e6,
    "angstrom": 1e-4,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
}


@dataclass(frozen=True)
class Said:
    """What an instrument says of one picture.

    acquired_at : aware UTC
    not_square : what is wrong with its pixels, where their sides differ
    stage : centre of the field in the stage's frame; never a place within a well
    channel : its name, and with which light it was taken
    """

    pixel_size_um: float | None = None
    acquired_at: datetime | None = None
    stage: StagePosition | None = None
    channel: Channel = NO_CHANNEL
    not_square: str | None = None


def real(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def um_of(unit: str) -> float | None:
    """Length of a unit, um; None for what is none. Symbols are exact (mm is not Mm), names are not
    (Micron, micrometres)."""
    unit = unit.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    exact = UM.get(unit)
    return _NAMED_UM.get(unit.lower().removesuffix("s")) if exact is None else exact


def length_um(text: str | None, unit: str) -> float | None:
    value, factor = real(text), um_of(unit)
    # Rounding takes away what changing the unit added: 0.65e-3 mm is 0.65 um.
    return None if value is None or factor is None else round(value * factor, 9)


class NotSquareError(ValueError):
    """Pixels whose sides differ. Everything here counts areas in squares."""


def square_pixel_um(x: float | None, y: float | None) -> float | None:
    """The side of a pixel; None where it cannot be one. A length given for one side holds for both.

    Raises NotSquareError where the sides differ by more than a hundredth.
    """
    known = [side for side in (x, y) if side is not None]
    if not known or not all(0.01 <= side <= 100 for side in known):
        return None
    if abs(known[0] - known[-1]) > 0.01 * known[0]:
        raise NotSquareError(f"has pixels of {known[0]:g} x {known[-1]:g} um, which are not square")
    return known[0]


def in_utc(moment: datetime, zone: tzinfo) -> datetime | None:
    """A time of the instrument, in `zone` unless it says otherwise."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else by_zone(moment, zone)
    except OverflowError:
        return None


# --- XML ----------------------------------------------------------------------------------------


class XmlRefusedError(ValueError):
    """XML that is damaged, or that holds what no instrument writes."""


@dataclass
class Element:
    """An element without its children. `name` has no namespace prefix."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    depth: int = 0
    children: dict[str, Element] = field(default_factory=dict)


_LONGEST_TEXT = 100_000
_DEEPEST = 64


def elements(source: IO[bytes] | bytes) -> Iterator[Element]:
    """Every element when it ends, with its first child of each name; read as a stream.

    Raises XmlRefusedError for damaged XML and for any document type: entities can blow up a
    document of a kilobyte to gigabytes.
    """
    ended: list[Element] = []
    open_: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_) >= _DEEPEST:
            raise XmlRefusedError("it is nested too deeply")
        plain = {key.rpartition(":")[2]: value for key, value in attributes.items()}
        open_.append(Element(name.rpartition(":")[2], plain, depth=len(open_)))

    def text(data: str) -> None:
        if open_ and len(open_[-1].text) < _LONGEST_TEXT:
            open_[-1].text += data

    def end(name: str) -> None:
        done = open_.pop()
        if open_ and len(open_[-1].children) < 1000:
            open_[-1].children.setdefault(done.name, done)
        ended.append(done)

    def doctype(*what: Any) -> None:
        raise XmlRefusedError("it has a document type, which no instrument writes")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    try:
        if isinstance(source, bytes):
            parser.Parse(source, True)
            yield from ended
            return
        while piece := source.read(1 << 20):
            parser.Parse(piece, False)
            yield from ended
            ended.clear()
        parser.Parse(b"", True)
        yield from ended
    except expat.ExpatError as problem:
        raise XmlRefusedError(str(problem)) from problem


def child_text(element: Element, *names: str) -> str | None:
    """Text below: ``child_text(image, "ImageReference", "Date")``."""
    for name in names:
        found = element.children.get(name)
        if found is None:
            return None
        element = found
    return element.text.strip() or None
