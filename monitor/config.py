"""config.yaml -> frozen `Config`, a section a stage.

Unknown keys are errors. All problems of a file come at once, each with the file, the key and what
is allowed. Relative paths are relative to the folder that the file lies in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from monitor.config_problems import STAND_IN, THE_FILE, all_of, lines_of, problems_in
from monitor.config_values import PathField as _PathField
from monitor.config_values import Positive as _Positive
from monitor.config_values import Section as _Section
from monitor.config_values import TimeOfDay as _TimeOfDay
from monitor.config_values import named_zone
from monitor.culture import UNLISTED, Aiming, ToolKind
from monitor.decision_config import ClockConfig, VerificationConfig
from monitor.errors import ConfigError
from monitor.live_config import SilaConfig
from monitor.local_times import by_zone
from monitor.outlet_config import (
    Addressed,
    ChannelConfig,
    CheckInConfig,
    CsvConfig,
    DashboardConfig,
    DigestConfig,
    EchoConfig,
    OpentronsConfig,
    PylabrobotConfig,
    QPixLogConfig,
)
from monitor.plates import KINDS, PlateFit, fit_wells, straight

SYSTEM_CONFIG = Path("/etc/colonywatch/config.yaml")
NAME_PRESETS = (
    "celigo-field",
    "celigo-well",
    "incucyte",
    "incucyte-elapsed",
    "incucyte-raw",
    "imagexpress",
    "imagexpress-hcs",
    "operetta",
    "gen5",
    "incell",
    "yokogawa",
    "micro-manager",
    "dish-time",
    "dish-folder",
)
IMAGE_EXTENSIONS = (
    ".tif",
    ".tiff",
    ".btf",
    ".tf8",
    ".png",
    ".jpg",
    ".jpeg",
    # Read where the extra of that name is installed.
    ".nd2",
    ".lif",
    ".czi",
    ".oib",
    ".ozx",
    ".zarr",
    ".oif",
    # Noticed so that somebody is told that they cannot be read.
    ".oir",
    ".vsi",
)

_Row = Annotated[tuple[float, float], Field(strict=False)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class CalibrationConfig(_Section):
    """How the camera stands on the stage. Without it no stage coordinates are given out.

    pixel_to_stage : 2 x 2; how far the stage moves, in pixels, for one step along (column, row);
        rows are x and y. [[1, 0], [0, 1]]: columns run along +x, rows along +y; [[1, 0], [0, -1]]:
        rows run against y. Times the pixel size it is um.
    pixel_size_um : the one it was made with; captures of another one are then refused
    """

    id: str = Field(default="unnamed", min_length=1)
    pixel_to_stage: tuple[_Row, _Row] = Field(default=((1.0, 0.0), (0.0, 1.0)), strict=False)
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
                "[[1, 0], [0, -1]]; the pixel size is a setting of its own"
            )
        return self


class StageLimitsConfig(_Section):
    """How far the stage may be sent, um. Nothing outside is ever aimed at."""

    x: _Row
    y: _Row

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
    centre_um: _Row | None = None
    taught_wells: dict[str, _Row] | None = None
    columns_run: Direction = "+x"
    rows_run: Direction = "+y"
    well_pitch_mm: Annotated[float, Field(gt=0.5, le=150)] | None = None
    well_diameter_mm: Annotated[float, Field(gt=0.5, le=150)] | None = None
    a1_from_corner_mm: _Row | None = None

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
                f"no name pattern is called so; use auto, {', '.join(NAME_PRESETS)}, or a regular "
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


class SegmentationConfig(_Section):
    """model : "starter", or a folder that holds a model's weights, manifest and card."""

    model: str = Field(default="starter", min_length=1)


class RecordConfig(_Section):
    """folder : overlays, label maps, exports and, unless told otherwise, the database.

    database : SQLAlchemy URL; None = ``colonywatch.sqlite`` in `folder`
    """

    folder: _PathField = Path("state")
    database: str | None = None

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """Where it lies unless `database` says otherwise."""
        return self.folder / "colonywatch.sqlite"


