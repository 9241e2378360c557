"""Regions with holes, from the label map to each format and back by its own library.

A hole holds good cells: a program that fills it would have them removed.
"""

import io
import json
import zipfile
from dataclasses import replace

import cv2
import geojson
import numpy as np
import ome_types
import pytest
import roifile
import shapely
from shapely.geometry import Polygon, shape

from monitor.outlets.figures.plan import DrawnField, draw_plan
from monitor.outlets.picking import FORMATS, Handout, PlanImage
from monitor.segmentation.colonies import find_regions
from tests.monitor.outlets.plans import PLAN, TARGET, TARGETING

SIZE = 200


def discs(*circles):
    """(row, column, radius, class), one on another."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for row, column, radius, value in circles:
        cv2.circle(labels, (column, row), radius, value, -1)
    return labels


def corner():
    """A hole that touches what is outside at the corner of a pixel."""
    labels = discs((100, 100, 60, 2))
    labels[100:110, 100:170] = 1
    labels[110:120, 90:100] = 1
    return labels


def pinholes():
    labels = discs((100, 100, 80, 2))
    labels[60:140:20, 60:140:20] = 1
    return labels


LABELS = {
    "a ring": discs((100, 100, 75, 2), (100, 100, 38, 1)),
    "an island in the hole": discs((100, 100, 80, 2), (100, 100, 50, 1), (100, 100, 20, 2)),
    "several holes": discs((100, 100, 90, 2), (80, 70, 20, 1), (120, 130, 25, 0), (60, 130, 9, 1)),
    "holes of one pixel": pinholes(),
    "a hole at a corner": corner(),
    "a thin wall": discs((100, 100, 70, 2), (100, 100, 68, 1)),
    "no hole": discs((100, 100, 75, 2)),
}


def handout_of(labels):
    region = find_regions(labels, (labels == 2).astype(np.float32), min_area_px=1)[0]
    target = replace(TARGET, polygon_px=region.polygon, holes_px=region.holes)
    plan = replace(PLAN, targets=(target,), targeting=TARGETING)
    return Handout(plan, {"a" * 64: PlanImage("f.tif", labels.shape, 2.0)}), region


def from_geojson(content):
    collection = geojson.loads(content)
    assert collection.is_valid, collection.errors()
    region = shape(collection["features"][0]["geometry"])
    return region, not region.interiors or region.exterior.is_ccw is not region.interiors[0].is_ccw


def from_imagej(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(one for one in archive.namelist() if one.endswith("region.roi"))
        roi = roifile.ImagejRoi.frombytes(archive.read(name))
    rings = roi.coordinates(multi=True)
    outer, *holes = (Polygon(ring) for ring in rings)
    left, top, right, bottom = outer.bounds
    boxed = roi.left <= left and roi.top <= top and roi.right >= right and roi.bottom >= bottom
    against = all(hole.exterior.is_ccw is not outer.exterior.is_ccw for hole in holes)
    return Polygon(rings[0], rings[1:]), boxed and against


def from_ome(content):
    (roi,) = ome_types.from_xml(content.decode()).rois
    parts = []
    for one in roi.union:
        if isinstance(one, ome_types.model.Polygon):
            parts.append(
                Polygon([tuple(map(float, point.split(","))) for point in one.points.split()])
            )
    overlap = sum(part.area for part in parts) - shapely.union_all(parts).area
    return shapely.union_all(parts), all(one.is_valid for one in parts) and abs(overlap) < 0.1


def from_json(content):
    (target,) = json.loads(content)["targets"]
    rings = [
        [(column + 0.5, row + 0.5) for row, column in ring]
        for ring in (target["polygon_row_column_px"], *target["holes_row_column_px"])
    ]
    return Polygon(rings[0], rings[1:]), True


READERS = {
    "geojson": from_geojson,
    "imagej-roi": from_imagej,
    "ome-xml": from_ome,
    "json": from_json,
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("form", READERS)
def test_a_format_says_the_region_without_its_holes(form, name):
    labels = LABELS[name]
    handout, region = handout_of(labels)
    (content,) = FORMATS[form].write(handout).values()
    found, is_sound = READERS[form](content)
    assert is_sound
    assert found.is_valid
    assert found.area == pytest.approx(region.area_px, rel=0.02)
    numbers = cv2.connectedComponents((labels == 2).astype(np.uint8), connectivity=8)[1]
    row, column = (int(value) for value in region.pick_point)
    piece = numbers == numbers[row, column]
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inside = shapely.contains_xy(found, columns + 0.5, rows + 0.5)
    wrong_rows, wrong_columns = np.nonzero(inside != piece)
    away = shapely.distance(shapely.points(wrong_columns + 0.5, wrong_rows + 0.5), found.boundary)
    assert (away <= 0.76).all()
    assert not inside[
        (labels == 1) & (cv2.distanceTransform(labels % 2, cv2.DIST_L2, 5) > 1.5)
    ].any()


def test_the_hole_is_seen_in_the_plans_picture():
    """The outline of a hole is drawn as the outer one is."""
    labels = LABELS["a ring"]
    handout, _ = handout_of(labels)
    field = DrawnField("a" * 64, "f.tif", labels.shape, 2.0, labels=labels)
    filled = replace(handout.plan, targets=(replace(handout.plan.targets[0], holes_px=()),))

    def yellow(plan):
        content = np.frombuffer(draw_plan(plan, (field,)), np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR).astype(int)
        return np.count_nonzero((np.abs(picture - (0, 212, 255)) < 40).all(axis=2))

    # 75 and 38 px are the two radii.
    assert yellow(handout.plan) / yellow(filled) == pytest.approx(1 + 38 / 75, abs=0.2)
