"""Labelled images as `train` and `evaluate` read them: as captures are, of one rater or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitor.capture.formats.reading import read_picture
from monitor.capture.formats.sidecars import read_beside
from monitor.capture.names.patterns import parse_name
from monitor.capture.pixel_size import pixel_size_of
from monitor.capture.quality.round_well import find_round_well
from monitor.commands.common import say, shown
from monitor.config import Config
from monitor.errors import CaptureError, MonitorError, UsageError

if TYPE_CHECKING:
    from model.dataset import LabelledImage
    from model.labelled_files import GreyImage


def labelled_fields(
    data: Path, config: Config, pixel_size_um: float | None, *, least_classes: int, sure: bool
) -> list[LabelledImage]:
    """The folder's labelled images, read as captures are. Raises MonitorError."""
    from model.dataset import read_labelled
    from model.labelled_files import DataError, DoubtfulLabelsError

    try:
        found = read_labelled(
            data,
            read_picture=_reader(config),
            pixel_size_um=pixel_size_um,
            least_classes=least_classes,
            sure=sure,
        )
    except DoubtfulLabelsError as problem:
        raise MonitorError(
            f"{problem}\nIf the labels are right as they are: --labels-are-right"
        ) from problem
    except DataError as problem:
        raise MonitorError(str(problem)) from problem
    for note in found.notes:
        say(note)
    if found.without_labels:
        some = ", ".join(shown(name) for name in found.without_labels[:5])
        more = len(found.without_labels) - 5
        count = len(found.without_labels)
        what = "1 image has" if count == 1 else f"{count} images have"
        left = "is" if count == 1 else "are"
        say(
            f"{what} no labels and {left} left out: {some}"
            + (f" and {more} more" if more > 0 else "")
        )
    unsized = [one.name for one in found.images if one.pixel_size_um is None]
    if unsized:
        say(
            f"{len(unsized)} of {len(found.images)} images have no pixel size: one is "
            "assumed. Better give it: --pixel-size-um, or pixel_size_um.csv beside images/ "
            "(columns "
            "file,pixel_size_um)"
        )
    return list(found.images)


SECOND_RATER = "labels_2"
"""Folder beside images/ and labels/ in which another person's labels are looked for."""


def second_rater(
    data: Path,
    folder: Path | None,
    config: Config,
    images: Sequence[LabelledImage],
    *,
    sure: bool,
) -> dict[str, NDArray[np.uint8]]:
    """Label maps of a second person by the image's name; none where nobody else labelled.

    Raises MonitorError.
    """
    from model.dataset import read_labelled
    from model.labelled_files import DataError, DoubtfulLabelsError

    if folder is None:
        folder = data / SECOND_RATER
        if not folder.is_dir():
            return {}
    elif not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise MonitorError(f"{folder}: {what}; --second-rater needs a folder of label maps")
    if folder.resolve() == (data / "labels").resolve():
        raise UsageError(
            f"{folder}: holds the first rater's labels; --second-rater needs those of another "
            "person"
        )
    try:
        found = read_labelled(
            data, read_picture=_reader(config), least_classes=1, sure=sure, labels=folder
        )
    except DoubtfulLabelsError as problem:
        raise MonitorError(
            f"{problem}\nIf the labels are right as they are: --labels-are-right"
        ) from problem
    except DataError as problem:
        raise MonitorError(f"labels of the second rater: {problem}") from problem
    second = {one.name: one.labels for one in found.images}
    first = {one.name for one in images}
    both = first & second.keys()
    if not both:
        raise MonitorError(
            f"{folder}: no image has labels there and in {data / 'labels'} too; two raters can be "
            "compared on the same images only"
        )
    for names, who in ((first - both, "first"), (second.keys() - both, "second")):
        if names:
            some = ", ".join(shown(name) for name in sorted(names)[:5])
            say(f"labelled by the {who} rater only, and not compared: {some}")
    return {name: second[name] for name in sorted(both)}


def guarding_fields(folders: Sequence[Path], config: Config) -> dict[str, Sequence[LabelledImage]]:
    """Labelled images of other kinds, by the names of their folders. Raises MonitorError."""
    from model.labelled_files import DataError
    from model.tuning.kinds import given_kinds

    found: dict[str, Sequence[LabelledImage]] = {}
    for folder in folders:
        try:
            kinds = given_kinds(folder, _reader(config))
        except DataError as problem:
            raise MonitorError(f"--guard: {problem}") from problem
        for name, images in kinds.items():
            found[name if name not in found else str(folder / name)] = images
    return found


def _reader(config: Config) -> Callable[[Path], GreyImage]:
    from model.labelled_files import DataError, GreyImage

    def read(path: Path) -> GreyImage:
        source = config.source_of(path.absolute()) or config.unlisted
        try:
            picture = read_picture(path, zone=source.zone, channel=source.channel)
        except CaptureError as problem:
            raise DataError(str(problem)) from problem
        try:
            named = parse_name(path.absolute(), source.names, source.zone, source.start)
        except CaptureError:
            named = None  # any name will do here
        sidecar = None
        if named is not None:
            sidecar = read_beside(path.absolute(), named.pattern, source.zone, named.channel)
        well = find_round_well(picture.pixels)
        inside = None if well is None else well.inside(picture.pixels.shape)
        size = pixel_size_of(picture, named=named, sidecar=sidecar, settings=source, well=well).um
        return GreyImage(picture.pixels, size, inside)

    return read
