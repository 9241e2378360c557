"""What leaves for the picker: formats, columns, folders, logs that come back."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from monitor.config.export_formats import ExportFormat
from monitor.config.outlets import (
    CsvConfig,
    EchoConfig,
    OpentronsConfig,
    PylabrobotConfig,
    QPixLogConfig,
)
from monitor.config.values import PathField as _PathField
from monitor.config.values import Section as _Section

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
            raise ValueError("formats lists one of them twice")
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
