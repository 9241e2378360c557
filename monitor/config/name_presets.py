"""How imagers name their files. A preset is a row here and a function in capture/names; the
configuration, the recognition by itself and `name-test` ask this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NamePreset:
    """How one kind of imager names its files.

    example : a path that it reads, relative to the source's folder
    read : ``module:function`` in capture/names, called with the path and the imager's clock
    whole_well : one picture shows the whole round well
    automatic : may be chosen without being asked for; of those that fit, the first is
    """

    description: str
    example: str
    read: str
    whole_well: bool = False
    automatic: bool = True


NAME_PRESETS: Mapping[str, NamePreset] = {
    "celigo-field": NamePreset(
        "plate imager, one file per field: barcode, scan time, well, stage position in mm, "
        "channel, pixel size",
        "3500003816_Scan_2-11-2020-11-59-54-AM_Well_A1_Xmm-0.990_Ymm-2.975_Ch1_1um.tiff",
        "instruments:celigo_field",
    ),
    "celigo-well": NamePreset(
        "plate imager, one stitched file per round well: barcode, scan time, well, channel",
        "3500002779_Scan_2-25-2019-8-08-35-AM_Well_B2_Ch1_-1um_resized.tiff",
        "instruments:celigo_well",
        whole_well=True,
    ),
    "incucyte": NamePreset(
        "Incucyte export with dates: prefix, well, field, local date and time",
        "VID123_B2_1_2026y11m02d_03h00m.tif",
        "incucyte:incucyte",
    ),
    "incucyte-elapsed": NamePreset(
        "Incucyte export with the time since the start: prefix, well, field; needs the "
        "source's experiment_start",
        "A172_Phase_A7_1_00d04h00m_1.tif",
        "incucyte:incucyte_elapsed",
    ),
    "incucyte-raw": NamePreset(
        "Incucyte archive: year and month, day, hour and minute, plate as folders; well, "
        "field, channel",
        "EssenFiles/ScanData/2611/02/0300/1012/A1-1-Ph.tif",
        "incucyte:incucyte_raw",
    ),
    "imagexpress": NamePreset(
        "ImageXpress (MetaXpress): experiment, well, site, wavelength; TimePoint_n and ZStep_n "
        "folders",
        "hips7_B02_s3_w1A1B2C3D4-0123-4567-89AB-CDEF01234567.tif",
        "instruments:imagexpress",
    ),
    "imagexpress-hcs": NamePreset(
        "ImageXpress (HCS.ai): protocol, time point, well, site, wavelength, plane from 0",
        "timepoint0/ips_t0_C05_s0_w0_z0.tif",
        "instruments:imagexpress_ai",
    ),
    "operetta": NamePreset(
        "Operetta, Opera Phenix (Harmony): row, column, field, plane, channel, time point; the "
        "plate is the folder",
        "dish7__2026-11-02T03_00_00-Measurement 1/Images/r01c02f03p01-ch1sk1fk1fl1.tiff",
        "instruments:operetta",
    ),
    "gen5": NamePreset(
        "Cytation, Lionheart (Gen5): well, field, channel, time point; the plate is the folder",
        "plate7/A1_-1_1_1_Bright Field_001.tif",
        "instruments:gen5",
    ),
    "incell": NamePreset(
        "IN Cell Analyzer: well, field, channel, plane, time point; the plate is the folder",
        "plate7/A - 01(fld 1 wv TL - Brightfield z 1 time 2 - 2636ms).tif",
        "instruments:incell",
    ),
    "yokogawa": NamePreset(
        "Yokogawa CQ1, CV7000: plate, well, time point, field, plane, channel",
        "dish7_A01_T0001F001L01A01Z01C01.tif",
        "instruments:yokogawa",
    ),
    "micro-manager": NamePreset(
        "Micro-Manager image stack: prefix, position; the rest is in its OME-XML",
        "dish-07_3_MMStack_Pos0.ome.tif",
        "instruments:micro_manager",
    ),
    "dish-time": NamePreset(
        "dish, date and time, and a field number if there are several",
        "dish-07_20261102T030000Z_f1.ome.tif",
        "instruments:dish_time",
    ),
    "dish-folder": NamePreset(
        "one folder per dish; the time comes from the image or from the file's date. "
        "Never chosen automatically, since every image in any folder fits",
        "dish-07/IMG_0042.png",
        "instruments:dish_folder",
        automatic=False,
    ),
}
