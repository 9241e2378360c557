"""What a scan says of a dish: its reading, its colonies and which of them is which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from monitor.culture.doubt_words import reason_words
from monitor.culture.measurements import NOTHING_SAID, Doubt, FieldMeasurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FieldsJoined(StrEnum):
    """How the fields of a scan were put together."""

    ONE = "one field"
    PLACED = "placed"  # by their places on the stage; what several show is counted once
    ADDED = "added up"  # their places are not known; what several show is counted several times


@dataclass(frozen=True)
class ScanField:
    """One capture of a scan with what it says."""

    capture_sha256: str
    capture_name: str
    source: str
    measurement: FieldMeasurement
    field: str = ""


def place_of(field: ScanField) -> tuple[str, datetime, str]:
    """Its place among the fields of its scan, whichever came first."""
    return field.field, field.measurement.acquired_at, field.capture_sha256


@dataclass(frozen=True)
class ScanColony:
    """A colony of a whole scan, also where several fields show parts of it.

    area : um2; px where the scan has no pixel size
    centre : (x, y) in its frame: um on the stage, else um or px in its field, y down
    is_cut : it goes on beyond what was imaged
    """

    area: float
    differentiated_fraction: float
    centre: tuple[float, float]
    frame: str
    is_cut: bool = False


@dataclass(frozen=True)
class TrackedColony(ScanColony):
    """A colony that is known from scan to scan by its number, from 1 in each dish.

    came_from : numbers of what merged into it, or of what it split off from, with this scan
    missed : scans in a row that did not find it, this one too; area and centre are then the last
        known ones
    """

    number: int = 0
    came_from: tuple[int, ...] = ()
    missed: int = 0


@dataclass(frozen=True)
class Tracking:
    """The colonies of a scan by their numbers.

    colonies : those of the scan in its order, then those that are kept in mind
    kept : (place in the scan before, place in `colonies`) of what is kept in mind
    gone : numbers that are not looked for any more
    """

    colonies: tuple[TrackedColony, ...]
    kept: tuple[tuple[int, int], ...] = ()
    gone: tuple[int, ...] = ()
    next_number: int = 1


@dataclass(frozen=True)
class ColonyPoint:
    """One point of a colony's own series."""

    at: datetime
    colony: TrackedColony


@dataclass(frozen=True, eq=False)
class ColonyScan:
    """The colonies of one scan and where they lie."""

    following: Tracking
    maps: tuple[ColonyMap, ...] = ()


NOT_IMAGED, BACKGROUND, FIRST_COLONY = 0, 1, 2
"""Values of a colony map; those from `FIRST_COLONY` on are colonies."""


@dataclass(frozen=True, eq=False)
class ColonyMap:
    """Where the colonies of a scan lie, coarsely.

    cell : side of a cell, in the frame's lengths
    origin : (row, column) of the first cell, in cells from the frame's origin
    values : (rows, columns) uint16: `NOT_IMAGED`, `BACKGROUND`, else `FIRST_COLONY` + place in the
        scan's list
    """

    frame: str
    cell: float
    origin: tuple[int, int]
    values: NDArray[np.uint16]


@dataclass(frozen=True)
class Summary:
    """What the fields of one scan add up to. Areas are None where a pixel size is missing.

    assumed_pixel_size_um : what was taken for it then, by the most images; None where it is known
    doubts : what is wrong with its images or their dates
    doubt : how far the network's reading of them may be trusted
    """

    at: datetime
    captures: int
    background_um2: float | None
    undifferentiated_um2: float | None
    differentiated_um2: float | None
    differentiated_fraction: float | None
    confluence: float | None
    uncertainty: float
    pixel_size_um: float | None
    colonies: int
    doubts: tuple[str, ...]
    joined: FieldsJoined = FieldsJoined.ONE
    imaged_share: float | None = None
    colony_um2: float | None = None
    doubt: Doubt = NOTHING_SAID
    assumed_pixel_size_um: float | None = None


@dataclass(frozen=True, kw_only=True)
class NewReading(Summary):
    """A reading without the numbers that only the database can give.

    runner : what did the network's arithmetic; of several all, with commas
    """

    model_sha256: str
    settings_sha256: str
    runner: str = ""


DATED_AHEAD: Final = "dated-ahead"
DATED_LONG_AGO: Final = "dated-before-1990"
MISDATED: Final = frozenset({DATED_AHEAD, DATED_LONG_AGO})
"""Doubts that lie in the date alone: nobody knows where in the series such a scan belongs."""
UNSURE: Final = 0.35
"""From here on somebody should look at the pictures; how it was chosen: docs/series.md."""


@dataclass(frozen=True)
class Reading:
    """What one scan says about a dish at one time: one point of the dish's series.

    Made of the field measurements weighted by area. Areas are um2 and None where the pixel size
    is not known; fractions are given all the same.
    at : time of the scan's first capture, aware UTC
    version : 1, 2, ...; a late field or another model adds a version, nothing is overwritten
    joined : how the fields were put together
    imaged_share : imaged area / area of the vessel; None where one of them is not known
    colony_um2 : median area of a colony
    assumed_pixel_size_um : what was taken for the pixel size where it is not known
    doubts : what is wrong with its images or their dates
    doubt : how far the network's reading of them may be trusted, joined over the fields
    runner : what did the network's arithmetic, with version and precision
    """

    id: int
    dish: str
    scan_id: int
    version: int
    at: datetime
    captures: int
    background_um2: float | None
    undifferentiated_um2: float | None
    differentiated_um2: float | None
    differentiated_fraction: float | None
    confluence: float | None
    uncertainty: float
    pixel_size_um: float | None
    model_sha256: str
    settings_sha256: str
    colonies: int
    doubts: tuple[str, ...] = ()
    joined: FieldsJoined = FieldsJoined.ONE
    imaged_share: float | None = None
    colony_um2: float | None = None
    doubt: Doubt = NOTHING_SAID
    assumed_pixel_size_um: float | None = None
    runner: str = ""

    @property
    def in_doubt(self) -> bool | None:
        """Whether it may not be relied on; None where nothing is wrong with its images and dates,
        and the model cannot tell how far it may be trusted.
        """
        if self.doubts or self.doubt.in_doubt:
            return True
        return None if self.doubt == NOTHING_SAID else False

    @property
    def why_in_doubt(self) -> tuple[str, ...]:
        """In words: what is wrong with its images or dates, then why the network is in doubt."""
        return (*self.doubts, *reason_words(self.doubt))

    @property
    def look_at_it(self) -> bool:
        """Whether the network is so unsure that a person should look at the pictures."""
        return self.uncertainty >= UNSURE
