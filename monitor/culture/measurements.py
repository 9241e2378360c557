"""What one capture says: areas, colonies, regions, where the tool can be set down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from monitor.culture.captures import StagePosition
from monitor.culture.scales import ScaleEvidence

Ring = tuple[tuple[float, float], ...]
"""A closed line by its points, (row, column); the last one is not the first one again."""


@dataclass(frozen=True)
class Colony:
    """A connected region of cells in a capture. Areas in pixels of the capture.

    centroid : (row, column)
    bounds : (first row, first column, last row + 1, last column + 1)
    """

    label: int
    area_px: int
    differentiated_px: int
    centroid: tuple[float, float]
    bounds: tuple[int, int, int, int]

    @property
    def differentiated_fraction(self) -> float:
        return self.differentiated_px / self.area_px


@dataclass(frozen=True)
class Region:
    """A connected differentiated region in a capture.

    polygon : outer outline along the pixels' edges, (row, column) points, not closed
    holes : outlines of what lies inside and is not of the region, in the same way
    pick_point : (row, column), the point of the region farthest from its border
    inscribed_radius_px : distance of the pick point from the nearest pixel outside the region
    mean_probability : mean probability of the differentiated class inside, 0..1
    """

    label: int
    area_px: int
    polygon: tuple[tuple[float, float], ...]
    pick_point: tuple[float, float]
    inscribed_radius_px: float
    mean_probability: float
    colony: int | None = None
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True)
class FieldAreas:
    """Pixels of each class in one capture, inside the vessel."""

    background_px: int
    undifferentiated_px: int
    differentiated_px: int

    @property
    def imaged_px(self) -> int:
        return self.background_px + self.undifferentiated_px + self.differentiated_px

    @property
    def cells_px(self) -> int:
        return self.undifferentiated_px + self.differentiated_px

    @property
    def differentiated_fraction(self) -> float | None:
        """Undefined (None), not 0, where there are no cells."""
        return self.differentiated_px / self.cells_px if self.cells_px else None

    @property
    def confluence(self) -> float | None:
        return self.cells_px / self.imaged_px if self.imaged_px else None


class ToolKind(StrEnum):
    TIP = (
        "tip"  # an aspirating tip: what lies under its bore goes, what lies under its wall is hurt
    )
    PIN = "pin"  # a scraping pin
    LASER = "laser"  # a laser spot


@dataclass(frozen=True)
class Targeting:
    """With what regions are removed, and how careful one is.

    removes_um : diameter of what one hit removes: the bore of a tip, the width of a pin, a spot
    touches_um : diameter of what one hit may harm, at least `removes_um`
    positional_error_um : how far from its aim the picker may set the tool down
    border_um : how far off the borders of a label map may be
    safe_distance_um : left between what a hit may harm and the nearest undifferentiated cell
    step_um : the picker's smallest step along an axis; hits lie on whole steps. 0 = they need not
    """

    tool: str
    kind: ToolKind
    removes_um: float
    touches_um: float
    positional_error_um: float
    border_um: float
    safe_distance_um: float
    step_um: float = 0.0

    @property
    def snap_um(self) -> float:
        """How far a point can lie from the nearest one on whole steps: half a step's diagonal."""
        return self.step_um / math.sqrt(2)

    @property
    def set_down_um(self) -> float:
        """How far from a point of a capture the tool may come down, which is aimed at by whole
        steps.
        """
        return self.positional_error_um + self.snap_um

    @property
    def clearance_um(self) -> float:
        """From the point aimed at to the nearest border of its region, at least; so much that it
        can still be moved to the nearest whole step.
        """
        return self.touches_um / 2 + self.set_down_um + self.border_um

    @property
    def clearance_of_good_um(self) -> float:
        """From the point aimed at to the nearest undifferentiated cell, at least."""
        kept = max(self.border_um, self.safe_distance_um)
        return self.touches_um / 2 + self.set_down_um + kept


@dataclass(frozen=True)
class AimPoint:
    """Where to set the tool down in a capture: (row, column), and how far it is at least from
    there to the nearest border of its region.
    """

    row: float
    column: float
    clearance_px: float


@dataclass(frozen=True)
class Aim:
    """How the tool can remove one region of a capture, or why it cannot.

    label : of the region; of the colony where that is removed whole
    polygon, holes : outlines, as of `Region`
    uncertainty : 0..1, mean entropy of the class distribution inside
    removable_px : what the tool can remove at all, kept away from the borders
    covered_px : what the points remove
    refused : reason in a word or two that do not change; None where there are points
    refused_text : the same with its numbers
    """

    label: int
    whole_colony: bool
    area_px: int
    polygon: tuple[tuple[float, float], ...]
    mean_probability: float
    uncertainty: float
    inscribed_radius_px: float
    points: tuple[AimPoint, ...] = ()
    removable_px: float = 0.0
    covered_px: float = 0.0
    refused: str | None = None
    refused_text: str | None = None
    holes: tuple[Ring, ...] = ()