class DifferentiationConfig(_Section):
    """When a dish counts as differentiating. Limits are settings of the lab, not a standard.

    critical_above : second, higher limit; None = there is none. A dish that is raised above it is
        critical at once
    worse_by : rise since the last alert that is told once more; None = it is not
    scans_needed, scans_considered : so many of the last so many scans must agree
    votes_within_h : only scans of the last so many hours agree or disagree with the newest
    agree_h : where more scans than that were taken within so many hours, the same share of them all
    new_series_after_days : scans before a pause of more days have no say in anything, and people
        are asked whether it is the same dish; None = however long ago, they are its scans
    trend_h : the slope of a series is that of its last hours; None = no slope, no forecast. A
        series that surely rises to a limit passes it with one scan
    rise_h : such a rise is looked for in so many hours, and in six scans at least
    rise_above_per_day, confluence_above, growth_below_per_day, doubtful_for_h : when to say that a
        dish rises fast, is ready to be passaged, does not grow, cannot be judged; None = not said
    cooldown_h : for so long after a mail that a dish has risen, it takes worsening or a critical
        limit to send another one on the same matter
    mail_within_h : an alert on a scan of longer ago is put on record and not mailed; None = mailed
    discard_above : a dish of a higher share is past saving: that is said, and no removal plan is
        made; None = there is no such limit
    """

    raise_above: _Fraction = Field(default=0.10)
    clear_below: _Fraction = Field(default=0.05)
    critical_above: _Fraction | None = Field(default=0.30)
    critical_clear_below: _Fraction = Field(default=0.20)
    worse_by: Annotated[float, Field(gt=0, le=1)] | None = Field(default=0.10)
    scans_needed: Annotated[int, Field(ge=1)] = 3
    scans_considered: Annotated[int, Field(ge=1)] = 4
    min_confluence: _Fraction = Field(default=0.02)
    votes_within_h: Annotated[float, Field(ge=1, le=2400)] = 96.0
    agree_h: Annotated[float, Field(ge=0, le=168)] = 8.0
    new_series_after_days: Annotated[float, Field(ge=1, le=3650)] | None = 14.0
    trend_h: _Positive | None = 30.0
    rise_h: _Positive = 20.0
    rise_above_per_day: Annotated[float, Field(gt=0, le=24)] | None = None
    confluence_above: Annotated[float, Field(gt=0, le=1)] | None = None
    growth_below_per_day: Annotated[float, Field(gt=0, le=24)] | None = None
    doubtful_for_h: _Positive | None = 24.0
    cooldown_h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 12.0
    mail_within_h: _Positive | None = 168.0
    discard_above: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=0.60)

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        all_of(self._limits_out_of_order)
        return self

    def _limits_out_of_order(self) -> list[str]:
        found = []
        if self.clear_below >= self.raise_above:
            found.append(
                f"clear_below ({self.clear_below}) must be below raise_above ({self.raise_above})"
            )
        if self.critical_above is not None and self.critical_clear_below >= self.critical_above:
            found.append(
                f"critical_clear_below ({self.critical_clear_below}) must be below critical_above "
                f"({self.critical_above})"
            )
        if self.scans_needed > self.scans_considered:
            found.append(
                f"scans_needed ({self.scans_needed}) cannot exceed scans_considered "
                f"({self.scans_considered})"
            )
        if self.trend_h is None:
            found += [
                f"{key} needs trend_h, for example trend_h: 30"
                for key in ("rise_above_per_day", "growth_below_per_day")
                if getattr(self, key) is not None
            ]
        return found


class OverrideConfig(_Section):
    """Other limits for some dishes. The first override that fits a dish counts.

    dishes : shell pattern of the dish's whole name, such as ``3500003816/*``
    source : only dishes of this source; None = of any
    limits : keys of `differentiation` with their other values
    """

    dishes: str = Field(default="*", min_length=1)
    source: str | None = None
    limits: dict[str, Any] = Field(min_length=1)

    def fits(self, dish: str, source: str) -> bool:
        return fnmatchcase(dish, self.dishes) and self.source in (None, source)


