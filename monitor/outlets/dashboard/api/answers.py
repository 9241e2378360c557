"""What the API answers: typed, so that its description is made of the same lines."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict

from monitor.culture import Alert, Annotation, ColonyPoint, Reading, RemovalPlan
from monitor.outlets.dashboard.choosing import plate_of
from monitor.outlets.wording import clean, well_and_plate
from monitor.record.overviews import DishOverview, FieldImage


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReadingAnswer(Answer):
    """One scan of a dish. Areas are null where the pixel size is not known; shares are 0..1."""

    id: int
    dish: str
    at: AwareDatetime
    version: int
    fields: int
    background_um2: float | None
    undifferentiated_um2: float | None
    differentiated_um2: float | None
    differentiated_fraction: float | None
    differentiated_low: float | None
    differentiated_high: float | None
    interval_calibrated: bool | None
    confluence: float | None
    uncertainty: float
    colonies: int
    colony_um2: float | None
    imaged_share: float | None
    joined: str
    in_doubt: bool | None
    doubts: list[str]
    image_kind: str | None
    pixel_size_um: float | None
    assumed_pixel_size_um: float | None
    model_sha256: str
    settings_sha256: str

    @classmethod
    def of(cls, one: Reading) -> ReadingAnswer:
        low, high = one.doubt.interval or (None, None)
        return cls(
            id=one.id, dish=one.dish, at=one.at, version=one.version, fields=one.captures,
            background_um2=one.background_um2, undifferentiated_um2=one.undifferentiated_um2,
            differentiated_um2=one.differentiated_um2,
            differentiated_fraction=one.differentiated_fraction,
            differentiated_low=low, differentiated_high=high,
            interval_calibrated=None if low is None else one.doubt.calibrated,
            confluence=one.confluence, uncertainty=one.uncertainty, colonies=one.colonies,
            colony_um2=one.colony_um2, imaged_share=one.imaged_share, joined=str(one.joined),
            in_doubt=one.in_doubt, doubts=[clean(why) for why in one.why_in_doubt],
            image_kind=one.doubt.kind, pixel_size_um=one.pixel_size_um,
            assumed_pixel_size_um=one.assumed_pixel_size_um, model_sha256=one.model_sha256,
            settings_sha256=one.settings_sha256,
        )  # fmt: skip


class DishAnswer(Answer):
    """A dish and its last scan. judged_from : of a dish that is freshly passaged"""

    name: str
    label: str
    source: str
    plate: str | None
    well: str
    passage: int
    status: str
    severity: str | None
    ended_at: AwareDatetime | None
    judged_from: AwareDatetime | None
    last: ReadingAnswer | None

    @classmethod
    def of(cls, one: DishOverview) -> DishAnswer:
        return cls(
            name=one.name, label=one.label, source=one.source, plate=plate_of(one) or None,
            well=well_and_plate(one.name)[0], passage=one.passage, status=str(one.status),
            severity=None if one.severity is None else str(one.severity),
            ended_at=one.ended_at, judged_from=one.judged_from,
            last=None if one.last is None else ReadingAnswer.of(one.last),
        )  # fmt: skip


class Dishes(Answer):
    """total : how many fit; offset : of the first that is here"""

    total: int
    offset: int
    dishes: list[DishAnswer]


class Readings(Answer):
    """next : the `after` of what follows; null where nothing does"""

    readings: list[ReadingAnswer]
    next: int | None


class AlertAnswer(Answer):
    id: int
    dish: str | None
    source: str | None
    topic: str
    kind: str
    severity: str
    status: str
    role: str
    text: str | None
    at: AwareDatetime
    differentiated_fraction: float | None
    reading_id: int | None
    created_at: AwareDatetime
    closed_at: AwareDatetime | None
    acknowledged_at: AwareDatetime | None
    acknowledged_by: str | None
    note: str | None
    snoozed_until: AwareDatetime | None
    held_back: str | None

    @classmethod
    def of(cls, one: Alert) -> AlertAnswer:
        return cls(
            id=one.id, dish=one.dish or None, source=one.source, topic=str(one.topic),
            kind=str(one.kind), severity=str(one.severity), status=str(one.status), role=one.role,
            text=one.text, at=one.at, differentiated_fraction=one.fraction,
            reading_id=one.reading_id, created_at=one.created_at, closed_at=one.closed_at,
            acknowledged_at=one.acknowledged_at, acknowledged_by=one.acknowledged_by,
            note=one.note, snoozed_until=one.snoozed_until,
            held_back=None if one.held_back is None else str(one.held_back),
        )  # fmt: skip


class Alerts(Answer):
    """next : as of `Readings`"""

    alerts: list[AlertAnswer]
    next: int | None


class HitAnswer(Answer):
    """One placing of the tool; places as in docs/geometry.md."""

    order: int
    row_px: float
    column_px: float
    stage_x_um: float
    stage_y_um: float
    stage_z_um: float | None
    well_x_um: float | None
    well_y_um: float | None


class TargetAnswer(Answer):
    region: str
    area_um2: float
    covered_um2: float | None
    whole_colony: bool
    outcome: str | None
    check: str | None
    hits: list[HitAnswer]


class PlanAnswer(Answer):
    id: str
    dish: str
    status: str
    created_at: AwareDatetime
    expires_at: AwareDatetime
    approved_by: str | None
    approved_at: AwareDatetime | None
    picked_at: AwareDatetime | None
    area_um2: float
    covered_um2: float | None
    left_out: list[str]
    targets: list[TargetAnswer]

    @classmethod
    def of(cls, one: RemovalPlan) -> PlanAnswer:
        fates = {fate.region_id: fate for fate in one.fates}
        targets = []
        for target in one.targets:
            fate = fates.get(target.region_id)
            targets.append(TargetAnswer(
                region=target.region_id, area_um2=target.area_um2, covered_um2=target.covered_um2,
                whole_colony=target.whole_colony,
                outcome=None if fate is None or fate.outcome is None else str(fate.outcome),
                check=None if fate is None or fate.check is None else str(fate.check),
                hits=[HitAnswer(
                    order=hit.order, row_px=hit.pick_px[0], column_px=hit.pick_px[1],
                    stage_x_um=hit.pick_x_um, stage_y_um=hit.pick_y_um, stage_z_um=hit.pick_z_um,
                    well_x_um=hit.well_x_um, well_y_um=hit.well_y_um,
                ) for hit in target.hits],
            ))  # fmt: skip
        return cls(
            id=one.id, dish=one.dish, status=str(one.status), created_at=one.created_at,
            expires_at=one.expires_at, approved_by=one.approved_by, approved_at=one.approved_at,
            picked_at=one.picked_at, area_um2=one.area_um2, covered_um2=one.covered_um2,
            left_out=list(one.left_out), targets=targets,
        )  # fmt: skip


class Plans(Answer):
    plans: list[PlanAnswer]


class ColonyAnswer(Answer):
    """area_unit : um2, or px where the scan has no pixel size; is_cut : goes on beyond the image"""

    at: AwareDatetime
    number: int
    area: float
    area_unit: str
    differentiated_fraction: float
    is_cut: bool
    came_from: list[int]

    @classmethod
    def of(cls, one: ColonyPoint) -> ColonyAnswer:
        colony = one.colony
        return cls(
            at=one.at, number=colony.number, area=colony.area,
            area_unit="px" if colony.frame.endswith(" px") else "um2",
            differentiated_fraction=colony.differentiated_fraction, is_cut=colony.is_cut,
            came_from=list(colony.came_from),
        )  # fmt: skip


class Colonies(Answer):
    dish: str
    colonies: list[ColonyAnswer]


class NoteAnswer(Answer):
    at: AwareDatetime
    text: str
    who: str

    @classmethod
    def of(cls, one: Annotation) -> NoteAnswer:
        return cls(at=one.at, text=one.text, who=one.who)


class FieldAnswer(Answer):
    """picture : its overlay, an address of this server; null where there is none"""

    name: str
    differentiated_fraction: float | None
    in_doubt: bool
    picture: str | None

    @classmethod
    def of(cls, one: FieldImage, reading_id: int) -> FieldAnswer:
        address = f"/picture?reading={reading_id}&field={one.number}&size=full"
        return cls(
            name=clean(one.name), differentiated_fraction=one.differentiated_fraction,
            in_doubt=one.doubt.in_doubt, picture=None if one.overlay is None else address,
        )  # fmt: skip


class DishDetail(Answer):
    """All that stands on a dish's page; its whole series is in /readings."""

    dish: DishAnswer
    began_at: AwareDatetime | None
    parent: str | None
    children: list[str]
    readings: list[ReadingAnswer]
    fields: list[FieldAnswer]
    alerts: list[AlertAnswer]
    notes: list[NoteAnswer]
    plan: PlanAnswer | None


class WellAnswer(Answer):
    """step : of the colours; text : what stands in the well; words : the same in full"""

    well: str
    dish: str
    step: str
    text: str
    words: str
    has_alert: bool


class PlateAnswer(Answer):
    """name : null for dishes that are no wells of a plate"""

    name: str | None
    kind: str
    wells: list[WellAnswer]


class Plates(Answer):
    by: str
    plates: list[PlateAnswer]


class Status(Answer):
    """unreadable, waiting : captures; mark : as of /changes"""

    daemon_is_running: bool
    dishes: int
    critical: int
    differentiating: int
    above_limit: int
    undifferentiated: int
    freshly_passaged: int
    open_alerts: int
    plans_waiting: int
    unreadable: int
    waiting: int
    mark: str


class Changes(Answer):
    """mark : another one once there is something new"""

    mark: str


class ColumnAnswer(Answer):
    name: str
    kind: str
    unit: str | None
    words: str


class FileAnswer(Answer):
    name: str
    words: str
    columns: list[ColumnAnswer]


class Dictionary(Answer):
    """What the columns of exported files mean."""

    files: list[FileAnswer]
