"""A scan's fields -> one reading. Areas are added up; fractions are never averaged."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.culture import FieldMeasurement, Summary


def sum_up(fields: Sequence[FieldMeasurement]) -> Summary:
    """Add up the fields of one scan, weighted by area.

    Where every field has a pixel size the weights are um2; where one has none they are pixels of
    all fields, and no area is given. Raises ValueError without fields.
    """
    if not fields:
        raise ValueError("a scan without fields has nothing to sum up")
    sizes = [field.pixel_size_um for field in fields if field.pixel_size_um is not None]
    calibrated = len(sizes) == len(fields)
    weights = [size**2 for size in sizes] if calibrated else [1.0] * len(fields)

    def total(name: str) -> float:
        return sum(
            float(getattr(field.areas, name)) * weight
            for field, weight in zip(fields, weights, strict=True)
        )

    background, undifferentiated, differentiated = (
        total("background_px"),
        total("undifferentiated_px"),
        total("differentiated_px"),
    )
    cells = undifferentiated + differentiated
    imaged = cells + background
    areas = [field.areas.imaged_px * weight for field, weight in zip(fields, weights, strict=True)]
    doubts = sorted({doubt for field in fields for doubt in field.doubts})
    return Summary(
        at=min(field.acquired_at for field in fields),
        captures=len(fields),
        background_um2=background if calibrated else None,
        undifferentiated_um2=undifferentiated if calibrated else None,
        differentiated_um2=differentiated if calibrated else None,
        differentiated_fraction=differentiated / cells if cells else None,
        confluence=cells / imaged if imaged else None,
        uncertainty=(
            sum(field.uncertainty * area for field, area in zip(fields, areas, strict=True))
            / sum(areas)
            if sum(areas)
            else 1.0
        ),
        pixel_size_um=_common(sizes) if calibrated else None,
        colonies=sum(len(field.colonies) for field in fields),
        doubts=tuple(doubts),
    )


def _common(sizes: Sequence[float]) -> float:
    """The pixel size of the fields; where objectives were mixed, the mean by area."""
    if max(sizes) - min(sizes) <= 1e-6 * max(sizes):
        return sizes[0]
    return float((sum(size**2 for size in sizes) / len(sizes)) ** 0.5)
