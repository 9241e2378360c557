"""The field's nouns. Plain frozen values that every stage understands.

Lengths are um, areas um2 (or pixels where no pixel size is known, and then the name says so),
fractions 0..1, times aware UTC. Image points are (row, column), stage points (x, y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


UNLISTED: Final = "unlisted"
"""The source of what was given to a command and lies in no source's folder."""

Ring = tuple[tuple[float, float], ...]
"""A closed line by its points, (row, column); the last one is not the first one again."""


class CaptureState(StrEnum):
    """Where a capture stands. Every capture is in exactly one of these."""

    WAITING = "waiting"  # not analysed yet, or to be tried again at `next_try_at`
    WORKING = "working"  # claimed by one process
    MEASURED = "measured"  # its field is measured; its scan is not complete yet
    RECORDED = "recorded"  # part of a reading
    UNREADABLE = "unreadable"  # with its reason


class DishStatus(StrEnum):
    """What the decisions say about a dish."""

    UNKNOWN = "unknown"  # nothing with cells was seen yet
    UNDIFFERENTIATED = "undifferentiated"
    ABOVE_LIMIT = "above-limit"  # the newest scan is; not enough scans agree yet
    DIFFERENTIATING = "differentiating"

    @property
    def needs_a_look(self) -> bool:
        return self in (DishStatus.ABOVE_LIMIT, DishStatus.DIFFERENTIATING)


class AlertKind(StrEnum):
    RAISED = "raised"
    WORSENED = "worsened"
    CLEARED = "cleared"


class Severity(StrEnum):
    """How bad. What is critical goes out at any time, whatever holds other mails back."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertTopic(StrEnum):
    """What an alert is about. Open at most once for each dish, source or machine."""

    # of a dish, by its readings
    DIFFERENTIATION = "differentiation"
    RISING = "rising-fast"
    CONFLUENT = "confluence-reached"
    GROWTH_STOPPED = "growth-stopped"
    DOUBTFUL = "doubtful"
    PAST_SAVING = "past-saving"
    OLD_SERIES = "old-series"  # the first scan for long: is it the same dish?
    NOT_REMOVED = "not-removed"  # a region that was picked is there all the same
    NOT_CHECKED = "not-checked"  # no scan in time could tell whether what was picked is gone
    # by what does not come
    NO_CAPTURE = "no-new-capture"
    SAME_PICTURE = "same-picture"
    EQUAL_PICTURES = "equal-pictures"  # one picture came for several dishes
    SOURCE_SILENT = "source-silent"
    SOURCE_GONE = "source-gone"
    DISK_FULL = "disk-nearly-full"
    MODEL_REFUSED = "model-refused"
    WORKER_STUCK = "worker-stuck"
    CLOCK_JUMPED = "clock-jumped"
    IMAGER_CLOCK = "imager-clock"  # dates of captures against when they arrive


class PlanStatus(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    EXPORTED = "exported"  # handed to the picker
    PICKED = "picked"  # carried out, in full or in part
    VERIFIED = "verified"  # a later scan looked whether the cells are gone
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class PickOutcome(StrEnum):
    """What the picker says of one region."""

    PICKED = "picked"
    PARTLY_PICKED = "partly picked"  # some of its hits
    FAILED = "failed"  # left where it is


class RemovalCheck(StrEnum):
    """What the next scan says of one region that was picked."""

    GONE = "gone"
    PARTLY_GONE = "partly gone"
    STILL_THERE = "still there"
    CANNOT_TELL = "cannot tell"  # the dish does not lie as it did; the next scan looks again
    NOT_CHECKED = "not checked"  # the time for looking is over, and no scan could tell


class CalibrationKind(StrEnum):
    CAMERA = "camera"  # image pixels -> stage um
    PICKER = "picker"  # stage um -> picker um


@dataclass(frozen=True)
class StagePosition:
    """Centre of a field of view in the stage's frame, um."""

    x_um: float
    y_um: float
    z_um: float | None = None


