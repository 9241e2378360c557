"""Outlines drawn by people -> label maps: QuPath's GeoJSON and labelme's JSON.

Classes go by their names. What nobody has labelled is unknown: never trained on, never scored.
Whoever has outlined *all* cells of a field, or of a part of it, says so, and what is left over
there is background:

- QuPath: an annotation of the class ``Region*`` around that part (QuPath's own class for "look only
  in here"); ``Ignore*``, QuPath's class for what counts for nothing, is unknown.
- labelme: the flag ``fully_labelled``, or a shape labelled ``Region*``; ``__ignore__`` is unknown.
- both: the line ``unlabelled,background`` in the folder's table of names (`read_class_names`).

A QuPath file keeps no order, so where annotations overlap the smaller one lies on top: a clump
drawn inside a colony counts as itself. Labelme's shapes lie on top of each other in their order.

Coordinates of both are pixels, (x, y), and begin at the top left corner of the top left pixel; a
pixel belongs to an outline that holds its centre, and where a centre lies on the edge that two
outlines share, to one of them (`model.filling`). Sources: QuPath's documentation on exporting
annotations; labelme's `shape.py`.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from shapely.geometry import Point, Polygon, box, shape
from shapely.geometry.base import BaseGeometry

from model.bounded_files import text_of
from model.classes import UNKNOWN, CellClass
from model.filling import pixels_within, work_of

REGION: Final = "region"
"""What a name may mean beside a class: all within is labelled, the rest of it is background."""

UNLABELLED: Final = "unlabelled"
"""The name in `CLASS_NAMES` that says what lies outside of every outline."""

CLASS_NAMES: Final = "classes.csv"

LARGEST_FILE_BYTES: Final = 128 << 20
LARGEST_TABLE_BYTES: Final = 16 << 20
MOST_CROSSINGS: Final = 20_000_000
"""Of the edges of all outlines of a file with rows of pixels: the time that drawing them takes."""
MOST_CROSSINGS_OF_ONE: Final = 5_000_000
"""Of a single outline: the memory that drawing it takes, some hundred megabytes."""
LEAST_AREA_PX, MOST_TIMES_OVER = 1_000_000_000, 50
"""All outlines together may lie on that many pixels, or so many times on each of the image's."""
LEAST_PAINTED_PX, MOST_TIMES_PAINTED = 50_000_000, 8
"""The same of painted masks, which are all kept until they are drawn."""

OVERHANG_SHARE: Final = 0.02
"""Of the image's longer side: outlines may reach so far beyond its edge. More is another image."""

_MEANINGS: Final[Mapping[str, int | None]] = {
    **{cell_class.name.lower(): int(cell_class) for cell_class in CellClass},
    "unknown": UNKNOWN,
    REGION: None,
}
_USUAL_NAMES: Final[Mapping[str, int | None]] = {
    **_MEANINGS,
    "region*": None,
    "ignore*": UNKNOWN,
    "ignore": UNKNOWN,
    "__ignore__": UNKNOWN,
    "_background_": int(CellClass.BACKGROUND),
}