class SilenceConfig(_Section):
    """When it is said that nothing new comes, or soon will not.

    intervals : so many of a source's `expected_interval_h` may pass without a new capture
    forget_after_days : a dish that is silent for longer is not missed any more
    same_pictures : so many scans in a row with the very same picture are a stuck camera; None = not
    disk_free_gib, clock_jump_s : None = not watched
    """

    intervals: Annotated[float, Field(ge=1.2, le=100)] = 2.5
    forget_after_days: _Positive = 14.0
    same_pictures: Annotated[int, Field(ge=2)] | None = 3
    source_gone_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0
    disk_free_gib: _Positive | None = 2.0
    clock_jump_s: Annotated[float, Field(ge=5, allow_inf_nan=False)] | None = 120.0
    cooldown_h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 12.0


class TipConfig(_Section):
    """An aspirating tip: removes what lies under its bore, hurts what lies under its wall."""

    kind: Literal["tip"]
    inner_diameter_um: Annotated[float, Field(ge=5, le=10_000)]
    outer_diameter_um: Annotated[float, Field(ge=5, le=10_000)]

    @model_validator(mode="after")
    def _has_a_wall(self) -> Self:
        if self.outer_diameter_um < self.inner_diameter_um:
            raise ValueError(
                f"outer_diameter_um ({self.outer_diameter_um:g}) must be at least "
                f"inner_diameter_um ({self.inner_diameter_um:g})"
            )
        return self

    @property
    def removes_um(self) -> float:
        return self.inner_diameter_um

    @property
    def touches_um(self) -> float:
        return self.outer_diameter_um


class PinConfig(_Section):
    """A scraping pin: removes what it touches."""

    kind: Literal["pin"]
    diameter_um: Annotated[float, Field(ge=5, le=10_000)]

    @property
    def removes_um(self) -> float:
        return self.diameter_um

    @property
    def touches_um(self) -> float:
        return self.diameter_um


class LaserConfig(_Section):
    """A laser spot. halo_um : width of the ring about it that its heat may harm"""

    kind: Literal["laser"]
    diameter_um: Annotated[float, Field(ge=1, le=10_000)]
    halo_um: Annotated[float, Field(ge=0, le=1_000)] = 0.0

    @property
    def removes_um(self) -> float:
        return self.diameter_um

    @property
    def touches_um(self) -> float:
        return self.diameter_um + 2 * self.halo_um


ToolConfig = Annotated[TipConfig | PinConfig | LaserConfig, Field(discriminator="kind")]
_TOOLS: dict[str, TipConfig | PinConfig | LaserConfig] = {
    "tip-100": TipConfig(kind="tip", inner_diameter_um=100.0, outer_diameter_um=120.0)
}


class RemovalConfig(_Section):
    """Which regions are worth removing, with what, how carefully, and who says yes.

    tools, tool : tools by name, and the one that the picker holds
    positional_error_um : how far from its aim the picker may set the tool down, calibration and
        all
    step_um : the picker's smallest step along an axis; hits are laid on whole steps, and kept
        farther from borders for it. None = it is finer than matters
    border_um : how far off the borders of a label map may be
    safe_distance_um : left between what the tool touches and the nearest undifferentiated cell
    max_uncertainty : mean entropy of the class distribution in a region, 0..1
    max_undifferentiated : no hit touches a place where undifferentiated cells are more probable
    earlier_scans : so many scans before must have shown the place of a hit as differentiated;
        0 = none
    trust_first_scan : a dish without earlier scans is taken at its word
    whole_colony_above : colonies of a higher differentiated share go whole; None = never
    max_hits : of one plan; the surest regions come first
    """

    tools: dict[str, ToolConfig] = Field(default_factory=lambda: dict(_TOOLS), min_length=1)
    tool: str | None = None
    positional_error_um: Annotated[float, Field(ge=0, le=2_000)] = 10.0
    step_um: Annotated[float, Field(gt=0, le=1_000)] | None = None
    border_um: Annotated[float, Field(ge=0, le=1_000)] = 20.0
    safe_distance_um: Annotated[float, Field(ge=0, le=5_000)] = 30.0
    min_region_um2: _Positive = 10_000.0
    min_probability: _Fraction = Field(default=0.6)
    max_uncertainty: _Fraction = Field(default=0.5)
    max_undifferentiated: _Fraction = Field(default=0.05)
    earlier_scans: Annotated[int, Field(ge=0, le=10)] = 2
    trust_first_scan: bool = False
    whole_colony_above: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=0.75)
    max_hits: Annotated[int, Field(ge=1, le=5_000)] = 500
    approval: Literal["person", "rule"] = "person"
    expires_h: _Positive = 12.0

    @model_validator(mode="after")
    def _tool_is_known(self) -> Self:
        names = ", ".join(self.tools)
        if self.tool is not None and self.tool not in self.tools:
            raise ValueError(f"tool: no tool is called {self.tool!r}; known: {names}")
        if self.tool is None and len(self.tools) > 1:
            raise ValueError(f"tool: say which of the tools the picker holds: {names}")
        return self

    @property
    def aiming(self) -> Aiming:
        name = self.tool or next(iter(self.tools))
        tool = self.tools[name]
        return Aiming(
            tool=name,
            kind=ToolKind(tool.kind),
            removes_um=tool.removes_um,
            touches_um=tool.touches_um,
            positional_error_um=self.positional_error_um,
            border_um=self.border_um,
            safe_distance_um=self.safe_distance_um,
            step_um=self.step_um or 0.0,
        )