@dataclass(frozen=True)
class FieldIdentity:
    """What makes two files pictures of the same field: all of it is equal.

    source : its name; two imagers may call two dishes the same
    dish : what the source's names call it
    scan : the key in the name, else the time in the name as text; None = the name says neither
    field : None where the name does not tell fields apart
    channel, plane, projection : of what is written into a file each
    """

    source: str
    dish: str
    scan: str | None = None
    field: str | None = None
    channel: str | None = None
    plane: int | None = None
    projection: str | None = None


@dataclass(frozen=True)
class NamedParts:
    """What a file name says. Everything that the name leaves out is None.

    dish : full id of the dish, for example ``3500003816/A1``
    scan : key that captures of one visit share; None = group by time
    plane : height of a Z-stack that has a file a plane, from 1; None = a single plane, or not known
    projection : what kind of projection of a Z-stack the file is, such as "max", or "projection"
        where the kind is not said; None = a single plane, or not known. A file is a plane of a
        stack or a projection of it, never both
    acquired_at : aware UTC
    elapsed_s : since the start of the experiment, where the name says that
    """

    dish: str
    pattern: str
    field: str | None = None
    scan: str | None = None
    channel: str | None = None
    plane: int | None = None
    elapsed_s: float | None = None
    acquired_at: datetime | None = None
    pixel_size_um: float | None = None
    stage: StagePosition | None = None
    projection: str | None = None

    def identity(self, source: str) -> FieldIdentity:
        """Of a file of that source with this name."""
        scan = self.scan
        if scan is None and self.acquired_at is not None:
            scan = self.acquired_at.isoformat()
        return FieldIdentity(
            source, self.dish, scan, self.field, self.channel, self.plane, self.projection
        )


@dataclass(frozen=True)
class Capture:
    """One image file of one field of view, as the record knows it."""

    id: int
    path: Path
    source: str
    sha256: str | None
    state: CaptureState
    attempts: int = 0
    crashes: int = 0
    reason: str | None = None
    message: str | None = None
    next_try_at: datetime | None = None
    first_seen_at: datetime | None = None
    field: str | None = None
    scan_id: int | None = None


@dataclass(frozen=True)
class EqualPicture:
    """A capture that shows the very same picture as one of another dish."""

    source: str
    dish: str
    at: datetime


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
class Aiming:
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


@dataclass(frozen=True)
class FieldMeasurement:
    """Everything that one capture says once it is segmented.

    shape : (rows, columns) of the capture
    pixel_size_from : "metadata", "side-car", "name", "source", "well" or None (lengths stay in
        pixels)
    acquired_at_from : "metadata", "side-car", "name" or "mtime"
    zone : the source's time zone, where the time rests on that
    stage : centre of the field of view
    overlay, label_map : files in the state folder, relative to it
    aims : how to remove regions with the tool of `aiming`; where a pixel size is known
    fingerprint : hash of the decoded pixels; the same picture under new bytes has the same
    beside : hash of what stood of the picture in files beside it; empty where nothing did
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
    pixel_size_um: float | None = None
    pixel_size_from: str | None = None
    assumed_pixel_size_um: float | None = None
    stage: StagePosition | None = None
    overlay: str | None = None
    label_map: str | None = None
    quality: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    took_s: float = 0.0
    fingerprint: str | None = None
    aims: tuple[Aim, ...] = ()
    aiming: Aiming | None = None
    zone: str | None = None
    beside: str = ""


class FieldsJoined(StrEnum):
    """How the fields of a scan were put together."""

    ONE = "one field"
    PLACED = "placed"  # by their places on the stage; what several show is counted once
    ADDED = "added up"  # their places are not known; what several show is counted several times


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
class FollowedColony(ScanColony):
    """A colony that is known from scan to scan by its number, from 1 in each dish.

    came_from : numbers of what merged into it, or of what it split off from, with this scan
    missed : scans in a row that did not find it, this one too; area and centre are then the last
        known ones
    """

    number: int = 0
    came_from: tuple[int, ...] = ()
    missed: int = 0


@dataclass(frozen=True)
class Following:
    """The colonies of a scan by their numbers.

    colonies : those of the scan in its order, then those that are kept in mind
    kept : (place in the scan before, place in `colonies`) of what is kept in mind
    gone : numbers that are not looked for any more
    """

    colonies: tuple[FollowedColony, ...]
    kept: tuple[tuple[int, int], ...] = ()
    gone: tuple[int, ...] = ()
    next_number: int = 1


@dataclass(frozen=True)
class ColonyPoint:
    """One point of a colony's own series."""

    at: datetime
    colony: FollowedColony