class AnnotationError(Exception):
    """Outlines that make no label map. ``problems`` are lines without the file's name."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ClassNames:
    """What the names of annotations mean.

    meanings : name in small letters -> class, 255 for unknown, None for a region that is fully
        labelled
    unlabelled : class of what lies in no outline
    """

    meanings: Mapping[str, int | None]
    unlabelled: int = UNKNOWN

    def meaning(self, name: str) -> int | None:
        """The class of a name. Raises KeyError for a name that stands for nothing here."""
        plain = " ".join(name.split()).lower()
        if plain in self.meanings:
            return self.meanings[plain]
        # QuPath derives classes from one another: "Differentiated: neural" is differentiated.
        return self.meanings[plain.split(":")[0].strip()]


USUAL_NAMES: Final = ClassNames(_USUAL_NAMES)


def read_class_names(path: Path) -> ClassNames:
    """The usual names and those of a table ``name,class``; the usual ones where there is none.

    Classes are background, undifferentiated, differentiated, unknown and region; the name
    ``unlabelled`` says what lies in no outline (unknown if not said).
    Raises AnnotationError with a line for each row that is wrong.
    """
    if not path.exists():
        return USUAL_NAMES
    meanings, unlabelled, problems = dict(_USUAL_NAMES), UNKNOWN, list[str]()
    allowed = ", ".join(_MEANINGS)
    try:
        lines = io.StringIO(text_of(path, LARGEST_TABLE_BYTES), newline="")
        rows = csv.DictReader(lines)
        if not {"name", "class"} <= set(rows.fieldnames or ()):
            raise AnnotationError("not a table with the columns name,class; correct its heading")
        for number, row in enumerate(rows, start=2):
            name = " ".join((row["name"] or "").split()).lower()
            said = (row["class"] or "").strip().lower()
            if said not in _MEANINGS:
                problems.append(f"line {number}: {said!r} is not a class; write one of {allowed}")
            elif not name:
                problems.append(f"line {number}: no name")
            elif name == UNLABELLED:
                if said not in ("background", "unknown"):
                    problems.append(f"line {number}: unlabelled is background or unknown")
                unlabelled = _MEANINGS[said] or int(CellClass.BACKGROUND)
            else:
                meanings[name] = _MEANINGS[said]
    except (OSError, ValueError, csv.Error) as error:
        raise AnnotationError(f"cannot be read as a table ({error}); correct it") from error
    if problems:
        raise AnnotationError(*problems)
    return ClassNames(meanings, unlabelled)


@dataclass(frozen=True, eq=False)
class Painted:
    """A part of the image that was painted pixel by pixel: mask (h, w) bool, at (top, left)."""

    mask: NDArray[np.bool_]
    top: int
    left: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, largest x and y."""
        height, width = self.mask.shape
        return self.left, self.top, self.left + width, self.top + height


@dataclass(frozen=True, eq=False)
class Outline:
    """One annotation. meaning : class, 255, or None for a region that is fully labelled."""

    where: BaseGeometry | Painted
    meaning: int | None


