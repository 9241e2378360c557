"""Sections of the configuration on what reaches people beside mail."""

from __future__ import annotations

import re
from datetime import time
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from monitor.config.sign_in import SignInConfig
from monitor.config.values import PathField, Positive, Section, TimeOfDay, named_zone


class Addressed(Section):
    """from_severity, sources : only what is at least so bad and of these sources; empty = of all.

    What concerns the machine and so every source goes to all whom its severity reaches.
    """

    from_severity: Literal["warning", "critical"] = "warning"
    sources: tuple[str, ...] = Field(default=(), strict=False)

    def wants(self, severity: str, source: str | None) -> bool:
        bad_enough = self.from_severity == "warning" or severity == "critical"
        return bad_enough and self.follows(source)

    def follows(self, source: str | None) -> bool:
        return not self.sources or source is None or source in self.sources


class ChannelConfig(Addressed):
    """One more way to people, through Apprise: a chat, a telephone, a webhook.

    name : what the record and the log call it
    url_file : holds one Apprise URL and nothing else; such URLs are secrets
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")
    url_file: PathField


class DigestConfig(Section):
    """One mail a day on all dishes. at : by the lab's clock; None = there is none

    when_quiet : also where there is nothing to tell but that: a mail that does not come then says
        that something is wrong with the way it takes
    """

    at: TimeOfDay | None = time(8)
    when_quiet: bool = True


class CheckInConfig(Section):
    """An address that is called while all is well, and tells people when the calls stop
    (healthchecks.io and what is like it).

    url_file : holds the address and nothing else, since whoever knows it can call it; None = none
    every_s : how often; late_mail_h : a message that waits for longer is told there as a failure
    """

    url_file: PathField | None = None
    every_s: Annotated[float, Field(ge=10, le=86_400)] = 300.0
    late_mail_h: Positive = 2.0
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0


class ViewingConfig(Section):
    """disk_gb : room in the record's folder for copies of captures that were looked at closely;
    those that nobody has looked at for longest go first
    """

    disk_gb: Annotated[float, Field(ge=0.05, le=10_000)] = 4.0


class DashboardConfig(Section):
    """Pages to look at, and to answer alerts (`colonywatch serve`).

    url : how people reach it; None = mails hold no links
    host, port : where it listens
    secret_file : signs the links; None = ``links.secret`` in the record's folder
    link_days : for so long a link in a mail can answer its alert
    sign_in : who is let in, and for how long
    """

    url: str | None = None
    host: str = Field(default="127.0.0.1", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] = 8470
    secret_file: PathField | None = None
    link_days: Positive = 7.0
    sign_in: SignInConfig = SignInConfig()
    viewing: ViewingConfig = ViewingConfig()

    @field_validator("url")
    @classmethod
    def _url_is_a_page(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname)
            sound = sound and parts.port != 0 and not (parts.query or parts.fragment)
            sound = sound and parts.username is None and value.isprintable() and " " not in value
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(
                "must be the address that people type, such as https://colonies.lab.example"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_known_by_a_name(self) -> Self:
        if self.url is None and not self.is_local:
            raise ValueError(
                f"host {self.host} lets others in, so url is needed: the address that they type, "
                "such as https://colonies.lab.example"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Can it be reached from this machine alone?"""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def names(self) -> frozenset[str]:
        """What browsers may call the machine. A page elsewhere can give its own name our address,
        and would then read along.
        """
        names = {"localhost", "127.0.0.1", "::1", self.host.lower()}
        if self.url is not None:
            names.add((urlsplit(self.url).hostname or "").lower())
        return frozenset(names - {"0.0.0.0", "::"})  # nosec B104 # left out


class CsvConfig(Section):
    """How the lists csv and csv-mapped are written.

    separator : between cells
    decimal_mark : what the reader takes for the decimal mark; None = not known: `csv` then has
        whole numbers only, which read the same in every country
    """

    separator: Literal[",", ";", "tab"] = ","
    decimal_mark: Literal[".", ","] | None = None

    @model_validator(mode="after")
    def _mark_is_no_separator(self) -> Self:
        if self.decimal_mark == self.separator:
            raise ValueError("a decimal comma needs another separator: ; or tab")
        return self

    @property
    def delimiter(self) -> str:
        return "\t" if self.separator == "tab" else self.separator


