"""Labelled images: a folder of ``images/`` and ``labels/``, and fields ready for training.

images/<stem>.png|tif|tiff|jpg|jpeg    grey or colour, 8 or 16 bit
labels/<stem>.png|tif|tiff             class indices: 0, 1, 2, and 255 for unknown
labels/<stem>.geojson                  QuPath's annotations (`model.annotations`)
labels/<stem>.json                     labelme's shapes, or GeoJSON
whole_images.csv                       optional: file,says (`model.whole_images`)
pixel_size_um.csv                      optional: file,pixel_size_um
classes.csv                            optional: what the names of annotations mean: name,class
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.annotations import (
    CLASS_NAMES,
    AnnotationError,
    ClassNames,
    read_annotations,
    read_class_names,
)
from model.burnt_in import find_burnt_in, imaged
from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.label_meaning import MapFacts, facts_of, questions
from model.labelled_files import (
    MAP_SUFFIXES,
    OUTLINE_SUFFIXES,
    DataError,
    DoubtfulLabelsError,
    GreyImage,
    ReadGrey,
    read_image,
    read_labels,
)
from model.preprocessing import Normalisation, at_working_scale, normalise, working_shape
from model.whole_images import WHOLE_IMAGES, Says, filled, read_whole_images, unknown_files

IMAGE_SUFFIXES: Final = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
PIXEL_SIZES: Final = "pixel_size_um.csv"
_MASK_ENDINGS: Final = (
    "_cp_masks",
    "_masks",
    "_mask",
    "_seg",
    "_labels",
    "_label",
    "_Simple Segmentation",
)
"""What programs append to an image's name for what they found in it."""
SIZES_AGREE: Final = 0.05
"""Largest relative difference of two statements of a pixel size that is put down to rounding."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and its label map.

    image : (H, W), any real dtype
    labels : (H, W) uint8, classes, 254 (not differentiated) or 255
    pixel_size_um : None where unknown
    inside : (H, W) bool, False outside the vessel; None where all is inside
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    pixel_size_um: float | None
    inside: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class TrainingField:
    """A labelled image at the working scale, as training wants it.

    flat : (H, W) float16 or float32, normalised, not yet bent
    labels : (H, W) uint8
    """

    name: str
    flat: NDArray[np.floating[Any]]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledFolder:
    """What a folder holds.

    images : by name
    notes : what a person should know of them
    without_labels : names of the images that nobody has labelled; they are left out
    """

    images: tuple[LabelledImage, ...]
    without_labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_folder(folder: Path) -> list[LabelledImage]:
    """All labelled images of a folder, by name. Raises DataError (see `read_labelled`)."""
    return list(read_labelled(folder).images)


def read_labelled(
    folder: Path,
    *,
    read_picture: ReadGrey | None = None,
    pixel_size_um: float | None = None,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
    least_classes: int = 2,
    sure: bool = False,
    labels: Path | None = None,
) -> LabelledFolder:
    """All labelled images of a folder, and which images have no labels.

    labels : folder of the labels where it is not labels/ (a second rater's, for example); what is
        said of whole images is then left aside
    read_picture : reader of the images; by default plain PNG, TIFF and JPEG without a pixel size
    pixel_size_um : of images for which neither their file nor the table says it
    suffixes : of the files in images/ that are images
    least_classes : 2 to learn from them, 1 to measure on them
    sure : the labels mean what they say, however strange that looks (`model.label_meaning`)
    Raises DoubtfulLabelsError where that is not said and they look strange; DataError with
        everything that is wrong: folders missing, nothing labelled, a label without an image, two
        labels for one image, sizes that do not fit, unknown values or names, broken files, outlines
        outside the image, pixel sizes that contradict each other, too few classes in all; what is
        said of a whole image in other words, of no image, or against its labels.
    """
    problems: list[str] = []
    said = {} if labels else _said(folder, problems)
    pictures, labels = _both_folders(folder, labels, needed=not (folder / WHOLE_IMAGES).exists())
    drawn = _by_stem(labels, (*MAP_SUFFIXES, *OUTLINE_SUFFIXES), problems)
    seen = _by_stem(pictures, suffixes, problems)
    pairs = _paired(drawn, seen, pictures, problems)
    problems += unknown_files(folder / WHOLE_IMAGES, said, seen)
    sizes, names = _tables(folder, problems)
    found: list[LabelledImage] = []
    maps: list[MapFacts] = []
    told_of = sorted(path for path in seen.values() if path in pairs or path.name in said)
    for picture in told_of:
        read, whole = read_picture or _plain, said.get(picture.name)
        try:
            one, facts = _one_labelled(picture, pairs.get(picture), read, names, whole)
        except DataError as error:
            problems += error.problems
            continue
        maps += facts
        size = _size_of(picture, one.pixel_size_um, sizes.get(picture.name), problems)
        found.append(replace(one, pixel_size_um=size or pixel_size_um))
    strange = sorted(set(sizes) - {path.name for path in seen.values()})
    if strange and any(one.pixel_size_um is None for one in found):
        problems += [f"{folder / PIXEL_SIZES}: no image {name} in {pictures}" for name in strange]
    if not problems and not sure:
        _ask_about_labels(found, maps, pairs, labels)
    if not problems:
        problems += _nothing_to_learn(found, folder, labels, least_classes)
    if problems:
        raise DataError(*problems)
    return LabelledFolder(
        tuple(found),
        tuple(p.name for p in seen.values() if p not in told_of),
        (*_passed_over(labels), *_notes(said)),
    )


def _size_of(
    picture: Path, stated: float | None, listed: float | None, problems: list[str]
) -> float | None:
    """The pixel size of an image by the table, else by itself; that they differ is a problem."""
    if listed and stated and abs(listed / stated - 1) > SIZES_AGREE:
        problems.append(
            f"{picture}: {stated:g} um/px by the file or its name, {listed:g} by "
            f"{PIXEL_SIZES}; correct the one that is wrong"
        )
    return listed or stated


def _said(folder: Path, problems: list[str]) -> dict[str, Says]:
    try:
        return read_whole_images(folder / WHOLE_IMAGES)
    except DataError as error:
        problems += error.problems
        return {}


def _notes(said: Mapping[str, Says]) -> list[str]:
    counts = Counter(said.values())
    told = ", ".join(f"'{one!s}' of {counts[one]}" for one in Says if counts[one])
    return [f"{WHOLE_IMAGES}: of whole images: {told}"] if told else []


def _both_folders(folder: Path, labels: Path | None, *, needed: bool) -> tuple[Path, Path]:
    """Of the images and of the labels. needed : is there nothing without labels?"""
    pictures, labels = folder / "images", labels or folder / "labels"
    missing = [
        f"{part}: no such folder; labelled data are a folder with images/ and labels/ in it"
        for part in ((pictures, labels) if needed else (pictures,))
        if not part.is_dir()
    ]
    if missing:
        raise DataError(*missing)
    return pictures, labels


def _tables(folder: Path, problems: list[str]) -> tuple[dict[str, float], ClassNames]:
    """Pixel sizes by image, and what names of classes mean.

    What is wrong with the sizes joins the problems. Raises DataError where it is the names.
    """
    try:
        sizes = read_pixel_sizes(folder / PIXEL_SIZES)
    except DataError as error:
        problems += error.problems
        sizes = {}
    try:
        names = read_class_names(folder / CLASS_NAMES)
    except AnnotationError as error:
        raise DataError(
            *problems, *(f"{folder / CLASS_NAMES}: {line}" for line in error.problems)
        ) from error
    return sizes, names


def _paired(
    drawn: Mapping[str, Path], seen: Mapping[str, Path], pictures: Path, problems: list[str]
) -> dict[Path, Path]:
    """Image -> its labels, by their stems; what does not go together joins the problems."""
    pairs: dict[Path, Path] = {}
    for stem, path in drawn.items():
        # QuPath names an export after the image with its suffix: field.tif.geojson.
        image = seen.get(stem) or next((p for p in seen.values() if p.name == stem), None)
        if image is None:
            problems.append(
                f"{path}: no image {stem}.* in {pictures}; the stems must be equal"
                + _of_another_program(stem, seen)
            )
        elif image in pairs:
            problems.append(f"{path}: {image.name} has labels in {pairs[image].name} too; keep one")
        else:
            pairs[image] = path
    return pairs


def _one_labelled(
    picture: Path,
    path: Path | None,
    read_picture: ReadGrey,
    names: ClassNames,
    says: Says | None,
) -> tuple[LabelledImage, list[MapFacts]]:
    """An image with its labels, and what a label map looks like. Raises DataError.

    path : of the labels; None where only something is said of the whole image
    """
    read = read_picture(picture)
    label, facts = None, list[MapFacts]()
    if path is not None:
        label = _labels(path, read.grey.shape, names)
        if _is_map(path):
            facts.append(facts_of(path.name, label, read.grey))
    if says is not None:
        label = filled(label, (read.grey.shape[0], read.grey.shape[1]), says, path or picture)
    if label is None:
        raise AssertionError(f"{picture}: nothing is said of it")
    # What is burnt in is no part of the culture, whatever the labels say of it.
    mask = imaged(read.inside, find_burnt_in(read.grey, read.inside))
    inside = None if mask is None else mask.rows(0, mask.shape[0])
    if inside is not None:
        label[~inside] = UNKNOWN
    return LabelledImage(picture.name, read.grey, label, read.pixel_size_um, inside), facts


def _ask_about_labels(
    found: Sequence[LabelledImage],
    maps: Sequence[MapFacts],
    pairs: Mapping[Path, Path],
    labels: Path,
) -> None:
    """Raises DoubtfulLabelsError where label maps look strange."""
    of_maps = {picture.name for picture, path in pairs.items() if _is_map(path)}
    drawn_background = any(
        CellClass.BACKGROUND in one.labels for one in found if one.name not in of_maps
    )
    asked = questions(maps, background_elsewhere=drawn_background)
    if asked:
        raise DoubtfulLabelsError(*(f"{labels}: {line}" for line in asked))


def _is_map(path: Path) -> bool:
    return path.suffix.lower() in MAP_SUFFIXES


def _of_another_program(stem: str, seen: Mapping[str, Path]) -> str:
    for ending in _MASK_ENDINGS:
        if stem.lower().endswith(ending.lower()) and stem[: -len(ending)] in seen:
            return (
                f". It looks like what a segmentation program found in "
                f"{seen[stem[: -len(ending)]].name}: such maps number the objects; write the "
                "class of each instead of its number, and name the file like the image"
            )
    return ""


def _passed_over(labels: Path) -> list[str]:
    """Files beside the labels that are none, though they may have been meant."""
    found: list[str] = []
    if not labels.is_dir():
        return found
    for path in sorted(labels.iterdir()):
        kind = path.suffix.lower()
        if path.name.startswith(".") or not path.is_file():
            continue
        if kind in (".jpg", ".jpeg"):
            found.append(f"{path}: ignored: JPEG changes values; save label maps as PNG or TIFF")
        elif kind in (".npy", ".npz", ".mat", ".h5", ".zip", ".roi", ".bmp", ".gif", ".xml"):
            found.append(f"{path}: ignored: labels are read from .png, .tif, .geojson and .json")
    return found


def _labels(path: Path, image_shape: tuple[int, ...], names: ClassNames) -> NDArray[np.uint8]:
    if path.suffix.lower() in OUTLINE_SUFFIXES:
        try:
            return read_annotations(path, (image_shape[0], image_shape[1]), names)
        except AnnotationError as error:
            raise DataError(*(f"{path}: {line}" for line in error.problems)) from error
    return read_labels(path, (image_shape[0], image_shape[1]))


def _by_stem(folder: Path, suffixes: Sequence[str], problems: list[str]) -> dict[str, Path]:
    """Files by stem; hidden ones (as editors and macOS leave them) are none."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            problems.append(
                f"{path}: {found[path.stem].name} has the same stem; keep one, or rename"
            )
        else:
            found[path.stem] = path
    return found


