"""How good a model is on real fields: one row a kind of picture.

    python -m model.starter --measure FOLDER --real DATA [--all]

Healthy fields hold no differentiated cell whatever their outlines are: there the differentiated
fraction that is found is the error. Spread cells stand for differentiated ones, each by its own
outline. `ips_fields` have differentiated regions; their pixel size is a guess, so they are read
with that guess and without any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.dataset import PIXEL_SIZES, LabelledImage, read_pixel_sizes
from model.evaluate import assumed_sizes
from model.labelled_files import DataError, read_image, read_labels
from model.metrics import Confusion, confusion, differentiated_fraction
from model.scale import segment_as
from model.segmentation import Segmenter
from model.starter.held_out import (
    HIPSC,
    IPS,
    KINDS,
    PASSAGE,
    SIX_WELL,
    SPREAD,
    WHOLE_WELLS,
    group_of,
    is_held_out,
)
from model.starter.local_contrast import reference_labels, well_of
from model.starter.real_images import burnt_in, images_of
from model.starter.settings import (
    IPS_FIELDS_PIXEL_SIZE_UM,
    SPREAD_CELLS_PIXEL_SIZE_UM,
    WELL_DIAMETER_UM,
)

HEALTHY: Final = (HIPSC, PASSAGE, SIX_WELL, WHOLE_WELLS)
ROUNDS: Final = 400


@dataclass(frozen=True, eq=False)
class RealField:
    """A real field and what is known of it.

    labels : (H, W) uint8, 255 where nothing is said
    imaged : (H, W) bool, False where a bar is burnt in and outside the vessel
    healthy : no cell in it is differentiated
    """

    kind: str
    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    imaged: NDArray[np.bool_]
    pixel_size_um: float | None
    inside: NDArray[np.bool_] | None = None
    healthy: bool = False


@dataclass(frozen=True, eq=False)
class FieldScore:
    """What a model said of a field.

    rows : of the table that it counts for, beside its kind's
    fraction, true_fraction : differentiated area over that of cells; None where there are none
    recall : share of the labelled cells that are called cells; NaN where none are labelled
    """

    kind: str
    name: str
    rows: tuple[str, ...]
    confusion: Confusion
    fraction: float | None
    true_fraction: float | None
    recall: float
    assumed_pixel_size_um: float | None = None

    @property
    def fraction_error(self) -> float | None:
        """Absolute error; a fraction that is undefined counts as 0. None without true cells."""
        if self.true_fraction is None:
            return None
        return abs((self.fraction or 0.0) - self.true_fraction)


def real_fields(data: Path, kind: str, *, every: bool) -> Iterator[RealField]:
    """Fields of a kind, those held out or all, with what is true of them. Raises DataError."""
    folder = data / kind
    sizes = read_pixel_sizes(folder / PIXEL_SIZES)
    for path in images_of(data, kind):
        if not every and not is_held_out(kind, path.name):
            continue
        image = read_image(path)
        if kind in (SIX_WELL, WHOLE_WELLS):
            yield _of_plate_imager(kind, path.name, image)
            continue
        labels = read_labels(
            folder / "labels" / f"{path.stem}.png", (image.shape[0], image.shape[1])
        )
        size = sizes.get(path.name)
        if kind == SPREAD:
            labels = np.where(labels == 1, np.uint8(CellClass.DIFFERENTIATED), labels)
            size = SPREAD_CELLS_PIXEL_SIZE_UM
        elif kind == IPS:
            size = IPS_FIELDS_PIXEL_SIZE_UM
        elif size is None:
            raise DataError(f"{folder / PIXEL_SIZES}: no pixel size of {path.name}; add it")
        yield RealField(
            kind, path.name, image, labels, ~burnt_in(labels), size, healthy=kind in HEALTHY
        )


def _of_plate_imager(kind: str, name: str, image: NDArray[Any]) -> RealField:
    inside, size = None, 1.0
    if kind == WHOLE_WELLS:
        inside, diameter = well_of(image)
        size = WELL_DIAMETER_UM / diameter
    labels = reference_labels(image, size, inside)
    imaged = np.ones(image.shape, dtype=bool) if inside is None else inside
    return RealField(kind, name, image, labels, imaged, size, inside, healthy=True)


def score_field(
    segmenter: Segmenter,
    one: RealField,
    rows: tuple[str, ...] = (),
    assumed_um: float | None = None,
) -> FieldScore:
    """Segment a field and hold it against what is known of it.

    assumed_um : um/px to read a field at that has no pixel size; None leaves it to the segmenter
    """
    if assumed_um is None:
        segmented = segmenter.segment(one.image, one.pixel_size_um, inside=one.inside)
    else:
        segmented = segment_as(segmenter, one.image, assumed_um, one.inside)
    found, truth = segmented.labels, one.labels
    known = (truth != UNKNOWN) & (found != UNKNOWN)
    cells = known & (truth != CellClass.BACKGROUND)
    # What is healthy is so everywhere, also where nobody drew its outline.
    counted = one.imaged if one.healthy else known
    return FieldScore(
        one.kind,
        one.name,
        rows,
        confusion(truth, found),
        differentiated_fraction(found[counted]),
        0.0 if one.healthy else differentiated_fraction(truth[known]),
        float((found[cells] != CellClass.BACKGROUND).mean()) if cells.any() else math.nan,
        segmented.assumed_pixel_size_um,
    )


def scores_of(
    segmenter: Segmenter,
    data: Path,
    *,
    every: bool = False,
    withheld: bool = False,
    kinds: Sequence[str] = KINDS,
    tell: Callable[[FieldScore], None] = lambda _: None,
) -> list[FieldScore]:
    """A model on the real fields that are held out, kind by kind.

    every : all fields, also those that the starter learns from
    withheld : each kind a second time without its pixel size (`ips_fields` always); those that
        were taken alike are then read at one that is estimated over all of them
    Raises DataError.
    """
    found: list[FieldScore] = []

    def score(one: RealField, rows: tuple[str, ...], assumed: float | None = None) -> None:
        found.append(score_field(segmenter, one, rows, assumed))
        tell(found[-1])

    for kind in kinds:
        blind: list[RealField] = []
        for one in real_fields(data, kind, every=every):
            score(one, _rows_of(one))
            if withheld or kind == IPS:
                blind.append(replace(one, pixel_size_um=None))
        unsized = [LabelledImage(o.name, o.image, o.labels, None, o.inside) for o in blind]
        sizes = assumed_sizes(segmenter, unsized)
        for number, one in enumerate(blind):
            score(one, (f"{kind}, pixel size withheld",), sizes.get(number))
    return found


def _rows_of(one: RealField) -> tuple[str, ...]:
    if one.kind == IPS:
        return (f"{IPS}, {IPS_FIELDS_PIXEL_SIZE_UM:g} um/px assumed",)
    if one.kind != PASSAGE:
        return (one.kind,)
    for mark, what in (("_D1_", "1 day after"), ("_D3_", "3 days after")):
        if mark in one.name:
            scale = "10x" if "10x" in one.name else "4x"
            return (PASSAGE, f"{PASSAGE}, {what}, {scale}")
    return (PASSAGE, f"{PASSAGE}, whole 4x fields")


# ------------------------------------------------------------------------------------- table


def table_of(scores: Iterable[FieldScore]) -> dict[str, dict[str, Any]]:
    """One row a kind of picture: plain values; what is undefined is null.

    Intervals (95 %) come from drawing the groups (`group_of`) anew, not the fields: fields of one
    dish or line are alike. One group alone has none.
    """
    rows: dict[str, list[FieldScore]] = {}
    for one in scores:
        for row in one.rows:
            rows.setdefault(row, []).append(one)
    return {row: _row(some) for row, some in rows.items()}


def _row(some: Sequence[FieldScore]) -> dict[str, Any]:
    by_name: dict[str, list[FieldScore]] = {}
    for one in some:
        by_name.setdefault(group_of(one.kind, one.name), []).append(one)
    groups = list(by_name.values())
    jaccard = _jaccard(some)
    recalls = [one.recall for one in some if not math.isnan(one.recall)]
    return {
        "fields": len(some),
        "groups": len(groups),
        "mean_jaccard": _number(float(np.nanmean(jaccard))),
        "mean_jaccard_interval": _interval(groups, lambda g: float(np.nanmean(_jaccard(g)))),
        "jaccard": {c.name.lower(): _number(float(jaccard[int(c)])) for c in CellClass},
        "fraction_error_mean": _number(_error(some)),
        "fraction_error_interval": _interval(groups, _error),
        "fraction_error_worst": _number(max(_errors(some), default=math.nan)),
        "cells_found_mean": _number(float(np.mean(recalls)) if recalls else math.nan),
        "cells_found_worst": _number(min(recalls, default=math.nan)),
        "assumed_pixel_sizes_um": [
            one.assumed_pixel_size_um for one in some if one.assumed_pixel_size_um is not None
        ],
    }


def _jaccard(some: Sequence[FieldScore]) -> NDArray[np.float64]:
    """(C,) of the pixels pooled; NaN for a class that does not occur in the truth.

    A healthy field has no differentiated cells: those that are called so count in the fraction, and
    against the class that they were taken from.
    """
    pooled = Confusion(np.sum([one.confusion.counts for one in some], axis=0))
    return np.where(pooled.counts.sum(axis=1) > 0, pooled.jaccard, np.nan)


def _errors(some: Iterable[FieldScore]) -> list[float]:
    return [one.fraction_error for one in some if one.fraction_error is not None]


def _error(some: Iterable[FieldScore]) -> float:
    errors = _errors(some)
    return float(np.mean(errors)) if errors else math.nan


def _interval(
    groups: Sequence[Sequence[FieldScore]], statistic: Callable[[Sequence[FieldScore]], float]
) -> list[float | None] | None:
    if len(groups) < 2:
        return None
    chance = np.random.default_rng(0)
    draws = chance.integers(0, len(groups), (ROUNDS, len(groups)))
    values = [statistic([one for g in draw for one in groups[g]]) for draw in draws]
    return [_number(float(v)) for v in np.nanquantile(values, [0.025, 0.975])]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def as_text(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as Markdown, which a terminal shows well too."""
    heads = (
        "pictures",
        "fields (groups)",
        "mean Jaccard (95 %)",
        "background",
        "undiff.",
        "diff.",
        "fraction error, mean (95 %)",
        "worst",
        "cells found",
        "worst",
    )
    rows = [heads, *(_cells(name, row) for name, row in table.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    def between(value: float | None, interval: Sequence[float | None] | None) -> str:
        if value is None or not interval:
            return shown(value)
        return f"{shown(value)} ({shown(interval[0])} to {shown(interval[1])})"

    return (
        name,
        f"{row['fields']} ({row['groups']})",
        between(row["mean_jaccard"], row["mean_jaccard_interval"]),
        *(shown(row["jaccard"][c.name.lower()]) for c in CellClass),
        between(row["fraction_error_mean"], row["fraction_error_interval"]),
        shown(row["fraction_error_worst"]),
        shown(row["cells_found_mean"]),
        shown(row["cells_found_worst"]),
    )
