"""Outlines as people draw them become the label map that they meant, or an error that says why."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import cv2
import geojson
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.annotations import AnnotationError, read_annotations, read_class_names
from model.dataset import read_labelled
from model.labelled_files import DataError, GreyImage

SHAPE = (40, 60)


def square(left: float, top: float, side: float) -> list[list[float]]:
    right, bottom = left + side, top + side
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(name: str | None, *rings: list[list[float]], **more: Any) -> dict[str, Any]:
    """An annotation as QuPath 0.5 writes it."""
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {
        "type": "Feature",
        "id": "3f0c3c1e-6f5f-4a0e-9a51-0d6a1f6a7b11",
        "geometry": {"type": "Polygon", "coordinates": list(rings)},
        "properties": properties,
        **more,
    }


def written(folder: Path, document: Any, name: str = "a.geojson") -> Path:
    (folder / name).write_text(json.dumps(document))
    return folder / name


def qupath(folder: Path, *features: dict[str, Any]) -> np.ndarray:
    collection = {"type": "FeatureCollection", "features": list(features)}
    assert geojson.loads(json.dumps(collection)).is_valid
    return read_annotations(written(folder, collection), SHAPE)


def areas(labels: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


# ----------------------------------------------------------------------------------- QuPath


def test_an_outline_holds_the_pixels_whose_centres_lie_in_it(tmp_path: Path) -> None:
    """Drawn along pixel borders, an area is exact; half a pixel more takes the next row in."""
    labels = qupath(tmp_path, feature("Differentiated", square(10, 5, 8)))
    assert areas(labels) == {2: 64, 255: 40 * 60 - 64}
    assert (labels[5:13, 10:18] == 2).all()
    labels = qupath(tmp_path, feature("Differentiated", square(10, 5, 8.6)))
    assert areas(labels)[2] == 81


def test_holes_and_many_parts_are_kept(tmp_path: Path) -> None:
    ring = feature("undifferentiated", square(2, 2, 20), square(6, 6, 4)[::-1])
    parts = feature("Differentiated")
    parts["geometry"] = {
        "type": "MultiPolygon",
        "coordinates": [[square(30, 2, 5)], [square(40, 2, 6), square(41, 3, 2)[::-1]]],
    }
    labels = qupath(tmp_path, ring, parts)
    assert areas(labels) == {1: 400 - 16, 2: 25 + 36 - 4, 255: 2400 - 384 - 57}


def test_the_smaller_annotation_lies_on_top_in_whatever_order(tmp_path: Path) -> None:
    colony = feature("Undifferentiated", square(5, 5, 30))
    clump = feature("Differentiated", square(10, 10, 5))
    dead = feature("Ignore*", square(11, 11, 2))
    for order in ([colony, clump, dead], [dead, clump, colony]):
        assert areas(qupath(tmp_path, *order)) == {1: 875, 2: 21, 255: 2400 - 896}


def test_a_region_says_that_the_rest_of_it_is_background(tmp_path: Path) -> None:
    labels = qupath(
        tmp_path,
        feature("Undifferentiated", square(5, 5, 10)),
        feature("Region*", square(0, 0, 40)),
    )
    assert areas(labels) == {0: 1600 - 100, 1: 100, 255: 2400 - 1600}


def test_classes_come_as_all_versions_of_qupath_write_them(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [
        {"name": "Differentiated", "colorRGB": -3670016},
        {"name": "DIFFERENTIATED: neural"},
        {"names": ["Differentiated", "neural"], "color": [1, 2, 3]},
        {"parentClass": {"name": "Differentiated"}, "name": "neural"},
    ]
    for value in said:
        one = feature(None, square(0, 0, 4))
        one["properties"]["classification"] = value
        assert areas(read_annotations(written(tmp_path, [one]), SHAPE))[2] == 16
        assert areas(read_annotations(written(tmp_path, one), SHAPE))[2] == 16


def test_points_lines_and_annotations_without_a_class_are_no_areas(tmp_path: Path) -> None:
    line = feature("Differentiated")
    line["geometry"] = {"type": "LineString", "coordinates": [[1, 1], [5, 5]]}
    labels = qupath(
        tmp_path, line, feature(None, square(0, 0, 9)), feature("Background", square(0, 0, 5))
    )
    assert areas(labels) == {0: 25, 255: 2375}


def test_a_hand_drawn_outline_that_crosses_itself_still_counts(tmp_path: Path) -> None:
    eight = feature("Differentiated", [[0, 0], [20, 10], [20, 0], [0, 10], [0, 0]])
    labels = read_annotations(written(tmp_path, eight), SHAPE)
    assert areas(labels)[2] == pytest.approx(100, abs=4)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 39)), min_size=3, max_size=8, unique=True)
)
def test_any_polygon_covers_about_its_area(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[int, int]]
) -> None:
    """Against OpenCV's own filling at eight times the size, by the convex hull."""
    hull = cv2.convexHull(np.array(points, np.float32))[:, 0]
    if len(hull) < 3:
        return
    document = {"shapes": [{"label": "differentiated", "points": hull.tolist()}]}
    large = np.zeros((40 * 8, 60 * 8), np.uint8)
    cv2.fillPoly(large, [(hull * 8).astype(np.int32)], 1)
    expected = large.reshape(40, 8, 60, 8).mean(axis=(1, 3))
    labels = read_annotations(written(tmp_path_factory.mktemp("polygon"), document), SHAPE)
    found = labels == 2
    assert (found[expected > 0.95]).all()
    assert not (found[expected < 0.05]).any()


