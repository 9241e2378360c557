"""What is said of whole images, for which nobody drew an outline: the cheapest label there is.

whole_images.csv    beside images/: file,says

``nothing differentiated``  what cells there are, none of them is differentiated
``no cells``                an empty part of the dish: all of it is background

It may be said of images without labels, and of labelled ones: then it holds for the pixels that
their labels leave unknown.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.bounded_files import text_of
from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.labelled_files import DataError

WHOLE_IMAGES: Final = "whole_images.csv"
LARGEST_TABLE_BYTES: Final = 16 << 20


class Says(StrEnum):
    """What can be said of a whole image."""

    NOTHING_DIFFERENTIATED = "nothing differentiated"
    NO_CELLS = "no cells"


_RULED_OUT: Final[Mapping[Says, tuple[CellClass, ...]]] = {
    Says.NOTHING_DIFFERENTIATED: (CellClass.DIFFERENTIATED,),
    Says.NO_CELLS: (CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED),
}
_LEFT: Final[Mapping[Says, int]] = {
    Says.NOTHING_DIFFERENTIATED: NOT_DIFFERENTIATED,
    Says.NO_CELLS: int(CellClass.BACKGROUND),
}


def read_whole_images(path: Path) -> dict[str, Says]:
    """File name -> what is said of it; empty where the file is missing.

    Raises DataError with every line that is wrong.
    """
    if not path.exists():
        return {}
    try:
        lines = io.StringIO(text_of(path, LARGEST_TABLE_BYTES), newline="")
        rows = csv.DictReader(lines, restkey="more")
        if not {"file", "says"} <= {name.strip() for name in rows.fieldnames or ()}:
            raise DataError(f"{path}: not a table with the columns file,says")
        values = [
            {k.strip(): v.strip() for k, v in row.items() if isinstance(v, str)} for row in rows
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); correct it") from error
    said: dict[str, Says] = {}
    problems: list[str] = []
    for number, row in enumerate(values, start=2):
        name = row.get("file", "").replace("\\", "/").rpartition("/")[2]
        text = row.get("says", "")
        if not name and not text:
            continue
        try:
            one = Says(" ".join(text.lower().split()))
        except ValueError:
            allowed = " or ".join(f"'{value}'" for value in Says)
            problems.append(f"{path}: line {number}: {text!r} of {name!r}; say {allowed}")
            continue
        if not name:
            problems.append(f"{path}: line {number}: {text!r} of no file; name the image")
        elif said.setdefault(name, one) != one:
            problems.append(
                f"{path}: line {number}: {name}: {one!s}, and {said[name]!s} further up; keep one"
            )
    if problems:
        raise DataError(*problems)
    return said


def unknown_files(path: Path, said: Mapping[str, Says], images: Mapping[str, Path]) -> list[str]:
    """What to tell of names in the table that no image has.

    images : image files by their stems
    """
    names = {image.name for image in images.values()}
    stems = {stem: image.name for stem, image in images.items()}
    problems = []
    for name in said:
        if name in names:
            continue
        meant = stems.get(Path(name).stem) or stems.get(name)
        hint = f"; is it {meant}?" if meant else "; correct the name, or take the line out"
        problems.append(f"{path}: no image {name} in images/{hint}")
    return problems


def filled(
    labels: NDArray[np.uint8] | None, shape: tuple[int, int], says: Says, path: Path
) -> NDArray[np.uint8]:
    """Labels (H, W) with what is said of the whole image where they leave a pixel unknown.

    labels : None where the image has none
    path : of the labels, for the error
    Raises DataError where labels hold what is ruled out.
    """
    if labels is None:
        return np.full(shape, _LEFT[says], dtype=np.uint8)
    for ruled_out in _RULED_OUT[says]:
        count = int(np.count_nonzero(labels == int(ruled_out)))
        if count:
            raise DataError(
                f"{path}: holds {count:,} px of {ruled_out.name.lower()}, but {WHOLE_IMAGES} says "
                f"'{says!s}' of the whole image; correct one of the two"
            )
    return np.where(labels == UNKNOWN, np.uint8(_LEFT[says]), labels)
