"""Removal plans: regions, hits, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from monitor.culture.measurements import Ring, Targeting


class PlanStatus(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    EXPORTED = "exported"  # handed to the picker
    PICKED = "picked"  # carried out, in full or in part
    VERIFIED = "verified"  # a later scan looked whether the cells are gone
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


LIVE_PLANS: Final = (PlanStatus.DRAFT, PlanStatus.APPROVED, PlanStatus.EXPORTED)
"""They can still be carried out."""


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
    targeting, grounds : None where a plan does not say
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
    targeting: Targeting | None = None
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