class DecisionsConfig(_Section):
    differentiation: DifferentiationConfig = DifferentiationConfig()
    overrides: tuple[OverrideConfig, ...] = Field(default=(), strict=False)
    silence: SilenceConfig = SilenceConfig()
    clock: ClockConfig = ClockConfig()
    removal: RemovalConfig = RemovalConfig()
    verification: VerificationConfig = VerificationConfig()

    def unsound_overrides(self) -> list[str]:
        """What is wrong in limits that are put in the place of others."""
        found = []
        for number, override in enumerate(self.overrides):
            try:
                self._overridden(override)
            except ValidationError as problem:
                for line in lines_of(problem, DifferentiationConfig):
                    key, text = line.split(": ", 1)
                    inner = "" if key == THE_FILE else f".{key}"
                    found.append(f"decisions.overrides[{number}].limits{inner}: {text}")
        return found

    def limits_for(self, dish: str, source: str, label: str = "") -> DifferentiationConfig:
        """The limits that hold for a dish, by its name or by what captures call it."""
        for override in self.overrides:
            if override.fits(dish, source) or (label and override.fits(label, source)):
                return self._overridden(override)
        return self.differentiation

    def _overridden(self, override: OverrideConfig) -> DifferentiationConfig:
        return DifferentiationConfig.model_validate(
            {**self.differentiation.model_dump(), **override.limits}
        )


class RecipientConfig(Addressed):
    """Somebody who gets mail. In config.yaml also the address alone.

    digest : of the day; None = who gets warnings gets it
    """

    address: str
    digest: bool | None = None

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", value):
            raise ValueError(f"{value!r} is no mail address (name@host)")
        return value


class QuietHoursConfig(_Section):
    """From `begin` to `end`, over midnight where `end` is the earlier one, by the lab's clock."""

    begin: _TimeOfDay = time(22)
    end: _TimeOfDay = time(7)

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.begin == self.end:
            raise ValueError("begin and end are the same; leave quiet_hours out, or null, for none")
        return self