def read_annotations(
    path: Path, image_shape: tuple[int, int], names: ClassNames = USUAL_NAMES
) -> NDArray[np.uint8]:
    """The label map of one image from a file of QuPath or labelme.

    image_shape : (H, W) of the image
    Returns (H, W) uint8, classes or 255.
    Raises AnnotationError with everything that is wrong.
    """
    try:
        document = json.loads(text_of(path, LARGEST_FILE_BYTES))
    except OSError as error:
        raise AnnotationError(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not a complete JSON text ({error}); export it again") from error
    if isinstance(document, dict) and "shapes" in document:
        outlines, rest = _from_labelme(document, image_shape, names)
    else:
        outlines, rest = _from_geojson(document, names), names.unlabelled
    _check_place(outlines, image_shape)
    _check_work(outlines, image_shape)
    return draw_outlines(outlines, image_shape, rest)


def draw_outlines(
    outlines: Sequence[Outline], image_shape: tuple[int, int], unlabelled: int = UNKNOWN
) -> NDArray[np.uint8]:
    """Outlines as a label map; later ones lie on top, regions below all."""
    labels = np.full(image_shape, unlabelled, dtype=np.uint8)
    regions = [one for one in outlines if one.meaning is None]
    classes = [one for one in outlines if one.meaning is not None]
    for one in (*regions, *classes):
        value = int(CellClass.BACKGROUND) if one.meaning is None else one.meaning
        _fill(labels, one.where, value)
    return labels


def _fill(labels: NDArray[np.uint8], where: BaseGeometry | Painted, value: int) -> None:
    if isinstance(where, Painted):
        top, left = max(0, where.top), max(0, where.left)
        inside = where.mask[top - where.top :, left - where.left :]
        part = labels[top:, left:][: inside.shape[0], : inside.shape[1]]
        part[inside[: part.shape[0], : part.shape[1]]] = value
        return
    rows, columns, inside = pixels_within(where, (labels.shape[0], labels.shape[1]))
    labels[rows, columns][inside] = value


def _check_work(outlines: Sequence[Outline], image_shape: tuple[int, int]) -> None:
    """Drawing takes time and memory by what a file says: it is reckoned before it is begun."""
    drawn = [one.where for one in outlines if not isinstance(one.where, Painted)]
    some = [work_of(where, image_shape) for where in drawn]
    longest = max((crossings for crossings, _ in some), default=0)
    crossings, area = (sum(one[place] for one in some) for place in (0, 1))
    if crossings > MOST_CROSSINGS or longest > MOST_CROSSINGS_OF_ONE:
        raise AnnotationError(
            f"its outlines run through {crossings:,} rows of pixels, one of them through "
            f"{longest:,}; that is more than people draw ({MOST_CROSSINGS:,}, "
            f"{MOST_CROSSINGS_OF_ONE:,} of one). Simplify them, or cut the field smaller"
        )
    if area > max(LEAST_AREA_PX, MOST_TIMES_OVER * math.prod(image_shape)):
        raise AnnotationError(
            f"its {len(outlines):,} outlines lie on {area:,} pixels, many times the whole image; "
            "leave out those that cover one another"
        )


def _check_place(outlines: Sequence[Outline], image_shape: tuple[int, int]) -> None:
    height, width = image_shape
    over = max(2.0, OVERHANG_SHARE * max(height, width))
    every = np.array([one.where.bounds for one in outlines], np.float64).reshape(-1, 4)
    within = (every[:, :2] >= -over).all(axis=1)
    within &= (every[:, 2:] <= (width + over, height + over)).all(axis=1)
    outside = every[~within]
    if len(outside):
        (left, top), (right, bottom) = outside[:, :2].min(axis=0), outside[:, 2:].max(axis=0)
        raise AnnotationError(
            f"{len(outside)} of {len(outlines)} outlines are outside the image (x {left:.0f} to "
            f"{right:.0f}, y {top:.0f} to {bottom:.0f}; the image is {width} wide and {height} "
            "high): drawn on another image or at another size; export them for this one"
        )


# ----------------------------------------------------------------------------------- QuPath


def _from_geojson(document: Any, names: ClassNames) -> list[Outline]:
    problems, nameless, strange = list[str](), 0, dict[str, int]()
    found: list[tuple[float, Outline]] = []
    for number, feature in enumerate(_features(document), start=1):
        geometry = feature.get("geometry")
        if not isinstance(geometry, Mapping) or geometry.get("type") not in (
            "Polygon",
            "MultiPolygon",
        ):
            kind = geometry.get("type") if isinstance(geometry, Mapping) else None
            if kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
                problems.append(f"annotation {number}: its geometry is not a polygon ({kind!r})")
            continue
        name = _class_of(feature.get("properties"))
        if name is None:
            nameless += 1
            continue
        try:
            where = _area(shape(geometry))
            found.append((where.area, Outline(where, names.meaning(name))))
        except KeyError:
            strange[name] = strange.get(name, 0) + 1
        except (ValueError, TypeError, IndexError, AttributeError, shapely.GEOSException) as error:
            problems.append(f"annotation {number}: a broken outline ({error})")
    problems += _strange_names(strange, names)
    if nameless and not found and not problems:
        problems.append(
            f"none of its {nameless} annotations has a class; set one in QuPath (right click)"
        )
    if problems:
        raise AnnotationError(*problems)
    found.sort(key=lambda one: -one[0])
    return [one for _, one in found]


def _features(document: Any) -> Iterable[Mapping[str, Any]]:
    """Features of a collection, of a list (QuPath before 0.3) or a single one."""
    some = document
    if isinstance(document, Mapping):
        if document.get("type") == "FeatureCollection":
            some = document.get("features")
        elif document.get("type") == "Feature":
            some = [document]
    if not isinstance(some, list) or not all(isinstance(one, Mapping) for one in some):
        raise AnnotationError(
            "neither GeoJSON as QuPath exports it nor labelme's JSON; export the annotations again"
        )
    return some


def _class_of(properties: Any) -> str | None:
    said = properties.get("classification") if isinstance(properties, Mapping) else None
    if isinstance(said, Mapping):
        if isinstance(said.get("names"), list):
            said = ": ".join(str(name) for name in said["names"])
        else:
            parent = _class_of({"classification": said.get("parentClass")})
            name = said.get("name")
            said = f"{parent}: {name}" if parent and name else name
    return said if isinstance(said, str) and said.strip() else None


def _area(drawn: BaseGeometry) -> BaseGeometry:
    """The outline as it was drawn. One that crosses itself is drawn as it is, by the even-odd rule:
    to make it a valid one takes time and memory by the square of its crossings.
    """
    if not np.isfinite(drawn.bounds).all():
        raise ValueError("a point that is not a number")
    return drawn


def _strange_names(strange: Mapping[str, int], names: ClassNames) -> list[str]:
    if not strange:
        return []
    told = ", ".join(f"{name!r} ({number})" for name, number in strange.items())
    known = ", ".join(names.meanings)
    return [
        f"unknown class {told}; known names: {known}. Rename it, or give its meaning in "
        f"{CLASS_NAMES} beside images/ and labels/ (columns name,class)"
    ]


# ---------------------------------------------------------------------------------- labelme


def _from_labelme(
    document: Mapping[str, Any], image_shape: tuple[int, int], names: ClassNames
) -> tuple[list[Outline], int]:
    problems, strange = list[str](), dict[str, int]()
    said = (document.get("imageHeight"), document.get("imageWidth"))
    if None not in said and said != tuple(image_shape):
        problems.append(
            f"drawn on an image of {said[0]} x {said[1]} pixels, its image has {image_shape[0]} x "
            f"{image_shape[1]}; label the image itself"
        )
    found: list[Outline] = []
    shapes = document["shapes"]
    if not isinstance(shapes, list):
        raise AnnotationError("its shapes are not a list; save it again in labelme")
    painted = 0
    for number, one in enumerate(shapes, start=1):
        try:
            where = _labelme_area(one, image_shape)
            painted += where.mask.size if isinstance(where, Painted) else 0
            if painted > max(LEAST_PAINTED_PX, MOST_TIMES_PAINTED * math.prod(image_shape)):
                raise AnnotationError(
                    f"its first {number:,} shapes are painted on {painted:,} pixels, many times "
                    "the whole image; leave out those that cover one another"
                )
            if where is not None:
                found.append(Outline(where, names.meaning(str(one["label"]))))
        except KeyError as error:
            name = one.get("label") if isinstance(one, Mapping) else None
            if name is None or error.args[0] in ("points", "label", "mask"):
                problems.append(f"shape {number}: has no {error.args[0]}")
            else:
                strange[str(name)] = strange.get(str(name), 0) + 1
        except (
            ValueError,
            TypeError,
            IndexError,
            AttributeError,
            OSError,
            binascii.Error,
            UnidentifiedImageError,
            shapely.GEOSException,
        ) as error:
            problems.append(f"shape {number}: a broken outline ({error})")
    problems += _strange_names(strange, names)
    if problems:
        raise AnnotationError(*problems)
    flags = document.get("flags")
    whole = isinstance(flags, Mapping) and flags.get("fully_labelled") is True
    return found, int(CellClass.BACKGROUND) if whole else names.unlabelled


def _labelme_area(
    one: Mapping[str, Any], image_shape: tuple[int, int]
) -> BaseGeometry | Painted | None:
    """The area of a shape; None for points and lines, which have none."""
    points = [(float(x), float(y)) for x, y in one["points"]]
    kind = one.get("shape_type") or "polygon"
    if kind == "polygon":
        return _area(Polygon(points))
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        return box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    if kind == "oriented_rectangle":
        if len(points) != 4:
            raise ValueError(f"an oriented rectangle of {len(points)} corners")
        return _area(Polygon(points))
    if kind == "circle":
        centre, edge = points
        return Point(centre).buffer(math.dist(centre, edge), quad_segs=64)
    if kind == "mask":
        return _mask_area(one["mask"], points[0], image_shape)
    if kind in ("point", "points", "line", "linestrip"):
        return None
    raise ValueError(f"a shape of the type {kind!r} is unknown here")


def _mask_area(coded: str, corner: tuple[float, float], image_shape: tuple[int, int]) -> Painted:
    """A painted mask, whose top left pixel lies at ``corner``.

    Labelme leaves fractions in the corner of a mask that was moved, and draws it on whole pixels.
    """
    content = io.BytesIO(base64.b64decode(coded, validate=True))
    with Image.open(content, formats=("PNG",)) as picture:
        if picture.height > 2 * image_shape[0] or picture.width > 2 * image_shape[1]:
            raise ValueError(
                f"a mask of {picture.height} x {picture.width} pixels on an image of "
                f"{image_shape[0]} x {image_shape[1]}"
            )
        painted = np.asarray(picture.convert("L")) > 0
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    if not len(rows):
        return Painted(np.zeros((0, 0), bool), 0, 0)
    # Only the part that is painted: its edges are those of what a person sees.
    part = painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    left, top = (math.floor(one) for one in corner)
    return Painted(part, top + int(rows[0]), left + int(columns[0]))
