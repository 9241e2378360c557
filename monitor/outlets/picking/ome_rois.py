"""Regions as OME-XML (schema 2016-06): an image a capture, with its regions and points to aim at.

Shapes are in pixels, x the column and y the row, counted from the top left corner of the picture,
so that pixel centres stand at a half. The place of each field stands in `Plane`, in um. Polygons
have no holes in this schema: a region with holes is a union of polygons side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from monitor.culture import Target
from monitor.outlets.picking.handout import Contents, Handout, PlanImage, to_corner
from monitor.outlets.rings import parts_without_holes

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
# What XML 1.0 cannot hold at all, not even escaped.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def ome_xml_rois(handout: Handout) -> Contents:
    """One document, without pixels. Raises OutletError where the size of a capture is not known."""
    return {"": ome_xml_of([handout])}


def ome_xml_of(handouts: Sequence[Handout]) -> bytes:
    """The same for several plans at once."""
    ElementTree.register_namespace("", _OME)
    root = ElementTree.Element(f"{{{_OME}}}OME", {"Creator": "colonywatch"})
    captures = [(one, *found) for one in handouts for found in one.by_capture().items()]
    number = 0
    for index, (handout, sha256, targets) in enumerate(captures):
        image = _image(root, index, sha256, handout.picture(sha256))
        for offset in range(len(targets)):
            ElementTree.SubElement(image, f"{{{_OME}}}ROIRef", {"ID": f"ROI:{number + offset}"})
        number += len(targets)
    ordered = [(handout, target) for handout, _, targets in captures for target in targets]
    for number, (handout, target) in enumerate(ordered):
        _roi(root, number, target, handout.label(target))
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _image(
    root: ElementTree.Element, index: int, sha256: str, picture: PlanImage
) -> ElementTree.Element:
    image = ElementTree.SubElement(
        root, f"{{{_OME}}}Image", {"ID": f"Image:{index}", "Name": _text(picture.name)}
    )
    description = ElementTree.SubElement(image, f"{{{_OME}}}Description")
    description.text = f"capture sha256 {sha256}"
    size = (
        {}
        if picture.pixel_size_um is None
        else {
            "PhysicalSizeX": f"{picture.pixel_size_um:.6g}",
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": f"{picture.pixel_size_um:.6g}",
            "PhysicalSizeYUnit": "µm",
        }
    )
    pixels = ElementTree.SubElement(
        image,
        f"{{{_OME}}}Pixels",
        {
            "ID": f"Pixels:{index}",
            "DimensionOrder": "XYCZT",
            "Type": "uint8",
            "SizeX": str(picture.shape[1]),
            "SizeY": str(picture.shape[0]),
            "SizeZ": "1",
            "SizeC": "1",
            "SizeT": "1",
            **size,
        },
    )
    ElementTree.SubElement(pixels, f"{{{_OME}}}Channel", {"ID": f"Channel:{index}:0"})
    ElementTree.SubElement(pixels, f"{{{_OME}}}MetadataOnly")
    if picture.stage is not None:
        plane = {"TheZ": "0", "TheC": "0", "TheT": "0"}
        for axis, value in zip(
            "XYZ", (picture.stage.x_um, picture.stage.y_um, picture.stage.z_um), strict=True
        ):
            if value is not None:
                plane |= {f"Position{axis}": f"{value:.3f}", f"Position{axis}Unit": "µm"}
        ElementTree.SubElement(pixels, f"{{{_OME}}}Plane", plane)
    return image


def _roi(root: ElementTree.Element, number: int, target: Target, name: str) -> None:
    roi = ElementTree.SubElement(root, f"{{{_OME}}}ROI", {"ID": f"ROI:{number}", "Name": name})
    union = ElementTree.SubElement(roi, f"{{{_OME}}}Union")
    parts = parts_without_holes(target.polygon_px, target.holes_px)
    for index, part in enumerate(parts):
        corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in map(to_corner, part))
        ElementTree.SubElement(
            union,
            f"{{{_OME}}}Polygon",
            {"ID": f"Shape:{number}:{index}", "Text": "differentiated", "Points": corners},
        )
    for index, hit in enumerate(target.hits, start=len(parts)):
        x, y = to_corner(hit.pick_px)
        ElementTree.SubElement(
            union,
            f"{{{_OME}}}Point",
            {
                "ID": f"Shape:{number}:{index}",
                "Text": "pick" if len(target.hits) == 1 else f"pick {hit.order}",
                "X": f"{x:.2f}",
                "Y": f"{y:.2f}",
            },
        )
    description = ElementTree.SubElement(roi, f"{{{_OME}}}Description")
    places = (f"stage x {hit.pick_x_um:.3f} um, y {hit.pick_y_um:.3f} um" for hit in target.hits)
    description.text = "; ".join((f"differentiated {target.mean_probability:.2f}", *places))


def _text(text: str) -> str:
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
