"""The formats in which plans leave for pickers and other programs. A format is a row here and a
writer in outlets/picking; the configuration, the command and the picker's folder ask this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class FormatRow:
    """suffix : how its files end; after the part that tells captures apart, where there is one

    writer : ``module:function`` in outlets/picking, called with a handout
    plate : the same for all plans of a plate in one file, called with their handouts; None = the
        plans have files of their own, or are exported one by one
    """

    suffix: str
    writer: str
    plate: str | None = None


# In the order of writing: what people and programs take for the list comes last.
EXPORT_FORMATS: Mapping[str, FormatRow] = {
    "geojson": FormatRow(".geojson", "qupath:qupath_geojson"),
    "ome-xml": FormatRow(".ome.xml", "ome_rois:ome_xml_rois", "ome_rois:ome_xml_of"),
    "imagej-roi": FormatRow(".roi.zip", "imagej_rois:imagej_rois"),
    "pos": FormatRow(".pos", "micromanager:micromanager_positions", "whole_plate:positions_plate"),
    "stg": FormatRow(".stg", "metamorph:metamorph_stage_list", "metamorph:joined_stage_lists"),
    "useq": FormatRow(".useq.yaml", "useq_yaml:useq_sequence", "whole_plate:sequence_plate"),
    "opentrons": FormatRow(
        ".opentrons.py", "pipetting:opentrons_protocol", "pipetting:opentrons_text"
    ),
    "pylabrobot": FormatRow(
        ".pylabrobot.py", "pipetting:pylabrobot_protocol", "pipetting:pylabrobot_text"
    ),
    "json": FormatRow(".json", "json_plan:json_plan", "whole_plate:json_plate"),
    "csv-mapped": FormatRow(".mapped.csv", "mapped_csv:mapped_csv", "whole_plate:mapped_plate"),
    "csv-echo": FormatRow(".echo.csv", "mapped_csv:echo_csv", "whole_plate:echo_plate"),
    "csv": FormatRow(".csv", "csv_list:csv_list", "whole_plate:csv_plate"),
}

if TYPE_CHECKING:
    ExportFormat = str
else:
    # Where people choose, the plain lists come first.
    ExportFormat = Literal[tuple(reversed(EXPORT_FORMATS))]