@dataclass(frozen=True, eq=False)
class ColonyScan:
    """The colonies of one scan and where they lie."""

    following: Following
    maps: tuple[ColonyMap, ...] = ()


@dataclass(frozen=True, eq=False)
class ColonyMap:
    """Where the colonies of a scan lie, coarsely.

    cell : side of a cell, in the frame's lengths
    origin : (row, column) of the first cell, in cells from the frame's origin
    values : (rows, columns) uint16: 0 not imaged, 1 no colony, else 2 + place in the scan's list
    """

    frame: str
    cell: float
    origin: tuple[int, int]
    values: NDArray[np.uint16]


@dataclass(frozen=True)
class Summary:
    """What the fields of one scan add up to. Areas are None where a pixel size is missing."""

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

    @property
    def look_at_it(self) -> bool:
        """Whether the network is so unsure that a person should look at the pictures."""
        return self.uncertainty >= UNSURE


@dataclass(frozen=True)
class DishLine:
    """A dish from its seeding to its end.

    label : what the names of `source` call the place; `name` is what people call this line: the
        label, with the source before it where two sources use it
    passage : how many passages on record led to it
    began_at, ended_at : None = with its first scan; not yet
    """

    name: str
    label: str
    source: str
    passage: int = 0
    began_at: datetime | None = None
    ended_at: datetime | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """What a person wrote beside a dish's series."""

    id: int
    dish: str
    at: datetime
    text: str
    who: str


@dataclass(frozen=True)
class Alert:
    """A change of a dish's status, or of what is known of it: a row before it is a message.

    dish : empty where the alert is about a source or the machine
    source : name of the source that a silence is about
    text : the alert as a sentence, where its numbers do not say it
    held_back : why it was not mailed; None = it was, or was never to be
    role : "change" of the dish's course, or an alarm; "again": told once more; "replaced": scans
        that came late have shown that it was not so
    """

    id: int
    dish: str
    kind: AlertKind
    status: DishStatus
    reading_id: int | None
    at: datetime
    fraction: float | None
    created_at: datetime
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    snoozed_until: datetime | None = None
    topic: AlertTopic = AlertTopic.DIFFERENTIATION
    severity: Severity = Severity.WARNING
    source: str | None = None
    text: str | None = None
    held_back: str | None = None
    role: str = "change"

    @property
    def about(self) -> str:
        """The dish, the source or the machine, to be shown."""
        if self.dish:
            return self.dish
        return f"source {self.source}" if self.source else "this machine"


@dataclass(frozen=True)
class UnreadableCapture:
    """A capture of a dish that says nothing: when it was taken (else first seen), and why."""

    at: datetime
    reason: str