class EmailConfig(_Section):
    """server : None = no server: each mail is written as a file into `mailbox`.

    ca_file : certificates (PEM) of who signed the server's, beside those that the machine trusts
    mailbox : folder for mails; None = ``mailbox`` in the record's folder
    gather_s : what is not critical waits so long for others of its source, to share a mail
    quiet_hours : None = none
    """

    server: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: _PathField | None = None
    username: str | None = None
    password_file: _PathField | None = None
    sender: str = "colonywatch@localhost"
    recipients: tuple[RecipientConfig, ...] = Field(
        default=(RecipientConfig(address="culture-room@localhost"),), strict=False
    )
    gather_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    quiet_hours: QuietHoursConfig | None = None
    digest: DigestConfig = DigestConfig()
    mailbox: _PathField | None = None
    timeout_s: _Positive = 20.0

    @field_validator("recipients", mode="before")
    @classmethod
    def _addresses_may_stand_alone(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"address": one} if isinstance(one, str) else one for one in value]

    @field_validator("recipients")
    @classmethod
    def _addresses_differ(cls, value: tuple[RecipientConfig, ...]) -> tuple[RecipientConfig, ...]:
        addresses = [one.address for one in value]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"{address} stands twice")
        return value

    @model_validator(mode="after")
    def _password_goes_with_a_user(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: set both or neither")
        if self.username and self.security == "none":
            raise ValueError("a password is not sent over an open line: use starttls or tls")
        return self

    @property
    def digest_readers(self) -> tuple[RecipientConfig, ...]:
        return tuple(
            one
            for one in self.recipients
            if (one.from_severity == "warning" if one.digest is None else one.digest)
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(one.address for one in self.recipients)


ExportFormat = Literal[
    "csv",
    "json",
    "csv-mapped",
    "csv-echo",
    "pos",
    "stg",
    "useq",
    "geojson",
    "ome-xml",
    "imagej-roi",
    "opentrons",
    "pylabrobot",
]
PickValue = Literal[
    "export_id",
    "dish_id",
    "plate",
    "well",
    "region_id",
    "label",
    "visit",
    "order",
    "hit",
    "hits",
    "pick_x_um",
    "pick_y_um",
    "pick_z_um",
    "frame",
    "stage_x_um",
    "stage_y_um",
    "well_x_um",
    "well_y_um",
    "area_um2",
    "equiv_diameter_um",
    "inscribed_radius_um",
    "clearance_um",
    "snap_um",
    "mean_probability",
    "tool",
    "calibration_id",
    "approved_by",
    "expires_at_utc",
]


class ColumnConfig(_Section):
    """One column of a pick list for an importer that maps columns: a value, or a fixed text.

    unit : for values in um
    decimals : for numbers; None = what the unit needs (`usual_decimals`)
    """

    header: str = Field(min_length=1)
    value: PickValue | None = None
    text: str | None = None
    unit: Literal["um", "mm", "m"] = "um"
    decimals: Annotated[int, Field(ge=0, le=9)] | None = None

    @model_validator(mode="after")
    def _is_a_value_or_a_text(self) -> Self:
        if (self.value is None) == (self.text is None):
            raise ValueError("give either value or text")
        if self.unit != "um" and not (self.value or "").endswith("_um"):
            raise ValueError(f"unit {self.unit} goes with lengths only (values that end in _um)")
        return self

    def usual_decimals(self, mark: str | None) -> int:
        """Down to a hundredth of a um where the decimal mark is known. Where it is not, none that
        can be done without.
        """
        if self.decimals is not None:
            return self.decimals
        if self.unit != "um":
            return {"mm": 4, "m": 7}[self.unit]
        return 0 if mark is None else 2


class PickLogsConfig(_Section):
    """folder : where the picker says what it did; None = nowhere

    settle_s : how long a log must stay as it is before it is read
    qpix : how logs of a QPix are meant; None = they are refused
    """

    folder: _PathField | None = None
    settle_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    qpix: QPixLogConfig | None = None


class RemovalOutletConfig(_Section):
    """handover : how approved plans reach the picker: as files in `folder`, or by a SiLA 2 client

    folder : where the picker looks for plans; None = ``removal`` in the record's folder.
    columns : of the format csv-mapped
    csv : separator and decimal mark of csv and csv-mapped
    echo : what csv-echo has dispensed
    opentrons, pylabrobot : what the protocols of these names use and do
    xy_device, z_device : labels of the stages in Micro-Manager's hardware configuration
    """

    handover: Literal["folder", "sila"] = "folder"
    folder: _PathField | None = None
    formats: tuple[ExportFormat, ...] = Field(default=("csv", "json"), strict=False, min_length=1)
    columns: tuple[ColumnConfig, ...] = Field(default=(), strict=False)
    csv: CsvConfig = CsvConfig()
    echo: EchoConfig = EchoConfig()
    opentrons: OpentronsConfig = OpentronsConfig()
    pylabrobot: PylabrobotConfig = PylabrobotConfig()
    xy_device: str = Field(default="XYStage", min_length=1)
    z_device: str = Field(default="ZStage", min_length=1)
    pick_logs: PickLogsConfig = PickLogsConfig()

    @model_validator(mode="after")
    def _formats_are_sound(self) -> Self:
        if len(set(self.formats)) < len(self.formats):
            raise ValueError("formats names one of them twice")
        if "csv-mapped" in self.formats and not self.columns:
            raise ValueError("csv-mapped needs columns, such as [{header: X, value: pick_x_um}]")
        if "opentrons" in self.formats and self.opentrons.labware is None:
            raise ValueError(
                "opentrons needs the plate: opentrons: {labware: corning_96_wellplate_360ul_flat}"
            )
        if "pylabrobot" in self.formats and self.pylabrobot.plate is None:
            raise ValueError(
                "pylabrobot needs the plate: pylabrobot: {plate: cor_96_wellplate_360uL_Fb}"
            )
        return self


class OutletsConfig(_Section):
    """timezone : of the lab, in which mails tell times and hours count; None = that of the sources
    where they share one, else UTC
    """

    timezone: str | None = None
    email: EmailConfig = EmailConfig()
    channels: tuple[ChannelConfig, ...] = Field(default=(), strict=False)
    removal: RemovalOutletConfig = RemovalOutletConfig()
    dashboard: DashboardConfig = DashboardConfig()
    check_in: CheckInConfig = CheckInConfig()
    sila: SilaConfig = SilaConfig()

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str | None) -> str | None:
        return None if value is None else named_zone(value)


class ComputeConfig(_Section):
    """threads : processor threads of the segmentation worker; None = all

    capture_timeout_s : a capture that takes longer is stuck; its worker is ended and started anew
    """

    threads: Annotated[int, Field(ge=1)] | None = None
    capture_timeout_s: Annotated[float, Field(ge=10)] = 900.0


class Config(_Section):
    """The whole configuration.

    unlisted : what holds for paths given to a command that belong to no source
    """

    sources: tuple[SourceConfig, ...] = Field(default=(), strict=False)
    unlisted: UnlistedSettings = UnlistedSettings()
    segmentation: SegmentationConfig = SegmentationConfig()
    record: RecordConfig = RecordConfig()
    decisions: DecisionsConfig = DecisionsConfig()
    outlets: OutletsConfig = OutletsConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        all_of(
            self.decisions.unsound_overrides,
            self._equal_source_names,
            self._equal_source_folders,
            self._former_names_in_use,
            self._overrides_of_unknown_sources,
            self._readers_of_unknown_sources,
            self._equal_channel_names,
            self._pick_logs_among_others,
        )
        return self

    def _equal_source_names(self) -> list[str]:
        names = [source.name for source in self.sources]
        return [
            f"two sources are called {name!r}; each needs its own name"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def _equal_source_folders(self) -> list[str]:
        paths = [source.path for source in self.sources]
        return [
            f"two sources have the folder {path}; each needs its own, or its captures would be of "
            "two dishes"
            for path in sorted({path for path in paths if paths.count(path) > 1})
        ]

    def _former_names_in_use(self) -> list[str]:
        names = {source.name for source in self.sources}
        found = [
            f"a source cannot be called {UNLISTED!r}: so is called what belongs to no source"
            for name in names
            if name == UNLISTED
        ]
        said: set[str] = set()
        for number, source in enumerate(self.sources):
            for old in source.formerly:
                if old in names:
                    found.append(
                        f"sources[{number}].formerly: a source is called {old!r} now; only a name "
                        "that no source has any more can be a former one"
                    )
                elif old in said:
                    found.append(
                        f"sources[{number}].formerly: {old!r} is the former name of another source "
                        "too; its dishes go on in one of them"
                    )
                said.add(old)
        return found

    @property
    def _known_sources(self) -> list[str]:
        named = {source.name for source in self.sources if STAND_IN not in source.name}
        return sorted(named | {UNLISTED})

    def _overrides_of_unknown_sources(self) -> list[str]:
        known = self._known_sources
        return [
            f"decisions.overrides[{number}].source: no source is called {override.source!r}; "
            f"known: {', '.join(known)}"
            for number, override in enumerate(self.decisions.overrides)
            if self.sources and override.source is not None and override.source not in known
        ]

    def _readers_of_unknown_sources(self) -> list[str]:
        known = self._known_sources
        addressed: dict[str, Sequence[Addressed]] = {
            "email.recipients": self.outlets.email.recipients,
            "channels": self.outlets.channels,
        }
        return [
            f"outlets.{key}[{number}].sources: no source is called {source!r}; "
            f"known: {', '.join(known)}"
            for key, readers in addressed.items()
            for number, reader in enumerate(readers)
            for source in reader.sources
            if self.sources and source not in known
        ]

    def _equal_channel_names(self) -> list[str]:
        names = [channel.name for channel in self.outlets.channels]
        return [
            f"outlets.channels: two are called {name!r}; each needs its own name"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def _pick_logs_among_others(self) -> list[str]:
        taken = {self.removal_folder, *(source.path for source in self.sources)}
        if self.outlets.removal.pick_logs.folder not in taken:
            return []
        return [
            "outlets.removal.pick_logs.folder: is the folder of the plans or of a source; "
            "give the picker's logs a folder of their own"
        ]

    @property
    def overlay_folder(self) -> Path:
        return self.record.folder / "overlays"

    @property
    def label_folder(self) -> Path:
        return self.record.folder / "labels"

    @property
    def mailbox(self) -> Path:
        return self.outlets.email.mailbox or self.record.folder / "mailbox"

    @property
    def secret_file(self) -> Path:
        return self.outlets.dashboard.secret_file or self.record.folder / "links.secret"

    @property
    def removal_folder(self) -> Path:
        return self.outlets.removal.folder or self.record.folder / "removal"

    @property
    def sila_folder(self) -> Path:
        """What the SiLA 2 server keeps: its id, its key and its certificate."""
        return self.record.folder / "sila"

    def zone_of(self, source: str | None = None) -> ZoneInfo:
        """The lab's zone; else the source's; for what is of no source, the one that all share."""
        if self.outlets.timezone is not None:
            return ZoneInfo(self.outlets.timezone)
        zones = {one.timezone for one in self.sources if source in (None, one.name)}
        return ZoneInfo(zones.pop() if len(zones) == 1 else "UTC")

    def source_of(self, path: Path) -> SourceConfig | None:
        """The source whose folder holds `path`; the innermost where sources are nested."""
        holding = [source for source in self.sources if path.is_relative_to(source.path)]
        return max(holding, key=lambda source: len(source.path.parts), default=None)

    def with_state(self, folder: Path) -> Config:
        """The same configuration with everything that is written in `folder` instead.

        Mail then goes to a mailbox folder too and never to a server, so that a trial reaches
        nobody, and links to no dashboard.
        """
        folder = folder.absolute()
        return self.model_copy(
            update={
                "record": RecordConfig(folder=folder),
                "outlets": self.outlets.model_copy(
                    update={
                        "email": self.outlets.email.model_copy(
                            update={
                                "server": None,
                                "mailbox": None,
                                "username": None,
                                "password_file": None,
                                "ca_file": None,
                            }
                        ),
                        "removal": self.outlets.removal.model_copy(
                            update={"folder": None, "pick_logs": PickLogsConfig()}
                        ),
                        "channels": (),
                        "check_in": CheckInConfig(),
                        "dashboard": self.outlets.dashboard.model_copy(
                            update={"url": None, "secret_file": None}
                        ),
                    }
                ),
            }
        )


def settings_sha256(config: Config, source: SourceSettings) -> str:
    """Hash of every setting that a measurement of a capture of `source` depends on."""
    removal = config.decisions.removal
    relevant = {
        # The model is named by its own hash, wherever its folder lies.
        "segmentation": config.segmentation.model_dump(mode="json", exclude={"model"}),
        "pixel_size_um": source.pixel_size_um,
        "well_diameter_mm": source.well_diameter_mm,
        "channel": source.channel,
        "aiming": removal.model_dump(
            mode="json",
            include={"min_region_um2", "min_probability", "max_undifferentiated"}
            | {"whole_colony_above", "earlier_scans"},
        )
        | asdict(removal.aiming),
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def find_config(given: Path | None) -> Path | None:
    """The file to read: the one given, ./config.yaml, /etc/colonywatch/config.yaml, or None."""
    if given is not None:
        return given
    for candidate in (Path("config.yaml"), SYSTEM_CONFIG):
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            continue  # a working folder that this account may not enter
    return None


def load_config(path: Path | None) -> Config:
    """Read and check a configuration; None gives the built-in defaults.

    Raises ConfigError with one line a problem.
    """
    if path is None:
        return _with_absolute_paths(Config(), Path.cwd())
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(
            f"{path}: cannot be read ({problem.strerror}); give another with --config FILE"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: is not UTF-8 text ({problem.reason})") from problem
    return parse_config(text, where=path)


def parse_config(text: str, *, where: Path) -> Config:
    """Check the text of a configuration. `where` names it in errors and anchors its paths."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as problem:
        raise ConfigError(f"{where}: is not valid YAML: {_one_line(problem)}") from problem
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping of sections, is a {type(raw).__name__}")
    try:
        config = Config.model_validate(raw)
    except ValidationError as problem:
        lines, rest = problems_in(raw, Config, problem)
        with suppress(RuntimeError):
            rest = rest and _with_absolute_paths(rest, where.absolute().parent)
        text = "\n".join(f"{where}: {line}" for line in lines)
        raise ConfigError(text, rest=rest) from problem
    try:
        return _with_absolute_paths(config, where.absolute().parent)
    except RuntimeError as problem:  # ~name of a user whom this machine does not know
        raise ConfigError(f"{where}: a path begins with ~ and has no home: {problem}") from problem


def _with_absolute_paths(config: Config, anchor: Path) -> Config:
    def absolute(path: Path | None) -> Path | None:
        return None if path is None else (anchor / path.expanduser())

    email = config.outlets.email
    return config.model_copy(
        update={
            "sources": tuple(
                source.model_copy(update={"path": absolute(source.path)})
                for source in config.sources
            ),
            "segmentation": _absolute_model(config.segmentation, anchor),
            "record": config.record.model_copy(
                update={
                    "folder": absolute(config.record.folder),
                    "database": _absolute_database(config.record.database, anchor),
                }
            ),
            "outlets": config.outlets.model_copy(
                update={
                    "email": email.model_copy(
                        update={
                            "password_file": absolute(email.password_file),
                            "ca_file": absolute(email.ca_file),
                            "mailbox": absolute(email.mailbox),
                        }
                    ),
                    "removal": config.outlets.removal.model_copy(
                        update={
                            "folder": absolute(config.outlets.removal.folder),
                            "pick_logs": config.outlets.removal.pick_logs.model_copy(
                                update={"folder": absolute(config.outlets.removal.pick_logs.folder)}
                            ),
                        }
                    ),
                    "channels": tuple(
                        channel.model_copy(update={"url_file": absolute(channel.url_file)})
                        for channel in config.outlets.channels
                    ),
                    "check_in": config.outlets.check_in.model_copy(
                        update={"url_file": absolute(config.outlets.check_in.url_file)}
                    ),
                    "dashboard": config.outlets.dashboard.model_copy(
                        update={"secret_file": absolute(config.outlets.dashboard.secret_file)}
                    ),
                    "sila": config.outlets.sila.with_paths(absolute),
                }
            ),
        }
    )


def _absolute_database(url: str | None, anchor: Path) -> str | None:
    """A relative SQLite file would else be another one in every working folder."""
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(\?.*)?", url or "")
    if found is None:
        return url
    return f"{found[1]}{anchor / found[2]}{found[3] or ''}"


def _absolute_model(section: SegmentationConfig, anchor: Path) -> SegmentationConfig:
    if section.model == "starter":
        return section
    return section.model_copy(update={"model": str(anchor / Path(section.model).expanduser())})


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a later key silently win over an earlier one; a lab would never find out."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word, not a list or a mapping", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
