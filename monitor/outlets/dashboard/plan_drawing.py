"""A removal plan as shapes to be laid on its images, in pixels of the capture.

Outlines run along the edges of pixels, and whole numbers are their centres; a drawing begins at the
edge of the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.culture import RemovalPlan, ScanField, Target
from monitor.outlets.dashboard.cards import stamp
from monitor.outlets.wording import clean
from monitor.record.overviews import FieldImage
from monitor.record.store import Store

_MOST_FIELDS = 200
_CENTRE = 0.5


@dataclass(frozen=True)
class PlanShape:
    """number : of the region, None of one that is refused
    path : of its outline and holes, as in SVG; hits : (x, y, radius removed, radius touched)
    at : where its number stands
    """

    number: int | None
    path: str
    hits: tuple[tuple[float, float, float, float], ...]
    at: tuple[float, float]
    whole_colony: bool
    text: str


@dataclass(frozen=True)
class PlanField:
    """One capture of the plan's scan. picture : its address; None = it is gone"""

    name: str
    width: int
    height: int
    picture: str | None
    shapes: tuple[PlanShape, ...]
    letter: float

    @property
    def numbers(self) -> int:
        return sum(one.number is not None for one in self.shapes)


def numbered(plan: RemovalPlan) -> list[tuple[int, Target]]:
    """Its regions from 1, in the order in which the tool visits them."""
    return list(enumerate(sorted(plan.targets, key=lambda one: one.order), start=1))


def fields_of(plan: RemovalPlan, store: Store) -> list[PlanField]:
    """Those with something to remove, the most regions first; then those with what is refused."""
    fields = {one.capture_sha256: one for one in store.scans.scan_fields(plan.reading_id)}
    pictures = {
        one.overlay: _picture(plan.reading_id, one)
        for one in store.overviews.pictures(plan.reading_id, limit=_MOST_FIELDS)
        if one.overlay is not None
    }
    shapes: dict[str, list[PlanShape]] = {}
    for region in plan.refused:
        if region.capture_sha256 in fields:
            shape = PlanShape(
                None, _path([region.polygon_px, *region.holes_px]), (), (0.0, 0.0), False,
                f"left where it is: {clean(region.text)}",
            )  # fmt: skip
            shapes.setdefault(region.capture_sha256, []).append(shape)
    for number, target in numbered(plan):
        if target.capture_sha256 in fields:
            shape = _of_target(number, target, plan, fields[target.capture_sha256])
            shapes.setdefault(target.capture_sha256, []).append(shape)
    drawn = [_field(fields[sha256], pictures, tuple(found)) for sha256, found in shapes.items()]
    return sorted(drawn, key=lambda one: -one.numbers)


def _field(field: ScanField, pictures: dict[str, str], shapes: tuple[PlanShape, ...]) -> PlanField:
    rows, columns = field.measurement.shape
    return PlanField(
        name=clean(field.capture_name),
        width=columns,
        height=rows,
        picture=pictures.get(field.measurement.overlay or ""),
        shapes=shapes,
        letter=round(max(rows, columns) / 36, 1),
    )


def _of_target(number: int, target: Target, plan: RemovalPlan, field: ScanField) -> PlanShape:
    pixel_um = field.measurement.pixel_size_um
    tool = plan.targeting
    removes = touches = 0.0
    if tool is not None and pixel_um:
        removes, touches = tool.removes_um / 2 / pixel_um, tool.touches_um / 2 / pixel_um
    row, column = target.centroid_px
    return PlanShape(
        number=number,
        path=_path([target.polygon_px, *target.holes_px]),
        hits=tuple(
            (_of(hit.pick_px[1]), _of(hit.pick_px[0]), round(removes, 1), round(touches, 1))
            for hit in target.hits
        ),
        at=(_of(column), _of(row)),
        whole_colony=target.whole_colony,
        text=f"{'colony' if target.whole_colony else 'region'} {number}",
    )


def _picture(reading_id: int, field: FieldImage) -> str:
    of = stamp(field.overlay or "")
    return f"/picture?reading={reading_id}&field={field.number}&of={of}&size=large"


def _of(pixel: float) -> float:
    return round(pixel + _CENTRE, 1)


def _path(rings: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Of rings of (row, column)."""
    return " ".join(
        "M" + "L".join(f"{_of(column):g} {_of(row):g}" for row, column in ring) + "Z"
        for ring in rings
        if ring
    )