# ---------------------------------------------------------------------------------- labelme


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> Any:
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, **more}


def labelme(folder: Path, *shapes: Any, **more: Any) -> np.ndarray:
    document = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": 40,
        "imageWidth": 60,
        **more,
    }
    return read_annotations(written(folder, document, "a.json"), SHAPE)


def test_polygons_rectangles_and_circles_have_their_areas(tmp_path: Path) -> None:
    labels = labelme(
        tmp_path,
        shape("undifferentiated", square(0, 0, 10)[:-1]),
        shape("differentiated", [[40, 30], [20, 20]], "rectangle"),
        shape("background", [[50, 10], [50, 18]], "circle"),
    )
    found = areas(labels)
    assert (found[1], found[2]) == (100, 200)
    assert found[0] == pytest.approx(np.pi * 64, rel=0.04)


def test_a_painted_mask_lies_where_it_was_painted(tmp_path: Path) -> None:
    painted = np.zeros((6, 7), np.uint8)
    painted[1:4, 2:7] = 255
    painted[2, 3] = 0
    file = io.BytesIO()
    Image.fromarray(painted).save(file, "PNG")
    coded = base64.b64encode(file.getvalue()).decode()
    labels = labelme(tmp_path, shape("differentiated", [[10, 20], [16, 25]], "mask", mask=coded))
    assert (labels[20:26, 10:17] == 2).tolist() == (painted > 0).tolist()
    assert areas(labels)[2] == 14


