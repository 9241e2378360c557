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
    """

    suffix: str
    writer: str


# In the order of writing: what people and programs take for the list comes last.
EXPORT_FORMATS: Mapping[str, FormatRow] = {
    "geojson": FormatRow(".geojson", "qupath:qupath_geojson"),
    "ome-xml": FormatRow(".ome.xml", "ome_rois:ome_xml_rois"),
    "imagej-roi": FormatRow(".roi.zip", "imagej_rois:imagej_rois"),
    "pos": FormatRow(".pos", "micromanager:micromanager_positions"),
    "stg": FormatRow(".stg", "metamorph:metamorph_stage_list"),
    "useq": FormatRow(".useq.yaml", "useq_yaml:useq_sequence"),
    "opentrons": FormatRow(".opentrons.py", "pipetting:opentrons_protocol"),
    "pylabrobot": FormatRow(".pylabrobot.py", "pipetting:pylabrobot_protocol"),
    "json": FormatRow(".json", "json_plan:json_plan"),
    "csv-mapped": FormatRow(".mapped.csv", "mapped_csv:mapped_csv"),
    "csv-echo": FormatRow(".echo.csv", "mapped_csv:echo_csv"),
    "csv": FormatRow(".csv", "csv_list:csv_list"),
}

if TYPE_CHECKING:
    ExportFormat = str
else:
    # Where people choose, the plain lists come first.
    ExportFormat = Literal[tuple(reversed(EXPORT_FORMATS))]
