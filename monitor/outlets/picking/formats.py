"""The formats by name: how their files end, and who writes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.config import ExportFormat
from monitor.errors import OutletError
from monitor.outlets.picking.csv_list import plan_as_csv
from monitor.outlets.picking.handout import Contents, Handout, Writer
from monitor.outlets.picking.imagej_rois import imagej_rois
from monitor.outlets.picking.json_plan import plan_as_json
from monitor.outlets.picking.mapped_csv import echo_csv, mapped_csv
from monitor.outlets.picking.metamorph import metamorph_stage_list
from monitor.outlets.picking.micromanager import micromanager_positions
from monitor.outlets.picking.ome_rois import ome_xml_rois
from monitor.outlets.picking.pipetting import opentrons_protocol, pylabrobot_protocol
from monitor.outlets.picking.qupath import qupath_geojson
from monitor.outlets.picking.useq_yaml import useq_sequence

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """suffix : how its files end; after the part that tells captures apart, where there is one"""

    suffix: str
    write: Writer


def _csv(handout: Handout) -> Contents:
    text = plan_as_csv(handout.plan, calibration_rms_um=handout.calibration_rms_um, csv=handout.csv)
    return {"": text.encode()}


def _json(handout: Handout) -> Contents:
    text = plan_as_json(handout.plan, calibration_rms_um=handout.calibration_rms_um)
    return {"": text.encode()}


# In the order of writing: what people and programs take for the list comes last.
FORMATS: dict[ExportFormat, Format] = {
    "geojson": Format(".geojson", qupath_geojson),
    "ome-xml": Format(".ome.xml", ome_xml_rois),
    "imagej-roi": Format(".roi.zip", imagej_rois),
    "pos": Format(".pos", micromanager_positions),
    "stg": Format(".stg", metamorph_stage_list),
    "useq": Format(".useq.yaml", useq_sequence),
    "opentrons": Format(".opentrons.py", opentrons_protocol),
    "pylabrobot": Format(".pylabrobot.py", pylabrobot_protocol),
    "json": Format(".json", _json),
    "csv-mapped": Format(".mapped.csv", mapped_csv),
    "csv-echo": Format(".echo.csv", echo_csv),
    "csv": Format(".csv", _csv),
}


@dataclass(frozen=True)
class Written:
    """contents : how each file's name goes on after the stem -> its content, in the order of
        writing
    unwritten : why a format cannot say what the plan says, by its name
    """

    contents: dict[str, bytes]
    unwritten: dict[str, str]


def write_formats(handout: Handout, formats: Sequence[ExportFormat]) -> dict[str, bytes]:
    """As `write_what_can_be`. Raises OutletError where a format cannot say what the plan says."""
    written = write_what_can_be(handout, formats)
    for why in written.unwritten.values():
        raise OutletError(why, permanent=True)
    return written.contents


def write_what_can_be(handout: Handout, formats: Sequence[ExportFormat]) -> Written:
    """The files of a plan. A format that cannot be written takes no other down."""
    written = Written({}, {})
    for name, known in FORMATS.items():
        if name not in formats:
            continue
        try:
            contents = known.write(handout)
        except OutletError as problem:
            written.unwritten[name] = str(problem)
        except Exception as problem:
            log.exception("plan=%s: unexpected fault in writing %s", handout.plan.id, name)
            written.unwritten[name] = f"unexpected fault in colonywatch: {problem!r}; see the log"
        else:
            for part, content in contents.items():
                written.contents[(f".{part}" if part else "") + known.suffix] = content
    return written