def coded_mask(rows: int, columns: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.full((rows, columns), 255, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("corner", "place"),
    [((10.0, 20.0), (10, 20)), ((10.7, 20.4), (10, 20)), ((-0.4, 3.9), (-1, 3))],
)
def test_a_mask_that_was_moved_lies_on_whole_pixels(
    tmp_path: Path, corner: tuple[float, float], place: tuple[int, int]
) -> None:
    """Labelme leaves fractions in the corner and floors them when it draws."""
    x, y = corner
    points = [[x, y], [x + 6, y + 5]]
    labels = labelme(tmp_path, shape("differentiated", points, "mask", mask=coded_mask(6, 7)))
    expected = np.zeros(SHAPE, bool)
    expected[place[1] : place[1] + 6, max(0, place[0]) : place[0] + 7] = True
    assert ((labels == 2) == expected).all()


def test_an_oriented_rectangle_is_its_four_corners(tmp_path: Path) -> None:
    """As labelme 6.2 writes it."""
    turned = [[20.0, 5.0], [30.0, 15.0], [20.0, 25.0], [10.0, 15.0]]
    labels = labelme(tmp_path, shape("differentiated", turned, "oriented_rectangle"))
    assert areas(labels)[2] == pytest.approx(200, abs=10)
    assert labels[15, 20] == 2
    assert labels[6, 11] == 255


def test_outlines_that_share_an_edge_through_pixel_centres_leave_no_seam(tmp_path: Path) -> None:
    region = shape("region", square(0, 0, 40)[:-1])
    one = shape("undifferentiated", [[0, 0], [30, 30], [0, 30]])
    two = shape("differentiated", [[0, 0], [30, 0], [30, 30]])
    found = areas(labelme(tmp_path, region, one, two)[:30, :30])
    assert set(found) == {1, 2}
    assert sum(found.values()) == 900


def test_shapes_lie_on_top_of_each_other_in_their_order(tmp_path: Path) -> None:
    large, small = square(0, 0, 20)[:-1], square(5, 5, 5)[:-1]
    labels = labelme(tmp_path, shape("differentiated", small), shape("undifferentiated", large))
    assert areas(labels)[1] == 400


def test_a_field_that_is_flagged_as_fully_labelled_has_background(tmp_path: Path) -> None:
    one = shape("differentiated", square(0, 0, 20)[:-1])
    ignored = shape("__ignore__", square(30, 0, 5)[:-1])
    labels = labelme(tmp_path, one, ignored, flags={"fully_labelled": True})
    assert areas(labels) == {0: 2400 - 425, 2: 400, 255: 25}
    assert areas(labelme(tmp_path, one, flags={"fully_labelled": False}))[255] == 2000


# ----------------------------------------------------------------------------------- names


def test_names_of_a_lab_are_read_from_its_table(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("name,class\niPS good,undifferentiated\nDead,unknown\nunlabelled,background\n")
    names = read_class_names(table)
    assert (names.meaning("IPS  Good"), names.meaning("dead")) == (1, 255)
    assert names.meaning("Differentiated") == 2
    assert names.unlabelled == 0
    assert read_class_names(tmp_path / "none.csv").unlabelled == 255


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\nx,y\n", ["not a table with the columns name,class"]),
        (
            "name,class\ncolony,good\n,unknown\n",
            ["line 2: 'good' is not a class", "line 3: no name"],
        ),
        ("name,class\nunlabelled,differentiated\n", ["unlabelled is background or unknown"]),
    ],
)
def test_a_wrong_table_of_names_is_refused_with_all_its_lines(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_class_names(tmp_path / "classes.csv")
    assert len(caught.value.problems) == len(said)
    for line, part in zip(caught.value.problems, said, strict=True):
        assert part in line


# ------------------------------------------------------------------------------ what is wrong

ONE = feature("Differentiated", square(1, 1, 5))
WRONG: dict[str, tuple[str, str]] = {
    "cut off": ('{"type": "FeatureCollection", "features": [', "not a complete JSON text"),
    "no GeoJSON": ('{"some": "thing"}', "neither GeoJSON"),
    "a number": ("7", "neither GeoJSON"),
    "features that are none": ('{"type": "FeatureCollection", "features": [1]}', "neither GeoJSON"),
    "an unknown name": (json.dumps(feature("Tumor", square(0, 0, 5))), r"unknown class 'Tumor'"),
    "no class at all": (json.dumps(feature(None, square(0, 0, 5))), "none of its 1 annotations"),
    "outside": (json.dumps([ONE, feature("Differentiated", square(70, 1, 5))]), "1 of 2 outlines"),
    "another image's size": (
        json.dumps({"shapes": [], "imageHeight": 80, "imageWidth": 120}),
        "drawn on an image of 80 x 120",
    ),
    "an empty polygon": (json.dumps(feature("Differentiated", [])), "annotation 1: a broken"),
    "two points": (
        json.dumps({"shapes": [shape("differentiated", [[1, 1], [2, 2]])]}),
        "shape 1: a broken",
    ),
    "no points": (json.dumps({"shapes": [{"label": "differentiated"}]}), "shape 1: has no points"),
    "not a number": (
        '{"shapes": [{"label": "differentiated", "points": [[NaN, 1], [2, 2], [3, 1]]}]}',
        "shape 1: a broken",
    ),
    "an unknown shape": (
        json.dumps({"shapes": [shape("differentiated", [[1, 1]], "spline")]}),
        "'spline' is unknown",
    ),
    "a mask of absurd size": (
        json.dumps(
            {"shapes": [shape("differentiated", [[1, 1]], "mask", mask=coded_mask(20_000, 9))]}
        ),
        "a mask of 20000 x 9 pixels on an image of 40 x 60",
    ),
    "an oriented rectangle of three corners": (
        json.dumps(
            {"shapes": [shape("background", [[1, 1], [2, 1], [2, 2]], "oriented_rectangle")]}
        ),
        "rectangle of 3 corners",
    ),
    "a broken mask": (
        json.dumps({"shapes": [shape("differentiated", [[1, 1]], "mask", mask="%%")]}),
        "shape 1: a broken",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str) -> None:
    text, said = WRONG[name]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AnnotationError, match=said):
        read_annotations(tmp_path / "a.json", SHAPE)


# ---------------------------------------------------------------------------- in a folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for stem in "abc":
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), np.full(SHAPE, 90, np.uint8))
    return tmp_path