class PixelSizeSource(StrEnum):
    """What a pixel size is taken from; the first that says one counts."""

    OPTION = "option"  # a person gave it with the command
    METADATA = "metadata"  # the instrument's own words in the picture
    SIDE_CAR = "sidecar"
    NAME = "name"
    SOURCE = "source"  # the settings of the imager's folder
    WELL = "well"  # the diameter of a round well that the picture shows whole


@dataclass(frozen=True)
class PixelSize:
    """um/px of a capture, and how it is known.

    source : None where nothing says it
    assumed : the model found it likely. It gives a scale to segment and to draw with; no area, no
        place and no target rests on it
    """

    um: float | None = None
    source: PixelSizeSource | None = None
    assumed: bool = False

    @property
    def known_um(self) -> float | None:
        """What areas and places rest on: None, and lengths stay in pixels, where it is assumed."""
        return None if self.assumed else self.um

    @property
    def assumed_um(self) -> float | None:
        return self.um if self.assumed else None

    def or_assumed(self, um: float | None) -> PixelSize:
        """This one; where it is not known, what the model assumed."""
        return self if self.um is not None or um is None else PixelSize(um, assumed=True)


class DoubtReason(StrEnum):
    """Why the network's reading of an image may not be trusted."""

    UNFAMILIAR = "unfamiliar"  # the image is of a kind that the model does not know
    DISAGREEMENT = "disagreement"  # readings of the same image disagree
    UNCLEAR = "unclear"  # the class distributions themselves are too flat for a number


@dataclass(frozen=True)
class Doubt:
    """How far the network's reading of an image may be trusted.

    reasons : why it is in doubt; empty where it is not
    interval : 90 % interval of the differentiated fraction, (low, high) in 0..1; None where there
        are no cells or the model gives none
    kind : kind of image that it is most like, as the model's card names it; None if of none
    calibrated : whether the interval was calibrated on images of that kind
    """

    reasons: tuple[DoubtReason, ...] = ()
    interval: tuple[float, float] | None = None
    kind: str | None = None
    calibrated: bool = False

    @property
    def in_doubt(self) -> bool:
        return bool(self.reasons)


NOTHING_SAID: Final = Doubt()
"""Of a model that cannot tell how far it may be trusted: neither in doubt nor sure."""


@dataclass(frozen=True)
class AtScale:
    """How a capture was measured whose pixel size nothing says.

    magnification : as in "10x", where its name says it; else empty
    evidence : what it says of its own scale, where it was asked
    is_check : it was asked whether a settled scale is right
    """

    magnification: str = ""
    evidence: ScaleEvidence | None = None
    is_check: bool = False


@dataclass(frozen=True)
class FieldMeasurement:
    """Everything that one capture says once it is segmented.

    shape : (rows, columns) of the capture
    acquired_at_from : "metadata", "sidecar", "name" or "mtime"
    zone : the source's time zone, where the time rests on that
    stage : centre of the field of view
    overlay, label_map : files in the state folder, relative to it
    aims : how to remove regions with the tool of `targeting`; where a pixel size is known
    fingerprint : hash of the decoded pixels; the same picture under new bytes has the same
    in_transmitted_light : whether name, file or sidecar say so
    beside : hash of what stood of the picture in files beside it; empty where nothing did
    at_scale : where the pixel size is that of the source's scale; None where it is known, or where
        the model goes by one of its own
    doubts : what is wrong with the image itself
    doubt : how far the network's reading of it may be trusted
    runner : what did the network's arithmetic, with version and precision
    """

    shape: tuple[int, int]
    areas: FieldAreas
    colonies: tuple[Colony, ...]
    regions: tuple[Region, ...]
    uncertainty: float
    model_name: str
    model_sha256: str
    settings_sha256: str
    acquired_at: datetime
    acquired_at_from: str
    pixel_size: PixelSize = PixelSize()
    stage: StagePosition | None = None
    overlay: str | None = None
    label_map: str | None = None
    quality: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    took_s: float = 0.0
    fingerprint: str | None = None
    aims: tuple[Aim, ...] = ()
    targeting: Targeting | None = None
    zone: str | None = None
    beside: str = ""
    in_transmitted_light: bool = False
    doubt: Doubt = Doubt()
    at_scale: AtScale | None = None
    runner: str = ""

    @property
    def pixel_size_um(self) -> float | None:
        """um/px that areas and places rest on; None where it is not known."""
        return self.pixel_size.known_um
