"""What a writer gets to see: the plan, the pictures it was made from, and how the site wants it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from monitor.config import ColumnConfig
from monitor.config.outlets import CsvConfig, EchoConfig, OpentronsConfig, PylabrobotConfig
from monitor.culture import Hit, RemovalPlan, StagePosition, Target
from monitor.errors import OutletError
from monitor.stage.vessels import Vessel

# What a file is made of: for formats of one file a plan, {"": content}; for formats in pixels,
# one content a capture by the first letters of its hash.
Contents = Mapping[str, bytes]

# Hits keep their places on the stage; their places in the well follow from the vessel.
_SAME_PLACE_UM = 1.0


@dataclass(frozen=True)
class PlanImage:
    """A capture that a plan was made from.

    shape : (rows, columns)
    stage : centre of the field of view
    """

    name: str
    shape: tuple[int, int]
    pixel_size_um: float | None = None
    stage: StagePosition | None = None


@dataclass(frozen=True)
class Handout:
    """A plan with all that the formats need.

    pictures : by the capture's SHA-256
    calibration_rms_um : residual of the calibration named in the plan, where it is known
    vessel : of the plan's source, as it is configured now
    visited_before, visited_in_all : where the plan is one of several in a list: how many hits come
        before its own, and how many the list has; None = as many as the plan
    """

    plan: RemovalPlan
    pictures: Mapping[str, PlanImage] = field(default_factory=dict)
    calibration_rms_um: float | None = None
    columns: tuple[ColumnConfig, ...] = ()
    csv: CsvConfig = field(default_factory=CsvConfig)
    echo: EchoConfig = field(default_factory=EchoConfig)
    opentrons: OpentronsConfig = field(default_factory=OpentronsConfig)
    pylabrobot: PylabrobotConfig = field(default_factory=PylabrobotConfig)
    vessel: Vessel | None = None
    xy_device: str = "XYStage"
    z_device: str = "ZStage"
    visited_before: int = 0
    visited_in_all: int | None = None

    @property
    def targets(self) -> list[Target]:
        """In the order in which to visit them."""
        return sorted(self.plan.targets, key=lambda one: one.order)

    @property
    def visits(self) -> tuple[tuple[Target, Hit], ...]:
        """Every hit with its region, in the order in which to set them."""
        return self.plan.visits

    def visit(self, hit: Hit) -> int:
        """When the hit's turn is, from 1; in a list of several plans over all of them."""
        return self.visited_before + hit.order

    def label(self, target: Target, hit: Hit | None = None) -> str:
        """A name for a target, or one of its hits, that is safe in every format:
        ``03 0123456789ab-7``. Sorted by name they are in the order of the visits.
        """
        last = max(self.visited_in_all or 0, *(one.order for _, one in self.visits))
        width = max(2, len(str(last)))
        return f"{self.visit(hit or target.hits[0]):0{width}d} {target.region_id}"

    def by_capture(self) -> dict[str, list[Target]]:
        """The targets of each capture, by its SHA-256; in the order in which to visit them."""
        found: dict[str, list[Target]] = {}
        for target in self.targets:
            found.setdefault(target.capture_sha256, []).append(target)
        return found

    def picture(self, capture_sha256: str) -> PlanImage:
        """Raises OutletError where nothing is known of the capture."""
        try:
            return self.pictures[capture_sha256]
        except KeyError:
            raise OutletError(
                f"removal plan {self.plan.id}: the size of capture {capture_sha256[:12]} is not "
                "known; leave out the formats in pixels",
                permanent=True,
            ) from None


def refuse_other_vessel(handout: Handout) -> None:
    """Raises OutletError where hits do not lie in their well as the plan says, by the vessel as it
    is configured now: then one of the two is wrong.
    """
    if handout.vessel is None:
        return
    plan = handout.plan
    for _, hit in handout.visits:
        if hit.well_x_um is None or hit.well_y_um is None:
            continue
        now = handout.vessel.offset_um(plan.place, hit.pick_x_um, hit.pick_y_um)
        if math.dist(now, (hit.well_x_um, hit.well_y_um)) > _SAME_PLACE_UM:
            raise OutletError(
                f"removal plan {plan.id} of {plan.dish}: the source's vessel was changed since it "
                "was made, so that its positions in the well are out of date; the next scan "
                "makes a new one",
                permanent=True,
            )


Writer = Callable[[Handout], Contents]
Joined = Callable[[Sequence[Handout]], bytes]


def capture_part(capture_sha256: str) -> str:
    """How a file of one capture is told from those of the others."""
    return capture_sha256[:12]


def to_corner(point: tuple[float, float]) -> tuple[float, float]:
    """(row, column) with pixel centres at whole numbers -> (x, y) from the top left corner of the
    top left pixel, as QuPath, ImageJ and OME have it: pixel centres at a half.
    """
    return point[1] + 0.5, point[0] + 0.5


def utc_text(moment: datetime) -> str:
    """ISO 8601 with a Z, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