def test_label_maps_and_outlines_stand_side_by_side(lab: Path) -> None:
    written(lab / "labels", feature("Differentiated", square(0, 0, 5)), "a.geojson")
    written(lab / "labels", {"shapes": [shape("background", square(0, 0, 5))]}, "b.png.json")
    cv2.imwrite(str(lab / "labels" / "c.png"), np.ones(SHAPE, np.uint8))
    found = read_labelled(lab)
    assert [one.name for one in found.images] == ["a.png", "b.png", "c.png"]
    assert [areas(one.labels) for one in found.images] == [
        {2: 25, 255: 2375},
        {0: 25, 255: 2375},
        {1: 2400},
    ]


def test_everything_wrong_in_a_folder_is_said_at_once(lab: Path) -> None:
    written(lab / "labels", feature("Tumor", square(0, 0, 5)), "a.geojson")
    (lab / "labels" / "b.json").write_text("{")
    written(lab / "labels", feature("Differentiated", square(0, 0, 5)), "z.geojson")
    cv2.imwrite(str(lab / "labels" / "c.png"), np.zeros((9, 9), np.uint8))
    (lab / "pixel_size_um.csv").write_text("file,pixel_size_um\na.png,big\nb.png,1\nc.png,0\n")
    with pytest.raises(DataError) as caught:
        read_labelled(lab)
    parts = ["z.geojson: no image", "line 2: 'big'", "line 4: '0'", "a.geojson: unknown class"]
    parts += ["b.json: not a complete JSON", "c.png: 9 x 9 pixels"]
    assert len(caught.value.problems) == len(parts)
    for line, part in zip(caught.value.problems, parts, strict=True):
        assert part in line


def test_two_labels_for_one_image_are_refused(lab: Path) -> None:
    written(lab / "labels", feature("Differentiated", square(0, 0, 5)), "a.geojson")
    cv2.imwrite(str(lab / "labels" / "a.png"), np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match="has the same stem"):
        read_labelled(lab)
    (lab / "labels" / "a.png").rename(lab / "labels" / "a.png.png")
    with pytest.raises(DataError, match=r"a\.png has labels in a\.geojson too"):
        read_labelled(lab)


def test_images_that_nobody_labelled_are_named(lab: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:9] = 1
    cv2.imwrite(str(lab / "labels" / "b.png"), labels)
    assert read_labelled(lab).without_labels == ("a.png", "c.png")


def test_sizes_that_contradict_each_other_are_refused(lab: Path) -> None:
    cv2.imwrite(str(lab / "labels" / "a.png"), np.eye(*SHAPE, dtype=np.uint8))
    (lab / "pixel_size_um.csv").write_text("file,pixel_size_um\na.png,1.25\n")

    def one_um(path: Path) -> GreyImage:
        return GreyImage(np.full(SHAPE, 90, np.uint8), 1.0)

    with pytest.raises(DataError, match=r"1 um/px by the file .* 1.25 by pixel_size_um.csv"):
        read_labelled(lab, read_picture=one_um)
    (lab / "pixel_size_um.csv").unlink()
    assert read_labelled(lab, read_picture=one_um).images[0].pixel_size_um == 1.0
    assert read_labelled(lab, pixel_size_um=0.7).images[0].pixel_size_um == 0.7


def test_nothing_outside_the_vessel_is_labelled(lab: Path) -> None:
    cv2.imwrite(str(lab / "labels" / "a.png"), np.eye(*SHAPE, dtype=np.uint8))
    inside = np.zeros(SHAPE, bool)
    inside[:, :30] = True
    (one,) = read_labelled(
        lab, read_picture=lambda path: GreyImage(np.full(SHAPE, 90, np.uint8), None, inside)
    ).images
    assert (one.labels[:, 30:] == 255).all()
    assert (one.labels[:, :30] != 255).all()


def test_a_single_class_can_be_measured_but_not_learnt(lab: Path) -> None:
    cv2.imwrite(str(lab / "labels" / "a.png"), np.ones(SHAPE, np.uint8))
    with pytest.raises(DataError, match="all labelled pixels are undifferentiated"):
        read_labelled(lab)
    assert len(read_labelled(lab, least_classes=1).images) == 1
