"""`segment`: one image, no database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from monitor.capture.formats.image import Picture
from monitor.capture.formats.reading import open_picture
from monitor.capture.formats.sidecars import check_square, read_beside
from monitor.capture.names.patterns import PRESETS
from monitor.capture.names.wells import name_capture
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    out,
    percent,
    print_json,
    say,
    shown,
)
from monitor.config import Config, SourceSettings
from monitor.culture import NamedParts
from monitor.errors import CaptureError, MonitorError, UsageError
from monitor.host.atomic_files import write_whole

LARGEST_OVERLAY_SIDE_PX = 4096


def segment(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", readable=False, help="TIFF, OME-TIFF, PNG or JPEG.")
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
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Segment one image into undifferentiated, differentiated and background.

    Writes <stem>_labels.png (0 background, 1 undifferentiated, 2 differentiated, 255 outside the
    vessel) and <stem>_overlay.png. Of images of more than 64 megapixels the first is a tiled TIFF;
    the second is at most 4096 pixels wide or high.

    Example: colonywatch segment field.tif --out result --pixel-size-um 1.2
    """
    begin_logging()
    settings = open_config(config, state)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --out wants a folder")
    document = segment_file(
        image,
        folder,
        settings,
        model=str(model) if model else settings.segmentation.model,
        pixel_size_um=pixel_size_um,
    )
    if as_json:
        print_json(document)
    else:
        _show(document, folder, image)


def segment_file(
    image: Path, folder: Path, config: Config, *, model: str, pixel_size_um: float | None
) -> dict[str, Any]:
    """Segment `image` into `folder`; returns the JSON form of the result.

    Raises CaptureError for an image that cannot be judged, ModelRefusedError for a bad model.
    """
    source: SourceSettings = config.source_of(image.absolute()) or config.unlisted
    picture = open_picture(image, zone=source.zone, channel=source.channel)
    try:
        return _segment_picture(image, picture, folder, config, source, model, pixel_size_um)
    finally:
        picture.close()


def _segment_picture(
    image: Path,
    picture: Picture,
    folder: Path,
    config: Config,
    source: SourceSettings,
    model: str,
    pixel_size_um: float | None,
) -> dict[str, Any]:
    # Torch takes seconds to load; only the commands that need it pay for it.
    from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
    from monitor.segmentation.components import Pieces
    from monitor.segmentation.label_maps import encode_label_map, label_map_suffix
    from monitor.segmentation.measuring import (
        colony_limit_px,
        differentiated_probability,
        load_segmenter,
        region_limit_px,
        segment_picture,
    )
    from monitor.segmentation.overlay import draw_overlay, encode_png

    named = _named(image, source)
    named_size = None if named is None else named.pixel_size_um
    beside = None if named is None else read_beside(image.absolute(), named.pattern, source.zone)
    preset = None if named is None else PRESETS.get(named.pattern)
    if pixel_size_um is not None:
        picture, named_size, beside = replace(picture, pixel_size_um=None), pixel_size_um, None
    if beside is not None:
        check_square(beside, picture.pixel_size_um, shown(image.name))
    segmenter = load_segmenter(model, config.compute.threads)
    field = segment_picture(
        segmenter,
        picture,
        named_size_um=named_size,
        settings=source,
        shown=shown(image.name),
        beside_size_um=None if beside is None else beside.pixel_size_um,
        whole_well=preset is not None and preset.whole_well,
    )
    labels, size = field.labels, field.pixel_size_um
    areas = measure_areas(labels)
    pieces = Pieces(labels)
    colonies = find_colonies(pieces, min_area_px=colony_limit_px(size))
    regions = find_regions(
        pieces,
        differentiated_probability(field.segmentation, pieces, region_limit_px(size)),
        min_area_px=region_limit_px(size),
        colonies=colonies,
    )
    overlay = draw_overlay(
        picture.pixels,
        labels,
        pixel_size_um=size or field.segmentation.assumed_pixel_size_um,
        title=image.stem,
        max_side=LARGEST_OVERLAY_SIDE_PX if max(labels.shape) > LARGEST_OVERLAY_SIDE_PX else None,
        assumed=size is None,
    )
    try:
        label_map = folder / f"{image.stem}_labels{label_map_suffix(labels)}"
        write_whole(label_map, encode_label_map(labels))
        write_whole(folder / f"{image.stem}_overlay.png", encode_png(overlay))
    except OSError as problem:
        raise MonitorError(
            f"{folder}: cannot be written to ({problem.strerror}); choose another with --out DIR"
        ) from problem
    imaged = areas.imaged_px
    counts = {
        "background": areas.background_px,
        "undifferentiated": areas.undifferentiated_px,
        "differentiated": areas.differentiated_px,
    }
    um2 = None if size is None else size**2
    return {
        "image": shown(image),
        "shape": list(labels.shape),
        "pixel_size_um": size,
        "pixel_size_from": "option" if pixel_size_um is not None else field.pixel_size_from,
        "assumed_pixel_size_um": field.segmentation.assumed_pixel_size_um,
        "fractions": {name: count / imaged if imaged else 0.0 for name, count in counts.items()},
        "areas_px": counts,
        "areas_um2": (
            None if um2 is None else {name: count * um2 for name, count in counts.items()}
        ),
        "differentiated_fraction": areas.differentiated_fraction,
        "confluence": areas.confluence,
        "uncertainty": field.segmentation.uncertainty,
        "colonies": len(colonies),
        "colony_list": [
            {
                "area_px": colony.area_px,
                "area_um2": None if um2 is None else colony.area_px * um2,
                "centroid_row_column": list(colony.centroid),
                "differentiated_fraction": colony.differentiated_fraction,
            }
            for colony in colonies
        ],
        "differentiated_regions": len(regions),
        "doubts": list(field.quality.doubts),
        "model": {"name": segmenter.name, "sha256": segmenter.sha256},
        "labels": shown(label_map),
        "overlay": shown(folder / f"{image.stem}_overlay.png"),
        "overlay_scale": overlay.shape[1] / labels.shape[1],
    }


def _named(image: Path, source: SourceSettings) -> NamedParts | None:
    try:
        return name_capture(image.absolute(), source.names, source.zone, source.start)
    except CaptureError:
        return None  # any name will do here


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
    if document["pixel_size_um"] is None:
        say(
            f"{image.name}: no pixel size in the file or its name; taken as "
            f"{document['assumed_pixel_size_um']:.2g} um a pixel. Give --pixel-size-um for "
            "areas and a better result"
        )
    if document["overlay_scale"] < 1:
        say(
            f"{image.name}: the overlay is drawn at {document['overlay_scale']:.3f} of its size "
            f"({document['shape'][1]} pixels wide)"
        )
    for doubt in document["doubts"]:
        say(f"{image.name}: doubtful: {doubt}")
    out.print(f"written to {shown(folder)}", markup=False)
