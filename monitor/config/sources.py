"""Sources: folders that imagers write into, how they name files, what they say of the stage."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from math import isfinite
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from monitor.config.name_presets import NAME_PRESETS
from monitor.config.values import PathField as _PathField
from monitor.config.values import Positive as _Positive
from monitor.config.values import Row, named_zone
from monitor.config.values import Section as _Section
from monitor.culture.local_times import by_zone
from monitor.culture.plates import KINDS, PlateFit, fit_wells, straight


class CalibrationConfig(_Section):
    """How the camera stands on the stage. Without it no stage coordinates are given out.

    pixel_to_stage : 2 x 2; how far the stage moves, in pixels, for one step along (column, row);
        rows are x and y. [[1, 0], [0, 1]]: columns run along +x, rows along +y; [[1, 0], [0, -1]]:
        rows run against y. Times the pixel size it is um.
    pixel_size_um : the one it was made with; captures of another one are then refused
    """

    id: str = Field(default="unnamed", min_length=1)
    pixel_to_stage: tuple[Row, Row] = Field(default=((1.0, 0.0), (0.0, 1.0)), strict=False)
    rms_um: Annotated[float, Field(ge=0)] | None = None
    objective: str | None = None
    pixel_size_um: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] | None = None
    made_on: date | None = None
    max_age_days: _Positive | None = None

    @model_validator(mode="after")
    def _age_needs_a_day(self) -> Self:
        if self.max_age_days is not None and self.made_on is None:
            raise ValueError("max_age_days needs made_on, for example made_on: 2026-11-03")
        return self

    @model_validator(mode="after")
    def _is_invertible_and_of_unit_scale(self) -> Self:
        (a, b), (c, d) = self.pixel_to_stage
        lengths = (a * a + c * c) ** 0.5, (b * b + d * d) ** 0.5
        skew = abs(a * b + c * d)
        if not all(0.9 <= length <= 1.1 for length in lengths) or skew > 0.1:
            raise ValueError(
                "pixel_to_stage must be a rotation or a flip of scale 1, for example "
                "[[1, 0], [0, -1]]; the pixel size is a separate setting"
            )
        return self


class StageLimitsConfig(_Section):
    """How far the stage may be sent, um. Nothing outside is ever aimed at."""

    x: Row
    y: Row

    @model_validator(mode="after")
    def _ranges_are_in_order(self) -> Self:
        for axis, (low, high) in (("x", self.x), ("y", self.y)):
            if not (isfinite(low) and isfinite(high) and low < high):
                raise ValueError(f"{axis} must be [lowest, highest] in um, is [{low}, {high}]")
        return self

    def hold(self, x_um: float, y_um: float) -> bool:
        return self.x[0] <= x_um <= self.x[1] and self.y[0] <= y_um <= self.y[1]


Direction = Literal["+x", "-x", "+y", "-y"]


class VesselConfig(_Section):
    """What the cells live in, and where it lies on the stage.

    centre_um : stage (x, y) of the centre of well A1, or of the dish
    taught_wells : instead of it, stage (x, y) of the centres of two or more wells by their names:
        the plate may then lie askew
    columns_run, rows_run : which way the stage's numbers go from well A1 to A2, and from A1 to B1
    well_pitch_mm, well_diameter_mm : None = what is usual for `kind`
    a1_from_corner_mm : from the left and the upper edge of the plate to the centre of A1, by the
        maker's drawing; None = by ANSI/SLAS 4-2004, which knows 96 and 384 wells
    """

    kind: Literal["dish", "6-well", "12-well", "24-well", "48-well", "96-well", "384-well"]
    centre_um: Row | None = None
    taught_wells: dict[str, Row] | None = None
    columns_run: Direction = "+x"
    rows_run: Direction = "+y"
    well_pitch_mm: Annotated[float, Field(gt=0.5, le=150)] | None = None
    well_diameter_mm: Annotated[float, Field(gt=0.5, le=150)] | None = None
    a1_from_corner_mm: Row | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.columns_run[1] == self.rows_run[1]:
            raise ValueError("columns_run and rows_run must be one along x and one along y")
        if (self.centre_um is None) == (self.taught_wells is None):
            raise ValueError(
                "give either centre_um or taught_wells, such as {A1: [14380, 11240], "
                "H12: [113380, 74240]}"
            )
        if self.centre_um is not None and not all(isfinite(value) for value in self.centre_um):
            raise ValueError("centre_um must be two numbers in um")
        if self.taught_wells is not None and self.kind == "dish":
            raise ValueError("a dish has no wells to teach; give its centre_um")
        if self.kind == "dish" and self.well_diameter_mm is None:
            raise ValueError("a dish needs its well_diameter_mm, for example 35")
        try:
            _ = self.lies
        except ValueError as problem:
            raise ValueError(f"taught_wells: {problem}") from problem
        return self

    @property
    def lies(self) -> PlateFit:
        """How it lies on the stage."""
        if self.taught_wells is None:
            assert self.centre_um is not None
            return straight(self.centre_um, self.columns_run, self.rows_run)
        pitch_mm = self.well_pitch_mm or KINDS[self.kind].pitch_mm
        return fit_wells(self.kind, pitch_mm, self.columns_run, self.rows_run, self.taught_wells)


class SourceSettings(_Section):
    """What holds for the captures of one folder.

    experiment_start : for names that give the time since the start; without an offset it is in
        `timezone`
    channel, plane : of what imagers write into several planes or files, the one to look at; plane
        "projection": that of the stack, and no plane of it
    objective : a calibration for another one is refused
    binning : camera pixels a side that are joined into one pixel of a capture
    feeder_layer : the colonies grow on feeder cells: spread cells count as differentiated only
        inside a colony
    """

    names: str = Field(default="auto", min_length=1)
    timezone: str = "UTC"
    experiment_start: Annotated[datetime | None, Field(strict=False)] = None
    pixel_size_um: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] | None = None
    well_diameter_mm: Annotated[float, Field(gt=0.5, le=150)] | None = None
    objective: str | None = None
    binning: Annotated[int, Field(ge=1, le=16)] = 1
    calibration: CalibrationConfig | None = None
    vessel: VesselConfig | None = None
    stage_limits_um: StageLimitsConfig | None = None
    fields_per_scan: Annotated[int, Field(ge=1)] | None = None
    scan_gap_s: _Positive = 900.0
    scan_quiet_s: Annotated[float, Field(ge=0)] = 20.0
    channel: str | None = None
    plane: Annotated[int, Field(ge=1)] | Literal["projection"] = 1
    feeder_layer: bool = False

    @field_validator("experiment_start", mode="before")
    @classmethod
    def _start_is_a_moment(cls, value: object) -> object:
        if value is None or isinstance(value, datetime):
            return value
        try:
            if isinstance(value, str) and ":" in value:
                return datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        raise ValueError(
            "must be a date with a time of day, such as 2026-11-02 03:00, with an offset "
            "(+09:00, Z) unless it is in the source's timezone"
        )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        return named_zone(value)

    @field_validator("names")
    @classmethod
    def _pattern_is_known_or_compiles(cls, value: str) -> str:
        if value == "auto" or value in NAME_PRESETS:
            return value
        if "(?P<" not in value:
            raise ValueError(
                f"there is no such name pattern; use auto, {', '.join(NAME_PRESETS)}, or a regular "
                "expression with named groups such as (?P<dish>...)"
            )
        try:
            groups = re.compile(value).groupindex
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        if not {"dish", "well", "plate", "barcode"} & set(groups):
            raise ValueError("the pattern needs a group (?P<dish>...) or (?P<well>...)")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def start(self) -> datetime | None:
        """When the experiment began, aware UTC."""
        start = self.experiment_start
        if start is None:
            return None
        return start.astimezone(UTC) if start.tzinfo else by_zone(start, self.zone)


class UnlistedSettings(SourceSettings):
    """What holds for captures that belong to no source.

    well_diameter_mm : a well of a 96-well plate, where a picture shows a whole round well
    """

    well_diameter_mm: Annotated[float, Field(gt=0.5, le=150)] | None = 6.4


class SourceConfig(SourceSettings):
    """One folder that an imager writes into. It is read, never written.

    formerly : names that it had before: their dishes are its own
    expected_interval_h : how often each dish is scanned; None = its silence is not noticed
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: _PathField
    formerly: tuple[str, ...] = Field(default=(), strict=False)
    watch: Literal["auto", "events", "polling"] = "auto"
    settle_s: Annotated[float, Field(ge=0, le=3600)] = 2.0
    young_s: Annotated[float, Field(ge=0)] = 600.0
    rescan_s: _Positive = 60.0
    poll_s: _Positive = 5.0
    expected_interval_h: _Positive | None = None