def _plain(path: Path) -> GreyImage:
    return GreyImage(read_image(path))


def _nothing_to_learn(
    images: Iterable[LabelledImage], folder: Path, labels: Path, least_classes: int
) -> list[str]:
    """Why nobody could learn to tell anything apart from these; empty where one could."""
    values: set[int] = set()
    empty: list[str] = []
    for image in images:
        here = set(np.unique(image.labels).tolist()) - {UNKNOWN}
        values |= here
        if not here:
            empty.append(image.name)
    if not values and not empty:
        return [
            f"{folder}: no label map in {labels.name}/; add <stem>.png, .tif, .geojson or .json "
            "for some of the images",
            *_passed_over(labels),
        ]
    problems = [
        f"{labels}: every pixel of the labels of {name} is 255 (unknown); label some regions, or "
        "take these labels out"
        for name in empty
    ]
    classes = sorted(CellClass(value).name.lower() for value in values - {NOT_DIFFERENTIATED})
    if values and len(classes) < least_classes and least_classes > 1:
        what = (
            f"all labelled pixels are {classes[0]}"
            if classes
            else f"{WHOLE_IMAGES} alone does not show what cells are"
        )
        problems.append(
            f"{folder}: {what}; label at least two classes, else there is nothing to tell apart "
            "(in outlines: background too, or say that all is labelled)"
        )
    return problems


