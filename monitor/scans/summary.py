"""A scan's fields -> one reading. Areas are added up; fractions are never averaged."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, mode

from monitor.culture import Doubt, FieldAreas, FieldMeasurement, FieldsJoined, ScanColony, Summary
from monitor.scans.doubt import Part, doubt_of_scan

# A vessel is known to some per cent; more than that is an error that must not be hidden.
_VESSEL_TOLERANCE = 1.05


def sum_up(
    fields: Sequence[FieldMeasurement],
    *,
    areas: Sequence[FieldAreas] | None = None,
    colonies: Sequence[ScanColony] | None = None,
    joined: FieldsJoined | None = None,
    vessel_um2: float | None = None,
) -> Summary:
    """Add up the fields of one scan, weighted by area.

    areas : of each field, without what another one counts; None = all that each field shows
    colonies : of the whole scan; None = those of the fields, each for itself
    joined : how `areas` were found; None = one field, or simply added up
    vessel_um2 : area of the bottom of the well or dish

    Where every field has a pixel size the weights are um2; where one has none they are pixels of
    all fields, and no area is given. Raises ValueError without fields.
    """
    if not fields:
        raise ValueError("a scan without fields has nothing to sum up")
    sizes = [field.pixel_size_um for field in fields if field.pixel_size_um is not None]
    calibrated = len(sizes) == len(fields)
    weights = [size**2 for size in sizes] if calibrated else [1.0] * len(fields)
    own = [field.areas for field in fields] if areas is None else areas
    if joined is None:
        joined = FieldsJoined.ONE if len(fields) == 1 else FieldsJoined.ADDED

    def total(name: str) -> float:
        return sum(
            float(getattr(one, name)) * weight for one, weight in zip(own, weights, strict=True)
        )

    background, undifferentiated, differentiated = map(
        total, ("background_px", "undifferentiated_px", "differentiated_px")
    )
    cells = undifferentiated + differentiated
    imaged = cells + background
    parts = [one.imaged_px * weight for one, weight in zip(own, weights, strict=True)]
    count, sizes_um2 = _colonies(fields, colonies, calibrated)
    whole_um2 = vessel_um2 if calibrated and joined is not FieldsJoined.ADDED else None
    fraction = differentiated / cells if cells else None
    cells_of = [one.cells_px * weight for one, weight in zip(own, weights, strict=True)]
    return Summary(
        at=min(field.acquired_at for field in fields),
        captures=len(fields),
        background_um2=background if calibrated else None,
        undifferentiated_um2=undifferentiated if calibrated else None,
        differentiated_um2=differentiated if calibrated else None,
        differentiated_fraction=fraction,
        confluence=cells / imaged if imaged else None,
        uncertainty=_uncertainty(fields, parts),
        pixel_size_um=_common(sizes) if calibrated else None,
        colonies=count,
        doubts=tuple(sorted({doubt for field in fields for doubt in field.doubts})),
        joined=joined,
        imaged_share=_share_of(imaged, whole_um2),
        colony_um2=median(sizes_um2) if sizes_um2 else None,
        doubt=_doubt(fields, parts, cells_of, fraction),
        assumed_pixel_size_um=None if calibrated else _assumed(fields),
    )


def _doubt(
    fields: Sequence[FieldMeasurement],
    imaged: Sequence[float],
    cells: Sequence[float],
    fraction: float | None,
) -> Doubt:
    parts = [
        Part(area, cells_area, field.doubt)
        for area, cells_area, field in zip(imaged, cells, fields, strict=True)
    ]
    return doubt_of_scan(parts, fraction)


def _share_of(imaged_um2: float, vessel_um2: float | None) -> float | None:
    share = imaged_um2 / vessel_um2 if vessel_um2 else 0.0
    return min(1.0, share) if 0 < share <= _VESSEL_TOLERANCE else None


def _assumed(fields: Sequence[FieldMeasurement]) -> float | None:
    """What was taken for the pixel size of the most fields."""
    assumed = [one.pixel_size.assumed_um for one in fields if one.pixel_size.assumed_um is not None]
    return mode(assumed) if assumed else None


def _uncertainty(fields: Sequence[FieldMeasurement], parts: Sequence[float]) -> float:
    if not sum(parts):
        return 1.0
    weighted = sum(field.uncertainty * part for field, part in zip(fields, parts, strict=True))
    return weighted / sum(parts)


def _colonies(
    fields: Sequence[FieldMeasurement], colonies: Sequence[ScanColony] | None, calibrated: bool
) -> tuple[int, list[float]]:
    """How many, and their areas in um2 where these are known."""
    if colonies is not None:
        return len(colonies), [colony.area for colony in colonies] if calibrated else []
    return sum(len(field.colonies) for field in fields), [
        colony.area_px * (field.pixel_size_um or 0.0) ** 2
        for field in fields
        for colony in field.colonies
        if calibrated
    ]


def _common(sizes: Sequence[float]) -> float:
    """The pixel size of the fields; where objectives were mixed, the mean by area."""
    if max(sizes) - min(sizes) <= 1e-6 * max(sizes):
        return sizes[0]
    return float((sum(size**2 for size in sizes) / len(sizes)) ** 0.5)
