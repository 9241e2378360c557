"""`segment`: images, no database."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from monitor.capture.formats.reading import open_picture
from monitor.capture.formats.sidecars import read_beside
from monitor.capture.naming import name_capture
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    RunnerOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    out,
    percent,
    print_json,
    say,
    say_error,
    shown,
    with_runner,
)
from monitor.commands.shared_scales import SharedScales
from monitor.config import Config, SourceSettings
from monitor.culture import Doubt, NamedParts
from monitor.culture.doubt_words import REASON_WORDS, calibration_words, named_interval
from monitor.errors import CaptureError, MonitorError, UsageError
from monitor.host.atomic_files import write_whole

if TYPE_CHECKING:
    from model.predict import Segmenter
    from monitor.segmentation.measure_image import MeasuredImage

LARGEST_OVERLAY_SIDE_PX = 4096


def segment(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", readable=False, help="TIFF, OME-TIFF, PNG or JPEG."),
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where label map and overlay go.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FOLDER",
            readable=False,
            help="A model; default: the configured one.",
        ),
    ] = None,
    pixel_size_um: Annotated[
        float | None,
        typer.Option(
            "--pixel-size-um",
            metavar="X",
            min=0.01,
            max=100,
            help="Overrides what the file or its name says.",
        ),
    ] = None,
    runner: RunnerOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Segment images into undifferentiated, differentiated and background.

    Writes <stem>_labels.png (0 background, 1 undifferentiated, 2 differentiated, 255 outside the
    vessel and under burnt-in scale bars or text) and <stem>_overlay.png. Of images of more than 64
    megapixels the first is a tiled TIFF; the second is at most 4096 pixels wide or high.

    Images without a pixel size that were taken alike, going by their shapes and the objective in
    their names, are read at one scale.

    Example: colonywatch segment field.tif --out result --pixel-size-um 1.2
    """
    begin_logging()
    settings = with_runner(open_config(config, state), runner)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --out needs a folder")
    _refuse_equal_names(images)
    segmenting = Segmenting(
        folder, settings, str(model) if model else settings.segmentation.model, pixel_size_um
    )
    if len(images) == 1:
        document = segmenting.one(images[0])
        if as_json:
            print_json(document)
        else:
            _show(document, folder, images[0])
        return
    _all(segmenting, images, folder, as_json=as_json)


def _all(segmenting: Segmenting, images: Sequence[Path], folder: Path, *, as_json: bool) -> None:
    """Segment several images; those that cannot be are told beside the others. Raises Exit."""
    documents, failed = segmenting.all(images)
    if as_json:
        print_json({"images": list(documents.values()), "not_segmented": _messages(failed)})
    else:
        for image, document in documents.items():
            _show(document, folder, image)
        for problem in failed.values():
            say_error(problem)
    if failed:
        raise typer.Exit(1)


def _refuse_equal_names(images: Sequence[Path]) -> None:
    """Raises UsageError where the results of one image would overwrite those of another."""
    counts = Counter(image.stem for image in images)
    twice = next((stem for stem, count in counts.items() if count > 1), None)
    if twice is not None:
        raise UsageError(
            f"{shown(twice)}: {counts[twice]} of the images are called that, and their results "
            "would overwrite each other; give them one by one, each with its own --out"
        )


def _messages(failed: Mapping[Path, CaptureError]) -> list[dict[str, str]]:
    return [
        {"image": shown(image), "reason": problem.reason, "message": str(problem)}
        for image, problem in failed.items()
    ]