@dataclass(frozen=True)
class DishStory:
    """What a picture or a page tells of a dish over a time; each part oldest first.

    since, until : the time that it tells of, both included; None = no bound
    """

    line: DishLine
    readings: tuple[Reading, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    alerts: tuple[Alert, ...] = ()
    unreadable: tuple[UnreadableCapture, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Calibration:
    """How one frame lies in another, fitted from taught points.

    matrix : 2 x 3, the last column a shift. Camera: (column, row) in pixels -> (x, y) in um;
        only its left 2 x 2 part is used, since each capture says where its centre stands.
        Picker: stage (x, y) in um -> picker (x, y) in um
    pixel_size_um, binning : camera: what `matrix` was taught with. None: `matrix` counts in pixels
        on both sides, and any pixel size goes with it
    max_age_days : None = does not grow old
    points : the taught points, four numbers each: row, column, x, y or x, y, picker x, picker y
    """

    id: str
    kind: CalibrationKind
    source: str
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    made_at: datetime | None = None
    made_by: str | None = None
    objective: str | None = None
    pixel_size_um: float | None = None
    binning: int = 1
    max_age_days: float | None = None
    rms_um: float | None = None
    residuals_um: tuple[float, ...] = ()
    points: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def pixel_to_stage(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of a camera: (column, row) step -> (x, y) step, both in pixels."""
        (a, b, _), (c, d, _) = self.matrix
        unit = self.pixel_size_um or 1.0
        return (a / unit, b / unit), (c / unit, d / unit)

    @property
    def mirrored(self) -> bool:
        """One of the two frames is the other's mirror image."""
        (a, b, _), (c, d, _) = self.matrix
        return a * d - b * c < 0


@dataclass(frozen=True)
class Hit:
    """One placing of the tool. Where to aim, in every frame that is known.

    order : of the whole plan, from 1
    pick_px : (row, column) in the capture of its target
    pick_x_um, pick_y_um : on the stage
    pick_z_um : None where the instrument gave no height
    clearance_um : distance to the nearest border of its region
    picker_x_um, picker_y_um : in the picker's own frame, where its calibration is known
    well_x_um, well_y_um : from the centre of its well or dish, x along the plate's columns
        (1, 2, 3), y up, against its rows (C, B, A); where the vessel is known
    snap_um : how far it was moved to lie on whole steps of the picker; all places above are where
        it lies now. None = the picker's step is not known, and nothing was moved
    """

    order: int
    pick_px: tuple[float, float]
    pick_x_um: float
    pick_y_um: float
    pick_z_um: float | None
    clearance_um: float
    picker_x_um: float | None = None
    picker_y_um: float | None = None
    well_x_um: float | None = None
    well_y_um: float | None = None
    snap_um: float | None = None


@dataclass(frozen=True)
class Target:
    """One region to remove, with one or more hits.

    polygon_px, holes_px : its outer outline and those of its holes, in pixels of its capture,
        (row, column), along the pixels' edges, none of them closed
    region_id : the capture's first letters and the region's label, ``c`` before it for a colony
    inscribed_radius_um : of the largest circle inside the region
    hits : at least one, in the order in which to set them
    uncertainty : 0..1, mean entropy of the class distribution inside
    removable_um2 : what the tool can remove of the region at all, kept away from its borders
    covered_um2 : what the hits remove
    whole_colony : a colony past saving, undifferentiated cells and all
    """

    region_id: str
    capture_sha256: str
    acquired_at: datetime
    area_um2: float
    mean_probability: float
    inscribed_radius_um: float
    centroid_px: tuple[float, float]
    polygon_px: tuple[tuple[float, float], ...]
    hits: tuple[Hit, ...]
    uncertainty: float | None = None
    removable_um2: float | None = None
    covered_um2: float | None = None
    whole_colony: bool = False
    holes_px: tuple[Ring, ...] = ()

    @property
    def order(self) -> int:
        """Of its first hit."""
        return self.hits[0].order


@dataclass(frozen=True)
class RefusedRegion:
    """A differentiated region that the plan leaves where it is.

    reason : one or two words that do not change, such as "too thin"
    text : why, with the numbers; goes on a sentence that begins with the region
    polygon_px, holes_px : outlines, as of `Target`
    """

    region_id: str
    capture_sha256: str
    reason: str
    text: str
    polygon_px: tuple[tuple[float, float], ...]
    area_um2: float | None = None
    holes_px: tuple[Ring, ...] = ()


@dataclass(frozen=True)
class Handover:
    """Who was given a plan to carry out. Nobody else gets it.

    to : "folder" (its files lie where the picker looks) or "sila" (a client took it)
    token : tells one hand-over from another
    unwritten : (format, why) of those that could not be written; the others were
    """

    to: str
    token: str
    at: datetime
    unwritten: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RegionFate:
    """What became of one region of a plan. None: nothing was said of it yet.

    hits : numbers within the region, from 1, of those that were set, where only some were and it
        is known which
    gone_share : how much of what its hits were to remove was background at the check, 0..1
    checked_by : id of the reading that checked it
    """

    region_id: str
    outcome: PickOutcome | None = None
    reason: str | None = None
    check: RemovalCheck | None = None
    gone_share: float | None = None
    checked_by: int | None = None
    hits: tuple[int, ...] | None = None


@dataclass(frozen=True)
class RegionVerdict:
    """What a scan says of one region that was picked. gone_share : None = it cannot be told"""

    plan_id: str
    region_id: str
    check: RemovalCheck
    gone_share: float | None


@dataclass(frozen=True)
class Grounds:
    """What the coordinates of a plan rest on, each as a hash of its numbers: an id may be kept
    while what it names is changed. None: there is none.
    """

    camera: str | None = None
    picker: str | None = None
    vessel: str | None = None


@dataclass(frozen=True)
class RemovalPlan:
    """Regions of a dish to remove, with pick points in the stage's frame, and in the picker's
    where its calibration is known.

    left_out : sentences on what the plan does not hold
    aiming, grounds : None where a plan does not say
    covered_um2 : what its hits remove; where they overlap, counted once. None as above
    source, label : of its dish; empty before the plan is on record
    """

    id: str
    dish: str
    reading_id: int
    status: PlanStatus
    created_at: datetime
    expires_at: datetime
    model_sha256: str
    settings_sha256: str
    calibration_id: str
    targets: tuple[Target, ...]
    left_out: tuple[str, ...] = ()
    approved_by: str | None = None
    approved_at: datetime | None = None
    picker_calibration_id: str | None = None
    aiming: Aiming | None = None
    refused: tuple[RefusedRegion, ...] = ()
    grounds: Grounds | None = None
    covered_um2: float | None = None
    handover: Handover | None = None
    picked_at: datetime | None = None
    fates: tuple[RegionFate, ...] = ()
    source: str = field(default="", compare=False)
    label: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        """What the source's names call the dish, whatever people do: a plate's barcode and well."""
        return self.label or self.dish

    @property
    def to_check(self) -> tuple[str, ...]:
        """Regions that were picked and of which a scan may still say something certain."""
        picked = (PickOutcome.PICKED, PickOutcome.PARTLY_PICKED)
        return tuple(
            fate.region_id
            for fate in self.fates
            if fate.outcome in picked and fate.check in (None, RemovalCheck.CANNOT_TELL)
        )

    @property
    def region_names(self) -> dict[str, str]:
        """What a region may be called, its id or its number from 1 in the order -> its id."""
        ordered = sorted(self.targets, key=lambda target: target.order)
        numbers = {str(number): one.region_id for number, one in enumerate(ordered, start=1)}
        return numbers | {one.region_id: one.region_id for one in ordered}

    @property
    def frame(self) -> str:
        """In which frame lists for the picker give their points: "stage" or "picker"."""
        return "stage" if self.picker_calibration_id is None else "picker"

    @property
    def area_um2(self) -> float:
        """Of its regions, all that they cover; its hits remove less."""
        return sum(target.area_um2 for target in self.targets)

    @property
    def visits(self) -> tuple[tuple[Target, Hit], ...]:
        """Every hit with its region, in the order in which to set them."""
        pairs = [(target, hit) for target in self.targets for hit in target.hits]
        return tuple(sorted(pairs, key=lambda pair: pair[1].order))


@dataclass(frozen=True)
class Message:
    """One row of the outbox: something that must reach somebody.

    channel : "email", "channel" (one of Apprise), "removal" or "withdrawal" (the picker's folder)
    subject_id : id of the alert or the plan that it speaks of
    shares : others that go in the same mail
    mail_id : of its mail, for as long as it is tried
    waits_for_setting : it was refused for what a changed setting may cure
    """

    id: int
    channel: str
    subject_id: str
    recipient: str
    attempts: int
    created_at: datetime
    next_try_at: datetime
    last_error: str | None = None
    delivered_at: datetime | None = None
    failed_at: datetime | None = None
    delivered_to: str | None = None
    shares: tuple[Message, ...] = ()
    mail_id: str = ""
    waits_for_setting: bool = False