def read_pixel_sizes(path: Path) -> dict[str, float]:
    """File name -> um/px; empty where the file is missing. Raises DataError if malformed."""
    if not path.exists():
        return {}
    sizes: dict[str, float] = {}
    problems: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            if not {"file", "pixel_size_um"} <= set(rows.fieldnames or ()):
                raise DataError(f"{path}: not a table with the columns file,pixel_size_um")
            for number, row in enumerate(rows, start=2):
                said = row["pixel_size_um"] or ""
                try:
                    size = float(said)
                except ValueError:
                    size = 0.0
                if not 0.01 <= size <= 100 or not row["file"]:
                    problems.append(f"{path}: line {number}: {said!r} um is not a pixel size")
                    continue
                sizes[Path(row["file"].replace("\\", "/")).name] = size
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); correct it") from error
    if problems:
        raise DataError(*problems)
    return sizes


def prepare(
    labelled: LabelledImage,
    um_per_pixel: float,
    normalisation: Normalisation,
    multiple: int = 8,
    assumed_pixel_size_um: float | None = None,
) -> TrainingField:
    """The labelled image at the working scale, normalised as a whole."""
    size = labelled.pixel_size_um or assumed_pixel_size_um or um_per_pixel
    height, width = labelled.image.shape
    shape = working_shape((height, width), size, um_per_pixel, multiple)
    levels, share = at_working_scale(labelled.image, shape, labelled.inside)
    flat = normalise(levels, share, um_per_pixel, normalisation)
    labels = cv2.resize(labelled.labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return TrainingField(labelled.name, flat, cast(NDArray[np.uint8], labels))