class Segmenting:
    """Segments images into a folder, one after the other."""

    def __init__(
        self, folder: Path, config: Config, model: str, pixel_size_um: float | None
    ) -> None:
        self._folder, self._config, self._model = folder, config, model
        self._pixel_size_um = pixel_size_um
        self._segmenter: Segmenter | None = None
        self._scales = SharedScales()

    def all(
        self, images: Sequence[Path]
    ) -> tuple[dict[Path, dict[str, Any]], dict[Path, CaptureError]]:
        """Documents of images as of `one`, and why others have none.

        Raises ModelRefusedError, and MonitorError where results cannot be written.
        """
        documents: dict[Path, dict[str, Any]] = {}
        failed: dict[Path, CaptureError] = {}
        for image in images:
            try:
                documents[image] = self.one(image)
            except CaptureError as problem:
                failed[image] = problem
        for image in documents:
            if self._scales.is_outdated(image):
                documents[image] = self.one(image)
            documents[image]["assumed_from_images"] = self._scales.images_of(image)
        return documents, failed

    def one(self, image: Path) -> dict[str, Any]:
        """The JSON form of what an image shows; label map and overlay are written.

        Raises CaptureError for an image that cannot be judged, ModelRefusedError for a bad model.
        """
        # Only the commands that need arrays and a network pay for loading them.
        from monitor.segmentation.measure_image import OverlayStyle, measure_image
        from monitor.segmentation.measuring import load_segmenter
        from monitor.segmentation.overlay import encode_png

        source: SourceSettings = self._config.source_of(image.absolute()) or self._config.unlisted
        with closing(open_picture(image, zone=source.zone, channel=source.channel)) as picture:
            named = _named(image, source)
            sidecar = None
            if named is not None:
                sidecar = read_beside(image.absolute(), named.pattern, source.zone, named.channel)
            if self._segmenter is None:
                compute = self._config.compute
                self._segmenter = load_segmenter(self._model, compute.threads, compute.runner)
            segmenter = self._segmenter
            large = max(picture.pixels.shape[:2]) > LARGEST_OVERLAY_SIDE_PX
            side = LARGEST_OVERLAY_SIDE_PX if large else None
            found = measure_image(
                segmenter,
                picture,
                named=named,
                sidecar=sidecar,
                settings=source,
                shown=shown(image.name),
                style=OverlayStyle(image.stem, side, encode_png),
                override_um=self._pixel_size_um,
                scales=self._scales.for_image(image),
            )
        assumed_um, shape = found.pixel_size.assumed_um, found.segmentation.shape
        if found.at_scale is not None and assumed_um is not None:
            self._scales.note(image, shape, assumed_um, found.at_scale)
        label_map, overlay = _written(found, self._folder, image.stem)
        return {
            "image": shown(image),
            **_numbers(found),
            "assumed_from_images": self._scales.images_of(image),
            "model": {"name": segmenter.name, "sha256": segmenter.sha256},
            "runner": segmenter.runner,
            "labels": shown(label_map),
            "overlay": shown(overlay),
            "overlay_scale": found.overlay_width_px / found.labels.shape[1],
        }


def _written(found: MeasuredImage, folder: Path, stem: str) -> tuple[Path, Path]:
    """Label map and overlay as files. Raises MonitorError where that cannot be."""
    from monitor.segmentation.label_maps import label_map_suffix

    label_map = folder / f"{stem}_labels{label_map_suffix(found.labels)}"
    overlay = folder / f"{stem}_overlay.png"
    try:
        write_whole(label_map, found.label_map)
        write_whole(overlay, found.overlay)
    except OSError as problem:
        raise MonitorError(
            f"{folder}: cannot be written to ({problem.strerror}); choose another with --out DIR"
        ) from problem
    return label_map, overlay


