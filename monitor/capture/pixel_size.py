"""Which of several pixel sizes of one capture counts."""

from __future__ import annotations

from monitor.capture.formats.image import Image
from monitor.capture.formats.metadata import Said
from monitor.capture.quality.round_well import RoundWell
from monitor.config import SourceSettings
from monitor.culture import NamedParts, PixelSize, PixelSizeSource


def pixel_size_of(
    image: Image,
    *,
    named: NamedParts | None,
    sidecar: Said | None,
    settings: SourceSettings,
    well: RoundWell | None,
    override_um: float | None = None,
) -> PixelSize:
    """The pixel size of a capture, from whoever knows it best. The only place with that order.

    named : what its name says; None where the name fits no pattern
    sidecar : what stands beside it; None where nothing does
    well : the round well that the image shows whole
    override_um : what a person gave for it

    Where nothing says it, the model may still assume one: see `PixelSize.or_assumed`.
    """
    of_well = None
    if well is not None and settings.well_diameter_mm is not None:
        of_well = well.pixel_size_um(settings.well_diameter_mm)
    said = {
        PixelSizeSource.OPTION: override_um,
        PixelSizeSource.METADATA: image.pixel_size_um,
        PixelSizeSource.SIDE_CAR: None if sidecar is None else sidecar.pixel_size_um,
        PixelSizeSource.NAME: None if named is None else named.pixel_size_um,
        PixelSizeSource.SOURCE: settings.pixel_size_um,
        PixelSizeSource.WELL: of_well,
    }
    for source in PixelSizeSource:  # in the order of trust
        um = said[source]
        if um is not None:
            return PixelSize(um, source)
    return PixelSize()