class EchoConfig(Section):
    """What an acoustic dispenser is to transfer to each hit, for csv-echo.

    source_plate, source_barcode, source_type, source_well : where it comes from; None = empty
    destination_barcode : None = empty
    volume_nl : to each hit, in steps of 2.5 nl; None = empty, to be filled in at the instrument
    """

    source_plate: str = Field(default="Reagents", min_length=1)
    source_barcode: str | None = Field(default=None, min_length=1)
    source_type: str | None = Field(default=None, min_length=1)
    source_well: str = Field(default="A1", pattern=r"^[A-Z]{1,2}[0-9]{1,2}$")
    destination_barcode: str | None = Field(default=None, min_length=1)
    volume_nl: Annotated[float, Field(ge=2.5, le=1_000_000, allow_inf_nan=False)] | None = None

    @field_validator("volume_nl")
    @classmethod
    def _volume_is_in_droplets(cls, value: float | None) -> float | None:
        if value is not None and value % 2.5:
            near = max(2.5, 2.5 * round(value / 2.5))
            raise ValueError(f"must be a multiple of 2.5 nl, which is a droplet; near is {near:g}")
        return value


class PipetteConfig(Section):
    """What a pipette does at each hit.

    volume_ul : taken up at each hit
    height_mm : of the tip's end above the bottom of the well, as the robot's labware has it
    flow_rate_ul_s : None = the pipette's own
    hits_per_tip : so many hits with one tip, which is then thrown away with what it holds
    aligned_at : by what the robot knows where the plate lies: its corner, by the definition of the
        labware, or well A1, at which its position was checked
    """

    volume_ul: Annotated[float, Field(gt=0, le=1_000)] = 5.0
    height_mm: Annotated[float, Field(ge=0, le=50)] = 0.5
    flow_rate_ul_s: Annotated[float, Field(gt=0, le=1_000)] | None = None
    hits_per_tip: Annotated[int, Field(ge=1, le=1_000)] = 1
    aligned_at: Literal["corner", "A1"] = "corner"


class OpentronsConfig(PipetteConfig):
    """The protocol for an Opentrons robot. What is None is what the robot usually has.

    labware : load name of the plate's definition, such as corning_96_wellplate_360ul_flat
    api_level : of the protocol; definitions of labware and what calls do depend on it
    """

    robot: Literal["Flex", "OT-2"] = "Flex"
    api_level: str = Field(default="2.20", pattern=r"^2\.[0-9]{2}$")
    labware: str | None = Field(default=None, pattern=r"^[a-z0-9._]+$")
    plate_slot: str | None = Field(default=None, pattern=r"^([A-D][1-3]|[1-9]|1[01])$")
    tip_rack: str | None = Field(default=None, pattern=r"^[a-z0-9._]+$")
    tip_rack_slots: tuple[str, ...] = Field(default=(), strict=False)
    trash_slot: str | None = Field(default=None, pattern=r"^[A-D][13]$")
    pipette: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    mount: Literal["left", "right"] = "right"

    @model_validator(mode="after")
    def _level_knows_the_robot(self) -> Self:
        if int(self.api_level.partition(".")[2]) < 16:
            raise ValueError("api_level must be 2.16 or later")
        slots = [self.plate_of_robot, *self.tip_racks_of_robot]
        if self.robot == "Flex":
            slots.append(self.trash_slot or "A3")
        known = r"[A-D][1-4]" if self.robot == "Flex" else r"[1-9]|1[01]"
        unknown = [slot for slot in slots if not re.fullmatch(known, slot)]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: a {self.robot} has no such slot; "
                + ("its slots are A1 to D4" if self.robot == "Flex" else "its slots are 1 to 11")
            )
        if len(set(slots)) < len(slots):
            raise ValueError(f"two things are in one slot: {', '.join(slots)}")
        return self

    @property
    def plate_of_robot(self) -> str:
        return self.plate_slot or ("D2" if self.robot == "Flex" else "2")

    @property
    def tip_racks_of_robot(self) -> tuple[str, ...]:
        return self.tip_rack_slots or (("D1",) if self.robot == "Flex" else ("1",))


class PylabrobotConfig(PipetteConfig):
    """The protocol for robots that PyLabRobot drives.

    plate, tip_rack : names of their definitions in pylabrobot.resources
    """

    plate: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    tip_rack: str = Field(default="hamilton_96_tiprack_50uL", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


class QPixLogConfig(Section):
    """How the positions in a QPix pick log are meant.

    unit, frame : of the positions: on the stage, in the picker's own frame (its calibration must be
        known), or from the centre of the well, x right and y up
    tolerance_um : how far a picked feature may lie from the hit that it is
    timezone, date_format : of the line `Run Date`; the format as of strptime, None = ISO 8601
    """

    unit: Literal["um", "mm"] = "um"
    frame: Literal["stage", "picker", "well"] = "stage"
    tolerance_um: Annotated[float, Field(gt=0, le=5_000)] = 50.0
    timezone: str = "UTC"
    date_format: str | None = Field(default=None, min_length=2)

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        return named_zone(value)

    @property
    def um_per_unit(self) -> float:
        return 1000.0 if self.unit == "mm" else 1.0

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