def _numbers(found: MeasuredImage) -> dict[str, Any]:
    """What the image shows, in the words of the JSON form."""
    areas, size, doubt = found.areas, found.pixel_size, found.doubt
    doubts = [*found.quality.doubts, *doubt.reasons]
    counts = {
        "background": areas.background_px,
        "undifferentiated": areas.undifferentiated_px,
        "differentiated": areas.differentiated_px,
    }
    imaged = areas.imaged_px
    um2 = None if size.known_um is None else size.known_um**2
    return {
        "shape": list(found.labels.shape),
        "pixel_size_um": size.known_um,
        "pixel_size_from": size.source,
        "assumed_pixel_size_um": size.assumed_um,
        "fractions": {name: count / imaged if imaged else 0.0 for name, count in counts.items()},
        "areas_px": counts,
        "areas_um2": (
            None if um2 is None else {name: count * um2 for name, count in counts.items()}
        ),
        "differentiated_fraction": areas.differentiated_fraction,
        "confluence": areas.confluence,
        "uncertainty": found.segmentation.uncertainty,
        "colonies": len(found.colonies),
        "colony_list": [
            {
                "area_px": colony.area_px,
                "area_um2": None if um2 is None else colony.area_px * um2,
                "centroid_row_column": list(colony.centroid),
                "differentiated_fraction": colony.differentiated_fraction,
            }
            for colony in found.colonies
        ],
        "differentiated_regions": len(found.regions),
        "in_doubt": bool(doubts),
        "doubts": doubts,
        "differentiated_interval": None if doubt.interval is None else list(doubt.interval),
        "interval_calibrated": doubt.calibrated,
        "image_kind": doubt.kind,
        "burnt_in": _burnt_in(found, um2),
    }


def _burnt_in(found: MeasuredImage, um2: float | None) -> dict[str, Any] | None:
    """What was burnt into the image and is not counted; boxes are top, left, bottom, right."""
    if found.burnt_in is None:
        return None
    area = found.burnt_in.area_px
    return {
        "area_px": area,
        "area_um2": None if um2 is None else area * um2,
        "items": [
            {"kind": item.kind, "box_row_column": list(item.box)} for item in found.burnt_in.items
        ],
    }


def _named(image: Path, source: SourceSettings) -> NamedParts | None:
    try:
        return name_capture(image.absolute(), source.names, source.zone, source.start)
    except CaptureError:
        return None  # any name will do here


def _by_images(document: dict[str, Any]) -> str:
    """What an assumed pixel size rests on."""
    images = document["assumed_from_images"]
    if images is None:
        return ""
    return ", by this image alone" if images == 1 else f", by {images} images together"


def _show(document: dict[str, Any], folder: Path, image: Path) -> None:
    table = Table(title=cell(image.name))
    for heading in ("class", "share of the image", "area"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, fraction in document["fractions"].items():
        areas = document["areas_um2"]
        area = (
            f"{document['areas_px'][name]:,} px"
            if areas is None
            else f"{areas[name] / 1e6:.3f} mm2"
        )
        table.add_row(name, percent(fraction), area)
    out.print(table)
    out.print(
        f"differentiated {percent(document['differentiated_fraction'])} of the cells, confluence "
        f"{percent(document['confluence'])}, {document['colonies']} colonies"
    )
    if document["differentiated_interval"] is not None:
        low, high = document["differentiated_interval"]
        doubt = Doubt(interval=(low, high), calibrated=document["interval_calibrated"])
        out.print(", ".join(filter(None, (named_interval(doubt), calibration_words(doubt)))))
    if document["pixel_size_um"] is None:
        say(
            f"{image.name}: no pixel size in the file or its name; taken as "
            f"{document['assumed_pixel_size_um']:.2g} um/px{_by_images(document)}. Give "
            "--pixel-size-um for areas and a better result"
        )
    if document["overlay_scale"] < 1:
        say(
            f"{image.name}: the overlay is drawn at {document['overlay_scale']:.3f} of its size "
            f"({document['shape'][1]} pixels wide)"
        )
    if document["burnt_in"] is not None:
        kinds = sorted({item["kind"] for item in document["burnt_in"]["items"]})
        share = document["burnt_in"]["area_px"] / math.prod(document["shape"])
        say(
            f"{image.name}: {percent(share)} of the image is burnt in ({', '.join(kinds)}) and "
            "counts as not imaged"
        )
    for why in document["doubts"]:
        say(f"{image.name}: in doubt: {REASON_WORDS.get(why, why)}")
    out.print(f"computed by {document['runner']}", markup=False)
    out.print(f"written to {shown(folder)}", markup=False)
